"""Machines for tests: switched on when a module of tests needs them, killed when it is done, one module at a time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import checkout, image, machine
from .image import Image
from .machine import Machine
from .network import Network

Boot = Callable[[int], list[Machine]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lacking = image.missing() + machine.missing()
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.vm)
        item.add_marker(pytest.mark.timeout(2400))
        if "boot" not in getattr(item, "fixturenames", ()):
            continue
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: run `sudo make test-vm`"))
        elif lacking:
            item.add_marker(pytest.mark.skip(reason=f"`make test-vm` installs {', '.join(lacking)}"))


@pytest.fixture(scope="session")
def built() -> Iterator[Image]:
    with image.in_use() as built:
        yield built


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk with this checkout."""
    return checkout.disk(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.delete()
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert network.netns not in names


@pytest.fixture(scope="module")
def boot(built: Image, sources: Path, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boot]:
    """Switches on that many machines: node1 at 192.168.56.11, node2 at 192.168.56.12, and so on."""
    directory = tmp_path_factory.mktemp("machines")
    with ExitStack() as made:

        def boot(count: int) -> list[Machine]:
            machines = []
            for number in range(1, count + 1):
                address = f"192.168.56.{10 + number}/24"
                one = Machine(f"node{number}", address, built, sources, network, directory)
                made.callback(one.discard)
                one.begin()
                machines.append(one)
            for one in machines:
                one.wait()
            return machines

        yield boot
