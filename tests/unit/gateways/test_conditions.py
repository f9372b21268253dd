"""Conditions of Gateways, their listeners and HTTPRoutes, as the Gateway API's conformance tests ask for them."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
import yaml
from doors import certificate

from k8snetlab.api.apps import Deployment
from k8snetlab.api.body import decode
from k8snetlab.api.core import Service
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.gateway import Gateway, GatewayClass, HTTPRoute
from k8snetlab.api.meta import Object
from k8snetlab.api.routes import ROUTES
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers import gateways
from k8snetlab.diagnose import gateways as diagnosed
from k8snetlab.gateways import names

GROUP = "gateway.networking.k8s.io"
PAIR, OTHER = certificate("a.example"), certificate("b.example")


def made(kind: str, name: str, spec: Any = None, version: str = f"{GROUP}/v1", **more: Any) -> Object:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 3, **more.pop("metadata", {})}
    value = {"apiVersion": version, "kind": kind, "metadata": metadata, **more}
    return with_defaults(decode(value if spec is None else {**value, "spec": spec}))


def secret(name: str, crt: str, key: str, namespace: str = "default") -> Object:
    texts = {"tls.crt": crt, "tls.key": key}
    data = {entry: base64.b64encode(text.encode()).decode() for entry, text in texts.items()}
    return made("Secret", name, version="v1", data=data, metadata={"namespace": namespace})


def world(*objects: Object) -> Snapshot:
    lab = made("Lab", "lab", {"gateway": {"controller": "nginx"}}, "k8snetlab/v1alpha1")
    known = made("GatewayClass", "nginx", {"controllerName": names.CONTROLLER})
    web = made("Service", "web", {"selector": {"a": "b"}, "ports": [{"port": 80}], "clusterIP": "10.96.0.9"}, "v1")
    there = made("Namespace", "other", version="v1", metadata={"labels": {"open": "yes"}})
    secrets = (
        secret("good", PAIR[0], PAIR[1]),
        secret("hello", "Hello world\n", "Hello world\n"),
        secret("mixed", PAIR[0], OTHER[1]),
        secret("far", PAIR[0], PAIR[1], "other"),
    )
    return Snapshot.of([lab, known, web, there, *secrets, *objects])


def settled(now: Snapshot) -> Snapshot:
    """What the controller answers, until it has nothing more to say."""
    for _ in range(5):
        changes = [one for one in gateways.reconcile(now, None) if isinstance(one, tuple)]
        if not changes:
            return now
        now = now.changed(changes, now.revision + 1)
    raise AssertionError("the controller does not come to an end")


def gateway(*listeners: str, **more: Any) -> Object:
    said = [{"name": f"l{number}", **yaml.safe_load(f"{{{text}}}")} for number, text in enumerate(listeners)]
    return made("Gateway", "door", {"gatewayClassName": "nginx", "listeners": said, **more})


def route(spec: str, name: str = "way", namespace: str = "default", kind: str = "HTTPRoute") -> Object:
    return made(kind, name, yaml.safe_load(spec), metadata={"namespace": namespace})


def reasons(conditions: Any) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in conditions}


HTTP = "protocol: HTTP, port: 80"
TLS = "protocol: HTTPS, port: 443, tls: {certificateRefs: [%s]}"
PASSTHROUGH = "protocol: TLS, port: 443, tls: {mode: Passthrough}"
BAD_CERTIFICATE = {"ResolvedRefs": ("False", "InvalidCertificateRef"), "Programmed": ("False", "Invalid")}
LISTENERS: dict[str, tuple[list[str], dict[str, tuple[str, str]]]] = {
    "usual": ([HTTP], {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}),
    "certificate": ([TLS % "{name: good}"], {"ResolvedRefs": ("True", "ResolvedRefs")}),
    "nonexistent secret": ([TLS % "{name: nix}"], BAD_CERTIFICATE),
    "malformed secret": ([TLS % "{name: hello}"], BAD_CERTIFICATE),
    "another one's key": ([TLS % "{name: mixed}"], BAD_CERTIFICATE),
    "unsupported group": ([TLS % "{group: wrong.group, name: good}"], BAD_CERTIFICATE),
    "unsupported kind": ([TLS % "{kind: WrongKind, name: good}"], BAD_CERTIFICATE),
    "secret without grant": (
        [TLS % "{name: far, namespace: other}"],
        {"ResolvedRefs": ("False", "RefNotPermitted"), "Programmed": ("False", "Invalid")},
    ),
    "unsupported protocol": (["protocol: UDP, port: 53"], {"Accepted": ("False", "UnsupportedProtocol")}),
    "unsupported mode": (
        ["protocol: TLS, port: 443, tls: {certificateRefs: [{name: good}]}"],
        {"Accepted": ("False", "UnsupportedValue"), "Programmed": ("False", "Invalid")},
    ),
    "two modes of a port": (
        [PASSTHROUGH, "protocol: TLS, port: 443, hostname: a.b, tls: {certificateRefs: [{name: good}]}"],
        {"Conflicted": ("True", "ProtocolConflict"), "Accepted": ("False", "ProtocolConflict")},
    ),
    "nginx' own port of HTTP": (["protocol: TCP, port: 8181"], {"Accepted": ("False", "PortUnavailable")}),
    "nginx' own port": (["protocol: HTTP, port: 10254"], {"Accepted": ("False", "PortUnavailable")}),
    "two protocols of a port": (
        [HTTP, "protocol: HTTPS, port: 80, tls: {certificateRefs: [{name: good}]}"],
        {"Conflicted": ("True", "ProtocolConflict"), "Accepted": ("False", "ProtocolConflict")},
    ),
    "invalid route kind": (
        [HTTP + ", allowedRoutes: {kinds: [{kind: InvalidRoute}]}"],
        {"ResolvedRefs": ("False", "InvalidRouteKinds")},
    ),
}


KINDS = {"two modes of a port": "TLSRoute", "nginx' own port of HTTP": "TCPRoute"}


@pytest.mark.parametrize("case", LISTENERS)
def test_a_listener_says_what_keeps_it_from_being_served(case: str) -> None:
    listeners, wanted = LISTENERS[case]
    held = settled(world(gateway(*listeners))).all(Gateway)["default", "door"]
    said = held.status.listeners[0]
    assert wanted.items() <= reasons(said.conditions).items(), said
    assert {one.observedGeneration for one in said.conditions} == {3}
    served = reasons(said.conditions)["Programmed"][1] != "Invalid"
    assert reasons(held.status.conditions)["Accepted"] == (
        ("True", "Accepted") if served else ("False", "ListenersNotValid")
    )
    assert [one.kind for one in said.supportedKinds] == (
        [] if case.startswith(("unsup", "inv")) else [KINDS.get(case, "HTTPRoute")]
    ) or (case in ("unsupported group", "unsupported kind"))


def test_a_secret_of_another_namespace_is_taken_where_it_is_granted() -> None:
    grant = {
        "from": [{"group": GROUP, "kind": "Gateway", "namespace": "default"}],
        "to": [{"group": "", "kind": "Secret", "name": "far"}],
    }
    there = made("ReferenceGrant", "g", grant, f"{GROUP}/v1beta1", metadata={"namespace": "other"})
    held = settled(world(gateway(TLS % "{name: far, namespace: other}"), there)).all(Gateway)["default", "door"]
    assert reasons(held.status.listeners[0].conditions)["ResolvedRefs"] == ("True", "ResolvedRefs")


def test_one_bad_listener_leaves_the_others_and_routes_are_counted_at_each() -> None:
    web = "rules: [{backendRefs: [{name: web, port: 80}]}]"
    objects = [
        gateway(HTTP, TLS % "{name: nix}"),
        route(f"{{parentRefs: [{{name: door}}], {web}}}"),
        route(f"{{parentRefs: [{{name: door, sectionName: l0}}], {web}}}", "second"),
        route(f"{{parentRefs: [{{name: door, namespace: default}}], {web}}}", "away", "other"),
        route("{parentRefs: [{name: door}], rules: [{filters: [{type: CORS, cors: {}}]}]}", "refused"),
    ]
    held = settled(world(*objects)).all(Gateway)["default", "door"]
    assert reasons(held.status.conditions)["Accepted"] == ("True", "ListenersNotValid")
    assert [one.attachedRoutes for one in held.status.listeners] == [2, 1]


def test_without_the_stream_module_its_listeners_alone_are_refused_and_the_package_is_named() -> None:
    spec = {"nodeName": "node1", "containers": [{"name": "nginx", "image": names.IMAGE}]}
    pod = made("Pod", "door-nginx-x", spec, "v1", metadata={"labels": {names.GATEWAY_NAME: "door"}})
    node, lacking = (
        made("Node", "node1", version="v1", metadata={"namespace": "", "annotations": said})
        for said in ({}, {names.WITHOUT: names.STREAMS})
    )
    both = gateway(HTTP, PASSTHROUGH, "protocol: TCP, port: 5432")
    for known, wanted in ((node, ["True", "True", "True"]), (lacking, ["True", "False", "False"])):
        now = settled(world(both, pod, known))
        held = now.all(Gateway)["default", "door"]
        said = [one.conditions[0] for one in held.status.listeners]
        assert [one.status for one in said] == wanted
        assert all("apt-get install libnginx-mod-stream" in one.message for one in said if one.status == "False")
        ports = [one.port for one in now.all(Service)["default", "door-nginx"].spec.ports]
        assert ports == ([80, 443, 5432] if known is node else [80])


def test_a_route_of_each_kind_with_one_name_has_a_status_of_its_own() -> None:
    web = "rules: [{backendRefs: [{name: web, port: 80}]}]"
    objects = [
        gateway(HTTP, PASSTHROUGH, "protocol: TCP, port: 5432"),
        route(f"{{parentRefs: [{{name: door}}], {web}}}"),
        route(f"{{parentRefs: [{{name: door}}], hostnames: [a.b], {web}}}", kind="TLSRoute"),
        route(f"{{parentRefs: [{{name: door}}], {web.replace('web', 'nix')}}}", kind="TCPRoute"),
        route(f"{{parentRefs: [{{name: door}}], {web}}}", "younger", kind="TCPRoute"),
    ]
    now = settled(world(*objects))
    found = {}
    for kind in ROUTES:
        held: Any = now.all(kind)["default", "way"]
        (parent,) = held.status.parents
        found[kind.KIND] = [reasons(parent.conditions)[one] for one in ("Accepted", "ResolvedRefs")]
    good = [("True", "Accepted"), ("True", "ResolvedRefs")]
    assert found == {"HTTPRoute": good, "TLSRoute": good, "TCPRoute": [good[0], ("False", "BackendNotFound")]}
    listeners = now.all(Gateway)["default", "door"].status.listeners
    assert [([kind.kind for kind in one.supportedKinds], one.attachedRoutes) for one in listeners] == [
        (["HTTPRoute"], 1),
        (["TLSRoute"], 1),
        (["TCPRoute"], 2),
    ]
    faults = {(one.kind, one.fault): one.message for one in diagnosed.gateways(now)}
    assert {("tcproute", "backend"), ("tlsroute", "endpoints")} <= faults.keys()
    assert "tcproute default/way, which is older and gets all connections" in faults["tcproute", "route"]


def test_what_serves_a_gateway_is_its_own_and_strangers_are_left() -> None:
    now = settled(world(gateway(HTTP)))
    for kind in (Deployment, Service):
        obj: Any = now.all(kind)["default", "door-nginx"]
        assert [(one.kind, one.uid) for one in obj.metadata.ownerReferences] == [("Gateway", "uid-door")]
    assert [one.port for one in now.all(Service)["default", "door-nginx"].spec.ports] == [80]
    stranger = made("Service", "door-nginx", {"ports": [{"port": 7}], "clusterIP": "10.96.0.8"}, "v1")
    after = settled(world(gateway(HTTP), stranger))
    assert after.all(Service)["default", "door-nginx"] == stranger
    said = reasons(after.all(Gateway)["default", "door"].status.conditions)
    assert said["Programmed"] == ("False", "NoResources")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"infrastructure": {"parametersRef": {"group": "", "kind": "ConfigMap", "name": "x"}}}, "InvalidParameters"),
        ({"addresses": [{"value": "192.0.2.7"}]}, "UnsupportedAddress"),
    ],
)
def test_a_gateway_that_asks_for_what_there_is_not_is_not_accepted(more: Any, reason: str) -> None:
    held = settled(world(gateway(HTTP, **more))).all(Gateway)["default", "door"]
    said = reasons(held.status.conditions)
    assert said == {"Accepted": ("False", reason), "Programmed": ("False", "Invalid")}


def test_what_is_said_of_another_controllers_gateway_is_left() -> None:
    other = made("GatewayClass", "theirs", {"controllerName": "example.com/other"})
    spec = {"gatewayClassName": "theirs", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]}
    theirs = made("Gateway", "theirs", spec)
    parent = {"parentRef": {"name": "theirs"}, "controllerName": "example.com/other", "conditions": []}
    way = route("{parentRefs: [{name: theirs}, {name: door}], rules: [{}]}")
    way = msgspec.structs.replace(way, status=msgspec.convert({"parents": [parent]}, type(way.status)))  # type: ignore[attr-defined]
    now = settled(world(other, theirs, way, gateway(HTTP)))
    assert now.all(Gateway)["default", "theirs"] == theirs and now.all(GatewayClass)["", "theirs"] == other
    assert [one.controllerName for one in now.all(HTTPRoute)["default", "way"].status.parents] == [
        "example.com/other",
        names.CONTROLLER,
    ]


def test_names_of_any_length_are_names_of_services() -> None:
    long: Any = msgspec.structs.replace(gateway(HTTP), metadata=made("ConfigMap", "x" * 63, version="v1").metadata)
    other: Any = msgspec.structs.replace(long, metadata=made("ConfigMap", "x" * 64, version="v1").metadata)
    dotted: Any = msgspec.structs.replace(long, metadata=made("ConfigMap", "a.b", version="v1").metadata)
    dashed: Any = msgspec.structs.replace(long, metadata=made("ConfigMap", "a-b", version="v1").metadata)
    found = [names.name_of(one) for one in (long, other, dotted, dashed)]
    assert len(set(found)) == 4 and all(len(one) <= 63 and "." not in one for one in found)


def test_diagnose_names_what_a_route_lacks() -> None:
    objects = [
        gateway(HTTP + ", hostname: shop.example", TLS % "{name: nix}" + ", hostname: shop.example"),
        route("{parentRefs: [{name: door}], hostnames: [cart.example]}", "host"),
        route("{parentRefs: [{name: door}], rules: [{backendRefs: [{name: web, port: 80}]}]}", "empty"),
        route("{parentRefs: [{name: door}], rules: [{backendRefs: [{name: nix, port: 80}]}]}", "backend"),
        route("{parentRefs: [{name: door}], rules: [{backendRefs: [{name: x, namespace: other, port: 1}]}]}", "grant"),
        route("{parentRefs: [{name: nobody}]}", "parent"),
    ]
    found = {(one.object.partition("/")[2], one.fault) for one in diagnosed.gateways(settled(world(*objects)))}
    assert found >= {
        *{("host", "hostname"), ("empty", "endpoints"), ("backend", "backend"), ("grant", "grant")},
        *{("parent", "parent"), ("door", "certificate")},
    }
