"""Marks that follow from where a test stands and what it asks for; what is lacking here is skipped, with the reason."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import clients
import pytest
from hypothesis import settings

# No test asserts a time: on a busy machine an example takes as long as it takes.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

KERNEL = Path(__file__).parent / "kernel"
ETCD_FIXTURES = {"etcd", "run_etcd"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if KERNEL in item.path.parents:
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root: run `sudo make test`"))
        if ETCD_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.etcd)
        if item.get_closest_marker("etcd") and shutil.which("etcd") is None:
            item.add_marker(pytest.mark.skip(reason="needs etcd: apt-get install etcd-server"))
    # A file stays with one worker: those that give themselves the most time begin first, and last come those that are
    # quick and need no kernel, so that nobody waits for the last.
    most: dict[Path, tuple[float, bool]] = {}
    for item in items:
        given, long = item.get_closest_marker("timeout"), KERNEL in item.path.parents or item.get_closest_marker("slow")
        seconds, before = most.get(item.path, (0.0, False))
        most[item.path] = max(seconds, given.args[0] if given else 0.0), before or bool(long)
    items.sort(key=lambda item: most[item.path], reverse=True)


@pytest.fixture(scope="session")
def kubectl_of() -> Callable[[str], str]:
    """The program of a release of kubectl (`clients.RELEASES`); the test is skipped where it cannot be had."""
    return lambda release: _had(lambda: clients.kubectl(release))


@pytest.fixture(scope="session")
def helm() -> str:
    """The program helm 4; the test is skipped where it cannot be had."""
    return _had(clients.helm)


def _had(fetch: Callable[[], Path]) -> str:
    try:
        return str(fetch())
    except clients.MissingError as error:
        pytest.skip(str(error))
