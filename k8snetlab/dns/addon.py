"""Cluster DNS as kubeadm adds it: ServiceAccount, ConfigMap, Deployment and Service in kube-system.

Source: kubeadm, cmd/kubeadm/app/phases/addons/dns/manifests.go.
"""

from __future__ import annotations

from ipaddress import ip_network

from k8snetlab.api.addressing import split
from k8snetlab.api.apps import Deployment, DeploymentSpec
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
)
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import LabelSelector, Object, ObjectMeta
from k8snetlab.dataplane.families import family_of, pick

NAMESPACE, SERVICE, NAME = "kube-system", "kube-dns", "coredns"
IMAGE = "registry.k8s.io/coredns/coredns:v1.14.2"
COREFILE = "Corefile"
"""The key of the ConfigMap."""
LABELS = {"k8s-app": "kube-dns"}
TENTH = 10


def objects(lab: Lab) -> tuple[Object, ...]:
    """What the lab's DNS consists of; nothing where it has none."""
    if not lab.spec.dns.enabled:
        return ()
    return (
        ServiceAccount(metadata=_meta(NAME)),
        ConfigMap(metadata=_meta(NAME), data={COREFILE: corefile(lab)}),
        Deployment(metadata=_meta(NAME, LABELS), spec=_deployment(lab)),
        Service(metadata=_meta(SERVICE, {**LABELS, "kubernetes.io/name": "CoreDNS"}), spec=_service(lab)),
    )


def pod(lab: Lab) -> Pod:
    """One as the Deployment makes them."""
    return Pod(metadata=_meta(NAME, LABELS), spec=_deployment(lab).template.spec)


def _meta(name: str, labels: dict[str, str] | None = None) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=NAMESPACE, labels=labels or {})


def _deployment(lab: Lab) -> DeploymentSpec:
    ports = (
        ContainerPort(containerPort=53, name="dns", protocol="UDP"),
        ContainerPort(containerPort=53, name="dns-tcp"),
        ContainerPort(containerPort=9153, name="metrics"),
    )
    pod = PodSpec(
        containers=(Container(name=NAME, image=IMAGE, ports=ports),),
        serviceAccountName=NAME,
        dnsPolicy="Default",
    )
    return DeploymentSpec(
        replicas=lab.spec.dns.replicas,
        selector=LabelSelector(matchLabels=LABELS),
        template=PodTemplateSpec(metadata=ObjectMeta(labels=LABELS), spec=pod),
    )


def _service(lab: Lab) -> ServiceSpec:
    ports = (
        ServicePort(port=53, name="dns", protocol="UDP", targetPort=53),
        ServicePort(port=53, name="dns-tcp", targetPort=53),
        ServicePort(port=9153, name="metrics", targetPort=9153),
    )
    return ServiceSpec(selector=LABELS, clusterIP=address(lab), ports=ports)


def address(lab: Lab) -> str:
    """The Service's: the one that the lab says, else the tenth of the service network, as kubeadm takes it."""
    if lab.spec.dns.address:
        return lab.spec.dns.address
    network = ip_network(lab.spec.serviceCIDR.split(",")[0].strip())
    return str(network[min(TENTH, network.num_addresses - 2)])


def is_server(pod: Pod) -> bool:
    """Whether it is one of those that the Service selects."""
    return pod.namespace == NAMESPACE and LABELS.items() <= pod.metadata.labels.items()


def outside(lab: Lab) -> tuple[str, ...]:
    """The addresses at which the lab's host outside answers names; none where there is no such host, or no DNS."""
    spec = lab.spec
    if spec.machines or not spec.dns.enabled:
        return ()
    hosts = (text.partition("/")[0] for text in split(spec.underlay.outside))
    return tuple(host for host in hosts if pick(spec.podCIDR, family_of(host)))


def upstream(lab: Lab) -> tuple[str, ...]:
    """Who is asked for names outside: whom the lab says, else its own host outside; nobody where there is neither."""
    return outside(lab) if lab.spec.dns.upstream is None else lab.spec.dns.upstream


def _in_stubs(lab: Lab) -> list[str]:
    """The lab's own names in a stub domain, which would be asked of that one's servers."""
    spec = lab.spec.dns
    return [name for name in spec.hosts if any(name.endswith(f".{zone}") for zone in spec.stubDomains)]


def corefile(lab: Lab) -> str:
    """kubeadm's, with what the lab says; without an upstream names outside are refused."""
    spec, servers = lab.spec.dns, upstream(lab)
    onward = f"\n    forward . {' '.join(servers)} {{\n       max_concurrent 1000\n    }}" if servers else ""
    hosts = "".join(f"\n       {address} {name}" for name, addresses in spec.hosts.items() for address in addresses)
    table = f"\n    hosts {{{hosts}\n       fallthrough\n    }}" if hosts else ""
    served = (spec.domain, "in-addr.arpa", "ip6.arpa", *spec.hosts)
    zones = " ".join(f"{zone}:53" for zone in ((".", *_in_stubs(lab)) if servers else served))
    through = "\n       fallthrough in-addr.arpa ip6.arpa" if servers else ""
    text = f"""\
{zones} {{
    errors
    health {{
       lameduck 5s
    }}
    ready{table}
    kubernetes {spec.domain} in-addr.arpa ip6.arpa {{
       pods {spec.pods}{through}
       ttl {spec.ttl}
    }}
    prometheus :9153{onward}
    cache 30 {{
       disable success {spec.domain}
       disable denial {spec.domain}
    }}
    loop
    reload
    loadbalance
}}
"""
    for zone, own in spec.stubDomains.items():
        text += f"{zone}:53 {{\n    errors\n    cache 30\n    forward . {' '.join(own)}\n}}\n"
    return text
