"""Programs of k8snetlab's own in the place of images that a cluster's add-ons name. No image is ever pulled."""

from __future__ import annotations

import os
import sys

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import Container, EnvVar, Pod
from k8snetlab.api.workload import PodWork

NAMESERVER = "k8snetlab.nameserver"
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
    settings = msgspec.json.encode({"lab": lab, "local": pod.ips}).decode()
    command = (sys.executable, "-m", NAMESERVER, "--settings", settings.replace("$", "$$"))
    run = os.environ.get("K8SNETLAB_RUN", "")
    env = (*container.env, EnvVar(name="K8SNETLAB_RUN", value=run)) if run else container.env
    return replace(container, command=command, args=(), env=env)


def with_readiness(work: PodWork, pod: Pod) -> PodWork:
    """The work of a pod with such commands, `pod` as it was without them: it is ready when its names are answered."""
    asked = {one.name for one in pod.spec.containers if names_answered_by(one)}
    if not asked:
        return work
    containers = (replace(one, ready=READY) if one.name in asked else one for one in work.containers)
    return replace(work, containers=tuple(containers))
