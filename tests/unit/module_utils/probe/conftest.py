from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[3] / "fixtures" / "probe"


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], str]:
    """The text of a file under tests/fixtures/probe."""
    return lambda name: (FIXTURES / name).read_text(encoding="utf-8")
