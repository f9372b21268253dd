"""Faults of objects, as a manifest brings them: nothing of a node's kernel is other than it should be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from k8snetlab.api.core import Service, ServiceSpec
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.scheme import to_dict
from k8snetlab.faults.fault import Class, Damage, Edit, Fault, Said, Seen, content
from k8snetlab.faults.scene import LacksError, Scene, named, tcp_port
from k8snetlab.faults.typed import across, changed, created, to_service

POLICY = "injected"


def _spec(service: Service) -> Any:
    return content(to_dict(service))


def _ports(spec: ServiceSpec, **fields: Any) -> Any:
    """The ports with the first TCP one changed."""
    first = next(p for p in spec.ports if p.protocol == "TCP")
    return tuple(msgspec.structs.replace(p, **fields) if p is first else p for p in spec.ports)


def _at(service: Service) -> str:
    return f"{service.namespace}/{service.name}"


def _selector(scene: Scene) -> Damage:
    service = scene.service()
    selector = dict(service.spec.selector or {})
    key, value = next(iter(selector.items()))
    other = "y" if value.endswith("x") else "x"
    edit = changed(service, selector=selector | {key: (value[:-1] if len(value) > 1 else value) + other})
    return Damage(_at(service), to_service(scene, service), edits=(edit,))


def _target_port(scene: Scene) -> Damage:
    service = scene.service()
    port = tcp_port(service)
    edit = changed(service, ports=_ports(service.spec, targetPort=9999))
    return Damage(f"{_at(service)}:{port.port}", to_service(scene, service), edits=(edit,))


def _target_name(scene: Scene) -> Damage:
    service = scene.service()
    port = tcp_port(service)
    edit = changed(service, ports=_ports(service.spec, targetPort="htpp"))
    return Damage(f"{_at(service)}:{port.port}", to_service(scene, service), edits=(edit,))


def _protocol(scene: Scene) -> Damage:
    def alone(service: Service) -> bool:
        port = tcp_port(service)
        return not any(p.port == port.port and p.protocol == "UDP" for p in service.spec.ports)

    service = scene.one([s for s in scene.services() if alone(s)], "Service of TCP alone")
    port = tcp_port(service)
    edit = changed(service, ports=_ports(service.spec, protocol="UDP"))
    return Damage(f"{_at(service)}:{port.port}", to_service(scene, service), edits=(edit,))


def _somewhere_only(scene: Scene, services: list[Service]) -> Service:
    """One whose pods are all on other nodes than this."""
    here = scene.node.name
    found = [s for s in services if all(p.spec.nodeName != here for p in scene.ready(s))]
    return scene.one(found, f"Service without a pod on {here}")


def _internal(scene: Scene) -> Damage:
    service = _somewhere_only(scene, scene.services())
    return Damage(_at(service), to_service(scene, service), edits=(changed(service, internalTrafficPolicy="Local"),))


def _external(scene: Scene) -> Damage:
    service = _somewhere_only(scene, [s for s in scene.services() if s.spec.type == "NodePort"])
    port = next(p for p in service.spec.ports if p.nodePort and p.protocol == "TCP")
    edit = changed(service, externalTrafficPolicy="Local")
    return Damage(_at(service), Seen("outside", f"{scene.node.name}:{port.nodePort}"), edits=(edit,))


def _by_hand(scene: Scene) -> Damage:
    """A Service without a selector whose only endpoint has gone."""
    address, name = f"{scene.subnet.rpartition('.')[0]}.251", "database"
    where = scene.client.namespace
    labels = {"kubernetes.io/service-name": name}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": where},
        "spec": {"ports": [{"port": 5432}]},
    }
    slice_ = {
        "apiVersion": EndpointSlice.API_VERSION,
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "namespace": where, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"port": 5432}],
        "endpoints": [{"addresses": [address]}],
    }
    edits = (created(scene, service), created(scene, slice_))
    return Damage(address, Seen(named(scene.client), f"svc/{where}/{name}:5432"), edits=edits)


def _bound(scene: Scene) -> Damage:
    """A program that listens at 127.0.0.1 answers nobody else, though its pod runs."""
    where, name, labels = scene.client.namespace, "bound", {"app": "bound"}
    command = ["python3", "-m", "http.server", "8080", "--bind", "127.0.0.1"]
    container = {"name": "c", "command": command, "ports": [{"containerPort": 8080}]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": where, "labels": labels},
        # who reads its fault's end does not wait for a program that is deaf to SIGTERM
        "spec": {"nodeName": scene.node.name, "containers": [container], "terminationGracePeriodSeconds": 0},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": where},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    edits = (created(scene, pod), created(scene, service))
    return Damage(f"{where}/{name}", Seen(named(scene.client), f"svc/{where}/{name}:80"), edits=edits)


def _policy(scene: Scene, spec: dict[str, Any], namespace: str) -> Edit:
    if scene.snapshot.lab.spec.networkPolicy.controller != "kube-router":
        raise LacksError("nobody of this lab obeys NetworkPolicies", "networkPolicy: {controller: kube-router}")
    body = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": POLICY, "namespace": namespace},
        "spec": spec,
    }
    return created(scene, body)


def _no_dns(scene: Scene) -> Damage:
    """Egress to pods alone, and the DNS pods are of another namespace."""
    where = scene.client.namespace
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {}}]}]}
    seen = Seen(named(scene.client), "svc/kube-system/kube-dns:53", "UDP")
    return Damage(f"{where}/{POLICY}", seen, edits=(_policy(scene, spec, where),))


def _nobodys_port(scene: Scene) -> Damage:
    """Only a port that the pod does not have is let in."""
    labels = dict(scene.far.metadata.labels)
    if not labels:
        raise LacksError(f"pod {scene.far.name} has no labels to select it by")
    spec = {
        "podSelector": {"matchLabels": labels},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": "htpp", "protocol": "TCP"}]}],
    }
    where = scene.far.namespace
    seen = across(scene)
    return Damage(f"{where}/{POLICY}", seen, edits=(_policy(scene, spec, where),))


def _no_server(scene: Scene) -> Damage:
    """The cluster's DNS has no pod behind its address."""
    service = scene.dns
    edit = changed(service, selector={"k8s-app": "core-dns"})
    return Damage(_at(service), Seen(named(scene.client), "svc/kube-system/kube-dns:53", "UDP"), edits=(edit,))


