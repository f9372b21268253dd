"""What is known of a set of network namespaces: how they were made, what the kernel has told of them since, and what
their names stand for."""

from __future__ import annotations

from collections.abc import Sequence

from k8snetlab.dataplane import holds
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.netns import Netns
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import netns, sysctl
from k8snetlab.kernel.monitors import Monitors
from k8snetlab.kernel.mounts import Mounts


class Known:
    """`made` are the namespaces as they were made, `monitors` watch them, `dirty` are those to be read again.

    One call at a time, but for `mark` and `untouched`, which may come from any thread.
    """

    def __init__(self) -> None:
        self.made: dict[str, Netns] = {}
        self.dirty: set[str] = set()
        self.monitors = Monitors()
        self._mounts, self._remounted = Mounts(), False
        self._sysctls: dict[str, sysctl.Watched] = {}
        self.recreated: set[str] = set()
        """Namespaces that were gone and had to be made again: what ran inside must be started again."""
        self.lacking: set[str] = set()
        """Namespaces that, when last read, had not the devices that others bring: ends of veths made elsewhere; and
        those that were not to be plugged in yet."""
        self.held: dict[str, holds.Holds] = {}
        """What is left as it is, by namespace."""

    def listen(self, most: int) -> None:
        """Begins to hear of so many namespaces of those that nothing is heard of: the next sync reads them."""
        for name in self.monitors.silent[:most]:
            self.dirty.add(name)  # first: `untouched` may be asked meanwhile
            self.monitors[name].begin()

    def mark(self, name: str) -> None:
        """Something changed in this namespace: the next sync reads it again."""
        self.dirty.add(name)

    def take_mark(self, name: str) -> bool:
        """Whether this namespace was marked, and it is so no more: in one step, since `mark` may come in between."""
        try:
            self.dirty.remove(name)
        except KeyError:
            return False
        return True

    def leaves_learned(self, name: str) -> bool:
        """Whether routes of routing daemons are left alone in this namespace."""
        made = self.made.get(name)
        return made is not None and made.learns

    def mark_all(self) -> None:
        self.dirty.update(self.made)

    def hold(self, held: holds.Holds) -> None:
        """Leaves these objects as they are from now on, and no others."""
        self.dirty |= self.held.keys() & self.made.keys()
        self.held = {name: holds.within(held, name) for name in {one.netns for one in held}}

    def untouched(self) -> dict[str, Netns]:
        """The namespaces of which the kernel has told no change since they were made, as they were made: links,
        addresses, routes and permanent entries. Of sysctls, rules and processes in them nothing is told.

        May be called from any thread.
        """
        # In this order: an event stands among the readable, and is marked as dirty once it is heard.
        made, told = dict(self.made), {*self.monitors.silent, *self.monitors.readable()}
        told |= {*set(self.dirty), *set(self.lacking), *self.held}
        numbers = {name: one.number for name in made if (one := self.monitors.get(name)) is not None}
        return {
            name: state
            for name, state in made.items()
            if name not in told and not is_host(name) and numbers.get(name) == netns.number(name)
        }

    def as_made(self, state: Netns) -> Netns | None:
        """What the namespace of `state` holds of ours, where nothing has changed it since it was made so; None: to be
        read.

        Reading takes a node of a hundred 20 ms, what is written for one more of them 1. Devices and addresses that were
        written are reported like all else, and read by the next sync: what the kernel does along with them is its own.
        """
        made, name = self.made.get(state.name), state.name
        if is_host(name) or made is None or name in self.dirty or name in self.held or self.monitors[name].waiting():
            return None
        if made.learns and not state.learns:
            return None  # of what was learned nothing was read
        return None if made.asking or made.resolutions or state.asking or state.resolutions else made

    def has_news(self, looking: bool = True) -> bool:
        """Whether there is anything that the next sync is to look at. `looking`: also whether a name may have come to
        mean another namespace."""
        return bool(
            (looking and self._has_moved()) or self.dirty or self.lacking or self.recreated or self.monitors.readable()
        )

    def _has_moved(self) -> bool:
        self._remounted = self._mounts.changed() or self._remounted
        return self._remounted

    def sysctls_changed(self, name: str) -> bool:
        """Whether a sysctl has changed, of which there is no event; the next sync then reads the namespace."""
        wanted = self.made[name].sysctls if name in self.made else {}
        if name in self.held:
            wanted = holds.free_sysctls(wanted, (one.object for one in self.held[name] if one.kind == "sysctl"))
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
        kept = [name for name in self.monitors if not is_host(name)]
        moved = [name for name, number in self.numbers(kept).items() if number != self.monitors[name].number]
        self._remounted = bool(moved)
        self.dirty.update(moved)
        return bool(moved)

    def numbers(self, names: Sequence[str]) -> dict[str, int]:
        """What the names stand for now: what they stood for, where nothing was mounted or unmounted since."""
        remounted = self._has_moved()
        return {
            name: netns.number(name) if remounted or name not in self.monitors else self.monitors[name].number
            for name in names
        }

    def settled_numbers(self, names: Sequence[str]) -> dict[str, int]:
        """`numbers`, which are to be gone by from now on."""
        numbers, self._remounted = self.numbers(names), False
        return numbers

    def watch(self, state: Netns, number: int) -> None:
        """Has a monitor in the namespace that the name stands for now."""
        monitor = self.monitors.get(state.name)
        if monitor is None or (not is_host(state.name) and monitor.number != number):
            if monitor is not None:  # somebody has given the name to another namespace
                self.recreated.add(state.name)
            self.forget(state.name)
            monitor = self.monitors.add(state.name)
        monitor.hush(state.asking, state.resolutions)

    def forget(self, name: str) -> None:
        self.monitors.drop(name)
        self._unwatch(name)
        self.made.pop(name, None)
        self.dirty.discard(name)
        self.lacking.discard(name)

    def close(self) -> None:
        """Lets go of the namespaces; nobody waits for its monitors any more."""
        self.monitors.close()
        self._mounts.close()
        for name in list(self._sysctls):
            self._unwatch(name)

    def _unwatch(self, name: str) -> None:
        if watched := self._sysctls.pop(name, None):
            watched.close()
