"""Add-ons that are made to hang on purpose: their processes are there, and do nothing (SIGSTOP)."""

from __future__ import annotations

import asyncio
import signal

from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.api.workload import ADDON
from k8snetlab.state.paths import LabPaths


class Halting:
    def __init__(self, paths: LabPaths, halted: frozenset[str]) -> None:
        """`halted` are those that an earlier daemon has halted, by their names."""
        self._kubelet, self._halted = Kubelet(paths.kubelet_socket), halted

    async def hold(self, names: frozenset[str]) -> None:
        """Lets these hang, and no others. One that is started again meanwhile hangs no more. Raises DaemonError."""
        if names != self._halted:
            await asyncio.to_thread(self._signal, names, self._halted - names)
            self._halted = names

    def _signal(self, halted: frozenset[str], lifted: frozenset[str]) -> None:
        for uid in self._kubelet.addons(ADDON):
            name = uid.split("/")[2]
            if name in halted - self._halted:
                self._kubelet.signal(uid, signal.SIGSTOP)
            elif name in lifted:
                self._kubelet.signal(uid, signal.SIGCONT)
