"""The add-ons of one node: real programs, kept by the kubelet in the node's namespace."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from k8snetlab.addons import programs, trial
from k8snetlab.addons.configuration import Configuration, revision_of
from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.addons.program import Place, Program, uid, uids_of, work
from k8snetlab.agent.protocol import Manager, Surroundings
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import PodState
from k8snetlab.errors import K8sNetLabError, KernelError
from k8snetlab.kernel import fault, netns
from k8snetlab.render.node import Part

START = 10.0
"""Seconds in which a program is to be ready."""
LOOK = 2.0
"""Seconds that one look gets at whether it is."""


class AddOns(Manager):
    """Programs that go on without an agent: one that comes back finds them by their uids, and knows by those whether
    they are what is wanted."""

    def __init__(self, name: str, part: Part | None, around: Surroundings) -> None:
        super().__init__(name, part, around)
        self._seen: dict[str, PodState] = {}
        """The states of the node's programs at the last sync."""
        self._begun: dict[str, float] = {}
        """When a program that is not ready yet was begun, by uid; seconds, monotonic."""

    def settled(self, snapshot: Snapshot, namespace: str) -> None:
        home = self.around.addons
        wanted = programs.programs(snapshot, self.node) if home else ()
        if home is None or not (wanted or home.directory(self.node).exists()):
            self._seen = {}
            return
        place = home.place(self.node, namespace, netns.number(namespace))
        kubelet = Kubelet(home.kubelet)
        held = self._held(kubelet)
        uids = {uid(program, place) for program in wanted}
        kubelet.stop(one for one in held if one not in uids)
        for gone in {one.name for one in home.directory(self.node).glob("*")} - {program.name for program in wanted}:
            fault.point()
            shutil.rmtree(home.directory(self.node) / gone)
        failures: list[K8sNetLabError] = []
        for program in wanted:
            try:
                self._bring(program, place, kubelet, held)
            except OSError as error:
                failures.append(KernelError(f"{program.name}: {error}"))
            except K8sNetLabError as error:
                failures.append(error)
        self._seen = self._held(kubelet)
        self._begun = {one: since for one, since in self._begun.items() if one in self._seen}
        if not wanted:
            fault.point()
            shutil.rmtree(home.directory(self.node), ignore_errors=True)
        if failures:
            raise failures[0]

    def noticed_change(self) -> bool:
        """Whether a program has ended, come back or is awaited, or the kubelet is another one."""
        home = self.around.addons
        return bool(home and self._seen and (self._begun or self._held(Kubelet(home.kubelet)) != self._seen))

    def remove(self) -> None:
        home = self.around.addons
        if home and home.directory(self.node).exists():
            kubelet = Kubelet(home.kubelet)
            kubelet.stop(self._held(kubelet))
            fault.point()
            shutil.rmtree(home.directory(self.node), ignore_errors=True)

    def _held(self, kubelet: Kubelet) -> dict[str, PodState]:
        return {one: state for one, state in kubelet.addons().items() if one.startswith(uids_of(self.node))}

    def _bring(self, program: Program, place: Place, kubelet: Kubelet, held: dict[str, PodState]) -> None:
        """Files first, then the process; a configuration that is refused is raised when the old one goes on."""
        files = Configuration(_directory(program, place))
        own, refused = uid(program, place), _replaced(program, files, place)
        if refused and not files.current:
            raise refused
        state = held.get(own)
        if state is not None and files.loaded != files.current:
            if program.reload is None:
                kubelet.stop([own])
                state = None
            else:
                kubelet.signal(own, program.reload)
                files.note_loaded()
        if state is None:
            state = kubelet.run(work(program, place))
            files.note_loaded()
            self._begun[own] = time.monotonic()
        self._look(program, place, own, state)
        if refused:
            raise refused

    def _look(self, program: Program, place: Place, own: str, state: PodState) -> None:
        """Whether it runs, and is ready. Raises KernelError."""
        (container,) = state.containers
        waiting, ended = container.state.waiting, container.state.terminated
        if waiting is not None or ended is not None:
            why = waiting.message or waiting.reason if waiting else f"it ended with {ended.exitCode if ended else 0}"
            log = f"{place.directory}/{program.name}/log/{program.name}/{container.restartCount}.log"
            raise KernelError(f"{program.name}: {why}", f"its log is {log}", shlex.join(program.argv))
        look: Callable[[], str] = partial(trial.failure, place, _directory(program, place), program.ready, LOOK)
        since = self._begun.get(own)
        if since is None:
            return
        if not program.ready or not (problem := look()):
            del self._begun[own]
        elif time.monotonic() - since > START:
            raise KernelError(f"{program.name} is not ready: {problem}", "", shlex.join(program.ready))


def _replaced(program: Program, files: Configuration, place: Place) -> KernelError | None:
    """Puts the program's files in the place of those that stand, unless it refuses them: why, then."""
    if files.current == revision_of(program.files):
        return None
    files.stage(program.files)
    problem = trial.failure(place, files.trial, program.check) if program.check else ""
    if not problem:
        files.adopt(program.files)
        return None
    files.drop()
    hint = "it goes on with the one before" if files.current else "it is not started"
    return KernelError(f"{program.name} refuses its configuration: {problem}", hint, shlex.join(program.check))


def _directory(program: Program, place: Place) -> Path:
    return Path(place.directory) / program.name
