"""Whether the addresses of load balancers are in use: a part of the router's agent, and of each machine's."""

from __future__ import annotations

from collections.abc import Mapping

from k8snetlab.addons.announcers import announcers
from k8snetlab.agent.patience import Patience, and_more
from k8snetlab.agent.protocol import Manager, Surroundings
from k8snetlab.agent.worker import Worker
from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.errors import KernelError
from k8snetlab.render.lb import candidates
from k8snetlab.render.node import Part

PATIENCE = 20.0
"""Seconds for which somebody is waited for who announces an address."""
SOON, RARELY = 0.05, 1.0
"""Seconds between two looks: while an address is waited for, and else."""


class LoadBalancers(Manager):
    """It makes nothing: `up` waits for it, and it names an address that nobody announces for long."""

    def __init__(self, name: str, part: Part | None, around: Surroundings) -> None:
        super().__init__(name, part, around)
        self._worker = Worker(f"{name} of {self.node}", self._turn)
        self._wanted: Mapping[str, tuple[str, ...]] = {}
        self._nodes: tuple[str, ...] = ()
        self._missing: tuple[str, ...] = ()
        self._patience = Patience()

    def settled(self, snapshot: Snapshot, namespace: str) -> None:
        self._wanted = self._own(snapshot) if self.around.addons is not None else {}
        nodes = (node.name for node in snapshot.all(Node).values())
        self._nodes = () if not self._wanted else (self.node,) if snapshot.lab.spec.machines else tuple(nodes)
        self._look()
        if self._wanted:
            self._worker.poke()
        if self._missing and self._patience.is_over:
            self._patience.told = True
            address, more = self._missing[0], and_more(len(self._missing))
            raise KernelError(
                f"nobody announces {address}{more}; {self._wanted[address][0]} should",
                f"the log of its speaker is in {self._log(address)}",
            )

    def _own(self, snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
        """The addresses that it waits for, with their candidates: the router's agent for all; a machine's, which sees
        its own speaker alone, for those that this is the first to announce."""
        lab = snapshot.lab.spec
        if lab.loadBalancer.mode != "l2" or lab.machines == (self.node == ROUTER):
            return {}
        announced = candidates.announced(snapshot)
        return {
            address: order
            for address, order in announced.items()
            if order and (not lab.machines or order[0] == self.node)
        }

    @property
    def pending(self) -> tuple[str, ...]:
        if self._patience.told:
            return ()
        return tuple(f"address {one}: nobody announces it yet" for one in self._missing[:1])

    def noticed_change(self) -> bool:
        """Its patience is at its end."""
        return self._patience.has_just_ended

    def close(self) -> None:
        self._worker.end()

    def remove(self) -> None:
        self._worker.end()

    def _log(self, address: str) -> str:
        home = self.around.addons
        return str(home.directory(self._wanted[address][0]) / "speaker" / "log") if home else ""

    def _look(self) -> bool:
        """Whether other addresses are missing than before."""
        home = self.around.addons
        found = announcers(home.files, self._nodes) if home and self._wanted else {}
        before, self._missing = self._missing, tuple(one for one in self._wanted if one not in found)
        if self._missing != before:
            self._patience.end()
        if self._missing:
            self._patience.begin(PATIENCE)
        return self._missing != before

    def _turn(self) -> float | None:
        """One of the thread's: seconds to the next."""
        if not self._wanted:
            return None
        if self._look():
            self.around.wake()
        return SOON if self._missing and not self._patience.told else RARELY
