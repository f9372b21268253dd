"""The pytest plugin: a mark `lab` that names a directory, and a fixture `lab` that is the lab built from it.

Whoever has installed k8snetlab and pytest has it (entry point `pytest11`). A lab needs root: without it the test is
skipped. Every lab is taken down when its scope ends; a test that failed shows what the lab's daemon logged.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest

from k8snetlab.testing.lab import Lab, running

Scope = Literal["function", "class", "module", "session"]
SHARED = pytest.StashKey[dict[str, Lab]]()
HANDED_OUT = pytest.StashKey[Lab]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        'lab(directory, scope="function"): the lab that the fixture `lab` builds, from a directory or file beside the '
        "test's own file, or a scenario's name; with another scope (class, module, session) its tests share it",
    )


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Lab:
    """The running lab of the mark `lab`, with its name and run directory of its own."""
    item = request.node
    mark = item.get_closest_marker("lab")
    if mark is None:
        raise pytest.UsageError(f"{item.nodeid}: the fixture `lab` wants @pytest.mark.lab(DIRECTORY)")
    if os.geteuid() != 0:
        pytest.skip("a lab needs root: run pytest with sudo")
    source, scope = _asked(*mark.args, **mark.kwargs)
    beside = item.path.parent / source
    lab = _built(_owner(item, scope), str(beside) if beside.exists() else str(source))
    item.stash[HANDED_OUT] = lab
    return lab


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (lab := item.stash.get(HANDED_OUT, None)) and (logs := lab.logs()):
        report.sections.append((f"logs of lab {lab.name}", logs))
    return report


def _asked(directory: str | Path, scope: Scope = "function") -> tuple[str | Path, Scope]:
    return directory, scope


def _owner(item: pytest.Item, scope: Scope) -> pytest.Item | pytest.Collector:
    """Whose end is the lab's."""
    kinds: dict[Scope, type[pytest.Item | pytest.Collector]] = {
        "function": pytest.Item,
        "class": pytest.Class,
        "module": pytest.Module,
        "session": pytest.Session,
    }
    owner = item.getparent(kinds[scope])
    if owner is None:
        raise pytest.UsageError(f"{item.nodeid} is in no {scope} that could share a lab")
    return owner


def _built(owner: pytest.Item | pytest.Collector, source: str) -> Lab:
    labs = owner.stash.setdefault(SHARED, {})
    if source not in labs:
        stack = ExitStack()
        labs[source] = stack.enter_context(running(source))
        owner.addfinalizer(stack.close)
    return labs[source]
