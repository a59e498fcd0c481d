"""Of every role: argument specs, defaults and README say the same."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan

ROLES = Path(__file__).resolve().parents[3] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if (path / "meta/argument_specs.yml").exists())
# Facts that one role sets and others read; they carry the prefix of the role that sets them.
SHARED = {"fabric_plan"}


def load(path: Path) -> t.Any:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def options_of(role: str) -> dict[str, dict[str, t.Any]]:
    specs = load(ROLES / role / "meta/argument_specs.yml")["argument_specs"]
    return {name: option for entry in specs.values() for name, option in entry.get("options", {}).items()}


def defaults_of(role: str) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], load(ROLES / role / "defaults/main.yml"))


def test_every_role_has_a_spec() -> None:
    assert sorted(path.name for path in ROLES.iterdir() if path.is_dir()) == NAMES


@pytest.mark.parametrize("role", NAMES)
def test_defaults_are_the_documented_ones(role: str) -> None:
    documented = {name: option["default"] for name, option in options_of(role).items() if "default" in option}
    assert defaults_of(role) == documented


@pytest.mark.parametrize("role", NAMES)
def test_what_has_no_default_is_required(role: str) -> None:
    open_ended = [name for name, option in options_of(role).items() if "default" not in option]
    assert [name for name in open_ended if not options_of(role)[name].get("required")] == []


@pytest.mark.parametrize("role", NAMES)
def test_names_carry_the_prefix_of_the_role(role: str) -> None:
    assert [name for name in options_of(role) if not name.startswith(f"{role}_") and name not in SHARED] == []
    internal = load(ROLES / role / "vars/main.yml")
    assert [name for name in internal if not name.startswith(f"__{role}_")] == []


@pytest.mark.parametrize("role", NAMES)
def test_every_option_has_a_type_and_a_sentence(role: str) -> None:
    for name, option in options_of(role).items():
        text = option["description"]
        sentence = " ".join(text) if isinstance(text, list) else text
        assert option["type"], name
        assert re.match(r"[A-Z].*\.$", sentence), f"{name}: {sentence}"
        if "choices" in option and "default" in option:
            assert option["default"] in option["choices"], name


@pytest.mark.parametrize("role", NAMES)
def test_the_readme_names_every_variable(role: str) -> None:
    readme = (ROLES / role / "README.md").read_text(encoding="utf-8")
    rows = set(re.findall(rf"^\| `({role}_\w+)` \|", readme, re.MULTILINE))
    assert rows == {name for name in options_of(role) if name not in SHARED}


# --- role nccl_env ---

CLUSTERS = [("single", 1), ("direct", 2), ("triangle", 3), ("switch", 4)]


@pytest.mark.parametrize("routing", ["in_tree", "mesh_plugin"])
def test_nccl_env_knows_every_key_of_a_plan(routing: str) -> None:
    """Only so a change of topology or routing leaves no old key behind in /etc/nccl.conf."""
    hosts = {f"spark{n}": {"ansible_host": f"192.0.2.{n}"} for n in range(1, 5)}
    planned: set[str] = set()
    for topology, count in CLUSTERS:
        routed = routing if topology == "triangle" else "in_tree"
        plan = build_plan(list(hosts)[:count], hosts, Declaration(topology, nccl_routing=routed))
        planned |= {key for env in plan["nccl_env"].values() for key in env if key.startswith("NCCL_")}
    internal = load(ROLES / "nccl_env/vars/main.yml")
    assert planned - {"NCCL_IB_DISABLE"} <= set(internal["__nccl_env_own"])
    assert not set(internal["__nccl_env_own"]) & set(internal["__nccl_env_residue"])
