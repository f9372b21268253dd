"""A real kubectl brings kinds of its own, by CustomResourceDefinitions, and has what a real cluster makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import kubectl
import pytest
from kubectl import Kubectl

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)

CRONTABS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1beta1
    served: true
    storage: false
    schema:
      openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {cronSpec: {type: string}}}}}
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas,
                                       labelSelectorPath: .status.selector}}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec, description: The cron spec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    - {name: Image, type: string, jsonPath: .spec.image, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, pattern: '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$'}
              image: {type: string, default: busybox}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
              mode: {type: string, enum: [Fast, Slow]}
              port: {x-kubernetes-int-or-string: true}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              steps:
                type: array
                maxItems: 3
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, run: {type: string}}}
          status:
            type: object
            properties:
              replicas: {type: integer}
              selector: {type: string}
              conditions:
                type: array
                items: {type: object, properties: {type: {type: string}, status: {type: string}}}
"""
CRONTAB = """
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: %s, finalizers: [%s]}
spec: {cronSpec: "* * * * */5", replicas: 2, junk: 1, free: {any: [1]}, steps: [{name: a, run: x}]}
"""


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with kubectl.against_face(tmp_path_factory.mktemp("kubectl")) as one:
        one.run("apply", "-f", "-", stdin=CRONTABS)
        one.run("wait", "--for=condition=established", "crd/crontabs.stable.example.com", "--timeout=20s")
        yield one


def made(k: Kubectl, name: str, finalizer: str = "") -> None:
    k.run("apply", "--validate=ignore", "-f", "-", stdin=CRONTAB % (name, finalizer))


def spec_of(k: Kubectl, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(k.run("get", "ct", name, "-o", "json"))["spec"]
    return found


def test_a_definition_is_discovered_with_its_names(k: Kubectl) -> None:
    rows = {line.split()[0]: line.split() for line in k.run("api-resources", "--no-headers").splitlines()}
    assert rows["crontabs"] == ["crontabs", "ct", "stable.example.com/v1", "true", "CronTab"]
    assert {"stable.example.com/v1", "stable.example.com/v1beta1"} <= set(k.run("api-versions").split())
    said = json.loads(k.run("get", "crd", "crontabs.stable.example.com", "-o", "json"))
    assert {c["type"]: c["status"] for c in said["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert all(c["lastTransitionTime"] for c in said["status"]["conditions"])
    assert said["spec"]["names"]["listKind"] == "CronTabList" and said["status"]["storedVersions"] == ["v1"]


def test_an_object_is_pruned_and_given_its_defaults(k: Kubectl) -> None:
    made(k, "pruned")
    assert spec_of(k, "pruned") == {
        "cronSpec": "* * * * */5",
        "replicas": 2,
        "image": "busybox",
        "free": {"any": [1]},
        "steps": [{"name": "a", "run": "x"}],
    }
    assert "crontab.stable.example.com/pruned" in k.run("get", "all", "-o", "name")


def test_columns_are_those_of_the_definition(k: Kubectl) -> None:
    made(k, "shown")
    lines = k.run("get", "crontabs", "shown").splitlines()
    assert lines[0].split() == ["NAME", "SPEC", "REPLICAS", "READY", "AGE"]
    k.run(
        "patch",
        "ct",
        "shown",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}',
    )
    cells = k.run("get", "ct", "shown", "-o", "wide", "--no-headers").split()
    assert cells[:8] == ["shown", "*", "*", "*", "*", "*/5", "2", "True"] and cells[-1] == "busybox"
