"""NodeLocal DNSCache as its manifest adds it: a cache on every node, which asks the cluster's DNS by TCP.

Source: kubernetes/kubernetes, cluster/addons/dns/nodelocaldns/nodelocaldns.yaml, for clusters whose kubelets are told
the cache's address; kubernetes/dns, cmd/node-cache (what it puts in place of the pillars).
"""

from __future__ import annotations

from collections.abc import Sequence

from k8snetlab.api.config import ConfigMap, ServiceAccount
from k8snetlab.api.core import (
    Container,
    ContainerPort,
    Pod,
    PodSpec,
    PodTemplateSpec,
    Service,
    ServicePort,
    ServiceSpec,
    Toleration,
)
from k8snetlab.api.dns import LOCAL, Dns
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import LabelSelector, Object, ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workloads import DaemonSet, DaemonSetSpec
from k8snetlab.dns import addon

NAME, UPSTREAM = "node-local-dns", "kube-dns-upstream"
IMAGE = "registry.k8s.io/dns/k8s-dns-node-cache:1.26.4"
LABELS = {"k8s-app": NAME}
METRICS, HEALTH = 9253, 8080
CLUSTER, SERVERS = "__PILLAR__CLUSTER__DNS__", "__PILLAR__UPSTREAM__SERVERS__"
RESOLV_CONF = "/etc/resolv.conf"


def objects(lab: Lab) -> tuple[Object, ...]:
    """What the lab's caches consist of; nothing where it has none. Beyond the manifest, its ports say by hostIP where
    they are."""
    if not lab.spec.dns.enabled or not lab.spec.dns.nodeLocal:
        return ()
    return (
        ServiceAccount(metadata=_meta(NAME)),
        Service(metadata=_meta(UPSTREAM, {**addon.LABELS, "kubernetes.io/name": "KubeDNSUpstream"}), spec=_upstream()),
        ConfigMap(metadata=_meta(NAME), data={addon.COREFILE: corefile(lab.spec.dns)}),
        DaemonSet(metadata=_meta(NAME, LABELS), spec=_daemonset()),
        Service(metadata=_meta(NAME, LABELS), spec=_metrics()),
    )


def is_cache(pod: Pod) -> bool:
    """Whether it is one of those that the DaemonSet makes."""
    return pod.namespace == addon.NAMESPACE and LABELS.items() <= pod.metadata.labels.items()


def _meta(name: str, labels: dict[str, str] | None = None) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=addon.NAMESPACE, labels=labels or {})


def _upstream() -> ServiceSpec:
    ports = (
        ServicePort(port=53, name="dns", protocol="UDP", targetPort=53),
        ServicePort(port=53, name="dns-tcp", targetPort=53),
    )
    return ServiceSpec(selector=addon.LABELS, ports=ports)


def _metrics() -> ServiceSpec:
    port = ServicePort(port=METRICS, name="metrics", targetPort=METRICS)
    return ServiceSpec(selector=LABELS, clusterIP="None", ports=(port,))


def _daemonset() -> DaemonSetSpec:
    ports = (
        ContainerPort(containerPort=53, name="dns", protocol="UDP", hostIP=LOCAL),
        ContainerPort(containerPort=53, name="dns-tcp", hostIP=LOCAL),
        ContainerPort(containerPort=METRICS, name="metrics"),
    )
    args = ("-localip", LOCAL, "-conf", "/etc/Corefile", "-upstreamsvc", UPSTREAM)
    pod = PodSpec(
        containers=(Container(name="node-cache", image=IMAGE, args=args, ports=ports),),
        serviceAccountName=NAME,
        hostNetwork=True,
        dnsPolicy="Default",
        tolerations=(
            Toleration(key="CriticalAddonsOnly", operator="Exists"),
            Toleration(effect="NoExecute", operator="Exists"),
            Toleration(effect="NoSchedule", operator="Exists"),
        ),
    )
    template = PodTemplateSpec(metadata=ObjectMeta(labels=LABELS), spec=pod)
    return DaemonSetSpec(selector=LabelSelector(matchLabels=LABELS), template=template)


def corefile(dns: Dns) -> str:
    """The manifest's, with the pillars that the cache itself fills; names in stub domains, and the lab's own, are asked
    of the cluster's DNS, too."""
    own = (dns.domain, "in-addr.arpa", "ip6.arpa")
    health = f"\n    health {LOCAL}:{HEALTH}"
    cache = "cache {\n        success 9984 30\n        denial 9984 5\n    }"
    cluster = f"forward . {CLUSTER} {{\n        force_tcp\n    }}"
    blocks = (
        (dns.domain, cache, cluster, health),
        ("in-addr.arpa", "cache 30", cluster, ""),
        ("ip6.arpa", "cache 30", cluster, ""),
        *((zone, "cache 30", cluster, "") for zone in dict.fromkeys((*dns.stubDomains, *dns.hosts)) if zone not in own),
        (".", "cache 30", f"forward . {SERVERS}", ""),
    )
    return "".join(
        f"{zone}:53 {{\n    errors\n    {cached}\n    reload\n    loop\n    bind {LOCAL}\n    {forward}\n"
        f"    prometheus :{METRICS}{more}\n}}\n"
        for zone, cached, forward, more in blocks
    )


def filled(text: str, snapshot: Snapshot, upstream: str) -> str:
    """A Corefile with the address of the Service `upstream` in the place of one pillar, and the node's own servers in
    that of the other; a Service that is not there leaves its pillar."""
    service = snapshot.get(Service, upstream, addon.NAMESPACE)
    addresses: Sequence[str] = service.clusterIPs if service else ()
    return text.replace(CLUSTER, " ".join(addresses) or CLUSTER).replace(SERVERS, RESOLV_CONF)
