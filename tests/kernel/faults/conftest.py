"""The lab that all tests of faults and drills share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.testing import Lab


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("faults")
    shutil.copy(Path(__file__).parent / "faulty.yaml", directory / "lab.yaml")
    lab = Lab(directory)
    lab.run("up", str(directory / "lab.yaml"))
    yield lab
    assert lab.diagnose().findings == ()
    lab.run("down")
