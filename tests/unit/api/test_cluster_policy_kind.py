"""ClusterNetworkPolicy: what is taken, what is refused, and that it is alpha."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from k8snetlab.api.body import decode
from k8snetlab.api.columns import columns_of
from k8snetlab.api.load import load
from k8snetlab.api.scheme import BY_KIND, encode
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.admission import admit
from k8snetlab.errors import ManifestError

KIND = "ClusterNetworkPolicy"
WHOLE = """
tier: Baseline
priority: 7
subject: {pods: {namespaceSelector: {matchLabels: {a: b}}, podSelector: {}}}
ingress: [{name: none, action: Deny, from: [{namespaces: {}}], protocols: [{destinationNamedPort: web}]}]
egress:
- action: Accept
  to: [{networks: [10.0.0.0/8, "fd00::/8"]}, {nodes: {}}]
  protocols: [{tcp: {destinationPort: {range: {start: 1, end: 2}}}}, {udp: {destinationPort: {number: 53}}}]
"""


def made(spec: Any) -> Any:
    version = BY_KIND[KIND].type.API_VERSION
    return admit(
        decode({"apiVersion": version, "kind": KIND, "metadata": {"name": "a"}, "spec": spec}), None, Snapshot()
    )


def with_(**fields: str) -> dict[str, Any]:
    spec = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}}
    return {**spec, **{key: yaml.safe_load(text) for key, text in fields.items()}}


def test_what_the_api_has_is_kept() -> None:
    policy = made(yaml.safe_load(WHOLE))
    assert json.loads(encode(policy))["spec"] == yaml.safe_load(WHOLE)
    assert policy.key == ("", "a")
    assert [str(column.of(policy, 0.0)) for column in columns_of(type(policy))][:3] == ["a", "Baseline", "7"]


def test_it_is_said_to_be_alpha() -> None:
    text = yaml.safe_dump({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": KIND, "metadata": {"name": "a"}, "spec": with_()
    })  # fmt: skip
    loaded = load([("f.yaml", text)], whole=False)
    assert any("alpha" in warning for warning in loaded.warnings), loaded.warnings


DENY = "action: Deny, from: [{namespaces: {}}]"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tier": "Normal"}, 'spec.tier: Unsupported value: "Normal": supported values: "Admin", "Baseline"'),
        (
            {"priority": "1001"},
            "spec.priority: Invalid value: 1001: spec.priority in body should be less than or equal to 1000",
        ),
        (
            {"priority": "-1"},
            "spec.priority: Invalid value: -1: spec.priority in body should be greater than or equal to 0",
        ),
        ({"priority": "null"}, "spec.priority: Required value"),
        ({"subject": "{}"}, "spec.subject: Invalid value: 0: spec.subject in body should have at least 1 properties"),
        (
            {"subject": "{namespaces: {}, pods: {namespaceSelector: {}, podSelector: {}}}"},
            "spec.subject: Too many: 2: must have at most 1 properties",
        ),
        ({"subject": "{pods: {podSelector: {}}}"}, "spec.subject.pods.namespaceSelector: Required value"),
        (
            {"subject": "{namespaces: {matchExpressions: [{key: a, operator: In}]}}"},
            "spec.subject.namespaces.matchExpressions[0].values: Required value",
        ),
        (
            {"ingress": "[{action: Allow, from: [{namespaces: {}}]}]"},
            'spec.ingress[0].action: Unsupported value: "Allow": supported values: "Accept", "Deny", "Pass"',
        ),
        ({"ingress": "[{action: Deny}]"}, "spec.ingress[0].from: Required value"),
        (
            {"ingress": "[{action: Deny, from: []}]"},
            "spec.ingress[0].from: Invalid value: 0: spec.ingress[0].from in body should have at least 1 items",
        ),
        (
            {"ingress": "[{action: Deny, from: [{}]}]"},
            "spec.ingress[0].from[0]: Invalid value: 0: spec.ingress[0].from[0] in body should have at least 1 properties",
        ),
        (
            {"ingress": f"[{', '.join(['{' + DENY + '}'] * 26)}]"},
            "spec.ingress: Too many: 26: must have at most 25 items",
        ),
        (
            {"ingress": f"[{{{DENY}, name: {'x' * 101}}}]"},
            "spec.ingress[0].name: Too long: may not be more than 100 bytes",
        ),
        ({"ingress": f"[{{{DENY}, protocols: [{{}}]}}]"}, "spec.ingress[0].protocols[0]: Invalid value: 0"),
        (
            {"ingress": f"[{{{DENY}, protocols: [{{tcp: {{}}, udp: {{}}}}]}}]"},
            "spec.ingress[0].protocols[0]: Too many: 2",
        ),
        (
            {"ingress": f"[{{{DENY}, protocols: [{{tcp: {{destinationPort: {{number: 65536}}}}}}]}}]"},
            "spec.ingress[0].protocols[0].tcp.destinationPort.number: Invalid value: 65536",
        ),
        (
            {"ingress": f"[{{{DENY}, protocols: [{{udp: {{destinationPort: {{range: {{start: 5, end: 5}}}}}}}}]}}]"},
            'spec.ingress[0].protocols[0].udp.destinationPort.range: Invalid value: "object": Start port must be less than End port',
        ),
        (
            {"ingress": f"[{{{DENY}, protocols: [{{sctp: {{destinationPort: {{}}}}}}]}}]"},
            "spec.ingress[0].protocols[0].sctp.destinationPort: Invalid value: 0",
        ),
        (
            {"egress": "[{action: Deny, to: [{networks: [10.0.0]}]}]"},
            'spec.egress[0].to[0].networks[0]: Invalid value: "10.0.0": Invalid CIDR format provided',
        ),
        (
            {"egress": "[{action: Accept, to: [{domainNames: [example.com]}]}]"},
            "spec.egress[0].to[0].domainNames: Forbidden: domain names are no peers here",
        ),
        (
            {"egress": "[{action: Deny, to: [{nodes: {}}], protocols: [{destinationNamedPort: web}]}]"},
            'spec.egress[0]: Invalid value: "object": networks/nodes/domainNames peer cannot be set with namedPorts',
        ),
    ],
)
def test_what_its_schema_refuses_is_refused_in_its_words(fields: dict[str, str], words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        made(with_(**fields))
    said = [line.removeprefix(f'{KIND} "a" is invalid: ').removeprefix(f"{KIND}: ") for line in caught.value.problems]
    assert any(line.startswith(words) for line in said), said


@pytest.mark.parametrize(("controller", "said"), [("none", True), ("kube-router", False)])
def test_cutting_connections_without_a_controller_is_named(controller: str, said: bool) -> None:
    text = (
        "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: l}, "
        f"spec: {{networkPolicy: {{controller: {controller}, cutEstablished: true}}}}}}"
    )
    warnings = load([("lab.yaml", text)]).warnings
    assert any("cutEstablished: means nothing with controller none" in one for one in warnings) == said
