"""What a cluster has of itself once its API listens inside it: the Service `kubernetes` with its endpoints, and in each
namespace the ServiceAccount `default` and the CA by which pods know the API.

Source: Kubernetes pkg/controlplane/controller/kubernetesservice (controller.go, reconcilers/instancecount.go),
pkg/controller/serviceaccount/serviceaccounts_controller.go, pkg/controller/certificates/rootcacertpublisher.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api import addressing
from k8snetlab.api.config import ConfigMap, ServiceAccount
from k8snetlab.api.core import (
    KUBERNETES,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    Namespace,
    Node,
    Service,
    ServicePort,
    ServiceSpec,
)
from k8snetlab.api.discovery import (
    SERVICE_NAME,
    SKIP_MIRROR,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    EndpointSlicePort,
)
from k8snetlab.api.inside import ACCOUNT, ADDRESS, ROOT_CA, ROOT_CA_FILE, authority_of
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.controllers.changes import put

PORT_NAME, PORT = "https", 443
LABELS = {"component": "apiserver", "provider": "kubernetes"}
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def service(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    """`kubernetes`, from the first address that the API listens at on. Where none is left the last endpoints stay."""
    nodes, services = tuple(now.changes(Node, before)), tuple(now.changes(Service, before))
    others = (now.changes(Endpoints, before), now.changes(EndpointSlice, before))
    if not nodes and not any(KUBERNETES in keys for keys in (services, *others)):
        return
    listening = _listening(now)
    if not listening:
        return
    namespace, name = KUBERNETES
    metadata = ObjectMeta(name=name, namespace=namespace, labels=LABELS)
    port = int(listening[0][1])
    held = now.all(Service).get(KUBERNETES)
    if held is None:
        ports = (ServicePort(name=PORT_NAME, port=PORT, protocol="TCP", targetPort=port),)
        yield put(Service(metadata=metadata, spec=ServiceSpec(ports=ports, sessionAffinity="None")))
    yield from _endpoints(now, listening)
    yield from _slices(now, listening)


def _listening(now: Snapshot) -> list[tuple[str, str]]:
    """(address, port) of every node that lives, of the service network's first family."""
    networks = addressing.parse_networks(now.lab.spec.serviceCIDR)
    version = networks[0].version if networks else 4
    found = (
        node.metadata.annotations[ADDRESS].rpartition(":")
        for node in now.all(Node).values()
        if ADDRESS in node.metadata.annotations and _lives(node)
    )
    told = [(host.strip("[]"), port) for host, _, port in found]
    return sorted((host, port) for host, port in told if (":" in host) == (version == 6) and port.isdecimal())


def _lives(node: Node) -> bool:
    return not node.metadata.deletionTimestamp and not any(
        c.type == "Ready" and c.status == "Unknown" for c in node.status.conditions
    )


def _by_port(listening: list[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for host, port in listening:
        groups.setdefault(port, []).append(host)
    return groups


def _endpoints(now: Snapshot, listening: list[tuple[str, str]]) -> Iterator[Change]:
    namespace, name = KUBERNETES
    subsets = tuple(
        EndpointSubset(
            addresses=tuple(EndpointAddress(ip=host) for host in hosts),
            ports=(EndpointPort(name=PORT_NAME, port=int(port), protocol="TCP"),),
        )
        for port, hosts in _by_port(listening).items()
    )
    held = now.all(Endpoints).get(KUBERNETES)
    metadata = held.metadata if held else ObjectMeta(name=name, namespace=namespace)
    metadata = replace(metadata, labels={**metadata.labels, SKIP_MIRROR: "true"})
    wanted = (
        replace(held, metadata=metadata, subsets=subsets) if held else Endpoints(metadata=metadata, subsets=subsets)
    )
    if wanted != held:
        yield put(wanted)


def _slices(now: Snapshot, listening: list[tuple[str, str]]) -> Iterator[Change]:
    """One for each port that APIs listen at, the first of them with the Service's own name."""
    namespace, name = KUBERNETES
    wanted: dict[str, EndpointSlice] = {}
    for number, (port, hosts) in enumerate(_by_port(listening).items()):
        called = f"{name}-{port}" if number else name
        held = now.all(EndpointSlice).get((namespace, called))
        made = EndpointSlice(
            metadata=held.metadata if held else ObjectMeta(name=called, namespace=namespace),
            addressType="IPv6" if ":" in hosts[0] else "IPv4",
            endpoints=tuple(Endpoint(addresses=(host,), conditions=EndpointConditions(ready=True)) for host in hosts),
            ports=(EndpointSlicePort(name=PORT_NAME, port=int(port), protocol="TCP"),),
        )
        labels = {**made.metadata.labels, SERVICE_NAME: name}
        wanted[called] = replace(made, metadata=replace(made.metadata, labels=labels))
        if wanted[called] != held:
            yield put(wanted[called])
    for key in now.all(EndpointSlice):
        if key[0] == namespace and key[1].startswith(f"{name}-") and key[1] not in wanted:
            rest = key[1].removeprefix(f"{name}-")
            if rest.isdecimal() and now.all(EndpointSlice)[key].service_key == KUBERNETES:
                yield EndpointSlice, key, None


def accounts(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    """The ServiceAccount `default` of every namespace."""
    yield from _of_namespaces(now, before, ServiceAccount, ACCOUNT)


def authorities(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    """kube-root-ca.crt of every namespace."""
    yield from _of_namespaces(now, before, ConfigMap, ROOT_CA)


def _of_namespaces(
    now: Snapshot, before: Snapshot | None, kind: type[ServiceAccount] | type[ConfigMap], name: str
) -> Iterator[Change]:
    authority = _mark(now, kind)
    if not authority:
        return
    if before is None or _mark(before, kind) != authority:
        names = [namespace for _, namespace in now.all(Namespace)]
    else:
        names = [namespace for _, namespace in now.changes(Namespace, before)]
        names += [namespace for namespace, changed in now.changes(kind, before) if changed == name]
    for namespace in dict.fromkeys(names):
        living = now.get(Namespace, namespace)
        if living is None or living.metadata.deletionTimestamp or living.status.phase == "Terminating":
            continue
        held = now.get(kind, name, namespace)
        if held is None:
            yield put(_made(kind, name, namespace, authority))
        elif isinstance(held, ConfigMap) and held.data != {ROOT_CA_FILE: authority}:
            yield put(replace(held, data={ROOT_CA_FILE: authority}))


def _mark(snapshot: Snapshot, kind: type[ServiceAccount] | type[ConfigMap]) -> str:
    """The CA, once it is told; for ServiceAccounts, whether the API listens anywhere."""
    if kind is ConfigMap:
        return authority_of(snapshot)
    return "yes" if any(ADDRESS in node.metadata.annotations for node in snapshot.all(Node).values()) else ""


def _made(
    kind: type[ServiceAccount] | type[ConfigMap], name: str, namespace: str, authority: str
) -> ServiceAccount | ConfigMap:
    metadata = ObjectMeta(name=name, namespace=namespace)
    if kind is ServiceAccount:
        return ServiceAccount(metadata=metadata)
    metadata = replace(metadata, annotations={"kubernetes.io/description": DESCRIPTION})
    return ConfigMap(metadata=metadata, data={ROOT_CA_FILE: authority})
