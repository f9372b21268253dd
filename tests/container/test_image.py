"""`make image`: what it builds runs a lab, in podman where that runs, else the same by hand."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from repository import ROOT

from .runtime import Chroot, Podman, Runtime

LAB = """
k8snetlab up two-nodes && k8snetlab status && k8snetlab probe --all && k8snetlab down && k8snetlab doctor
k8snetlab lesson start 1 && k8snetlab lesson solve && k8snetlab lesson check && k8snetlab lesson next
k8snetlab down --lab lesson
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    place = tmp_path_factory.mktemp("image")
    done = subprocess.run(
        [ROOT / "tools/image", place], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode and "mmdebstrap" in done.stderr:
        pytest.skip(f"no root file system can be made here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (place / "k8snetlab.tar").stat().st_size > 1 << 20
    empty, state = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("container")
    podman = Podman(place / "root", empty, state)
    yield podman if podman.works() else Chroot(place / "root", empty, state)
    shutil.rmtree(place)


def test_a_lab_lives_and_ends_in_the_image(product: Runtime) -> None:
    done = product.run("sh", "-ec", LAB)
    assert done.returncode == 0, done.stdout
    assert "went as they should" in done.stdout and "lab two-nodes is down" in done.stdout
    assert "1/6  Look inside" in done.stdout and "2/6  It is a namespace" in done.stdout
