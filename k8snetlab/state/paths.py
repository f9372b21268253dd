"""Where a lab keeps its files: below /run/k8snetlab/<lab>, a tmpfs, as its namespaces do not outlive a boot either."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from k8snetlab.errors import InputError
from k8snetlab.kernel import fault

if TYPE_CHECKING:
    from k8snetlab.api.core import Pod

DEFAULT = Path("/run/k8snetlab")
SOCKET_PATH = 107
"""Octets of a unix socket's path (unix(7): sun_path, less the NUL that ends it)."""
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def root() -> Path:
    """The directory of all labs of this machine; K8SNETLAB_RUN names another one."""
    return Path(os.environ.get("K8SNETLAB_RUN", DEFAULT))


def machine_flannel() -> Path:
    """flannel's directory of a machine that is a node: /run/flannel, beside the labs' own."""
    return root().parent / "flannel"


def names_lab(name: str) -> bool:
    return bool(_LABEL.fullmatch(name))


class LabPaths:
    """The files of one lab."""

    def __init__(self, lab: str) -> None:
        if not names_lab(lab):
            raise InputError(f"{lab!r} cannot name a lab", "lower-case letters, digits and -, at most 63: a DNS label")
        self.lab = lab
        self.directory = root() / lab
        self.socket = self.directory / "api.sock"
        self.kubelet_socket = self.directory / "kubelet.sock"
        self.store = self.directory / "store.db"
        self.store_spec = self.directory / "store.json"
        self.pki = self.directory / "pki"
        self.api_pki = self.directory / "api"
        self.api_address = self.directory / "api.address"
        self.machine = self.directory / "machine.json"
        self.left = self.directory / "left"
        self.ledger = self.directory / "ledger"
        self.lock = self.directory / "lock"
        self.daemon_log = self.directory / "daemon.log"
        self.kubelet_log = self.directory / "kubelet.log"
        self.pod_logs = self.directory / "pods"
        self.accounts = self.directory / "accounts"
        self.etcs = self.directory / "etc"
        self.volumes = self.directory / "volumes"
        self.claims = self.directory / "claims"
        self.images = self.directory / "images"
        self.manifests = self.directory / "manifests"
        self.sandboxes = self.directory / "sandboxes"
        self.addons = self.directory / "addons"
        self.ingress = self.directory / "ingress"
        self.faults = self.directory / "faults.json"
        self.power = self.directory / "power.json"
        self.drill = self.directory / "drill.sealed"
        self.drill_key = self.directory / "drill.key"
        self.xtables_locks = self.directory / "xtables"

    @property
    def plane(self) -> Path:
        from k8snetlab.api.plane import FILES  # 30 ms, for what few labs have

        return self.directory / FILES

    @property
    def group(self) -> Path:
        """Below the control group of all labs. A lab of another run directory, such as one that plays another machine,
        may have the same name."""
        if self.directory.parent == DEFAULT:
            return Path(self.lab)
        import hashlib  # loads OpenSSL

        return Path(self.lab) / hashlib.sha256(os.fsencode(self.directory.parent)).hexdigest()[:8]

    @property
    def fresh(self) -> bool:
        """Whether nothing of the lab has been made yet: its ledger is empty, or not there."""
        return not (self.ledger.exists() and self.ledger.stat().st_size)

    def flannel(self, node: str) -> Path:
        """What a node that is a namespace sees as /run/flannel."""
        return self.directory / "flannel" / node

    def held(self, pod: Pod | None, node: str = "") -> Path:
        """Where `exec` notes what it begins in a pod or a node, without control groups."""
        return self.directory / "exec" / (f"pod.{pod.run_uid}" if pod else f"node.{node}")

    def logs_of(self, pod: Pod) -> Path:
        """Of this very pod: one of the same name that comes after it has a directory of its own."""
        return self.pod_logs / pod.namespace / pod.name / (pod.run_uid or "-")

    def account_of(self, pod: Pod) -> Path:
        """What the pod's containers see as their ServiceAccount's directory."""
        return self.accounts / (pod.run_uid or "-")

    def volumes_of(self, pod: Pod) -> Path:
        """The pod's own volumes; those of claims are in `claims`, and outlive it."""
        return self.volumes / (pod.run_uid or "-")

    def sandbox_of(self, pod: Pod) -> Path:
        """What its kubelet makes for its containers."""
        return self.sandboxes / (pod.run_uid or "-")

    def etc_of(self, pod: Pod) -> Path:
        """What a pod in its node's namespace sees of /etc; others have /etc/netns."""
        return self.etcs / (pod.run_uid or "-")

    def create(self) -> None:
        """Raises InputError, with nothing made, where no socket can have so long a path."""
        for socket in (self.socket, self.kubelet_socket):
            if (length := len(os.fsencode(socket))) > SOCKET_PATH:
                raise InputError(
                    f"{socket} has {length} octets, a unix socket's path at most {SOCKET_PATH}",
                    "a shorter K8SNETLAB_RUN or lab name",
                )
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fault.point()
        self.ledger.touch(mode=0o600)  # what has a ledger can be taken down
        fault.point()
        self.pod_logs.mkdir(mode=0o700, exist_ok=True)
        self.xtables_locks.mkdir(mode=0o700, exist_ok=True)
        self.daemon_log.touch(mode=0o600)


def write_private(file: Path, data: bytes) -> None:
    """Writes a small file that only root may read, whatever the umask is. At any time it holds the old text or the new
    one."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_bytes(data)
    fault.point()
    draft.replace(file)
