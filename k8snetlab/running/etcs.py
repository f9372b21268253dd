"""The files of pods' /etc, written before a pod is run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from k8snetlab.api.core import Pod
from k8snetlab.api.dns import server
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns import addon
from k8snetlab.dns import etc as contents
from k8snetlab.dns.resolv import Resolv
from k8snetlab.kernel import etc, netns
from k8snetlab.render.pods import sandbox_name

log = logging.getLogger(__name__)


def write(pods: Iterable[Pod], snapshot: Snapshot, warn: Callable[[Pod, str, str], None]) -> None:
    """For each pod with a namespace of its own; `warn` is told the reason and the message of an Event. Blocking.

    A lab without DNS leaves resolv.conf alone: its pods see the machine's, as kubelet does without --cluster-dns.
    """
    lab = snapshot.lab
    host = Resolv(tuple(server(text)[0] for text in addon.upstream(lab)))
    for pod in pods:
        if pod.spec.hostNetwork:
            continue
        wanted = contents.of(pod, snapshot, host)
        files = wanted.files if lab.spec.dns.enabled else {k: v for k, v in wanted.files.items() if k != "resolv.conf"}
        name = sandbox_name(lab, pod)
        if not netns.exists(name):
            continue
        try:
            etc.write(name, files)
            if not netns.exists(name):  # it went in the meantime, and so do they
                etc.remove(name)
        except OSError as error:
            log.exception("pod %s/%s", pod.namespace, pod.name)
            warn(pod, "FailedMount", f"the files of /etc cannot be written: {error.strerror}")
        for message in wanted.warnings if lab.spec.dns.enabled else ():
            warn(pod, "DNSConfigForming", message)
