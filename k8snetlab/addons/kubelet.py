"""A manager's line to the kubelet: one question, one answer. Blocking."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable
from pathlib import Path

import msgspec

from k8snetlab.api.workload import KubeletRequest, KubeletResponse, PodState, PodWork
from k8snetlab.errors import DaemonError

PATIENCE = 30.0
"""Seconds in which it answers: a program that is stopped has its grace."""


class Kubelet:
    """Where its socket is. Every method raises DaemonError when it does not answer, or says that it cannot."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def addons(self, begin: str) -> dict[str, PodState]:
        """The states of the add-ons that it keeps, by uid: of those whose uids begin so."""
        states = self._ask(KubeletRequest(1, "addons", uids=(begin,)))
        return {state.uid: state for state in states if state.uid.startswith(begin)}  # an older one tells of all

    def run(self, work: PodWork) -> PodState:
        """Returns once it runs, or is known not to start."""
        return self._ask(KubeletRequest(1, "run", pods=(work,)))[0]

    def stop(self, uids: Iterable[str], grace: float | None = None) -> None:
        """Within `grace` seconds: their own where that is None, without a SIGTERM where it is less than 0."""
        if uids := tuple(uids):
            self._ask(KubeletRequest(1, "stop", uids=uids, keep=True, grace=grace))

    def signal(self, uid: str, number: signal.Signals, container: str = "") -> None:
        """To the processes of all of its containers, or of one."""
        self._ask(KubeletRequest(1, "signal", uids=(uid,), signal=int(number), container=container))

    def _ask(self, request: KubeletRequest) -> tuple[PodState, ...]:
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(PATIENCE)
                line.connect(str(self._path))
                line.sendall(msgspec.json.encode(request) + b"\n")
                with line.makefile("rb") as lines:
                    answer = msgspec.json.decode(lines.readline(), type=KubeletResponse)
        except (OSError, msgspec.MsgspecError) as error:
            raise DaemonError(f"the kubelet does not answer: {error}", "it is started again by itself") from None
        if answer.error:
            raise DaemonError(f"the kubelet cannot {request.op}: {answer.error}", "its log says more")
        return answer.states
