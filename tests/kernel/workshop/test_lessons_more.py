"""Lessons from their start to their end; the other half is in test_lessons.py, for another worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from learning import LESSONS, learner, worked_through


@pytest.mark.parametrize("name", LESSONS[2::2])
def test_a_lesson_is_worked_through(name: str, tmp_path: Path) -> None:
    with learner(tmp_path) as lab:
        worked_through(lab, name)
