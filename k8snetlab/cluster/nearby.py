"""Hints out of the lab's objects: what was meant by a name that there is not, or by a port that a Service does not
have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api.apps import Deployment
from k8snetlab.api.core import Namespace, Node, Pod, Service
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose.emptiness import empty
from k8snetlab.wording import near, nearest

LISTED = 6
"""Names that are listed; more are not read."""


def hint(snapshot: Snapshot, name: str, kinds: Iterable[type[Object]], otherwise: str = "") -> str:
    """For `name`, "short" or "namespace/short", that no object of `kinds` has: where it is, or which is near."""
    namespace, _, short = name.rpartition("/")
    kinds = tuple(kinds)
    found = [obj for kind in kinds for obj in snapshot.all(kind).values()]
    elsewhere = sorted({obj.namespace for obj in found if obj.name == short and obj.namespace != namespace} - {""})
    if namespace and elsewhere:
        return f"{short} is in namespace {elsewhere[0]}: -n {elsewhere[0]}"
    if namespace and (missing := no_namespace(snapshot, namespace)):
        return missing
    spelled: dict[str, None] = {}
    for obj in sorted(found, key=lambda obj: obj.namespace not in ("", namespace or "default")):
        spelled[obj.name if obj.namespace in ("", namespace or "default") else f"{obj.namespace}/{obj.name}"] = None
    if close := nearest(short, spelled):
        return close
    if 0 < len(spelled) <= LISTED:
        return f"there {'is' if len(spelled) == 1 else 'are'} {', '.join(spelled)}"
    return otherwise


def no_namespace(snapshot: Snapshot, name: str) -> str:
    """ "there is no namespace "othr": did you mean other?", or "" where there is."""
    known = [namespace.name for namespace in snapshot.all(Namespace).values()]
    if not known or name in known:
        return ""
    close = near(name, known)
    return f"there is no namespace {name!r}" + (f": did you mean {close}?" if close else f"; {', '.join(known)}")


def place(snapshot: Snapshot, name: str) -> str:
    """For what is neither pod nor node."""
    return hint(snapshot, name, (Pod, Deployment, Node), "`k8snetlab get pods -A` lists the pods")


def target(snapshot: Snapshot, name: str) -> str:
    """For what is neither pod, Service nor node."""
    kinds = (Service, Pod, Deployment, Node)
    return hint(snapshot, name, kinds, "`k8snetlab get pods,services -A` lists what there is")


def port(snapshot: Snapshot, address: str, number: int, protocol: str) -> str:
    """What a Service's or pod's address has instead of a port: "the Service has port 80", or why the Service's port has
    no endpoints; "" where the port is there."""
    for service in snapshot.all(Service).values():
        if address in service.clusterIPs:
            held = next((p for p in service.spec.ports if (p.port, p.protocol) == (number, protocol)), None)
            if held and (reason := empty(snapshot, service, held)):
                return f"Service {service.short_name} has no endpoints: {reason.why}"
            ports: list[tuple[int, str]] = [(p.port, p.protocol) for p in service.spec.ports]
            return _instead(f"Service {service.short_name}", ports, number, protocol)
    for pod in snapshot.all(Pod).values():
        if address in pod.ips and not pod.spec.hostNetwork:
            return _instead(f"pod {pod.short_name}", list(_declared(pod)), number, protocol)
    return ""


def _declared(pod: Pod) -> Iterator[tuple[int, str]]:
    for container in pod.spec.serving_containers:
        for declared in container.ports:
            yield declared.containerPort, declared.protocol


def _instead(who: str, ports: list[tuple[int, str]], number: int, protocol: str) -> str:
    if (number, protocol) in ports:
        return ""
    if not ports:
        return f"{who} has no port"
    same = all(kind == protocol for _, kind in ports)
    listed = [str(held) if same else f"{held}/{kind}" for held, kind in ports[:LISTED]]
    return f"{who} has port{'s' * (len(listed) > 1)} {', '.join(listed)}"
