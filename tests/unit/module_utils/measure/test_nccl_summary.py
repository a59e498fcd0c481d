"""What all ranks did together, kept apart from what pairs of them did later in the same log."""

from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_summary import read_log, summary
from ansible_collections.gb10.cluster.plugins.module_utils.probe.nccl_log import read_nccl_log
from ansible_collections.gb10.cluster.tests.unit import builders

LOGS = builders.ROOT / "tests/fixtures/nccl"


def lines(name: str) -> list[str]:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8").splitlines(keepends=True)


TRIANGLE, TCP = lines("triangle-rank0"), lines("real-socket-rank0")
LENGTH = len("".join(TRIANGLE).encode())


def test_without_a_mark_everything_is_of_all() -> None:
    assert read_log(lambda: TRIANGLE, None) == (summary(read_nccl_log(TRIANGLE)), {})


def test_what_follows_the_mark_is_of_pairs_and_only_its_errors_are_told() -> None:
    changed = "spark1:9:9 [0] plugin/net.cc:1 NCCL WARN NET/IB : rocep1s0f0: GID table changed\n"
    log, pairs = read_log(lambda: [*TRIANGLE, *TCP, changed], LENGTH)
    alone = summary(read_nccl_log(TRIANGLE))
    for key in ("transports", "networks", "queue_pairs", "connections", "overrides", "init_complete", "bootstrap"):
        assert log[key] == alone[key], key  # type: ignore[literal-required]
    assert pairs == {"NET/Socket": sum(" via NET/Socket" in line for line in TCP)}
    assert (log["void"], log["lines"]) == (True, len(TRIANGLE) + len(TCP) + 1)
    assert log["sha256"] != alone["sha256"]


@pytest.mark.parametrize("cut", [LENGTH, LENGTH + 1, LENGTH + len(TCP[0]) - 1])
def test_a_line_that_crosses_the_mark_is_of_pairs(cut: int) -> None:
    assert read_log(lambda: [*TRIANGLE, *TCP], cut)[0]["networks"] == ["IB"]


def test_bytes_count_and_not_letters() -> None:
    odd = ["# \udcff\udcfe \u00e4\n", *TRIANGLE]
    length = len("".join(odd).encode("utf-8", "surrogateescape"))
    assert read_log(lambda: [*odd, *TCP], length)[0]["transports"] == {"NET/IB": 8}


def test_nothing_after_the_mark_is_no_pair() -> None:
    assert read_log(lambda: TRIANGLE, LENGTH)[1] == {}
    assert read_log(lambda: [], 0) == (summary(read_nccl_log([])), {})
