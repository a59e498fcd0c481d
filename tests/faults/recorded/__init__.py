"""Faults in recorded trees and in what was measured; the profile is that of real nodes."""

from tests.faults.recorded import links, nccl, nodes, paths

CASES = [*links.CASES, *nodes.CASES, *paths.CASES, *nccl.CASES]
