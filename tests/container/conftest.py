"""A container for tests, of the same root file system as the machines of tests/vm."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from vm import checkout, image

from .runtime import Chroot, Podman, Runtime


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lacking = image.missing()
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.container)
        item.add_marker(pytest.mark.timeout(2400))
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: run `sudo make test-container`"))
        elif lacking:
            item.add_marker(pytest.mark.skip(reason=f"`make test-container` installs {', '.join(lacking)}"))


@pytest.fixture(scope="session")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """podman where it runs, else the same by hand."""
    with image.in_use() as built:
        files = checkout.tree(tmp_path_factory.mktemp("checkout"))
        places = built.root, files, tmp_path_factory.mktemp("container")
        podman = Podman(*places)
        yield podman if podman.works() else Chroot(*places)
