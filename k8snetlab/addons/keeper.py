"""Keeps a node's programs as they are wanted: their files, their processes, and whether they serve."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from k8snetlab.addons import access, leftovers, trial
from k8snetlab.addons.configuration import Configuration, revision_of
from k8snetlab.addons.home import Home
from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.addons.program import GUEST, Place, Program, uid, uids_of, work
from k8snetlab.api.core import ContainerStatus
from k8snetlab.api.workload import PodState
from k8snetlab.errors import K8sNetLabError, KernelError, NotFoundError
from k8snetlab.kernel import netns
from k8snetlab.kernel.patience import patience

CREATING = ("ContainerCreating", "PodInitializing")
"""Why a container waits that nothing is wrong with."""
LOOK = 2.0
"""Seconds that one look gets at whether a program is ready."""
_NUMBERS = re.compile(r"\d+")


class Outcome(msgspec.Struct, frozen=True):
    """What the programs could not do, what guests could not, and the names of those that are not ready yet."""

    failures: tuple[K8sNetLabError, ...] = ()
    pending: tuple[str, ...] = ()
    guests: tuple[K8sNetLabError, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What is said of it, without numbers (of processes, seconds, lines): equal where nothing new is to be said."""
        failures = (*self.failures, *self.guests)
        return (*(_NUMBERS.sub("", failure.message) for failure in failures), *self.pending)


class Run(msgspec.Struct, frozen=True):
    """One run of a program: how often it was begun again (-1 before its first beginning), and the revision of the files
    that it was told of."""

    restarts: int
    revision: str


class Wish(msgspec.Struct, frozen=True):
    """Which programs are to run, and where: in `place`, or in that of the pod or the host outside that they name, where
    there is such a one."""

    programs: tuple[Program, ...]
    place: Place
    pods: Mapping[str, Place] = {}

    def place_of(self, program: Program) -> Place | None:
        elsewhere = program.pod or program.host
        return self.pods.get(elsewhere) if elsewhere else self.place


class Keeper:
    """Of one node. Blocking; one call at a time, from any thread.

    Programs go on without it: one that comes later finds them by their uids, and knows by those whether they are what
    is wanted. Whether they are ready it asks once for each run that it meets.
    """

    def __init__(self, node: str, home: Home, namespaces: Callable[[], Iterable[str]]) -> None:
        """`namespaces` names those in which a program of the node's may be, or have been."""
        self._node, self._home, self._kubelet = node, home, Kubelet(home.kubelet)
        self._namespaces = namespaces
        self._seen: dict[str, PodState] = {}
        """The states of the node's programs when they were looked at last."""
        self._ready: dict[str, Run] = {}
        """The run of each that was found ready, by uid."""
        self._awaited: dict[str, tuple[Run, float]] = {}
        """The run of each that is not ready yet, and since when; seconds, monotonic."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing of the node's programs on this machine."""
        return not self._home.directory(self._node).exists()

    def keep(self, wish: Wish) -> Outcome:
        """Ends what is not wanted, and brings up what is. Raises DaemonError where the kubelet does not answer."""
        held = self._held()
        uids = {uid(program, place) for program in wish.programs if (place := wish.place_of(program))}
        self._kubelet.stop(one for one in held if one not in uids)
        failures: list[K8sNetLabError] = []
        guests: list[K8sNetLabError] = []
        directory, names = self._home.directory(self._node), {program.name for program in wish.programs}
        for gone in self._entries() - names:
            _apart(gone, failures, partial(self._forget, wish, gone))
        pending = []
        for program in wish.programs:
            said, place = guests if program.is_guest or program.spare else failures, wish.place_of(program)
            number = len(said)
            _apart(program.title, said, partial(self._bring, program, place, held))
            if len(said) == number and place and uid(program, place) in self._awaited:
                pending.append(program.name)
        self._seen = self._held()
        for known in (self._ready, self._awaited):
            for one in known.keys() - self._seen.keys():
                del known[one]
        if not wish.programs:
            _apart(directory.name, failures, partial(leftovers.delete, directory))
        return Outcome(tuple(failures), tuple(pending), tuple(guests))

    def changed(self) -> bool:
        """Whether a program has ended or come back, or the kubelet is another one. Raises DaemonError."""
        return self._held() != self._seen

    def remove(self) -> None:
        """Ends all of the node's programs, in whichever namespaces they are, and deletes their files.

        Raises K8sNetLabError, OSError; it may be tried again.
        """
        if self.is_idle:
            return
        try:
            self._kubelet.stop(self._held())
        finally:
            directory = self._home.directory(self._node)
            leftovers.end(directory, self._home.group(self._node), self._there())
        leftovers.delete(directory)

    def _there(self) -> list[str]:
        return [name for name in self._namespaces() if netns.exists(name)]

    def _entries(self) -> set[str]:
        directory = self._home.directory(self._node)
        return {one.name for one in directory.iterdir()} if directory.is_dir() else set()

    def _held(self) -> dict[str, PodState]:
        return self._kubelet.addons(uids_of(self._node))

    def _forget(self, wish: Wish, name: str) -> None:
        """Ends and deletes what nobody wants."""
        directory = Path(wish.place.directory) / name
        leftovers.end(directory, wish.place.group_of(name), {wish.place.netns, *self._there()})
        leftovers.routes(name, wish.place.netns)
        leftovers.delete(directory)

    def _bring(self, program: Program, place: Place | None, held: dict[str, PodState]) -> None:
        """Files first, then the process; a configuration that is refused is raised when the old one goes on."""
        if place is None:
            what = f"pod {program.pod}" if program.pod else "it"
            raise NotFoundError(f"{program.title}: {what} has no namespace on {self._node} now")
        files = Configuration(_directory(program, place))
        own, refused = uid(program, place), _replaced(program, files, place)
        if refused and not files.current:
            raise refused
        if program.access and self._home.keys:
            access.write(files.directory, program.name.removeprefix(GUEST), program.access, self._home.keys)
        state = held.get(own)
        if state is not None and files.loaded != files.current:
            if program.reload is None:
                self._kubelet.stop([own])
                state = None
            else:
                self._kubelet.signal(own, program.reload)
                files.note_loaded()
        if state is None:
            self._ready.pop(own, None)
            self._awaited.pop(own, None)
            leftovers.end(files.directory, place.group_of(program.name), [place.netns])
            state = self._kubelet.run(work(program, place))
            files.note_loaded()
        self._look(program, place, state, files.loaded)
        if refused:
            raise refused

    def _look(self, program: Program, place: Place, state: PodState, revision: str) -> None:
        """Whether it runs, and is ready. Raises KernelError."""
        (container,) = state.containers
        if _begins(container):
            late = KernelError(f"{program.title}: it has not begun", "", shlex.join(program.argv))
            self._wait(state.uid, Run(-1, revision), late, patience(trial.BEGINNING))
            return
        if why := trouble(container) if program.is_guest else _unrun(container):
            log = f"{place.directory}/{program.name}/log/{program.name}/{container.restartCount}.log"
            hint = f"`k8snetlab {program.title.replace(' ', ' logs ')}`" if program.is_guest else f"its log is {log}"
            raise KernelError(f"{program.title}: {why}", hint, shlex.join(program.argv))
        run = Run(container.restartCount, revision)
        if not program.ready or self._ready.get(state.uid) == run:
            self._awaited.pop(state.uid, None)
            return
        look = trial.look(place, _directory(program, place), program.ready, LOOK, plain=program.plain)
        if not look.problem:
            self._ready[state.uid] = run
            self._awaited.pop(state.uid, None)
            return
        silent = KernelError(f"{program.name} is not ready: {look.problem}", "", shlex.join(program.ready))
        self._wait(state.uid, run, silent, patience(program.ready_within, slower=look.slower))

    def _wait(self, uid: str, run: Run, problem: KernelError, seconds: float) -> None:
        """It is pending; raises `problem` once this run of it has been waited for so long."""
        known, since = self._awaited.get(uid, (None, 0.0))
        if known != run:
            self._awaited[uid] = run, time.monotonic()
        elif time.monotonic() - since > seconds:
            raise problem


