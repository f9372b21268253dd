"""Kinds of the Gateway API: what is filled in, what is refused and in whose words, and how they are printed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from k8snetlab.api.body import decode
from k8snetlab.api.columns import columns_of
from k8snetlab.api.gateway import seconds
from k8snetlab.api.scheme import BY_KIND, encode
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.admission import admit
from k8snetlab.errors import K8sNetLabError


def made(kind: str, spec: str, before: Any = None) -> Any:
    version = BY_KIND[kind].type.API_VERSION
    value = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": yaml.safe_load(spec)}
    return admit(decode(value), before, Snapshot())


def gateway(listener: str, more: str = "") -> str:
    return f"{{gatewayClassName: nginx, listeners: [{{name: a, port: 80, {listener}}}{more}]}}"


def rule(text: str) -> str:
    return f"{{parentRefs: [{{name: a}}], rules: [{{{text}}}]}}"


def test_what_is_left_out_is_filled_in() -> None:
    route = json.loads(encode(made("HTTPRoute", "{parentRefs: [{name: a}]}")))["spec"]
    assert route["rules"] == [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]
    assert route["parentRefs"] == [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "a"}]
    held = json.loads(encode(made("Gateway", gateway("protocol: HTTPS, tls: {certificateRefs: [{name: s}]}"))))
    listener = held["spec"]["listeners"][0]
    assert listener["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    assert listener["tls"] == {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": "s"}]}
    assert [one["reason"] for one in held["status"]["conditions"]] == ["Pending", "Pending"]


REFUSED = {
    "tls must not be specified for protocols": (
        "Gateway",
        gateway("protocol: HTTP, tls: {certificateRefs: [{name: s}]}"),
    ),
    "tls mode must be Terminate for protocol HTTPS": ("Gateway", gateway("protocol: HTTPS, tls: {mode: Passthrough}")),
    "tls mode must be set for protocol TLS": ("Gateway", gateway("protocol: TLS")),
    "hostname must not be specified for protocols": ("Gateway", gateway("protocol: TCP, hostname: a.b")),
    "Combination of port, protocol and hostname must be unique": (
        "Gateway",
        gateway("protocol: HTTP", ", {name: b, port: 80, protocol: HTTP}"),
    ),
    "Duplicate value": ("Gateway", gateway("protocol: HTTP", ", {name: a, port: 81, protocol: HTTP}")),
    "certificateRefs or options must be specified": ("Gateway", gateway("protocol: HTTPS, tls: {}")),
    "spec.listeners[0].hostname in body should match": ("Gateway", gateway("protocol: HTTP, hostname: 'a;b'")),
    "spec.listeners in body should have at least 1 items": ("Gateway", "{gatewayClassName: nginx, listeners: []}"),
    "spec.controllerName in body should match": ("GatewayClass", "{controllerName: nginx}"),
    "sectionName must be specified when": ("HTTPRoute", "{parentRefs: [{name: a}, {name: a}]}"),
    "sectionName must be unique when": (
        "HTTPRoute",
        "{parentRefs: [{name: a, sectionName: x}, {name: a, sectionName: x}]}",
    ),
    "value must be an absolute path": ("HTTPRoute", rule("matches: [{path: {value: a}}]")),
    "must not contain '/../'": ("HTTPRoute", rule("matches: [{path: {value: /a/../b}}]")),
    "must only contain valid characters": ("HTTPRoute", rule('matches: [{path: {value: "/a\\n"}}]')),
    "RequestRedirect filter must not be used together": (
        "HTTPRoute",
        rule("filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: [{name: a, port: 1}]"),
    ),
    "Must have port for Service reference": ("HTTPRoute", rule("backendRefs: [{name: a}]")),
    "exactly one PathPrefix match must be specified": (
        "HTTPRoute",
        rule(
            "matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: "
            "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]"
        ),
    ),
    "filter.urlRewrite must be specified for URLRewrite": ("HTTPRoute", rule("filters: [{type: URLRewrite}]")),
    "filter.cors must be nil if the filter.type is not CORS": (
        "HTTPRoute",
        rule("filters: [{type: URLRewrite, urlRewrite: {}, cors: {}}]"),
    ),
    "URLRewrite filter cannot be repeated": (
        "HTTPRoute",
        rule("filters: [{type: URLRewrite, urlRewrite: {}}, {type: URLRewrite, urlRewrite: {}}]"),
    ),
    "replaceFullPath must be specified when type": (
        "HTTPRoute",
        rule("filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath}}}]"),
    ),
    "backendRequest timeout cannot be longer": ("HTTPRoute", rule("timeouts: {request: 1s, backendRequest: 1500ms}")),
    "weight in body should be less than or equal to 1000000": (
        "HTTPRoute",
        rule("backendRefs: [{name: a, port: 1, weight: 1000001}]"),
    ),
    "headers[0].name in body should match": (
        "HTTPRoute",
        rule("matches: [{headers: [{name: 'a b', value: c}]}]"),
    ),
    "Hostnames cannot contain an IP": (
        "TLSRoute",
        "{hostnames: [10.0.0.1], rules: [{backendRefs: [{name: a, port: 1}]}]}",
    ),
    "spec.hostnames in body should have at least 1 items": (
        "TLSRoute",
        "{hostnames: [], rules: [{backendRefs: [{name: a, port: 1}]}]}",
    ),
    "must have at most 1 items": (
        "TCPRoute",
        "{rules: [{backendRefs: [{name: a, port: 1}]}, {backendRefs: [{name: b, port: 1}]}]}",
    ),
    "spec.rules[0].backendRefs in body should have at least 1 items": ("TCPRoute", "{rules: [{backendRefs: []}]}"),
    'spec.rules[0].backendRefs[0]: Invalid value: "object": Must have port for Service reference': (
        "TCPRoute",
        "{rules: [{backendRefs: [{name: a}]}]}",
    ),
    "spec.hostnames[0] in body should match": (
        "TLSRoute",
        "{hostnames: ['a;b'], rules: [{backendRefs: [{name: a, port: 1}]}]}",
    ),
    "spec.to in body should have at least 1 items": (
        "ReferenceGrant",
        "{from: [{group: '', kind: A, namespace: b}], to: []}",
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_the_definitions_refuse_is_refused_in_their_words(words: str) -> None:
    with pytest.raises(K8sNetLabError) as caught:
        made(*REFUSED[words])
    assert words in str(caught.value)


def test_a_class_keeps_its_controller() -> None:
    before = made("GatewayClass", "{controllerName: a.b/c}")
    with pytest.raises(K8sNetLabError, match="field is immutable"):
        made("GatewayClass", "{controllerName: a.b/d}", before)


def test_columns_are_those_of_the_definitions() -> None:
    route = made("HTTPRoute", "{hostnames: [a.b, '*.c']}")
    assert [str(one.of(route, 0.0)) for one in columns_of(type(route))][:2] == ["a", '["a.b","*.c"]']
    held = made("Gateway", gateway("protocol: HTTP"))
    assert [one.title for one in columns_of(type(held))] == ["Name", "Class", "Address", "Programmed", "Age"]
    assert [str(one.of(held, 0.0)) for one in columns_of(type(held))][1:4] == ["nginx", "", "Unknown"]


def test_durations_are_summed() -> None:
    assert [seconds(text) for text in ("1h30m", "10s", "500ms", "0s", None)] == [5400, 10, 0.5, 0, 0]
