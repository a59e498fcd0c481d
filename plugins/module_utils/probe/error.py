# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of the parsers, and the readers of JSON that raise it."""

from __future__ import annotations

import json
import typing as t


class ProbeError(ValueError):
    """A command's output or a file is not what its format promises. The sentence says what was seen."""


def load_json(text: str, command: str) -> t.Any:
    """Parse the JSON of a command. Some print plain text in spite of -j (`rdma -j system`, health-checks 3.1)."""
    try:
        return json.loads(text)
    except ValueError:
        raise ProbeError(f"`{command}` did not print JSON but {excerpt(text)}") from None


def load_objects(text: str, command: str) -> list[dict[str, t.Any]]:
    data = load_json(text, command)
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise ProbeError(f"`{command}` did not print a list of objects but {excerpt(text)}")
    return data


def excerpt(text: str, length: int = 80) -> str:
    """The first words of an output, for a message."""
    words = " ".join(text.split())
    if not words:
        return "nothing"
    return repr(words if len(words) <= length else words[:length] + "...")
