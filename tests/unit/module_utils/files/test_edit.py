from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.files.edit import (
    EditError,
    edit_block,
    edit_settings,
    lines_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

SETTINGS = [
    # id, before, set, unset, after
    ("synthetic/new-file", "", {"A": "1"}, ["B"], "A=1\n"),
    ("seed-document/dgx-default", "NCCL_IB_DISABLE=1\n", {"NCCL_NET": "IB"}, ["NCCL_IB_DISABLE"], "NCCL_NET=IB\n"),
    ("luxingcom#1/image-residue", "NCCL_IB_USE_INLINE=1\nX=2\n", {}, ["NCCL_IB_USE_INLINE"], "X=2\n"),
    ("synthetic/in-place", "X=1\nA=old\nY=2\n", {"A": "new"}, [], "X=1\nA=new\nY=2\n"),
    ("synthetic/same", "A=1\nX=1\n", {"A": "1"}, [], "A=1\nX=1\n"),
    ("synthetic/twice-first-counts", "A=0\nX=1\nA=2\n", {"A": "1"}, [], "A=1\nX=1\n"),
    ("synthetic/comment-is-foreign", "#A=0\n", {"A": "1"}, [], "#A=0\nA=1\n"),
    ("synthetic/nothing-is-trimmed", " A=0\nA =0\n", {"A": "1"}, [], " A=0\nA =0\nA=1\n"),
    ("synthetic/no-newline-at-end", "X=1", {"A": "1"}, [], "X=1\nA=1\n"),
    ("synthetic/no-newline-untouched", "X=1", {}, ["A"], "X=1"),
    ("synthetic/value-with-equals", "", {"NCCL_IB_HCA": "=a,b"}, [], "NCCL_IB_HCA==a,b\n"),
    ("synthetic/foreign-line-ends", "X=1\r\nA=0\n", {"A": "1"}, [], "X=1\r\nA=1\n"),
]


@pytest.mark.parametrize(
    ("before", "wanted", "unwanted", "after"), [c[1:] for c in SETTINGS], ids=[c[0] for c in SETTINGS]
)
def test_settings(before: str, wanted: dict[str, str], unwanted: list[str], after: str) -> None:
    assert edit_settings(before, wanted, unwanted) == after
    assert edit_settings(after, wanted, unwanted) == after


@pytest.mark.parametrize(("key", "value"), [("", "1"), ("A=B", "1"), ("#A", "1"), ("A B", "1"), ("A", "1\nB=2")])
def test_a_setting_is_one_line(key: str, value: str) -> None:
    with pytest.raises(EditError, match="one line of KEY=VALUE"):
        edit_settings("", {key: value}, [])


OURS = ["NCCL_NET", "NCCL_IB_HCA", "NCCL_IB_DISABLE"]
foreign_lines = st.text(st.characters(exclude_characters="\n", codec="utf-8")).filter(
    lambda line: line.partition("=")[0] not in OURS
)
our_lines = st.sampled_from(OURS).map(lambda key: f"{key}=old")


@settings(deadline=None)
@given(
    lines=st.lists(foreign_lines | our_lines),
    end=st.sampled_from(["", "\n"]),
    wanted=st.dictionaries(st.sampled_from(OURS[:2]), st.text("ab=,", max_size=4)),
)
def test_foreign_lines_survive(lines: list[str], end: str, wanted: dict[str, str]) -> None:
    text = "\n".join(lines) + end
    after = edit_settings(text, wanted, ["NCCL_IB_DISABLE"])
    ours = [line for line in lines_of(after) if line.partition("=")[0] in wanted]
    rest = [line.removesuffix("\n") for line in lines_of(after) if line not in ours]
    assert sorted(ours) == sorted(f"{key}={value}\n" for key, value in wanted.items())
    gone = {"NCCL_IB_DISABLE", *wanted}
    assert rest == [line.removesuffix("\n") for line in lines_of(text) if line.partition("=")[0] not in gone]
    assert edit_settings(after, wanted, ["NCCL_IB_DISABLE"]) == after


HOSTS = "127.0.0.1 localhost\n127.0.1.1 spark1\n::1 localhost\n"
LOOPBACK = [r"^127\..*\bspark1\b"]


def test_a_block_is_appended_and_kept() -> None:
    once = edit_block(HOSTS, "192.0.2.11 spark1", "gb10.cluster", LOOPBACK)
    assert once == (
        "127.0.0.1 localhost\n#gb10.cluster# 127.0.1.1 spark1\n::1 localhost\n"
        "# BEGIN gb10.cluster\n192.0.2.11 spark1\n# END gb10.cluster\n"
    )
    assert edit_block(once, "192.0.2.11 spark1", "gb10.cluster", LOOPBACK) == once


def test_a_block_is_replaced_where_it_stands() -> None:
    text = "a\n# BEGIN m\nold\n# END m\nz\n"
    assert edit_block(text, "new\n", "m") == "a\n# BEGIN m\nnew\n# END m\nz\n"


def test_a_block_at_the_end_without_newline() -> None:
    assert edit_block("a\n# BEGIN m\nold\n# END m", "new\n", "m") == "a\n# BEGIN m\nnew\n# END m\n"


@settings(deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(["127.0.1.1 spark1", "127.0.0.1 localhost", "# note", ""])
        | st.text(st.characters(exclude_characters="\n", codec="utf-8")).filter(lambda line: "gb10.cluster" not in line)
    )
)
def test_an_empty_block_takes_everything_back(lines: list[str]) -> None:
    text = "".join(line + "\n" for line in lines)
    with_block = edit_block(text, "192.0.2.11 spark1", "gb10.cluster", LOOPBACK)
    assert edit_block(with_block, "", "gb10.cluster") == text


@pytest.mark.parametrize(
    "text",
    ["# BEGIN m\n", "# END m\n", "# END m\n# BEGIN m\n", "# BEGIN m\n# END m\n# BEGIN m\n# END m\n"],
    ids=["no-end", "no-begin", "reversed", "twice"],
)
def test_damaged_marks_are_refused(text: str) -> None:
    with pytest.raises(EditError, match="repair or remove"):
        edit_block(text, "x", "m")


def test_a_pattern_must_be_one() -> None:
    with pytest.raises(EditError, match="not a regular expression"):
        edit_block("", "x", "m", ["("])
