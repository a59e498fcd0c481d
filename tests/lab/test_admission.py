"""A node that was started again serves only after it has passed again, shown by a real unit of systemd."""

from __future__ import annotations

import json

import pytest

from lab.api import Lab
from tests.lab.conftest import ROOT, admitted, on, play, up

NODE = "spark1"
FILE = "/var/lib/gb10/admission.json"
VERIFY = "/usr/local/lib/gb10/admission verify"
UNIT = "gb10-lab-serve"
BODY = """
[Unit]
Description=Stands for an engine
"""
CLOCK = (
    "import subprocess, time; t = time.monotonic();"
    f" subprocess.run({VERIFY.split()!r}, check=True); print(time.monotonic() - t)"
).replace("'", '"')
REST = """
Type=exec
ExecStart=/bin/sleep infinity
"""


def install(lab: Lab) -> None:
    lines = (ROOT / "roles/gate/files/unit.conf").read_text(encoding="utf-8")
    unit = f"/etc/systemd/system/{UNIT}.service"
    on(lab, NODE, f"cat > {unit} <<'END'\n{BODY}{lines}{REST}\nEND\nsystemctl daemon-reload")


def start(lab: Lab) -> tuple[int, str, str]:
    """How the start ended, the state of the unit, and what the operator reads about it."""
    done = lab.run(NODE, ["sudo", "systemctl", "start", UNIT])
    state = lab.run(NODE, ["systemctl", "is-active", UNIT]).stdout.strip()
    status = lab.run(NODE, ["sudo", "systemctl", "status", "--no-pager", "--full", UNIT]).stdout
    print(f"systemctl start: {done.returncode}, {state}\n{done.stderr}{status}")
    return done.returncode, state, status


@pytest.mark.slow
def test_a_node_that_was_started_again_cannot_serve_until_it_has_passed() -> None:
    lab = up("direct", 2)
    install(lab)
    rc, state, _status = start(lab)
    assert (rc != 0, state) == (True, "failed")  # nothing is installed that could admit it

    run = play("site.yml")
    assert admitted(run)
    token = json.loads(on(lab, NODE, f"cat {FILE}"))
    assert token["pool"] == ["spark1", "spark2"]
    assert on(lab, NODE, f"stat -c '%a %U' {FILE}").split() == ["600", "root"]
    assert start(lab)[:2] == (0, "active")
    seconds = float(on(lab, NODE, f"python3 -c '{CLOCK}'"))
    print(f"verify took {seconds:.2f} s on {lab.state.accelerator}")

    # Another run of the same finds it as it is.
    second = play("playbooks/validate.yml")
    assert admitted(second)
    assert second.changed == {"spark1": 0, "spark2": 0}
    assert json.loads(on(lab, NODE, f"cat {FILE}")) == token
    assert [record["subject"]["node"] for record in second.records("C10", "pass")] == ["spark1", "spark2"]

    lab.power(NODE, on=False)
    lab.power(NODE, on=True)
    rc, state, status = start(lab)
    assert (rc != 0, state) == (True, "failed")
    assert "not admitted: the node was started again after it was admitted; run playbooks/validate.yml" in status

    # A refusal says its own reason, and names it as long as it holds.
    lab.half("spark1:p0:a", on=False)
    refused = play("playbooks/validate.yml")
    assert (refused.rc, refused.outcome) == (2, "refuse")
    assert refused.evidence is not None
    assert refused.output.count("FAILED") == 0
    assert f"not admitted: run {refused.evidence['run_id']} refused: L01 spark" in start(lab)[2]
    lab.half("spark1:p0:a", on=True)

    third = play("playbooks/validate.yml")
    assert admitted(third)
    assert third.changed == {"spark1": 1, "spark2": 1}
    assert start(lab)[:2] == (0, "active")
