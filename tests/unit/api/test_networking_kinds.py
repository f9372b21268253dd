"""Kinds of networking.k8s.io, Leases and PriorityClasses: what is filled in, and what is refused in a server's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from k8snetlab.api.body import decode
from k8snetlab.api.scheme import BY_KIND, encode
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.admission import admit
from k8snetlab.errors import ManifestError

BACKEND = "backend: {service: {name: web, port: {number: 80}}}"
SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters"


def made(kind: str, text: str, name: str = "a") -> Any:
    version = BY_KIND[kind].type.API_VERSION
    fields = yaml.safe_load(text) if text else {}
    obj = decode({"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields})
    return admit(obj, None, Snapshot())


def refused(kind: str, text: str, name: str = "a") -> list[str]:
    with pytest.raises(ManifestError) as caught:
        made(kind, text, name)
    return [
        line.removeprefix(f'{kind} "{name}" is invalid: ').removeprefix(f"{kind}: ") for line in caught.value.problems
    ]


def rule(path: str) -> str:
    return f"spec: {{rules: [{{http: {{paths: [{path}]}}}}]}}"


def ingress_rule(port: str) -> str:
    return f"spec: {{podSelector: {{}}, ingress: [{{ports: [{port}]}}]}}"


def peer(text: str) -> str:
    return f"spec: {{podSelector: {{}}, egress: [{{to: [{text}]}}]}}"


REFUSED = [
    ("Ingress", "spec: {}", 'spec: Invalid value: "": either `defaultBackend` or `rules` must be specified'),
    ("Ingress", rule("{path: /, " + BACKEND + "}"), "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"),
    ("Ingress", rule("{path: a, pathType: Exact, " + BACKEND + "}"), 'spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path'),
    ("Ingress", rule("{path: /a//b, pathType: Prefix, " + BACKEND + "}"), "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b\": must not contain '//'"),
    ("Ingress", rule("{path: /a/.., pathType: Prefix, " + BACKEND + "}"), "spec.rules[0].http.paths[0].path: Invalid value: \"/a/..\": cannot end with '/..'"),
    ("Ingress", rule("{path: /, pathType: exact, " + BACKEND + "}"), 'spec.rules[0].http.paths[0].pathType: Unsupported value: "exact": supported values: "Exact", "ImplementationSpecific", "Prefix"'),
    ("Ingress", rule("{path: /, pathType: Exact, backend: {}}"), 'spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required'),
    ("Ingress", "spec: {defaultBackend: {service: {name: web}}}", "spec.defaultBackend: Required value: port name or number is required"),
    ("Ingress", "spec: {defaultBackend: {service: {name: web, port: {name: http, number: 80}}}}", 'spec.defaultBackend: Invalid value: "": cannot set both port name & port number'),
    ("Ingress", "spec: {defaultBackend: {service: {port: {number: 80}}}}", "spec.defaultBackend.service.name: Required value"),
    ("Ingress", "spec: {defaultBackend: {service: {name: web, port: {number: 65536}}}}", "spec.defaultBackend.service.port.number: Invalid value: 65536: must be between 1 and 65535, inclusive"),
    ("Ingress", "spec: {defaultBackend: {resource: {kind: X, name: x}, service: {name: web, port: {number: 80}}}}", 'spec.defaultBackend: Invalid value: "": cannot set both resource and service backends'),
    ("Ingress", "spec: {rules: [{host: 10.0.0.1, http: {paths: [{path: /, pathType: Exact, " + BACKEND + "}]}}]}", 'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'),
    ("Ingress", "spec: {rules: [{host: 'a.*.b', http: {paths: [{path: /, pathType: Exact, " + BACKEND + "}]}}]}", "spec.rules[0].host: Invalid value: \"a.*.b\": a wildcard DNS-1123 subdomain must start with '*.'"),
    ("Ingress", "spec: {rules: [{host: Foo.com}]}", f'spec.rules[0].host: Invalid value: "Foo.com": {SUBDOMAIN}'),
    ("Ingress", "spec: {rules: [{http: {paths: []}}]}", "spec.rules[0].http.paths: Required value"),
    ("Ingress", "spec: {ingressClassName: A, defaultBackend: {service: {name: web, port: {number: 80}}}}", f'spec.ingressClassName: Invalid value: "A": {SUBDOMAIN}'),
    ("IngressClass", "spec: {}", "spec.controller: Required value"),
    ("IngressClass", "spec: {controller: nginx}", 'spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")'),
    ("IngressClass", "spec: {controller: a.io/b, parameters: {name: x}}", "spec.parameters.kind: Required value"),
    ("IngressClass", "spec: {controller: a.io/b, parameters: {kind: X, name: x, scope: Namespace}}", "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"),
    ("IngressClass", "spec: {controller: a.io/b, parameters: {kind: X, name: x, namespace: d}}", "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"),
    ("NetworkPolicy", ingress_rule("{port: 0}"), "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
    ("NetworkPolicy", ingress_rule("{endPort: 90}"), "spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is not specified"),
    ("NetworkPolicy", ingress_rule("{port: web, endPort: 90}"), "spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric"),
    ("NetworkPolicy", ingress_rule("{port: 90, endPort: 80}"), "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"),
    ("NetworkPolicy", ingress_rule("{port: 80, protocol: ICMP}"), 'spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'),
    ("NetworkPolicy", peer("{}"), "spec.egress[0].to[0]: Required value: must specify a peer"),
    ("NetworkPolicy", peer("{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}"), "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer"),
    ("NetworkPolicy", peer("{ipBlock: {except: [10.1.0.0/16]}}"), "spec.egress[0].to[0].ipBlock.cidr: Required value"),
    ("NetworkPolicy", peer("{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}"), 'spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`'),
    ("NetworkPolicy", peer("{ipBlock: {cidr: 10.0.0/8}}"), 'spec.egress[0].to[0].ipBlock.cidr: Invalid value: "10.0.0/8": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'),
    ("NetworkPolicy", peer("{podSelector: {matchExpressions: [{key: a, operator: In}]}}"), "spec.egress[0].to[0].podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"),
    ("NetworkPolicy", "spec: {podSelector: {}, policyTypes: [Both]}", 'spec.policyTypes[0]: Unsupported value: "Both": supported values: "Egress", "Ingress"'),
    ("ServiceCIDR", "spec: {}", "spec.cidrs: Required value: at least one CIDR required"),
    ("ServiceCIDR", "spec: {cidrs: [10.0.0.0/16, 10.1.0.0/16]}", "spec.cidrs: Invalid value: [10.0.0.0/16,10.1.0.0/16]: may specify no more than one IP for each IP family"),
    ("ServiceCIDR", "spec: {cidrs: [10.0.0.1/16]}", "spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits set beyond the prefix length"),
    ("IPAddress", "spec: {}", "spec.parentRef: Required value"),
    ("Lease", "spec: {leaseDurationSeconds: 0}", "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
    ("Lease", "spec: {leaseTransitions: -1}", "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"),
    ("Lease", "spec: {preferredHolder: x}", "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"),
    ("Lease", "spec: {renewTime: now}", 'spec.renewTime: expected a time, got "now"'),
    ("PriorityClass", "value: 1000000001", "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"),
    ("PriorityClass", "{value: 1, preemptionPolicy: Always}", 'preemptionPolicy: Unsupported value: "Always": supported values: "Never", "PreemptLowerPriority"'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "words"), REFUSED)
def test_what_a_server_refuses_is_refused_in_its_words(kind: str, text: str, words: str) -> None:
    name = "10.0.0.9" if kind == "IPAddress" else "a"
    said = refused(kind, text, name)
    assert any(line.startswith(words) for line in said), said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("web", "must be a valid IP address"),
        ("10.0.0.01", "leading"),
        ("fd00::0:1", 'must be in canonical form ("fd00::1")'),
    ],
)
def test_an_ipaddress_is_named_as_the_address_is_usually_written(name: str, words: str) -> None:
    assert words in refused("IPAddress", "spec: {parentRef: {resource: x, name: y}}", name)[0]
    assert made("IPAddress", "spec: {parentRef: {resource: x, name: y}}", "fd00::1").name == "fd00::1"


def test_a_priority_class_of_the_systems_is_only_what_the_system_makes_it() -> None:
    (said,) = refused("PriorityClass", "value: 5", "system-mine")
    assert said.startswith(
        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system"
    )
    assert said.endswith("error: system-mine is not a known system priority class")
    assert (
        made("PriorityClass", "value: 2000000000", "system-cluster-critical").preemptionPolicy == "PreemptLowerPriority"
    )


FILLED = [
    ("NetworkPolicy", "spec: {podSelector: {}}", {"podSelector": {}, "policyTypes": ["Ingress"]}),
    (
        "NetworkPolicy",
        "spec: {podSelector: {}, egress: [{ports: [{port: 53}], to: [{podSelector: {}}]}]}",
        {
            "podSelector": {},
            "egress": [{"ports": [{"protocol": "TCP", "port": 53}], "to": [{"podSelector": {}}]}],
            "policyTypes": ["Ingress", "Egress"],
        },
    ),
    (
        "NetworkPolicy",
        "spec: {podSelector: {}, policyTypes: [Egress], ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]}",
        {
            "podSelector": {},
            "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}],
            "policyTypes": ["Egress"],
        },
    ),
    (
        "IngressClass",
        "spec: {controller: a.io/b, parameters: {kind: X, name: x}}",
        {"controller": "a.io/b", "parameters": {"kind": "X", "name": "x", "scope": "Cluster"}},
    ),
    (
        "Ingress",
        "spec: {rules: [{http: {paths: [{pathType: ImplementationSpecific, " + BACKEND + "}]}}]}",
        {
            "rules": [
                {
                    "http": {
                        "paths": [
                            {
                                "backend": {"service": {"name": "web", "port": {"number": 80}}},
                                "pathType": "ImplementationSpecific",
                            }
                        ]
                    }
                }
            ]
        },
    ),
    ("Lease", "spec: {holderIdentity: me, leaseDurationSeconds: 15}", {"holderIdentity": "me", "leaseDurationSeconds": 15}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "spec"), FILLED)
def test_what_a_server_fills_in_is_filled_in_and_nothing_else(kind: str, text: str, spec: Any) -> None:
    assert json.loads(encode(made(kind, text)))["spec"] == spec
