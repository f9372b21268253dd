"""Keeps a set of network namespaces as desired: makes them, reads them, executes the difference, watches them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from k8snetlab.agent import additions, journal
from k8snetlab.agent.additions import Owner
from k8snetlab.agent.ends import Ends, without
from k8snetlab.agent.ownership import Ownership
from k8snetlab.agent.removal import remove_cables
from k8snetlab.dataplane import delta
from k8snetlab.dataplane.links import Device, Veth
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation, NetnsOperation, Operation
from k8snetlab.errors import AlreadyExistsError, K8sNetLabError, KernelError, NotFoundError
from k8snetlab.kernel import netns, sandboxes, sysctl
from k8snetlab.kernel.execute import attempt
from k8snetlab.kernel.monitors import Monitors
from k8snetlab.kernel.mounts import Mounts
from k8snetlab.kernel.netlink import Netlink
from k8snetlab.kernel.read import cables, reading
from k8snetlab.kernel.sandboxes import Sandbox


class NamespaceKeeper:
    """The namespaces of one node and its pods. Blocking; one call at a time, from any thread.

    The node's may be the host's: that one is never made nor deleted, and what is added to it is noted.
    """

    def __init__(self, owner: Owner, node: str, make: sandboxes.Make = sandboxes.make) -> None:
        """`node` is whose agent this is, as it stands in the ledger; `make` makes sandboxes."""
        self._owner, self._make = owner, make
        self._own = Ownership(owner, node)
        self._made: dict[str, Netns] = {}
        self._dirty: set[str] = set()
        self._monitors = Monitors()
        self._ends = Ends(self._monitors)
        self._mounts, self._remounted = Mounts(), False
        self._sysctls: dict[str, sysctl.Watched] = {}
        self.recreated: set[str] = set()
        """Namespaces that were gone and had to be made again: what ran inside must be started again."""
        self.lacking: set[str] = set()
        """Namespaces that, when last read, had not the devices that others bring: ends of veths made elsewhere."""
        self._refused: set[str] = set()
        self._fresh: set[str] = set()
        """Namespaces that `bring` is to make."""

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
        # In this order: an event stands among the readable, and is marked as dirty once it is heard.
        made, told = dict(self._made), {*self._monitors.readable(), *set(self._dirty), *set(self.lacking)}
        numbers = {name: one.number for name in made if (one := self._monitors.get(name)) is not None}
        return {
            name: state
            for name, state in made.items()
            if name not in told and not is_host(name) and numbers.get(name) == netns.number(name)
        }

    def rests(self) -> bool:
        """Whether the kernel has told nothing that the next sync is to look at."""
        return not (self._dirty or self.lacking or self.recreated or self._monitors.readable())

    def remounted(self) -> bool:
        """Whether a name may have come to mean another namespace since the last sync."""
        self._remounted = self._mounts.changed() or self._remounted
        return self._remounted

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
        kept = [name for name in self._monitors if not is_host(name)]
        moved = [name for name, number in self._numbers(kept).items() if number != self._monitors[name].number]
        self._remounted = bool(moved)
        self._dirty.update(moved)
        return bool(moved)

    def prepare(self, wanted: Iterable[Netns]) -> None:
        """Makes the namespaces that are not there, empty; those of an earlier Node or Pod of the same name go first.

        One that hangs off another of these by a veth is made by `bring`, with all that is in it.
        A namespace of that name that is not the lab's is left alone: `sync` leaves it out, and says so.
        """
        wanted = list(wanted)
        numbers, self._remounted = self._numbers([state.name for state in wanted]), False
        self._refused = {name for name, number in numbers.items() if number and self._own.is_strange(name)}
        wanted = [state for state in wanted if state.name not in self._refused]
        for state in wanted:
            if self._own.delete_former(state):
                self._forget(state.name)
                numbers[state.name] = 0
        missing = [state.name for state in wanted if not numbers[state.name]]
        self.recreated |= self._own.claim(wanted, missing)
        inside = {link.peer_netns for state in wanted for link in state.links if isinstance(link, Veth)}
        self._fresh = {name for name in missing if name in inside}
        for name in missing:
            self._forget(name)
            if name not in self._fresh:
                netns.create(name)
                numbers[name] = netns.number(name)
        for state in wanted:
            if state.name not in self._fresh:
                self._watch(state, numbers[state.name])

    def _numbers(self, names: Sequence[str]) -> dict[str, int]:
        """What the names stand for now: what they stood for, where nothing was mounted or unmounted since."""
        remounted = self.remounted()
        return {
            name: netns.number(name) if remounted or name not in self._monitors else self._monitors[name].number
            for name in names
        }

    def _watch(self, state: Netns, number: int) -> None:
        """Has a monitor in the namespace that the name stands for now."""
        monitor = self._monitors.get(state.name)
        if monitor is None or (not is_host(state.name) and monitor.number != number):
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
        self,
        outer: Netns,
        inner: tuple[Netns, ...],
        removing: bool = True,
        plugging: Callable[[], bool] = lambda: True,
    ) -> tuple[int, tuple[K8sNetLabError, ...]]:
        """Brings `outer` and then the namespaces that hang off it, all of them prepared, to the desired state; those of
        its own beside them go, unless not `removing`. `plugging` is asked before new ones are plugged in, when the
        cables of those that go have gone: they stay unmade where it says no.

        Returns the number of operations and what was refused, which stops nothing else; raises where `outer` itself is
        not the lab's.
        """
        wanted = {state.name for state in (outer, *inner)}
        failures: list[K8sNetLabError] = [_strange(name) for name in sorted(self._refused & wanted)]
        if outer.name in self._refused:
            raise failures[0]
        outer, inner = without(outer, self._refused), tuple(s for s in inner if s.name not in self._refused)
        names = {state.name for state in inner}
        if self.recreated & names:
            self._dirty.add(outer.name)  # what led to the namespaces before leads nowhere now
        fresh = len(self._fresh & names)
        unmade = self._make_fresh(outer, inner, failures, plugging)
        outer, inner = without(outer, unmade), tuple(state for state in inner if state.name not in unmade)
        executed = fresh + self._bring_all(outer, inner, failures)
        if cut := self.lacking & names:
            self._dirty |= {outer.name, *cut}
            executed += self._bring_all(outer, tuple(state for state in inner if state.name in cut), failures)
        self._dirty |= self.lacking
        try:
            self.remove([name for name in {*self._made, *self._own.names} if name not in wanted] if removing else [])
        except K8sNetLabError as error:
            failures.append(error)
        return executed, tuple(failures)

    def owned(self) -> list[str]:
        """The namespaces that this node's agent, or an earlier one, has made."""
        return list(self._own.names)

    def drift(self, outer: Netns, inner: tuple[Netns, ...]) -> list[Operation]:
        """What a sync would execute now. Of a pod's namespace of which the kernel has told no change since it was made,
        only the sysctls are read, of which it tells nothing."""
        plan: list[Operation] = []
        same = self.untouched()
        for state in (outer, *inner):
            try:
                if state is not outer and same.get(state.name) == state:
                    held = msgspec.structs.replace(state, sysctls=sysctl.read(state.name, state.sysctls))
                    plan += delta.diff(state, held, state)
                else:
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
                    self._own.delete(name, plugged=name not in self._made)
            except K8sNetLabError as error:
                failures.append(error)
                continue
            self._own.names.discard(name)
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

    def _unwatch(self, name: str) -> None:
        if watched := self._sysctls.pop(name, None):
            watched.close()

    def _forget(self, name: str) -> None:
        self._monitors.drop(name)
        self._unwatch(name)
        self._made.pop(name, None)
        self._dirty.discard(name)
        self.lacking.discard(name)

    def _make_fresh(
        self, outer: Netns, inner: Iterable[Netns], failures: list[K8sNetLabError], plugging: Callable[[], bool]
    ) -> set[str]:
        """Makes the namespaces that are not there, with all that is in them, once `outer` has what they are plugged
        into. One that cannot be made so is made empty and brought about like any other; returns those that cannot be
        made at all."""
        fresh = {state.name: state for state in inner if state.name in self._fresh}
        self._fresh = set()
        if not fresh:
            return set()
        cables = {link.peer_netns: link for link in outer.links if isinstance(link, Veth)}
        unmade, wanted = set(), [Sandbox(state, cables[name]) for name, state in fresh.items()]
        made: Iterable[sandboxes.Begun] = [None] * len(wanted)
        with contextlib.suppress(K8sNetLabError):  # a bridge that is not the lab's takes no pod: `bring` says so
            self._bring((without(outer, fresh),), failures)
            if not plugging():
                return set(fresh)
            made = self._make(self._monitors[outer.name].netlink, wanted)
        for name, begun in zip(fresh, made, strict=True):
            if isinstance(begun, AlreadyExistsError):  # somebody has made one since `prepare`
                self._own.disown(name)
                failures.append(_strange(name))
                unmade.add(name)
                continue
            if begun is not None:
                self._monitors.add(name, begun)
                self._made[name] = fresh[name]
                continue
            try:
                with _told(name):
                    if not netns.exists(name):
                        netns.create(name)
                    self._watch(fresh[name], netns.number(name))
            except K8sNetLabError as error:
                failures.append(error)
                unmade.add(name)
        self._dirty.add(outer.name)  # one look at all of its new devices, and nothing more is told of them
        return unmade

    def _bring_all(self, outer: Netns, inner: tuple[Netns, ...], failures: list[K8sNetLabError]) -> int:
        executed = 0
        for states in ((outer,), inner):
            try:
                executed += self._bring(states, failures)
            except K8sNetLabError as error:
                failures.append(error)
        return executed

    def _bring(self, states: Iterable[Netns], failures: list[K8sNetLabError]) -> int:
        todo = [s for s in states if s.name in self._dirty or not _same(self._made.get(s.name), s)]
        plan: list[Operation] = []
        unread: set[str] = set()
        refused: Sequence[K8sNetLabError] | None = None
        try:
            for state in todo:
                try:
                    with _told(state.name):
                        plan += self._steps(state)
                except K8sNetLabError as error:
                    if len(todo) == 1:
                        raise
                    failures.append(error)
                    unread.add(state.name)
            refused = attempt(plan, self._netlink_in)
        finally:
            self._dirty |= {state.name for state in todo} if refused is None or refused else unread
        if refused:
            failures += refused
            return 0
        self._made.update({state.name: state for state in todo if state.name not in unread})
        return len(plan)

    def _steps(self, state: Netns) -> list[Operation]:
        """What leads to `state`, of which ledger and monitor are told."""
        known = self._known(state)
        self._dirty.discard(state.name)
        steps = delta.diff(state, known, known) if known else self._plan(state, to_be_done=True)
        steps = self._noted(steps, state) if is_host(state.name) else steps
        self._monitors[state.name].expect(steps)
        return steps

    def _known(self, state: Netns) -> Netns | None:
        """What the namespace holds of ours, where nothing has changed it since it was made so; None: to be read.

        Reading takes a node of a hundred 20 ms, what is written for one more of them 1. Devices and addresses that were
        written are reported like all else, and read by the next sync: what the kernel does along with them is its own.
        """
        made = self._made.get(state.name)
        if is_host(state.name) or made is None or state.name in self._dirty or self._monitors[state.name].waiting():
            return None
        return None if made.asking or made.resolutions or state.asking or state.resolutions else made

    def _plan(self, state: Netns, to_be_done: bool = False) -> list[Operation]:
        """What leads from what is read to `state`. Where that is `to_be_done`, nobody needs to be told any more of what
        was read."""
        if is_host(state.name):
            # A machine may have devices of any name and routes into any network: only what was noted can be stale.
            noted = self._owner.additions
            state = msgspec.structs.replace(state, owned=additions.devices(noted), networks=additions.routes(noted))
        monitor = self._monitors.get(state.name) if to_be_done else None
        if monitor is not None:
            monitor.skip()
        actual, ends, links = reading(state.name, tuple(state.sysctls))
        if monitor is not None:
            monitor.learn(links)
        present = {link.name for link in actual.links}
        lacks = any(isinstance(link, Device) and link.name not in present for link in state.links)
        (self.lacking.add if lacks else self.lacking.discard)(state.name)
        cut = self._ends.cut(state, ends, present)
        if cut:
            actual = msgspec.structs.replace(actual, links=tuple(x for x in actual.links if x.name not in cut))
        plan = delta.diff(state, actual, self._made.get(state.name))
        return [*(ItemOperation("del", state.name, Device(name)) for name in cut), *self._ends.with_room(plan)]

    def _netlink_in(self, name: str) -> Netlink | None:
        monitor = self._monitors.get(name)
        return monitor.netlink if monitor is not None else None

    def _noted(self, plan: list[Operation], desired: Netns) -> list[Operation]:
        """The plan for the host's namespace, once the ledger holds what it adds there."""
        plan = journal.careful(plan)
        if plan:
            self._owner.own_additions(journal.of_plan(plan, desired, self._owner.additions))
        return plan


def _strange(name: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"network namespace {name} exists and is not this lab's",
        f"delete it (`ip netns del {name}`) or give the lab another name",
    )


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Says of which namespace it is that this process or the machine has no more of something."""
    try:
        yield
    except OSError as error:
        raise KernelError(f"network namespace {name}: {error.strerror}", "`doctor` tells of limits") from error


def _same(made: Netns | None, state: Netns) -> bool:
    """Most are the very ones that they were."""
    return made is state or made == state
