"""The OpenAPI documents are what their versions say, and an old kubectl reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubectl
import pytest
from kubectl import Kubectl
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator

from k8snetlab.api import reference
from k8snetlab.api.effects import effects
from k8snetlab.api.kinds import BUILT_IN
from k8snetlab.apiserver import describing, openapi
from k8snetlab.apiserver.swagger import encoded

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [size], properties: {size: {type: integer, description: How large.}}}
"""


def problems(validator: Any, document: bytes) -> list[str]:
    return [f"{list(error.path)}: {error.message[:200]}" for error in validator(json.loads(document)).iter_errors()]


@pytest.mark.slow
def test_version_2_is_valid() -> None:
    assert problems(OpenAPIV2SpecValidator, openapi.swagger(BUILT_IN)) == []


@pytest.mark.parametrize("version", BUILT_IN.versions)
def test_version_3_is_valid(version: str) -> None:
    assert problems(OpenAPIV30SpecValidator, openapi.document(version, BUILT_IN)) == []


def test_every_write_says_that_it_can_be_tried_and_how_fields_are_checked() -> None:
    for version in BUILT_IN.versions:
        for path, item in json.loads(openapi.document(version, BUILT_IN))["paths"].items():
            for method in {"post", "put", "patch"} & set(item):
                words = {one["name"] for one in item[method]["parameters"]}
                assert {"dryRun", "fieldValidation", "fieldManager"} <= words, (path, method)
                assert ("force" in words) == (method == "patch"), (path, method)


def test_every_operation_has_a_name_of_its_own() -> None:
    for version in BUILT_IN.versions:
        items = json.loads(openapi.document(version, BUILT_IN))["paths"].values()
        names = [one["operationId"] for item in items for one in item.values() if isinstance(one, dict)]
        assert len(names) == len(set(names))
    whole = json.loads(openapi.swagger(BUILT_IN))["paths"]
    assert whole["/api/v1/namespaces/{namespace}/pods"]["get"]["operationId"] == "listCoreV1NamespacedPod"
    names = [one["operationId"] for item in whole.values() for one in item.values() if isinstance(one, dict)]
    assert len(names) == len(set(names))


def test_protobuf_is_written_as_its_format_says() -> None:
    document = {
        "swagger": "2.0",
        "info": {"title": "t", "version": "v"},
        "paths": {},
        "definitions": {"a": {"type": "string", "x-b": [1]}},
    }
    schema = b"\xb2\x01\x08\x0a\x06string" + b"\xfa\x01\x0c\x0a\x03x-b\x12\x05\x12\x03[1]"
    named = b"\x0a\x01a\x12" + bytes([len(schema)]) + schema
    definitions = b"\x0a" + bytes([len(named)]) + named
    assert encoded(document) == (
        b"\x0a\x032.0" + b"\x12\x06\x0a\x01t\x12\x01v" + b"\x42\x00" + b"\x4a" + bytes([len(definitions)]) + definitions
    )


@pytest.fixture
def old(tmp_path: Path, kubectl_of: Callable[[str], Path]) -> Iterator[Kubectl]:
    with kubectl.serving(tmp_path) as (_, listener, _loop):
        program = kubectl_of("1.20")
        yield Kubectl(str(program), tmp_path, kubectl.kubeconfig(listener, "admin", tmp_path / "config"))


def test_an_old_kubectl_explains_checks_and_tries(old: Kubectl) -> None:
    assert "readinessProbe\t<Object>" in old.run("explain", "pod.spec.containers")
    assert "maxSurge\t<string>" in old.run("explain", "deployment.spec.strategy.rollingUpdate")
    old.run("apply", "-f", "-", stdin=CRD)
    old.run("wait", "--for=condition=established", "crd/widgets.example.com", "--timeout=20s")
    said = old.run("explain", "widget.spec")
    assert "size\t<integer> -required-" in said and "How large." in said
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n%s: {a: b}\n"
    wrong = old.run("create", "-f", "-", stdin=text % "date", code=1)
    assert 'ValidationError(ConfigMap): unknown field "date" in io.k8s.api.core.v1.ConfigMap' in wrong
    assert "configmap/a created (server dry run)" in old.run(
        "create", "--dry-run=server", "-f", "-", stdin=text % "data"
    )
    assert "configmap/a created (server dry run)" in old.run(
        "apply", "--dry-run=server", "-f", "-", stdin=text % "data"
    )
    assert "not found" in old.run("get", "cm", "a", code=1)


def test_what_is_described_is_there_and_what_a_lab_acts_on_is_described() -> None:
    for name in describing._texts():
        type_, _, field = name.partition(".")
        assert type_ == "*" or (field in reference.fields(type_) if field else reference.fields(type_)), name
    for one in effects(resource.type for resource in BUILT_IN.all):
        assert describing.of_type(one.type_), one.type_
        for field in one.acted:
            assert describing.of_field(one.type_, field), (one.type_, field)


@pytest.mark.parametrize("release", ["1.20", "1.37"])
def test_kubectl_explains_fields_in_words(release: str, tmp_path: Path, kubectl_of: Callable[[str], Path]) -> None:
    with kubectl.against_face(tmp_path, program=str(kubectl_of(release))) as k:
        pod, job = (" ".join(k.run("explain", what).split()) for what in ("pod.spec.containers", "job.spec"))
    assert "One program of a pod, with its settings." in pod
    assert "Its name, a DNS label; no two containers of a pod have the same." in pod
    assert "How it is found out whether it can serve." in pod
    assert "With which rights it runs. Checked and kept; it has no effect in a lab." in pod
    assert "After each the next waits longer" in job
