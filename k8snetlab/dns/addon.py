"""Cluster DNS as kubeadm adds it: ServiceAccount, ConfigMap, Deployment and Service in kube-system.

Source: kubeadm, cmd/kubeadm/app/phases/addons/dns/manifests.go.
"""

from __future__ import annotations

from ipaddress import ip_network

from k8snetlab.api.apps import Deployment, DeploymentSpec
from k8snetlab.api.config import ConfigMap, ServiceAccount
from k8snetlab.api.core import Container, ContainerPort, PodSpec, PodTemplateSpec, Service, ServicePort, ServiceSpec
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import LabelSelector, Object, ObjectMeta

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


def corefile(lab: Lab) -> str:
    """kubeadm's, with what the lab says; without an upstream names outside are refused."""
    spec = lab.spec.dns
    outside = (
        f"\n    forward . {' '.join(spec.upstream)} {{\n       max_concurrent 1000\n    }}" if spec.upstream else ""
    )
    hosts = "".join(f"\n       {address} {name}" for name, addresses in spec.hosts.items() for address in addresses)
    own = f"\n    hosts {{{hosts}\n       fallthrough\n    }}" if hosts else ""
    served = (spec.domain, "in-addr.arpa", "ip6.arpa", *spec.hosts)
    zones = ".:53" if spec.upstream else " ".join(f"{zone}:53" for zone in served)
    through = "\n       fallthrough in-addr.arpa ip6.arpa" if spec.upstream else ""
    text = f"""\
{zones} {{
    errors
    health {{
       lameduck 5s
    }}
    ready{own}
    kubernetes {spec.domain} in-addr.arpa ip6.arpa {{
       pods {spec.pods}{through}
       ttl {spec.ttl}
    }}
    prometheus :9153{outside}
    cache 30
    loop
    reload
    loadbalance
}}
"""
    for zone, servers in spec.stubDomains.items():
        text += f"{zone}:53 {{\n    errors\n    cache 30\n    forward . {' '.join(servers)}\n}}\n"
    return text
