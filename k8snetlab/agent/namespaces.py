"""Keeps a set of network namespaces as desired: makes them, reads them, executes the difference, watches them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from k8snetlab.agent import additions, journal
from k8snetlab.agent.additions import Owner
from k8snetlab.agent.ends import Ends, without
from k8snetlab.agent.known import Known
from k8snetlab.agent.ownership import Ownership
from k8snetlab.agent.removal import remove_cables
from k8snetlab.dataplane import delta, holds
from k8snetlab.dataplane.links import Device, Veth
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation, NetnsOperation, Operation
from k8snetlab.errors import AlreadyExistsError, K8sNetLabError, KernelError, NotFoundError
from k8snetlab.kernel import netns, sandboxes, sysctl
from k8snetlab.kernel.execute import attempt
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
        self.known = Known()
        self._ends = Ends(self.known.monitors)
        self._refused: set[str] = set()
        self._fresh: set[str] = set()
        """Namespaces that `bring` is to make."""

    def prepare(self, wanted: Iterable[Netns]) -> None:
        """Makes the namespaces that are not there, empty; those of an earlier Node or Pod of the same name go first.

        One that hangs off another of these by one veth is made by `bring`, with all that is in it.
        A namespace of that name that is not the lab's is left alone: `sync` leaves it out, and says so.
        """
        wanted = list(wanted)
        numbers = self.known.settled_numbers([state.name for state in wanted])
        self._refused = {name for name, number in numbers.items() if number and self._own.is_strange(name)}
        wanted = [state for state in wanted if state.name not in self._refused]
        for state in wanted:
            if self._own.delete_former(state):
                self.known.forget(state.name)
                numbers[state.name] = 0
        missing = [state.name for state in wanted if not numbers[state.name]]
        self.known.recreated |= self._own.claim(wanted, missing)
        inside = Counter(link.peer_netns for state in wanted for link in state.links if isinstance(link, Veth))
        self._fresh = {name for name in missing if inside[name] == 1}
        for name in missing:
            self.known.forget(name)
            if name not in self._fresh:
                netns.create(name)
                numbers[name] = netns.number(name)
        for state in wanted:
            if state.name not in self._fresh:
                self.known.watch(state, numbers[state.name])

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
        pods: int = 0,
    ) -> tuple[int, tuple[K8sNetLabError, ...]]:
        """Brings `outer` and then the namespaces that hang off it, all of them prepared, to the desired state; those of
        its own beside them go, unless not `removing`. `plugging` is asked before new ones are plugged in, when the
        cables of those that go have gone: they stay unmade where it says no. All nodes have so many `pods`.

        Returns the number of operations and what was refused, which stops nothing else; raises where `outer` itself is
        not the lab's.
        """
        wanted = {state.name for state in (outer, *inner)}
        failures: list[K8sNetLabError] = [_strange(name) for name in sorted(self._refused & wanted)]
        if outer.name in self._refused:
            raise failures[0]
        outer, inner = without(outer, self._refused), tuple(s for s in inner if s.name not in self._refused)
        names = {state.name for state in inner}
        if self.known.recreated & names:
            self.known.dirty.add(outer.name)  # what led to the namespaces before leads nowhere now
        fresh = len(self._fresh & names)
        unmade = self._make_fresh(outer, inner, failures, plugging, pods)
        outer, inner = without(outer, unmade), tuple(state for state in inner if state.name not in unmade)
        executed = fresh + self._bring_all(outer, inner, failures)
        if cut := self.known.lacking & names:
            self.known.dirty |= {outer.name, *cut}
            executed += self._bring_all(outer, tuple(state for state in inner if state.name in cut), failures)
        self.known.dirty |= self.known.lacking
        try:
            self.remove({*self.known.made, *self._own.names} - wanted if removing else ())
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
        same = self.known.untouched()
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
                    self._own.delete(name, plugged=name not in self.known.made)
            except K8sNetLabError as error:
                failures.append(error)
                continue
            self._own.names.discard(name)
            self.known.forget(name)
        if "" in names:
            remove_cables(ends)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Lets go of the namespaces without changing them; nobody waits for its monitors any more."""
        self.known.close()

    def _make_fresh(
        self,
        outer: Netns,
        inner: Iterable[Netns],
        failures: list[K8sNetLabError],
        plugging: Callable[[], bool],
        pods: int,
    ) -> set[str]:
        """Makes the namespaces that are not there, with all that is in them, once `outer` has what they are plugged
        into. One that cannot be made so is made empty and brought about like any other; returns those that cannot be
        made at all."""
        fresh = {state.name: state for state in inner if state.name in self._fresh}
        self._fresh = set()
        if not fresh:
            return set()
        cables = {link.peer_netns: link for link in outer.links if isinstance(link, Veth)}
        heard = not self.known.monitors.crowded(pods)
        unmade, wanted = set(), [Sandbox(state, cables[name], heard) for name, state in fresh.items()]
        made: Iterable[sandboxes.Begun] = [None] * len(wanted)
        ready = True
        try:
            self._bring((without(outer, fresh),), failures)
        except K8sNetLabError:
            ready = False  # a bridge that is not the lab's takes no pod: `bring` says so
        if not plugging():
            self.known.lacking |= fresh.keys()
            return set(fresh)
        if ready:
            with contextlib.suppress(K8sNetLabError):
                made = self._make(self.known.monitors[outer.name].netlink, wanted)
        for name, begun in zip(fresh, made, strict=True):
            if isinstance(begun, AlreadyExistsError):  # somebody has made one since `prepare`
                self._own.disown(name)
                failures.append(_strange(name))
                unmade.add(name)
                continue
            if begun is not None:
                self.known.monitors.add(name, begun)
                self.known.made[name] = fresh[name]
                continue
            try:
                with _told(name):
                    if not netns.exists(name):
                        netns.create(name)
                    self.known.watch(fresh[name], netns.number(name))
            except K8sNetLabError as error:
                failures.append(error)
                unmade.add(name)
        self.known.dirty.add(outer.name)  # one look at all of its new devices, and nothing more is told of them
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
        todo = [s for s in states if s.name in self.known.dirty or not _same(self.known.made.get(s.name), s)]
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
            self.known.dirty |= {state.name for state in todo} if refused is None or refused else unread
        if refused:
            failures += refused
            return 0
        self.known.made.update({state.name: state for state in todo if state.name not in unread})
        return len(plan)

    def _steps(self, state: Netns) -> list[Operation]:
        """What leads to `state`, of which ledger and monitor are told."""
        known = None if self.known.take_mark(state.name) else self.known.as_made(state)
        steps = delta.diff(state, known, known) if known else self._plan(state, to_be_done=True)
        steps = self._noted(steps, state) if is_host(state.name) else steps
        self.known.monitors[state.name].expect(steps)
        return steps

    def _plan(self, state: Netns, to_be_done: bool = False) -> list[Operation]:
        """What leads from what is read to `state`. Where that is `to_be_done`, nobody needs to be told any more of what
        was read."""
        if is_host(state.name):
            # A machine may have devices of any name and routes into any network: only what was noted can be stale.
            noted = self._owner.additions
            state = msgspec.structs.replace(state, owned=additions.devices(noted), networks=additions.routes(noted))
        monitor = self.known.monitors.get(state.name) if to_be_done else None
        if monitor is not None:
            monitor.skip()
        actual, ends, links = reading(state.name, tuple(state.sysctls))
        if monitor is not None:
            monitor.learn(links)
        present = {link.name for link in actual.links}
        lacks = any(isinstance(link, Device) and link.name not in present for link in state.links)
        (self.known.lacking.add if lacks else self.known.lacking.discard)(state.name)
        cut = self._ends.cut(state, ends, present)
        if cut:
            actual = msgspec.structs.replace(actual, links=tuple(x for x in actual.links if x.name not in cut))
        if held := self.known.held.get(state.name):
            state = holds.spared(state, actual, held)
        plan = delta.diff(state, actual, self.known.made.get(state.name))
        return [*(ItemOperation("del", state.name, Device(name)) for name in cut), *self._ends.with_room(plan)]

    def _netlink_in(self, name: str) -> Netlink | None:
        monitor = self.known.monitors.get(name)
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
