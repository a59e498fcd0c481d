"""The one exception of the lab: a sentence for the person at the keyboard."""

from __future__ import annotations


class LabError(Exception):
    """What was found, what was expected, what to do next. Shown without a stack trace."""
