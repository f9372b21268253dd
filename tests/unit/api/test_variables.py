"""What containers' variables are that come from elsewhere, and what is said of what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from k8snetlab.api.core import Pod
from k8snetlab.api.load import load
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.variables import LacksError, given
from k8snetlab.api.workload import environment

WORLD = """
{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a: one, c.d: three}}
---
{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {word: c2VzYW1l, raw: "/w=="}}
---
apiVersion: v1
kind: Node
metadata: {name: node1}
status:
  addresses: [{type: InternalIP, address: 192.168.0.9}]
  capacity: {memory: 4Gi}
  allocatable: {memory: 1Ti}
---
"""


def variables(container: str, pod: str = "") -> dict[str, str]:
    spec = f"nodeName: node1, containers: [{{name: c, {container}}}]"
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: {{k/x: red}}{pod}}}\nspec: {{{spec}}}\n"
    objects = load([("f.yaml", WORLD + text)]).objects
    found: Any = next(obj for obj in objects if isinstance(obj, Pod))
    (one,) = found.spec.containers
    return environment(one, {}, given(found, one, Snapshot.of(objects)))


def ref(source: str) -> str:
    return f"env: [{{name: V, valueFrom: {{{source}}}}}]"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("fieldRef: {fieldPath: metadata.name}", "p"),
        ("fieldRef: {fieldPath: \"metadata.annotations['k/x']\"}", "red"),
        ("fieldRef: {fieldPath: \"metadata.labels['none']\"}", ""),
        ("fieldRef: {fieldPath: status.hostIP}", "192.168.0.9"),
        ("fieldRef: {fieldPath: spec.nodeName}", "node1"),
        ("configMapKeyRef: {name: m, key: a}", "one"),
        ("secretKeyRef: {name: s, key: word}", "sesame"),
        ("configMapKeyRef: {name: none, key: a, optional: true}", None),
        ("configMapKeyRef: {name: m, key: none, optional: true}", None),
    ],
)
def test_a_variable_has_the_value_of_its_source(source: str, value: str | None) -> None:
    assert variables(ref(source)).get("V") == value


def test_resources_are_divided_and_rounded_up() -> None:
    resources = "resources: {requests: {cpu: 1500m, memory: 1Mi}, limits: {cpu: 2}}"
    for resource, divisor, value in (
        ("requests.cpu", "'1'", "2"),
        ("requests.cpu", "1m", "1500"),
        ("limits.cpu", "'0'", "2"),
        ("requests.memory", "1Ki", "1024"),
        ("limits.memory", "1Mi", "4096"),
        ("requests.ephemeral-storage", "'1'", "0"),
    ):
        source = f"resourceFieldRef: {{resource: {resource}, divisor: {divisor}}}"
        assert variables(f"{resources}, {ref(source)}")["V"] == value, resource


def test_whole_objects_come_first_and_what_is_no_name_or_no_text_stays_away() -> None:
    sources = "envFrom: [{prefix: M_, configMapRef: {name: m}}, {secretRef: {name: s}}]"
    found = variables(f"{sources}, env: [{{name: word, value: '$(M_a)!'}}]")
    assert found == {"M_a": "one", "M_c.d": "three", "word": "one!"}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (ref("configMapKeyRef: {name: none, key: a}"), 'configmap "none" not found'),
        (ref("secretKeyRef: {name: none, key: a}"), 'secret "none" not found'),
        (ref("configMapKeyRef: {name: m, key: z}"), "couldn't find key z in ConfigMap default/m"),
        (ref("secretKeyRef: {name: s, key: z}"), "couldn't find key z in Secret default/s"),
        ("envFrom: [{secretRef: {name: none}}]", 'secret "none" not found'),
        (ref("resourceFieldRef: {resource: limits.cpu, containerName: x}"), "container x not found"),
    ],
)
def test_what_is_missing_is_said_in_kubelets_words(container: str, message: str) -> None:
    with pytest.raises(LacksError) as error:
        variables(container)
    assert str(error.value) == message
