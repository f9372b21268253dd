"""What of the ledger is a node's own, also while other agents write into it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from k8snetlab.agent.additions import OwnedNetns
from k8snetlab.agent.ownership import Ownership
from k8snetlab.state.ledger import Ledger

OWN = {f"own{number}" for number in range(200)}


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that hardly let each other finish anything."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
def test_an_agent_begins_while_others_claim_and_disown(tmp_path: Path) -> None:
    ledger, over = Ledger(tmp_path / "ledger"), Event()
    ledger.own_namespaces(OwnedNetns(name, node="one") for name in OWN)

    def others() -> None:
        while not over.is_set():
            names = [f"other{number}" for number in range(1000)]
            ledger.namespaces |= {name: OwnedNetns(name, node="two") for name in names}
            for name in names:
                del ledger.namespaces[name]

    with ThreadPoolExecutor(1) as threads:
        claiming = threads.submit(others)
        try:
            assert all(Ownership(ledger, "one").names == OWN for _ in range(3000))
        finally:
            over.set()
    claiming.result()
