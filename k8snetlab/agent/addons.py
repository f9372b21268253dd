"""The add-ons of one node: real programs, kept by the kubelet in the node's namespace."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from k8snetlab.addons import programs
from k8snetlab.addons.home import Home
from k8snetlab.addons.keeper import Keeper, Outcome, Wish
from k8snetlab.addons.program import Place, Program
from k8snetlab.agent.failure import failure_of
from k8snetlab.agent.protocol import Manager, Surroundings
from k8snetlab.agent.worker import Worker
from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import HOST_NETNS, node_netns
from k8snetlab.errors import DaemonError
from k8snetlab.kernel import netns
from k8snetlab.render.node import Part
from k8snetlab.render.pods import sandbox_name

TICK = 1.0
"""Seconds between two looks at programs that are as they should be."""
BEGINNING = 10.0
"""Seconds that a kubelet has to begin: nodes and the router are there as early as it is."""
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before what has failed, or is not ready, is tried again: after the first time, the second, …"""


class AddOns(Manager):
    """A sync hands over what is wanted; a thread of its own brings that about, keeps it so, and wakes the agent when
    there is something new to say."""

    def __init__(self, name: str, part: Part | None, around: Surroundings) -> None:
        super().__init__(name, part, around)
        self._keeper = Keeper(self.node, around.addons, self._namespaces) if around.addons else None
        self._worker = Worker(f"{name} of {self.node}", self._turn)
        self._wish: Wish | None = None
        self._done: Wish | None = None
        """The wish that `_outcome` is of."""
        self._outcome = Outcome()
        self._tries, self._due, self._paused = 0, math.inf, False
        self._silent_since = math.inf
        """When the kubelet was first found not to answer; seconds, monotonic."""

    def settled(self, snapshot: Snapshot, namespace: str) -> None:
        home, keeper = self.around.addons, self._keeper
        if home is None or keeper is None:
            return
        wanted = programs.programs(snapshot, self.node)
        if not wanted and (self._wish is None or not self._wish.programs) and keeper.is_idle:
            self._wish = self._done = None
            self.warnings = ()
            return
        place = home.place(self.node, namespace, netns.number(namespace))
        wish = Wish(wanted, place, _places(wanted, place, snapshot, home))
        if wish != self._wish:
            self._wish = wish
            self._worker.poke()
        outcome = self._outcome if self._done is self._wish else Outcome()
        self.warnings = tuple(failure.message for failure in (*outcome.guests, *outcome.failures[1:]))
        if outcome.failures:
            raise outcome.failures[0]

    @property
    def pending(self) -> tuple[str, ...]:
        """The add-ons that are not ready yet."""
        if self._wish is None:
            return ()
        # In this order: the thread says what came of a wish, and then that it is of that one.
        names = self._outcome.pending if self._done is self._wish else _names(self._wish)
        titles = {program.name: program.title for program in self._wish.programs}
        return tuple(title if (title := titles.get(name, name)) != name else f"add-on {name}" for name in names)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._wish is not None:
            self._worker.poke()

    def close(self) -> None:
        self._worker.end()

    def remove(self) -> None:
        self._worker.end()
        if self._keeper is not None:
            self._keeper.remove()

    def _namespaces(self) -> tuple[str, ...]:
        """The node's own, and those of its pods."""
        owned = list(self.around.owner.namespaces.values())
        return (HOST_NETNS, *(one.name for one in owned if one.node == self.node))

    def _turn(self) -> float | None:
        """One of the thread's: seconds to the next, None where nothing is to be kept."""
        wish, keeper = self._wish, self._keeper
        if wish is None or keeper is None or self._paused:
            return None
        try:
            if wish is self._done and time.monotonic() < self._due and not keeper.changed():
                return self._rest(wish)
            outcome = keeper.keep(wish)
            self._silent_since = math.inf
        except DaemonError as error:
            outcome = self._without_kubelet(wish, error)
        except Exception as error:
            outcome = Outcome((failure_of(self.name, error),))
        news = wish is not self._done or outcome.words != self._outcome.words
        self._tries = 0 if news else self._tries + 1
        self._due = time.monotonic() + PAUSES[min(self._tries, len(PAUSES) - 1)] if outcome.words else math.inf
        self._outcome, self._done = outcome, wish
        if news:
            self.around.wake()
        return self._rest(wish)

    def _without_kubelet(self, wish: Wish, error: DaemonError) -> Outcome:
        """A kubelet that begins, or is begun again, is waited for; one that stays away is a failure."""
        self._silent_since = min(self._silent_since, time.monotonic())
        if time.monotonic() - self._silent_since < BEGINNING:
            return Outcome(pending=_names(wish))
        return Outcome((failure_of(self.name, error),))

    def _rest(self, wish: Wish) -> float | None:
        if not wish.programs and not self._outcome.words:
            return None
        return max(0.0, min(TICK, self._due - time.monotonic()))


def _names(wish: Wish) -> tuple[str, ...]:
    return tuple(program.name for program in wish.programs) or ("all",)


def _places(wanted: Sequence[Program], own: Place, snapshot: Snapshot, home: Home) -> dict[str, Place]:
    """Where the programs of pods and of hosts outside run, by NAMESPACE/NAME of the pod and by the host's name; nothing
    of one without a namespace."""
    found: dict[str, Place] = {}
    for host in {program.host for program in wanted if program.host}:
        namespace = node_netns(snapshot.lab.name, host)
        if number := netns.number(namespace):
            found[host] = home.place_in_pod(own.node, namespace, number, host)
    for name in {program.pod for program in wanted if program.pod}:
        namespace, _, short = name.partition("/")
        pod = snapshot.get(Pod, short, namespace)
        if pod is None:
            continue
        if pod.spec.hostNetwork:
            found[name] = own
        elif number := netns.number(sandbox_name(snapshot.lab, pod)):
            found[name] = home.place_in_pod(own.node, sandbox_name(snapshot.lab, pod), number, pod.hostname)
    return found
