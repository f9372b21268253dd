"""Programs of k8snetlab's own in the place of images that a cluster's add-ons name. No image is ever pulled."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from msgspec.structs import replace

from k8snetlab.addons import nginx
from k8snetlab.api.core import Container, EnvVar, Pod
from k8snetlab.api.dns import LOCAL
from k8snetlab.api.lab import Lab
from k8snetlab.api.probes import ExecAction, LifecycleHandler
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import NAMESERVER, ContainerWork, NameService, PodWork
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dns import nodelocal
from k8snetlab.gateways import names
from k8snetlab.render.ingress import addon, conf
from k8snetlab.running.kubelet_link import KubeletLink

COREDNS, NODE_CACHE = "coredns", "k8s-dns-node-cache"
READY = "127.0.0.1", 8181, "/ready"
"""Where CoreDNS' plugin `ready` answers."""


def with_commands(pod: Pod, lab: str) -> Pod:
    """The pod, with a command for each container that has none and whose image is CoreDNS'."""
    containers = tuple(_name_server(one, pod, lab) if _image(one) == COREDNS else one for one in pod.spec.containers)
    return pod if containers == pod.spec.containers else replace(pod, spec=replace(pod.spec, containers=containers))


def names_answered_by(container: Container) -> bool:
    """Whether the image's last name is that of CoreDNS or of a node's cache, whatever its registry and tag."""
    return _image(container) in (COREDNS, NODE_CACHE)


def _image(container: Container) -> str:
    """The last name of the image; "" of a container that runs words of its own."""
    image = container.image.partition("@")[0].rpartition("/")[2]
    return "" if container.argv else image.partition(":")[0]


def _name_server(container: Container, pod: Pod, lab: str) -> Container:
    command = (sys.executable, "-m", NAMESERVER, "--lab", lab, "--local", ",".join(pod.ips))
    run = os.environ.get("K8SNETLAB_RUN", "")
    env = (*container.env, EnvVar(name="K8SNETLAB_RUN", value=run)) if run else container.env
    return replace(container, command=command, args=(), env=env)


def with_names(work: PodWork, pod: Pod, lab: str) -> PodWork:
    """The work of a pod with such containers, `pod` as it was without commands: the machine's name server does it, and
    it is ready when its names are answered."""
    found = {one.name: one for one in pod.spec.containers if names_answered_by(one)}
    if not found:
        return work
    containers = (_with_names(one, found[one.name], pod, lab) if one.name in found else one for one in work.containers)
    return replace(work, containers=tuple(containers))


def _with_names(work: ContainerWork, container: Container, pod: Pod, lab: str) -> ContainerWork:
    if _image(container) == COREDNS:
        return replace(work, ready=READY, names=NameService(lab, pod.ips))
    said = dict(zip(container.args[::2], container.args[1::2], strict=False))
    local = tuple(said.get("-localip", LOCAL).split(","))
    health = local[0], nodelocal.HEALTH
    upstream = said.get("-upstreamsvc", nodelocal.UPSTREAM)
    names = NameService(lab, local, config=nodelocal.NAME, upstream=upstream, metrics=nodelocal.METRICS, health=health)
    return replace(work, ready=(*health, "/health"), names=names)


def with_nginx(work: PodWork, pod: Pod, directory: Path) -> PodWork:
    """The work of a pod of the Ingress controller or of a Gateway: nginx by the configuration in `directory`, ready
    when it answers for its health. It ends as ingress-nginx does: what is under way is answered first."""
    controller = addon.container_of(pod) or names.container_of(pod)
    if controller is None:
        return work
    containers = tuple(
        replace(
            one,
            command=nginx.command(directory),
            workingDir=str(directory),
            ports=(),
            ready=("127.0.0.1", conf.HEALTH, conf.HEALTHZ),
            ends=LifecycleHandler(exec=ExecAction(command=nginx.stopping(directory))),
        )
        if one.name == controller.name
        else one
        for one in work.containers
    )
    return replace(work, containers=containers)


async def begin(cluster: Cluster, kubelet: KubeletLink) -> None:
    """Has the name server begin while an `up` that wants one makes the pods that come before its own; then waits."""
    async for snapshot in cluster.changes():
        if snapshot.all(Lab):
            if snapshot.lab.spec.dns.served and not _answered(snapshot):
                await kubelet.request("run", lab=snapshot.lab.name)
            break
    await asyncio.Event().wait()


def _answered(snapshot: Snapshot) -> bool:
    pods = snapshot.all(Pod).values()
    return any(pod.ready and any(map(names_answered_by, pod.spec.containers)) for pod in pods)
