"""The agent of the underlay by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from k8snetlab.agent import namespaces
from k8snetlab.agent.protocol import Surroundings
from k8snetlab.agent.router import RouterAgent
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.errors import KernelError
from k8snetlab.kernel import netns
from k8snetlab.state.ledger import Ledger
from k8snetlab.testing.services import lab


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[RouterAgent]:
    agent = RouterAgent(Surroundings(names.ROUTER, Ledger(tmp_path / "ledger"), tmp_path / "locks"))
    yield agent
    agent.remove()
    agent.close()


def test_what_was_made_again_is_told_also_where_the_sync_that_made_it_failed(
    agent: RouterAgent, name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = name("lab")
    snapshot = Snapshot.of([replace(lab(), metadata=ObjectMeta(name=own))])
    outside = names.node_netns(own, names.OUTSIDE)
    assert agent.sync(snapshot).recreated == ()
    netns.delete(outside)
    with monkeypatch.context() as failing:

        def refused(*_: object) -> None:
            raise KernelError("no room")

        failing.setattr(namespaces, "reading", refused)
        with pytest.raises(KernelError):
            agent.sync(snapshot)
    assert outside in agent.sync(snapshot).recreated
