"""The fault matrix: faults with what must be found, on virtual Sparks, on recorded trees and with fake tools."""

import sys
from pathlib import Path

# `python -m tests.faults` starts in the checkout; the collection is found where pytest finds it too.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".collections"))
