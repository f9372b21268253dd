"""Whether a node's routing daemons have made the routes that they are there for."""

from __future__ import annotations

from functools import partial

from k8snetlab.agent.concern import Remembered
from k8snetlab.agent.patience import Patience, and_more
from k8snetlab.agent.protocol import Manager, Surroundings
from k8snetlab.api.lab import Network
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.routing import Route
from k8snetlab.errors import KernelError
from k8snetlab.kernel import read
from k8snetlab.kernel.patience import patience
from k8snetlab.render.lb import routed
from k8snetlab.render.node import Part
from k8snetlab.render.routing.speakers import equal, lacking, wanted

PATIENCE = {"fast": 20.0, "textbook": 100.0}
"""Seconds that missing routes are waited for, before they are called a failure, more where processes queue for the
cores: OSPF's own timers take 40 to choose a designated router."""


class Routing(Manager):
    """It makes nothing: `up` waits for it, and it names what is missing for long."""

    def __init__(self, name: str, part: Part | None, around: Surroundings) -> None:
        super().__init__(name, part, around)
        self._wanted = Remembered(partial(_wanted, node=self.node))
        self._missing: tuple[Route, ...] = ()
        self._patience = Patience()
        self._network: Network | None = None
        self._others: tuple[Route, ...] = ()
        """Those by further ways, as good as the first, which are missing."""
        self._more = Patience()

    def settled(self, snapshot: Snapshot, namespace: str) -> None:
        network, protocol = snapshot.lab.spec.network, snapshot.lab.spec.spoken
        routes = self._wanted.of(snapshot)
        self._missing = lacking(routes, read.learned(namespace)) if routes else ()
        self.lacks = len(self._missing)
        self._wait_for_others(snapshot, namespace)
        if not self._missing or network != self._network:
            self._patience.end()
            self._network = network
        if not self._missing:
            return
        self._patience.begin(patience(PATIENCE[network.routing.timers]))
        if self._patience.is_over:
            self._patience.told = True
            first, more = self._missing[0], and_more(len(self._missing))
            raise KernelError(
                f"{protocol} has made no route to {first.dst}{f' via {first.via}' if first.via else ''}{more}",
                f"`k8snetlab routing {self.node}` shows its neighbours",
            )

    def _wait_for_others(self, snapshot: Snapshot, namespace: str) -> None:
        """For routes by all equal ways: for a while, and never as a failure, as packets have a way already."""
        network = snapshot.lab.spec.network
        self._others = lacking(ways, read.learned(namespace)) if (ways := equal(snapshot, self.node)) else ()
        if not self._others or network != self._network:
            self._more.end()
        if self._others:
            self._more.begin(patience(PATIENCE[network.routing.timers]))
            self._more.told = self._more.told or self._more.is_over

    @property
    def pending(self) -> tuple[str, ...]:
        if self._missing:
            return () if self._patience.told else (f"route to {self._missing[0].dst}{and_more(len(self._missing))}",)
        if self._others and not self._more.told:
            return (f"route to {self._others[0].dst} via {self._others[0].via}{and_more(len(self._others))}",)
        return ()

    def noticed_change(self) -> bool:
        """Its patience is at its end."""
        return self._patience.has_just_ended or self._more.has_just_ended


def _wanted(snapshot: Snapshot, node: str) -> tuple[Route, ...]:
    return *wanted(snapshot, node), *routed.wanted(snapshot, node)
