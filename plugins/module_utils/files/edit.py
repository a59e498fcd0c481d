# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of foreign text: what is not ours stays as it is, byte for byte. Pure; runs on the node."""

from __future__ import annotations

import re
import typing as t


class EditError(ValueError):
    """Why a text cannot be edited; one sentence without the path."""


def lines_of(text: str) -> list[str]:
    """Lines with their ends. Not splitlines: a form feed inside a foreign line is no line end."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def edit_settings(text: str, wanted: t.Mapping[str, str], unwanted: t.Collection[str]) -> str:
    """KEY=VALUE lines: our keys in place or at the end, each once.

    As NCCL reads them (spark-facts 2.4): the first of several counts, nothing is trimmed, # only in the first column.
    """
    for name, value in wanted.items():
        if not re.fullmatch(r"[^\s=#][^\s=]*", name) or "\n" in str(value):
            raise EditError(f"is to hold {name!r}={value!r}, which is not one line of KEY=VALUE")
    open_keys = dict(wanted)
    kept = []
    for line in lines_of(text):
        key = _key(line)
        if key is not None and key in open_keys:
            kept.append(f"{key}={open_keys.pop(key)}\n")
        elif key not in wanted and key not in unwanted:
            kept.append(line)
    return _append(kept, [f"{key}={value}\n" for key, value in open_keys.items()])


def _key(line: str) -> str | None:
    key, equals, _value = line.partition("=")
    return key if equals and not line.startswith("#") else None


def edit_block(text: str, block: str, marker: str, disabled: t.Sequence[str] = ()) -> str:
    """Keep a marked block in a text, and turn lines of others that contradict it into comments.

    An empty block takes all of it back: the marks go, and the lines that were turned into comments are lines again.
    """
    begin, end, off = f"# BEGIN {marker}\n", f"# END {marker}\n", f"#{marker}# "
    before, after = _around_block(lines_of(text), begin, end)
    if not block:
        return "".join(line.removeprefix(off) for line in before + after)
    patterns = [_compiled(pattern) for pattern in disabled]
    before, after = (
        [off + line if any(pattern.search(line) for pattern in patterns) else line for line in part]
        for part in (before, after)
    )
    body = block if block.endswith("\n") else block + "\n"
    return _append(before, [begin, body, end]) + "".join(after)


def _around_block(lines: list[str], begin: str, end: str) -> tuple[list[str], list[str]]:
    bare = [line if line.endswith("\n") else line + "\n" for line in lines]
    marks = bare.count(begin), bare.count(end)
    if marks == (0, 0):
        return lines, []
    if marks != (1, 1) or bare.index(begin) > bare.index(end):
        raise EditError(
            f"has {marks[0]} times {begin.strip()!r} and {marks[1]} times {end.strip()!r}, expected one of each in this"
            " order; repair or remove these lines"
        )
    return lines[: bare.index(begin)], lines[bare.index(end) + 1 :]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise EditError(
            f"is to lose lines by the pattern {pattern!r}, which is not a regular expression: {error}"
        ) from None


def _append(lines: list[str], added: list[str]) -> str:
    text = "".join(lines)
    if added and text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(added)