def faults() -> Iterator[Fault]:
    group: Class = "objects"
    fails = "a Service fails from everywhere"
    yield Fault(
        name="bind-address",
        title="a program listens at 127.0.0.1 alone",
        level=2,
        group=group,
        touches="a Pod and its Service",
        symptom=fails,
        said=Said("pod", "silent"),
        make=_bound,
    )
    yield Fault(
        name="selector",
        title="a Service selects labels that no pod has",
        level=1,
        group=group,
        touches="a Service",
        symptom=fails,
        said=Said("service", "selector"),
        make=_selector,
    )
    yield Fault(
        name="target-port",
        title="a Service sends to a port where nobody listens",
        level=1,
        group=group,
        touches="a Service",
        symptom=fails,
        said=Said("service", "targetPort"),
        make=_target_port,
    )
    yield Fault(
        name="target-port-name",
        title="a Service sends to a port's name that no pod has",
        level=1,
        group=group,
        touches="a Service",
        symptom=fails,
        said=Said("service", "targetPort"),
        make=_target_name,
    )
    yield Fault(
        name="protocol",
        title="a Service has the wrong protocol",
        level=2,
        group=group,
        touches="a Service",
        symptom=fails,
        said=Said("service", "targetPort"),
        make=_protocol,
    )
    yield Fault(
        name="internal-local",
        title="internalTrafficPolicy is Local, and this node has no pod of the Service",
        level=2,
        group=group,
        touches="a Service",
        symptom="a Service fails from one node and works from others",
        said=Said("service", "local"),
        make=_internal,
    )
    yield Fault(
        name="external-local",
        title="externalTrafficPolicy is Local, and this node has no pod of the Service",
        level=2,
        group=group,
        touches="a Service",
        symptom="a NodePort fails on one node and works on others",
        said=Said("service", "local"),
        make=_external,
    )
    yield Fault(
        name="endpoint-stale",
        title="an EndpointSlice written by hand has an address that nobody has",
        level=2,
        group=group,
        touches="an EndpointSlice",
        symptom="a Service fails from everywhere",
        said=Said("endpoint", "stale"),
        make=_by_hand,
    )
    yield Fault(
        name="policy-without-dns",
        title="a policy for egress forgets DNS",
        level=2,
        group=group,
        touches="a NetworkPolicy",
        symptom="pods find no name any more",
        said=Said("networkpolicy", "dns"),
        make=_no_dns,
    )
    yield Fault(
        name="policy-port",
        title="a policy lets in a port that no pod has",
        level=2,
        group=group,
        touches="a NetworkPolicy",
        symptom="one pod cannot be reached",
        said=Said("networkpolicy", "port"),
        make=_nobodys_port,
    )
    yield Fault(
        name="dns-without-pods",
        title="kube-dns selects labels that no pod has",
        level=1,
        group=group,
        touches="the Service kube-dns",
        symptom="pods find no name any more",
        said=Said("service", "selector"),
        make=_no_server,
    )
