"""Keeps a set of network namespaces as desired: makes them, reads them, executes the difference, watches them."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator, Sequence

import msgspec

from k8snetlab.agent import additions, journal
from k8snetlab.agent.additions import OwnedNetns, Owner
from k8snetlab.agent.removal import remove_cables
from k8snetlab.dataplane import delta
from k8snetlab.dataplane.links import Device, Veth
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation, NetnsOperation, Operation
from k8snetlab.errors import AlreadyExistsError, K8sNetLabError, NotFoundError
from k8snetlab.kernel import netns, sysctl
from k8snetlab.kernel.execute import attempt, execute
from k8snetlab.kernel.monitors import Monitors
from k8snetlab.kernel.mounts import Mounts
from k8snetlab.kernel.netlink import Netlink
from k8snetlab.kernel.read import cables, peers, read


class NamespaceKeeper:
    """The namespaces of one node and its pods. Blocking; one call at a time, from any thread.

    The node's may be the host's: that one is never made nor deleted, and what is added to it is noted.
    """

    def __init__(self, owner: Owner, node: str) -> None:
        """`node` is whose agent this is, as it stands in the ledger."""
        self._owner, self._node = owner, node
        self._made: dict[str, Netns] = {}
        self._dirty: set[str] = set()
        self._monitors = Monitors()
        self._mounts = Mounts()
        self._sysctls: dict[str, sysctl.Watched] = {}
        self.recreated: set[str] = set()
        """Namespaces that were gone and had to be made again: what ran inside must be started again."""
        self.lacking: set[str] = set()
        """Namespaces that, when last read, had not the devices that others bring: ends of veths made elsewhere."""
        self._refused: set[str] = set()

    @property
    def monitors(self) -> Monitors:
        """A monitor for each namespace kept."""
        return self._monitors

    def mark(self, name: str) -> None:
        """Something changed in this namespace: the next sync reads it again."""
        self._dirty.add(name)

    def mark_all(self) -> None:
        self._dirty.update(self._made)

    def untouched(self) -> dict[str, Netns]:
        """The namespaces of which the kernel has told no change since they were made, as they were made: links,
        addresses, routes and permanent entries. Of sysctls, rules and processes in them nothing is told.

        May be called from any thread.
        """
        made, told = dict(self._made), {*set(self._dirty), *set(self.lacking), *self._monitors.readable()}
        numbers = {name: monitor.number for name, monitor in self._monitors.items()}
        return {
            name: state
            for name, state in made.items()
            if name not in told and not is_host(name) and numbers.get(name) == netns.number(name)
        }

    def sysctls_changed(self, name: str) -> bool:
        """Whether a sysctl has changed, of which there is no event; the next sync then reads the namespace."""
        wanted = self._made[name].sysctls if name in self._made else {}
        watched = self._sysctls.get(name)
        if watched is None or watched.keys != tuple(wanted):
            self._unwatch(name)
            watched = self._sysctls[name] = sysctl.Watched(name, wanted)
        try:
            changed = watched.read() != wanted
        except NotFoundError:
            changed = True
        if changed:
            self.mark(name)
        return changed

    def moved(self) -> bool:
        """Whether a name has come to mean another namespace than the one watched, or none. There is no event for that:
        names are looked at when the table of mounts has changed, a thousand of them in 10 ms."""
        if not self._mounts.changed():
            return False
        moved = [name for name, monitor in self._monitors.items() if name and netns.number(name) != monitor.number]
        self._dirty.update(moved)
        return bool(moved)

    def prepare(self, wanted: Iterable[Netns]) -> None:
        """Makes the namespaces that are not there, empty; those of an earlier Node or Pod of the same name go first.

        A namespace of that name that is not the lab's is left alone: `sync` leaves it out, and says so.
        """
        wanted = list(wanted)
        self._refused = {state.name for state in wanted if not is_host(state.name) and self._is_unmanaged(state.name)}
        wanted = [state for state in wanted if state.name not in self._refused]
        for state in wanted:
            self._outdate(state)
        missing = [state for state in wanted if not is_host(state.name) and not netns.exists(state.name)]
        with self._owner.lock:
            self.recreated.update(state.name for state in missing if state.name in self._owner.namespaces)
            self._owner.own_namespaces(OwnedNetns(s.name, s.uid, self._node) for s in wanted if not is_host(s.name))
        for state in missing:
            self._monitors.drop(state.name)
            netns.create(state.name)
        for state in wanted:
            monitor = self._monitors.get(state.name)
            if monitor is None or (not is_host(state.name) and monitor.number != netns.number(state.name)):
                if monitor is not None:  # somebody has given the name to another namespace
                    self.recreated.add(state.name)
                self._forget(state.name)
                monitor = self._monitors.add(state.name)
            monitor.hush(state.asking, state.resolutions)

    def sync(self, outer: Netns, inner: tuple[Netns, ...]) -> int:
        """`bring`, and raises the first refusal when all else is done; returns the number of operations."""
        executed, failures = self.bring(outer, inner)
        if failures:
            raise failures[0]
        return executed

    def bring(
        self, outer: Netns, inner: tuple[Netns, ...], removing: bool = True
    ) -> tuple[int, tuple[K8sNetLabError, ...]]:
        """Brings `outer` and then the namespaces that hang off it, all of them prepared, to the desired state; those of
        its own beside them go, unless not `removing`.

        Returns the number of operations and what was refused, which stops nothing else; raises where `outer` itself is
        not the lab's.
        """
        wanted = {state.name for state in (outer, *inner)}
        failures: list[K8sNetLabError] = [_strange(name) for name in sorted(self._refused & wanted)]
        if outer.name in self._refused:
            raise failures[0]
        if self._refused:
            inner = tuple(state for state in inner if state.name not in self._refused)
            links = tuple(x for x in outer.links if not (isinstance(x, Veth) and x.peer_netns in self._refused))
            outer = msgspec.structs.replace(outer, links=links)
        names = {state.name for state in inner}
        if self.recreated & names:
            self._dirty.add(outer.name)  # what led to the namespaces before leads nowhere now
        executed = self._bring_all(outer, inner, failures)
        if cut := self.lacking & names:
            self._dirty |= {outer.name, *cut}
            executed += self._bring_all(outer, tuple(state for state in inner if state.name in cut), failures)
        self._dirty |= self.lacking
        try:
            self.remove([name for name in {*self._made, *self.owned()} if name not in wanted] if removing else [])
        except K8sNetLabError as error:
            failures.append(error)
        return executed, tuple(failures)

    def owned(self) -> list[str]:
        """The namespaces that this node's agent, or an earlier one, has made."""
        return [owned.name for owned in list(self._owner.namespaces.values()) if owned.node == self._node]

    def drift(self, outer: Netns, inner: tuple[Netns, ...]) -> list[Operation]:
        """What a sync would execute now."""
        plan: list[Operation] = []
        for state in (outer, *inner):
            try:
                plan += self._plan(state)
            except NotFoundError:
                plan += [NetnsOperation("add", state.name), *delta.diff(state, Netns(state.name))]
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
                    self._delete(name)
            except K8sNetLabError as error:
                failures.append(error)
                continue
            self._forget(name)
        if "" in names:
            remove_cables(ends)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Lets go of the namespaces without changing them; nobody waits for its monitors any more."""
        self._monitors.close()
        self._mounts.close()
        for name in list(self._sysctls):
            self._unwatch(name)

    def _is_unmanaged(self, name: str) -> bool:
        return name not in self._owner.namespaces and netns.exists(name)

    def _outdate(self, state: Netns) -> None:
        """Takes away what was made for another Node or Pod of this name (a daemon died before it could)."""
        owned = self._owner.namespaces.get(state.name)
        if owned is None or not owned.uid or not state.uid or owned.uid == state.uid:
            return
        with self._owner.lock:
            _unplug(state.name)
            netns.delete(state.name)
        self._forget(state.name)

    def _delete(self, name: str) -> None:
        """Deletes it, unless another node's agent has made one of the same name by now."""
        with self._owner.lock:
            owned = self._owner.namespaces.get(name)
            if owned is None or owned.node not in ("", self._node):
                return
            if name not in self._made:
                _unplug(name)
            netns.delete(name)
            self._owner.release_namespaces([name])

    def _unwatch(self, name: str) -> None:
        if watched := self._sysctls.pop(name, None):
            watched.close()

    def _forget(self, name: str) -> None:
        self._monitors.drop(name)
        self._unwatch(name)
        self._made.pop(name, None)
        self._dirty.discard(name)
        self.lacking.discard(name)

    def _bring_all(self, outer: Netns, inner: tuple[Netns, ...], failures: list[K8sNetLabError]) -> int:
        executed = 0
        for states in ((outer,), inner):
            try:
                executed += self._bring(states, failures)
            except K8sNetLabError as error:
                failures.append(error)
        return executed

    def _bring(self, states: Iterable[Netns], failures: list[K8sNetLabError]) -> int:
        todo = [s for s in states if s.name in self._dirty or self._made.get(s.name) != s]
        plan: list[Operation] = []
        for state in todo:
            known = self._known(state)
            self._dirty.discard(state.name)
            steps = delta.diff(state, known, known) if known else self._plan(state)
            steps = self._noted(steps, state) if is_host(state.name) else steps
            self._monitors[state.name].expect(steps)
            plan += steps
        refused: Sequence[K8sNetLabError] | None = None
        try:
            refused = attempt(plan, {name: monitor.netlink for name, monitor in self._monitors.items()})
        finally:
            if refused is None or refused:
                self._dirty.update(state.name for state in todo)
        if refused:
            failures += refused
            return 0
        for state in todo:
            self._made[state.name] = state
        return len(plan)

    def _known(self, state: Netns) -> Netns | None:
        """What the namespace holds of ours, where nothing has changed it since it was made so; None: to be read.

        Reading takes a node of a hundred 20 ms, what is written for one more of them 1. Devices and addresses that were
        written are reported like all else, and read by the next sync: what the kernel does along with them is its own.
        """
        made = self._made.get(state.name)
        if is_host(state.name) or made is None or state.name in self._dirty or self._monitors[state.name].waiting():
            return None
        return None if made.asking or made.resolutions or state.asking or state.resolutions else made

    def _plan(self, state: Netns) -> list[Operation]:
        if is_host(state.name):
            # A machine may have devices of any name and routes into any network: only what was noted can be stale.
            noted = self._owner.additions
            state = msgspec.structs.replace(state, owned=additions.devices(noted), networks=additions.routes(noted))
        actual = read(state.name, tuple(state.sysctls))
        present = {link.name for link in actual.links}
        lacks = any(isinstance(link, Device) and link.name not in present for link in state.links)
        (self.lacking.add if lacks else self.lacking.discard)(state.name)
        cut = self._cut(state, present)
        if cut:
            actual = msgspec.structs.replace(actual, links=tuple(x for x in actual.links if x.name not in cut))
        plan = delta.diff(state, actual, self._made.get(state.name))
        return [*(ItemOperation("del", state.name, Device(name)) for name in cut), *self._with_room(plan)]

    def _cut(self, state: Netns, present: Container[str]) -> list[str]:
        """The veths to create again: their other ends are elsewhere, or have another name."""
        veths = [link for link in state.links if isinstance(link, Veth) and link.name in present]
        if not veths:
            return []
        with self._netlink(state.name) as netlink:
            ends = peers(netlink)
        found = [(veth.name, self._index(veth.peer_netns, veth.peer)) for veth in veths]
        return [name for name, index in found if index is not None and index != ends.get(name)]

    def _with_room(self, plan: Iterable[Operation]) -> Iterator[Operation]:
        """The plan; where a new veth's other end is to be, what has its name goes first."""
        for operation in plan:
            if isinstance(operation, ItemOperation) and operation.verb == "add" and isinstance(operation.item, Veth):
                veth = operation.item
                if self._index(veth.peer_netns, veth.peer):
                    yield ItemOperation("del", veth.peer_netns, Device(veth.peer))
            yield operation

    def _index(self, name: str, device: str) -> int | None:
        """Of a device in any of the lab's namespaces, 0 where there is none; None where there is no such namespace."""
        try:
            with self._netlink(name) as netlink:
                return netlink.index(device)
        except NotFoundError:
            return None

    @contextlib.contextmanager
    def _netlink(self, name: str) -> Iterator[Netlink]:
        monitor = self._monitors.get(name)
        if monitor is not None and monitor.number == netns.number(name):
            yield monitor.netlink
            return
        with Netlink(name) as netlink:
            yield netlink

    def _noted(self, plan: list[Operation], desired: Netns) -> list[Operation]:
        """The plan for the host's namespace, once the ledger holds what it adds there."""
        plan = journal.careful(plan)
        if plan:
            self._owner.own_additions(journal.of_plan(plan, desired, self._owner.additions))
        return plan


def _unplug(name: str) -> None:
    """Deletes a namespace's veths, which go with it only when nothing is left in it: a process may be, or a socket."""
    with contextlib.suppress(NotFoundError), Netlink(name) as netlink:
        execute((ItemOperation("del", name, Device(end)) for end in peers(netlink)), {name: netlink})


def _strange(name: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"network namespace {name} exists and is not this lab's",
        f"delete it (`ip netns del {name}`) or give the lab another name",
    )
