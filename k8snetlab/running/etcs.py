"""The files of pods' /etc, written before a pod is run."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Mapping

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.dns import PORT, server
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dns import addon
from k8snetlab.dns import etc as contents
from k8snetlab.dns.resolv import Resolv
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import etc, netns
from k8snetlab.render.pods import sandbox_name
from k8snetlab.state.paths import LabPaths

log = logging.getLogger(__name__)


def write(pods: Collection[Pod], snapshot: Snapshot, paths: LabPaths, warn: Callable[[Pod, str, str], None]) -> None:
    """For each pod; `warn` is told the reason and the message of an Event. Blocking.

    A lab without DNS leaves resolv.conf alone: its pods see the machine's, as kubelet does without --cluster-dns.
    """
    lab, host = snapshot.lab, _host(snapshot)
    for pod in pods:
        try:
            wanted = contents.of(pod, snapshot, host)
            if pod.spec.hostNetwork and lab.spec.machines:
                continue  # it sees the machine's own
            if pod.spec.hostNetwork:
                etc.put(paths.etc_of(pod), _files(wanted, lab))
            else:
                _write(sandbox_name(lab, pod), _files(wanted, lab))
        except OSError as error:
            log.exception("pod %s/%s", pod.namespace, pod.name)
            warn(pod, "FailedMount", f"the files of /etc cannot be written: {error.strerror}")
            continue
        except (ValueError, NotFoundError):  # who makes its work says so
            continue
        for message in wanted.warnings if lab.spec.dns.enabled else ():
            warn(pod, "DNSConfigForming", message)
    if any(pod.spec.hostNetwork for pod in pods):
        _sweep(snapshot, paths)


def write_node(node: Node, snapshot: Snapshot) -> None:
    """A node's own, where it is a namespace. Blocking. Raises OSError."""
    name = names.namespace_of(snapshot.lab.name, node.name, snapshot.lab.spec.machines)
    if not names.is_host(name):
        _write(name, _files(contents.of_node(node, _host(snapshot)), snapshot.lab))


def _sweep(snapshot: Snapshot, paths: LabPaths) -> None:
    """Takes away what is no pod's any more."""
    if paths.etcs.is_dir():
        pods = {pod.run_uid for pod in snapshot.all(Pod).values()}
        for directory in paths.etcs.iterdir():
            if directory.name not in pods:
                shutil.rmtree(directory, ignore_errors=True)


def _host(snapshot: Snapshot) -> Resolv:
    """Whom the nodes ask: of servers at another port resolv.conf cannot tell."""
    servers = map(server, addon.upstream(snapshot.lab))
    return Resolv(tuple(address for address, port in servers if port == PORT))


def _files(wanted: contents.Etc, lab: Lab) -> dict[str, str]:
    return {file: text for file, text in wanted.files.items() if lab.spec.dns.enabled or file != "resolv.conf"}


def _write(name: str, files: Mapping[str, str]) -> None:
    if netns.exists(name):
        etc.write(name, files)
        if not netns.exists(name):  # it went in the meantime, and so do they
            etc.remove(name)