def _begins(container: ContainerStatus) -> bool:
    """Whether its first run is being started: on a slow machine that takes its time, and is no failure."""
    waiting = container.state.waiting
    return waiting is not None and waiting.reason in CREATING and not waiting.message


def why_not(state: PodState) -> str:
    """Why an add-on does not run now, "" for one that does."""
    return next(filter(None, map(_unrun, state.containers)), "")


def _unrun(container: ContainerStatus) -> str:
    """Why an add-on does not run, in kubelet's words; "" for one that does."""
    waiting, ended = container.state.waiting, container.state.terminated
    if waiting is not None:
        return waiting.message or waiting.reason
    return f"it ended with {ended.exitCode}" if ended is not None else ""


def trouble(container: ContainerStatus) -> str:
    """Why a guest does not run now, "" for one that does."""
    waiting, ended = container.state.waiting, container.state.terminated
    if waiting is None and ended is None:
        return ""
    last = ended or container.lastState.terminated
    if last is None:
        return waiting.message or waiting.reason if waiting else ""
    why = f"signal {last.signal} ended it" if last.signal else f"it ended with {last.exitCode}"
    if last.message:
        why = last.message.partition(": unknown")[0]  # what follows is said to those who write pods
    return f"{why}; it is begun again, with pauses"


def _apart(name: str, failures: list[K8sNetLabError], do: Callable[[], None]) -> None:
    """A failure of one program stops none of the others."""
    try:
        do()
    except OSError as error:
        failures.append(KernelError(f"{name}: {error}"))
    except K8sNetLabError as error:
        failures.append(error)


def _replaced(program: Program, files: Configuration, place: Place) -> KernelError | None:
    """Puts the program's files in the place of those that stand, unless it refuses them: why, then."""
    if files.current == revision_of(program.files):
        return None
    files.stage(program.files)
    problem = trial.failure(place, files.trial, program.check, plain=program.plain) if program.check else ""
    if not problem:
        files.adopt(program.files)
        return None
    files.drop()
    hint = "it goes on with the one before" if files.current else "it is not started"
    return KernelError(f"{program.name} refuses its configuration: {problem}", hint, shlex.join(program.check))


def _directory(program: Program, place: Place) -> Path:
    return Path(place.directory) / program.name
