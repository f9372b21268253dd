"""What a manager is: one program of a node's, as flannel or kube-proxy, that keeps its own part of the dataplane.

An agent brings the parts of all managers together and executes them; a manager that fails keeps its last part, and
stops none of the others. `Manager` is the whole protocol, and does nothing by itself: a manager says what is different.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from k8snetlab.addons.home import Home
from k8snetlab.agent.additions import Owner
from k8snetlab.agent.misses import MissResponder
from k8snetlab.agent.steps import Steps
from k8snetlab.agent.table_part import TablePart
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import HealthWork
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.kernel.iptables import Iptables
from k8snetlab.render.node import Part
from k8snetlab.render.proxy import Shared


class Surroundings:
    """What an agent has for its managers: its node's name, the ledger, the directory for the locks of iptables, what
    the agents of a machine share, and, in a lab with a kubelet, the home of add-ons. `wake` has the agent sync again,
    and may be called from any thread."""

    def __init__(
        self,
        node: str,
        owner: Owner,
        locks: Path,
        *,
        shared: Shared | None = None,
        misses: MissResponder | None = None,
        addons: Home | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.node, self.owner, self.locks, self.addons = node, owner, locks, addons
        self.shared, self.misses, self.wake = shared or Shared(), misses or MissResponder(), wake
        self.steps = Steps()
        """Those of all nodes of the machine, where they have such."""

    def of(self, node: str) -> Surroundings:
        """The same, of another node that the same agent keeps."""
        other = Surroundings(
            node,
            self.owner,
            self.locks,
            shared=self.shared,
            misses=self.misses,
            addons=self.addons,
            wake=self.wake,
        )
        other.steps = self.steps
        return other


class Manager:
    """One manager of one node. Blocking; one call at a time, from any thread.

    A sync asks `wanted`, makes the namespaces and says `prepared`, brings the links of all managers to what they want,
    then the rules (`table_part`), and says `settled`. Each may raise K8sNetLabError, which is then this manager's own.
    """

    def __init__(self, name: str, part: Part | None, around: Surroundings) -> None:
        """`part` renders what it wants; None for one that wants nothing of the dataplane."""
        self.name, self.node, self.around = name, around.node, around
        self._part = part

    health: HealthWork | None = None
    """What the kubelet is to answer for it on ports of the node's."""
    warnings: tuple[str, ...] = ()
    """A sentence each."""
    holds: bool = False
    """Pods that are new are not to be run yet."""
    lacks: int = 0
    """Routes of routing daemons that it waits for: it is to settle when as many have come."""
    guards: bool = False
    """Its rules are to stand before pods that are new are plugged in."""

    def wanted(self, snapshot: Snapshot) -> NodeDataplane | None:
        """Its part of the node's namespace, of the namespaces that hang off it, and of the rules; None: no part.

        It follows from the snapshot alone: one that answers what was asked here as the last one did is not shown."""
        return self._part(snapshot, self.node) if self._part else None

    def prepared(self, whole: NodeDataplane) -> None:
        """All namespaces of `whole`, the sum of all parts, are there; what is in them is brought about next."""

    def table_part(self, iptables: Iptables) -> TablePart:
        """Its rules in one table set, which is new to it: of a namespace, an IP family and a variant of iptables."""
        return TablePart(self.name, iptables.family)

    def settled(self, snapshot: Snapshot, namespace: str) -> None:
        """Links and rules of all managers were brought about (or refused) in the node's `namespace`."""

    def noticed_change(self) -> bool:
        """Whether what no event of the kernel tells asks for a sync. Cheap: it is asked every second."""
        return False

    @property
    def lets_none_in(self) -> bool:
        """Whether the kernel does not have the rules that guard pods."""
        return False

    @property
    def pending(self) -> tuple[str, ...]:
        """What it is still about after a sync, a few words each: `up` waits for that. It does it by itself, in threads
        of its own, and says by `Surroundings.wake` when there is something new to say."""
        return ()

    def drift(self) -> list[str]:
        """What differs, besides links and rules, as the commands that would mend it."""
        return []

    def suspect(self) -> None:
        """Whatever it remembers of the kernel may be wrong."""

    def pause(self) -> None:
        """Nothing is to be repaired until `resume`, by itself either."""

    def resume(self) -> None:
        """As before `pause`."""

    def close(self) -> None:
        """Lets go of kernel and processes without changing them."""

    def remove(self) -> None:
        """The node is about to be unmade: what is not in its namespaces goes."""


Make = Callable[[str, Part | None, Surroundings], Manager]
