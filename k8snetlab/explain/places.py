"""Where a packet can start: the places of a lab, and which one a name means."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k8snetlab.api import topology
from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.lab import OutsideHost
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster import nearby
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import is_address
from k8snetlab.errors import NotFoundError
from k8snetlab.messages.tables import PlaceKind
from k8snetlab.render.pods import sandbox_name

POD_WORDS, SERVICE_WORDS = ("pod", "pods", "po"), ("svc", "service", "services")
"""What may stand before a slash, where a name alone could be another kind's."""


class Place(msgspec.Struct, frozen=True):
    """Where a packet can start: a network namespace. `ips` are a pod's addresses."""

    name: str
    kind: PlaceKind
    netns: str
    node: str = ""
    ips: tuple[str, ...] = ()


def stays(pod: Pod) -> bool:
    """Whether a pod is ready, and not on its way out: it may have stopped answering, and be ready all the same."""
    return pod.ready and not pod.metadata.deletionTimestamp


def all_places(snapshot: Snapshot) -> list[Place]:
    """Every pod, every node and, where nodes are namespaces, the hosts outside."""
    lab = snapshot.lab
    found = [
        Place(pod.short_name, "pod", sandbox_name(lab, pod), pod.spec.nodeName, pod.ips)
        for pod in snapshot.all(Pod).values()
        if stays(pod)
    ]
    found += [
        Place(name, "node", names.namespace_of(lab.name, name, lab.spec.machines), name)
        for _, name in snapshot.all(Node)
    ]
    if not lab.spec.machines:
        hosts = (names.OUTSIDE, *(host.name for host in lab.spec.hosts))
        found += [Place(name, "outside", names.node_netns(lab.name, name)) for name in hosts]
    return found


def find_place(snapshot: Snapshot, name: str) -> Place:
    """A place by name: "pod", "namespace/pod", a node, "router", "outside", a host outside, or a Deployment for its
    first pod. A pod of that very name goes before a host outside, which "outside/NAME" always means."""
    lab = snapshot.lab
    if name in (names.ROUTER, names.OUTSIDE) and lab.spec.machines:
        raise NotFoundError(f"there is no {name} in a lab of machines", "name a pod or a node")
    if name in (*topology.routers(lab.spec.underlay), names.OUTSIDE):
        return Place(name, "outside" if name == names.OUTSIDE else "router", names.node_netns(lab.name, name))
    if snapshot.get(Node, name) is not None:
        return Place(name, "node", names.namespace_of(lab.name, name, lab.spec.machines), name)
    if host := outside_host(snapshot, name):
        return Place(host.name, "outside", names.node_netns(lab.name, host.name))
    pod = find_pod(snapshot, name)
    return Place(pod.short_name, "pod", sandbox_name(lab, pod), pod.spec.nodeName, pod.ips)


def outside_host(snapshot: Snapshot, name: str) -> OutsideHost | None:
    """The host outside that a name means: "outside/NAME", or its name alone where that is no pod's in "default"."""
    said, slash, plain = name.rpartition("/")
    if (slash and said != names.OUTSIDE) or (not slash and snapshot.get(Pod, plain, "default") is not None):
        return None
    return next((host for host in snapshot.lab.spec.hosts if host.name == plain), None)


def find_pod(snapshot: Snapshot, name: str) -> Pod:
    namespace, _, short = without_kind(name, POD_WORDS).rpartition("/")
    pods = [p for p in snapshot.all(Pod).values() if not namespace or p.namespace == namespace]
    exact = [p for p in pods if p.name == short]
    exact = [p for p in exact if p.namespace == "default"] or exact
    owned = [p for p in pods if any(_belongs(snapshot, p, short))]
    found = exact or sorted(owned, key=lambda p: p.name)
    if not found:
        raise NotFoundError(f"no pod or node is called {name!r}", nearby.place(snapshot, without_kind(name, POD_WORDS)))
    return found[0]


def within(snapshot: Snapshot, name: str, namespace: str) -> str:
    """The name as one of `namespace` ("": of any), where it is no node's, no address, and does not say it itself."""
    kind, slash, rest = name.partition("/")
    prefix, bare = (f"{kind}/", rest) if slash and kind in (*POD_WORDS, *SERVICE_WORDS) else ("", name)
    known = (*topology.routers(snapshot.lab.spec.underlay), names.OUTSIDE)
    alone = not prefix and (snapshot.get(Node, name) is not None or name in known)
    if not any(snapshot.get(named, name, namespace) for named in (Pod, Service)):
        alone = alone or outside_host(snapshot, name) is not None
    if not namespace or alone or "/" in bare or is_address(bare):
        return name
    if "." in bare and not any(snapshot.get(named, bare, namespace) for named in (Pod, Service)):
        return name  # NAME.NAMESPACE, as the cluster's DNS has it
    return f"{prefix}{namespace}/{bare}"


def without_kind(name: str, words: tuple[str, ...]) -> str:
    """ "other/web" of "pod/other/web", where `words` has pod."""
    kind, slash, rest = name.partition("/")
    return rest if slash and kind in words else name


def _belongs(snapshot: Snapshot, pod: Pod, name: str) -> Iterator[bool]:
    """Whether the pod is owned by a ReplicaSet of Deployment `name`, or by a ReplicaSet `name`."""
    for owner in pod.metadata.ownerReferences:
        yield owner.name == name or owner.name.rpartition("-")[0] == name
