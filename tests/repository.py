"""Where things lie in this checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
SCENARIOS = ROOT / "scenarios"
DOCS = ROOT / "docs"
MANIFESTS = ROOT / "tests/kernel/manifests"
"""Labs of many kinds of Services, of one family and of both, with VARIANT and LAYOUT to be filled in."""
