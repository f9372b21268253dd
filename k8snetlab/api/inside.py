"""Where pods find the API, in the words of objects: the Service `kubernetes`, its address, the CA that signs for it.

Source: Kubernetes pkg/controlplane/controller/kubernetesservice; pkg/controller/certificates/rootcacertpublisher;
kubelet's pkg/kubelet/envvars/envvars.go for the variables of Services.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api.config import ConfigMap, ServiceAccount
from k8snetlab.api.core import KUBERNETES, Node, Pod, Service
from k8snetlab.api.snapshot import Snapshot

ADDRESS = "k8snetlab/api"
"""Annotation of a Node: where the API listens inside it, host:port, while it does."""
CLIENT_CA = ("kube-system", "extension-apiserver-authentication")
"""The ConfigMap that says which CA is the cluster's, and the key of it there."""
CLIENT_CA_FILE = "client-ca-file"
ROOT_CA, ROOT_CA_FILE = "kube-root-ca.crt", "ca.crt"
"""The ConfigMap of every namespace that has the CA, and the key of it there."""
ACCOUNT = "default"
"""The ServiceAccount of a pod that names none."""
LIFE = 3607
"""Seconds for which a pod's token is asked for, before it is renewed."""


def authority_of(snapshot: Snapshot) -> str:
    """The CA's certificate (PEM), "" while there is none."""
    namespace, name = CLIENT_CA
    found = snapshot.get(ConfigMap, name, namespace)
    return found.data.get(CLIENT_CA_FILE, "") if found else ""


def listening(snapshot: Snapshot, node: str) -> str:
    """Where the API listens inside the lab (host:port), on that node where it does; "" where it does nowhere."""
    nodes = sorted(snapshot.all(Node).values(), key=lambda one: one.name != node)
    return next((place for one in nodes if (place := one.metadata.annotations.get(ADDRESS))), "")


def account_of(pod: Pod) -> str:
    return pod.spec.serviceAccountName or pod.spec.serviceAccount or ACCOUNT


def mounts_token(pod: Pod, account: ServiceAccount | None) -> bool:
    """Whether its containers see a token: the pod decides before its ServiceAccount does."""
    if pod.spec.automountServiceAccountToken is not None:
        return pod.spec.automountServiceAccountToken
    return account is not None and account.automountServiceAccountToken is not False


def service_links(pod: Pod, snapshot: Snapshot) -> dict[str, str]:
    """The variables by which a pod's containers find Services: `kubernetes` always, those of the pod's own namespace
    unless it has enableServiceLinks false."""
    found: dict[str, Service] = {}
    if (api := snapshot.get(Service, *reversed(KUBERNETES))) is not None:
        found[api.name] = api
    if pod.spec.enableServiceLinks is not False:
        found.update((s.name, s) for s in snapshot.select(Service, services_by_namespace, pod.namespace).values())
    return {name: value for service in found.values() for name, value in _variables(service)}


def services_by_namespace(service: Service) -> Iterable[str]:
    return (service.namespace,)


def _variables(service: Service) -> Iterator[tuple[str, str]]:
    """As Docker's links once gave them, too."""
    if not service.clusterIPs or not service.spec.ports:
        return
    ip, prefix = service.clusterIPs[0], _variable(service.name)
    host = f"[{ip}]" if ":" in ip else ip
    yield f"{prefix}_SERVICE_HOST", ip
    yield f"{prefix}_SERVICE_PORT", str(service.spec.ports[0].port)
    for number, port in enumerate(service.spec.ports):
        if port.name:
            yield f"{prefix}_SERVICE_PORT_{_variable(port.name)}", str(port.port)
        protocol = port.protocol or "TCP"
        url, link = f"{protocol.lower()}://{host}:{port.port}", f"{prefix}_PORT_{port.port}_{protocol}"
        if number == 0:
            yield f"{prefix}_PORT", url
        yield link, url
        yield f"{link}_PROTO", protocol.lower()
        yield f"{link}_PORT", str(port.port)
        yield f"{link}_ADDR", ip


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")
