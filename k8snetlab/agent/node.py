"""The agent of one node: brings what its managers want together, and the kernel to that, in one sync.

An agent is synchronous and knows nothing of the daemon: it takes a snapshot, and brings the kernel to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from k8snetlab.agent import links, removal
from k8snetlab.agent.blame import Blame
from k8snetlab.agent.concern import Concern
from k8snetlab.agent.managers import managers
from k8snetlab.agent.namespaces import NamespaceKeeper
from k8snetlab.agent.pace import coming
from k8snetlab.agent.parts import Parts
from k8snetlab.agent.protocol import Manager, Surroundings
from k8snetlab.agent.report import Report
from k8snetlab.agent.tables import NodeTables
from k8snetlab.agent.team import Team
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import HealthWork
from k8snetlab.dataplane.holds import NONE, Holds
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.errors import AlreadyExistsError, K8sNetLabError
from k8snetlab.kernel import sandboxes
from k8snetlab.kernel.monitors import Monitors
from k8snetlab.messages.status import ManagerStatus
from k8snetlab.render import underlay

LISTENING = 20
"""Namespaces of which it begins to hear in one sync, once pods have come."""


class NodeAgent:
    """Keeps one node's namespace, its pods' sandboxes and its iptables, as its managers want them."""

    def __init__(
        self,
        around: Surroundings,
        make: Callable[[Surroundings], list[Manager]] = managers,
        make_sandboxes: sandboxes.Make = sandboxes.make,
    ) -> None:
        """`make` lists its managers, `make_sandboxes` makes the sandboxes of new pods."""
        self.name = around.node
        self._owner = around.owner
        self._keeper = NamespaceKeeper(around.owner, around.node, make_sandboxes)
        self._team = Team(around.node, make(around))
        makers = {manager.name: manager.table_part for manager in self._team.managers}
        self._tables = NodeTables(around.owner, around.locks, makers, around.steps)
        self._parts = Parts(self._team.managers)
        self._brought: NodeDataplane | None = None
        """What the last sync has brought about as a whole."""
        self._concern, self._steps, self._coming = Concern(), around.steps, 0
        self._to_hear = 0
        """Of how many namespaces it is to begin to hear."""
        self._misses, self._mute = around.misses, False
        self._held = self._lowered = NONE
        self._namespace: str | None = None
        self._anew = False
        """The last sync has written rules into the node's new namespace before pods were plugged in."""

    @property
    def variant(self) -> str:
        """The iptables variant in use, "" before the first sync."""
        return self._tables.variant

    @property
    def health(self) -> HealthWork | None:
        """What the node's healthCheckNodePorts answer since the last sync."""
        return next((manager.health for manager in self._team.managers if manager.health), None)

    @property
    def monitors(self) -> Monitors:
        return self._keeper.known.monitors

    def mark(self, namespace: str) -> None:
        self._keeper.known.mark(namespace)

    def leaves_learned(self, namespace: str) -> bool:
        """As `Known.leaves_learned`."""
        return self._keeper.known.leaves_learned(namespace)

    @property
    def lacks(self) -> int:
        """The routes of daemons that it waits for."""
        return sum(manager.lacks for manager in self._team.managers)

    def suspect(self) -> None:
        """Forgets what it knows of the kernel: the next sync reads everything."""
        self._keeper.known.mark_all()
        self._tables.suspect()
        self._team.each(lambda manager: manager.suspect())

    def noticed_change(self) -> bool:
        """Looks at what no event tells of: whether names still stand for the namespaces that were made, rules of either
        variant, the node's sysctls, what each manager knows, and whether there are pods of which nothing is heard."""
        return self._team.noticed() or (
            self._keeper.known.moved()
            or bool(self._keeper.known.lacking)
            or (self._namespace is not None and self._keeper.known.sysctls_changed(self._namespace))
            or self._tables.changed()
            or self._hears_more()
        )

    def _hears_more(self) -> bool:
        """Whether there are namespaces of which it may begin to hear."""
        silent = len(self._keeper.known.monitors.silent)
        self._to_hear = self._steps.spare(self._coming, min(silent, LISTENING)) if silent else 0
        return self._to_hear > 0

    def hold(self, held: Holds) -> None:
        """Leaves these objects as they are from now on, whoever damages or mends them, and no others."""
        self._held = held
        self._keeper.known.hold(held | self._lowered)
        self._tables.hold(held)
        mute = any(one.kind == "misses" and one.object == self.name for one in held)
        if mute != self._mute:
            (self._misses.mute if mute else self._misses.unmute)(self.name)
        self._mute = mute

    def untouched(self) -> dict[str, Netns]:
        """As `Known.untouched`."""
        return self._keeper.known.untouched()

    def prepare(self, snapshot: Snapshot) -> None:
        """Makes the node's own namespace, empty, so that the router can plug its cable in."""
        self._keeper.prepare((self._wanted(snapshot).node,))

    def sync(self, snapshot: Snapshot, trusting: bool = False) -> Report:
        """Makes the kernel match the snapshot. A manager that fails stops none of the others, and is in the report.

        `trusting` that nobody else has changed rules, they are not looked at where none is to be written.
        A node that is no longer in the snapshot is left as it is: `remove` is about to be called.
        Raises K8sNetLabError where it is no manager's; what was done by then stays and is found again.
        """
        if snapshot.get(Node, self.name) is None:
            return Report()
        read = self._concern.begin(snapshot)
        self._coming = self._tables.coming = coming(snapshot)  # of which follows only how long something waits
        self._keeper.known.listen(self._to_hear)
        self._to_hear = 0
        report = self._sync(read, trusting)
        if not (report.failure or report.holds):
            self._concern.end(read)
        return report

    def concerned(self, snapshot: Snapshot, looking: bool = False) -> bool:
        """Whether a `sync` that is trusting may have something to do. Cheap, and changes nothing. `looking`: names are
        to mean the same namespaces still."""
        self._coming = coming(snapshot)
        return (
            self._keeper.known.has_news(looking)
            or self._tables.rested(self._coming)
            or self._parts.touched(snapshot)
            or self._parts.whole is not self._brought  # `drift` has asked them, and brings nothing
            or self._concern.touches(snapshot)
        )

    def _sync(self, snapshot: Snapshot, trusting: bool) -> Report:
        before = self._team.begin()
        try:
            whole, count, refusals = self._bring_links(snapshot, trusting)
        except Exception:
            self._team.resume_with(before)
            raise
        unmanaged = next((refusal for refusal in refusals if isinstance(refusal, AlreadyExistsError)), None)
        recreated = tuple(self._keeper.known.recreated)
        unplugged = not {whole.node.name}.isdisjoint({*recreated, *self._keeper.known.lacking})
        if whole.node.name in recreated and not self._anew:
            self._tables.forget()
        self._namespace = whole.node.name
        grave: K8sNetLabError | None = unmanaged  # nothing may be run in a namespace that is not the lab's
        try:
            count += self._tables.sync(snapshot, whole.node.name, self._parts.rules, trusting)
        except K8sNetLabError as error:
            grave = grave or error
        for name, failure in self._tables.failures:
            self._team.blame(name, failure)
        self._team.all(lambda manager: manager.settled(snapshot, whole.node.name))
        if grave:
            raise grave
        self._keeper.known.recreated.clear()  # not before they are reported: their containers are to be run again
        return self._team.report(
            count, recreated=recreated, unplugged=unplugged, warnings=self._tables.warnings, again=self._tables.rest
        )

    def drift(self, snapshot: Snapshot) -> list[str]:
        """The differences from what is desired, as the commands that would mend them."""
        if snapshot.get(Node, self.name) is None:
            return []
        whole = self._wanted(snapshot)
        lines = [str(operation) for operation in self._keeper.drift(whole.node, whole.pods)]
        if whole.node.name in self._keeper.known.lacking:
            lines += [str(operation) for operation in underlay.plugging(snapshot, self.name)]
        return lines + self._tables.drift() + [line for manager in self._team.managers for line in manager.drift()]

    def pause(self) -> None:
        self._team.each(lambda manager: manager.pause())

    def resume(self) -> None:
        self._team.each(lambda manager: manager.resume())
        if self._mute:
            self._misses.mute(self.name)

    def close(self) -> None:
        """Lets go of the kernel without changing it."""
        self._team.each(lambda manager: manager.close())
        self._keeper.close()
        self._tables.forget()

    def remove(self) -> None:
        """Deletes the node and its pods; a machine that was the node is as it was before.

        What fails stops nothing else, and is raised at the end: it may be tried again.
        """
        failures = self._team.each(lambda manager: manager.remove())
        self._tables.forget()
        try:
            self._keeper.remove({*self._keeper.known.monitors, *self._keeper.owned()})
        except K8sNetLabError as error:
            failures.append(error)
        try:
            removal.remove(self._owner.additions)
            self._owner.release_additions()
        except K8sNetLabError as error:
            failures.append(error)
        if failures:
            raise failures[0]

    @property
    def statuses(self) -> tuple[ManagerStatus, ...]:
        """Its managers', in their order, after the last sync; also after one that was raised from."""
        return self._team.statuses

    # --- its managers ---

    def _bring_links(self, snapshot: Snapshot, trusting: bool) -> tuple[NodeDataplane, int, Sequence[K8sNetLabError]]:
        """Makes the namespaces, and brings links and what goes with them to what all managers want.

        Returns that, the number of operations, and what was refused, which is its manager's failure.
        """
        whole, brought, self._brought = self._wanted(snapshot), self._brought, None
        self._anew = False
        self._lower(links.holds(snapshot, self.name, whole.node.name))
        if whole is brought and not self._keeper.known.has_news():
            self._brought = whole
            return whole, 0, ()
        self._keeper.prepare((whole.node, *whole.pods))
        self._team.all(lambda manager: manager.prepared(whole))
        held = self._parts.held
        all_known = all(name in held for name in self._team.failing)
        guards = partial(self._guarded, snapshot, whole.node.name, trusting)
        count, refusals = self._keeper.bring(
            whole.node, whole.pods, removing=all_known, plugging=guards, pods=len(snapshot.all(Pod))
        )
        unmanaged = next((refusal for refusal in refusals if isinstance(refusal, AlreadyExistsError)), None)
        if unmanaged and is_host(whole.node.name):
            raise unmanaged  # a machine that has what would be the lab's is left alone
        if refusals:
            blame = Blame(held)
            for refusal in refusals:
                self._team.blame(blame.manager_of(refusal), refusal)
        elif all_known:
            self._brought = whole
        return whole, count, refusals

    def _lower(self, lowered: Holds) -> None:
        """Leaves the devices alone that are to be down, and no others that were."""
        if lowered != self._lowered:
            self._lowered = lowered
            self._keeper.known.hold(self._held | lowered)

    def _guarded(self, snapshot: Snapshot, namespace: str, trusting: bool) -> bool:
        """Whether pods may be plugged in: the rules that they are not to be without stand. What is refused is reported
        by the sync, which tries it again."""
        guards = [manager for manager in self._team.managers if manager.guards]
        if not guards:
            return True
        if namespace in self._keeper.known.recreated:
            self._tables.forget()
            self._anew = True
        try:
            self._tables.sync(snapshot, namespace, self._parts.rules, trusting)
        except K8sNetLabError:
            return False
        return not any(manager.lets_none_in for manager in guards)

    def _wanted(self, snapshot: Snapshot) -> NodeDataplane:
        """What all of them want; of one that cannot say, what it wanted last."""
        whole = self._parts.ask(snapshot, self._team.do)
        if whole is None:
            raise self._team.failing[self._team.managers[0].name]
        return whole
