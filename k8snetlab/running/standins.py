"""Programs of k8snetlab's own in the place of images that a cluster's add-ons name. No image is ever pulled."""

from __future__ import annotations

import asyncio
import os
import sys

from msgspec.structs import replace

from k8snetlab.api.core import Container, EnvVar, Pod
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import NAMESERVER, NameService, PodWork
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.running.kubelet_link import KubeletLink

READY = 8181, "/ready"
"""Where CoreDNS' plugin `ready` answers."""


def with_commands(pod: Pod, lab: str) -> Pod:
    """The pod, with a command for each container that has none and whose image is CoreDNS'."""
    containers = tuple(_name_server(one, pod, lab) if names_answered_by(one) else one for one in pod.spec.containers)
    return pod if containers == pod.spec.containers else replace(pod, spec=replace(pod.spec, containers=containers))


def names_answered_by(container: Container) -> bool:
    """Whether the image's last name is coredns, whatever its registry and tag."""
    image = container.image.partition("@")[0].rpartition("/")[2]
    return not container.command and image.partition(":")[0] == "coredns"


def _name_server(container: Container, pod: Pod, lab: str) -> Container:
    command = (sys.executable, "-m", NAMESERVER, "--lab", lab, "--local", ",".join(pod.ips))
    run = os.environ.get("K8SNETLAB_RUN", "")
    env = (*container.env, EnvVar(name="K8SNETLAB_RUN", value=run)) if run else container.env
    return replace(container, command=command, args=(), env=env)


def with_names(work: PodWork, pod: Pod, lab: str) -> PodWork:
    """The work of a pod with such commands, `pod` as it was without them: the machine's name server does it, and it is
    ready when its names are answered."""
    asked = {one.name for one in pod.spec.containers if names_answered_by(one)}
    if not asked:
        return work
    names = NameService(lab, pod.ips)
    containers = (replace(one, ready=READY, names=names) if one.name in asked else one for one in work.containers)
    return replace(work, containers=tuple(containers))


async def begin(cluster: Cluster, kubelet: KubeletLink) -> None:
    """Has the name server begin while an `up` that wants one makes the pods that come before its own; then waits."""
    async for snapshot in cluster.changes():
        if snapshot.all(Lab):
            if snapshot.lab.spec.dns.enabled and snapshot.lab.spec.dns.replicas and not _answered(snapshot):
                await kubelet.request("run", lab=snapshot.lab.name)
            break
    await asyncio.Event().wait()


def _answered(snapshot: Snapshot) -> bool:
    pods = snapshot.all(Pod).values()
    return any(pod.ready and any(map(names_answered_by, pod.spec.containers)) for pod in pods)
