"""Which labs a machine has, also while others of them go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.state import labs


def test_a_bare_directory_that_goes_meanwhile_hides_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))
    going, staying, look = tmp_path / "going", tmp_path / "staying", Path.iterdir
    going.mkdir()
    staying.mkdir()

    def late(place: Path) -> Iterator[Path]:
        if place == going:
            going.rmdir()
        return look(place)

    monkeypatch.setattr(Path, "iterdir", late)
    assert labs.begun() == ["staying"]
