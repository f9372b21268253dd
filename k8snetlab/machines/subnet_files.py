"""/run/flannel/subnet.env of every node, whether a namespace or this machine itself."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from k8snetlab.errors import AlreadyExistsError
from k8snetlab.kernel import fault
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths, machine_flannel

log = logging.getLogger(__name__)
FILE = "subnet.env"


class SubnetFiles:
    """Writes what changed. What runs in a node's namespace finds its directory (`LabPaths.flannel`) at /run/flannel."""

    def __init__(self, paths: LabPaths, ledger: Ledger) -> None:
        self._paths, self._ledger = paths, ledger
        self._written: dict[str, str] = {}
        self._run = machine_flannel()
        self._foreign = False

    def write(self, files: Mapping[str, str]) -> None:
        """The text of each node's file; nodes that are not named have none."""
        for node in self._written.keys() - files.keys():
            shutil.rmtree(self._paths.flannel(node), ignore_errors=True)
            del self._written[node]
        for node, text in files.items():
            if self._written.get(node) != text:
                directory = self._paths.flannel(node)
                directory.mkdir(parents=True, exist_ok=True)
                _replace(directory / FILE, text)
                self._written[node] = text

    def write_own(self, node: str, text: str) -> None:
        """The file of the node that this machine is. One that another program has written stays as it is."""
        if self._written.get(node) == text and (self._foreign or (self._run / FILE).exists()):
            return
        self._written[node] = text
        try:
            self._ledger.own_file(self._run / FILE)
        except AlreadyExistsError as error:
            self._foreign = True
            log.warning("%s; it stays as it is", error.message)
            return
        self._run.mkdir(exist_ok=True)
        _replace(self._run / FILE, text)


def _replace(file: Path, text: str) -> None:
    """The file may be read by everybody, and holds the old text or the new one at any time."""
    file.parent.chmod(0o755)
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text)
    fresh.chmod(0o644)
    fault.point()
    fresh.rename(file)
