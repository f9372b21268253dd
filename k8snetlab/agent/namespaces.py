"""Keeps a set of network namespaces as desired: makes them, reads them, executes the difference, watches them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from k8snetlab.agent import additions, noting
from k8snetlab.agent.additions import Owner
from k8snetlab.agent.removal import remove_cables
from k8snetlab.dataplane import delta
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import Operation
from k8snetlab.errors import AlreadyExistsError, K8sNetLabError, NotFoundError
from k8snetlab.kernel import netns, sysctl
from k8snetlab.kernel.execute import execute
from k8snetlab.kernel.monitors import Monitors
from k8snetlab.kernel.read import cables, read


class NamespaceKeeper:
    """The namespaces of one node and its pods. Blocking; one call at a time, from any thread.

    The node's may be the machine's own (""): that one is never made nor deleted, and what is added to it is noted.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._made: dict[str, Netns] = {}
        self._dirty: set[str] = set()
        self._monitors = Monitors()
        self.recreated: set[str] = set()
        """Namespaces that were gone and had to be made again: what ran inside must be started again."""

    @property
    def monitors(self) -> Monitors:
        """A monitor for each namespace kept."""
        return self._monitors

    def mark(self, name: str) -> None:
        """Something changed in this namespace: read it again at the next sync."""
        self._dirty.add(name)

    def mark_all(self) -> None:
        self._dirty.update(self._made)

    def sysctls_changed(self, name: str) -> bool:
        """Whether one is not as it was made, which no event tells; the next sync then reads the namespace."""
        wanted = self._made[name].sysctls if name in self._made else {}
        try:
            changed = bool(wanted) and sysctl.read(name, wanted) != wanted
        except NotFoundError:
            changed = True
        if changed:
            self.mark(name)
        return changed

    def prepare(self, wanted: Iterable[Netns]) -> None:
        """Makes the namespaces that are not there, empty."""
        missing = [state.name for state in wanted if state.name and not netns.exists(state.name)]
        self._owner.own_namespaces(missing)
        for name in missing:
            self._monitors.drop(name)
            netns.create(name)
            if name in self._made:
                self.recreated.add(name)
                del self._made[name]
        for state in wanted:
            if state.name not in self._monitors:
                if state.name and state.name not in self._owner.namespaces:
                    raise AlreadyExistsError(
                        f"network namespace {state.name} exists and is not this lab's",
                        f"delete it (`ip netns del {state.name}`) or give the lab another name",
                    )
                self._monitors.add(state.name)
            self._monitors[state.name].hush(state.asking, state.resolutions)

    def sync(self, outer: Netns, inner: tuple[Netns, ...]) -> int:
        """Brings `outer` and then the namespaces that hang off it, all of them prepared, to the desired state.

        Returns the number of operations. What is refused stops nothing else, and is raised when all else is done.
        """
        wanted = {state.name for state in (outer, *inner)}
        failures: list[K8sNetLabError] = []
        executed = 0
        for states in ((outer,), inner):
            try:
                executed += self._bring(states)
            except K8sNetLabError as error:
                failures.append(error)
        try:
            self.remove([name for name in self._made if name not in wanted])
        except K8sNetLabError as error:
            failures.append(error)
        if failures:
            raise failures[0]
        return executed

    def drift(self, outer: Netns, inner: tuple[Netns, ...]) -> list[Operation]:
        """What a sync would execute now, without executing it."""
        plan: list[Operation] = []
        for state in (outer, *inner):
            try:
                plan += self._plan(state)
            except NotFoundError:
                plan += delta.diff(state, Netns(state.name))
        return plan

    def remove(self, names: Iterable[str]) -> None:
        """Deletes namespaces; what is inside goes with them. The machine's own is let go of.

        One that cannot be deleted is kept, stops none of the others, and is raised when they are gone.
        """
        names = list(names)
        ends = cables(name for name in names if name) if "" in names else ()
        failures: list[K8sNetLabError] = []
        for name in names:
            try:
                if name:
                    netns.delete(name)
                    self._owner.release_namespaces([name])
            except K8sNetLabError as error:
                failures.append(error)
                continue
            self._monitors.drop(name)
            self._made.pop(name, None)
            self._dirty.discard(name)
        if "" in names:
            remove_cables(ends)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Lets go of the namespaces without changing them; nobody waits for its monitors any more."""
        self._monitors.close()

    def _bring(self, states: Iterable[Netns]) -> int:
        todo = [s for s in states if s.name in self._dirty or self._made.get(s.name) != s]
        plan: list[Operation] = []
        for state in todo:
            known = self._known(state)
            self._dirty.discard(state.name)
            steps = delta.diff(state, known, known) if known else self._plan(state)
            steps = steps if state.name else self._noted(steps, state)
            self._monitors[state.name].expect(steps)
            plan += steps
        try:
            execute(plan, {name: monitor.netlink for name, monitor in self._monitors.items()})
        except Exception:
            self._dirty.update(state.name for state in todo)
            raise
        for state in todo:
            self._made[state.name] = state
        return len(plan)

    def _known(self, state: Netns) -> Netns | None:
        """What the namespace holds of ours, where nothing has changed it since it was made so; None: to be read.

        Reading takes a node of a hundred 20 ms, what is written for one more of them 1. Devices and addresses that were
        written are heard of like all else, and read by the next sync: what the kernel does along with them is its own.
        """
        made = self._made.get(state.name)
        if not state.name or made is None or state.name in self._dirty or self._monitors[state.name].waiting():
            return None
        return None if made.asking or made.resolutions or state.asking or state.resolutions else made

    def _plan(self, state: Netns) -> list[Operation]:
        if not state.name:
            # A machine may have devices of any name and routes into any network: only what was noted can be stale.
            noted = self._owner.additions
            state = msgspec.structs.replace(state, owned=additions.devices(noted), networks=additions.routes(noted))
        return delta.diff(state, read(state.name, tuple(state.sysctls)), self._made.get(state.name))

    def _noted(self, plan: list[Operation], desired: Netns) -> list[Operation]:
        """The plan for the machine's own namespace, once what it adds there is in the ledger."""
        plan = noting.careful(plan)
        if plan:
            self._owner.own_additions(noting.of_plan(plan, desired, self._owner.additions))
        return plan
