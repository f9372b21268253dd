"""Where the add-ons of a machine's nodes live."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from k8snetlab.addons.program import Place
from k8snetlab.store.keys import Keys


class Home:
    """What they need: the directory for their files, the kubelet's socket, what a node sees as /run/flannel, and the
    control group of the lab."""

    def __init__(
        self,
        files: Path,
        kubelet: Path,
        flannel: Callable[[str], Path],
        cgroup: Path | None,
        keys: Keys | None = None,
    ) -> None:
        self.files, self.kubelet, self._flannel, self._cgroup = files, kubelet, flannel, cgroup
        self.keys = keys
        """By which guests show who they are."""

    def directory(self, node: str) -> Path:
        return self.files / node

    def group(self, node: str) -> str:
        """The control group of all of a node's programs, "" where there is none."""
        return str(self._cgroup / "addons" / node) if self._cgroup else ""

    def place(self, node: str, netns: str, number: int) -> Place:
        directory, flannel = str(self.directory(node)), str(self._flannel(node))
        return Place(node, netns, number, directory, flannel=flannel, cgroup=self.group(node))

    def place_in_pod(self, node: str, netns: str, number: int, hostname: str) -> Place:
        return Place(node, netns, number, str(self.directory(node)), cgroup=self.group(node), hostname=hostname)
