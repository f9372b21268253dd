"""Definitions of kinds, and their schemas: what they may say, what values become by them, and hostile ones."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8snetlab.api import jsonpath, structural
from k8snetlab.api.extensions import CustomResourceDefinition
from k8snetlab.api.kinds import priority
from k8snetlab.api.problems import Report
from k8snetlab.api.schema import STEPS, compiled, defaulted, pruned, violations
from k8snetlab.api.valid_definition import definition

OBJECT = {"type": "object"}


def told(value: Any, schema: Any) -> list[str]:
    return [message for _, message in violations(value, schema)]


def problems(**schema: Any) -> list[str]:
    return [message for _, message in structural.problems({"type": "object", **schema}, ())]


def crd(**changes: Any) -> CustomResourceDefinition:
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": OBJECT}}],
    }
    value = {"metadata": {"name": "widgets.example.com"}, "spec": {**spec, **changes}}
    return msgspec.convert(value, CustomResourceDefinition)


def refused(obj: CustomResourceDefinition) -> list[str]:
    report = Report([obj])
    definition(report, obj)
    return [f"{one.path[-1]}: {one.message}" for one in report.problems]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"properties": {"a": {}}}, "Required value: must not be empty for specified object fields"),
        ({"properties": {"a": {"type": "array"}}}, "Required value: must be specified"),
        ({"properties": {"a": {"type": "text"}}}, "Unsupported value: 'text'"),
        ({"properties": {"a": OBJECT}, "additionalProperties": OBJECT}, "mutual exclusive"),
        ({"additionalProperties": False}, "additionalProperties cannot be set to false"),
        ({"properties": {"a": {"$ref": "#/b"}}}, "Forbidden: it is not supported"),
        ({"properties": {"a": {"type": "array", "items": OBJECT, "uniqueItems": True}}}, "becomes quadratic"),
        ({"properties": {"a": {"type": "string", "pattern": "(?=a)"}}}, "must be a valid regular expression"),
        ({"anyOf": [{"properties": {"a": {}}}]}, "must also be specified outside"),
        ({"anyOf": [{"type": "object"}]}, "must be empty to be structural"),
        ({"properties": {"metadata": {"type": "object", "properties": {"labels": OBJECT}}}}, "name and generateName"),
        ({"properties": {"a": {"type": "integer", "default": "x"}}}, 'must be of type integer: "string"'),
        ({"properties": {"a": {"type": "object", "default": {"b": 1}}}}, "fields that the schema does not have"),
        ({"typo": 1}, "unknown field of a schema"),
        ({"properties": []}, "expected a mapping"),
        ({"properties": {"a": {"type": "string", "maxLength": -1}}}, "expected a whole number"),
    ],
)
def test_a_schema_that_is_not_structural_is_refused(schema: dict[str, Any], words: str) -> None:
    assert any(words in message for message in problems(**schema)), problems(**schema)


def test_rules_in_cel_and_unknown_formats_are_named() -> None:
    schema = {
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.a > 1"}],
        "properties": {"a": {"type": "string", "format": "isbn"}},
    }
    assert not structural.problems(schema, ())
    said = list(structural.unchecked(schema, ("s",)))
    assert "rules in CEL are not evaluated here" in said[0] and 'format "isbn" is not checked' in said[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"group": "example"}, "should be a domain with at least one dot"),
        ({"group": "a.k8s.io"}, "protected groups must have approval annotation"),
        ({"names": {"plural": "Widgets", "kind": "Widget"}}, "a DNS-1035 label must consist of"),
        ({"names": {"plural": "things", "kind": "Widget"}}, 'must be spec.names.plural+"."+spec.group'),
        ({"preserveUnknownFields": True}, "cannot set to true"),
        ({"conversion": {"strategy": "Webhook"}}, "no webhook is called here"),
        ({"versions": []}, "must have exactly one version marked as storage version"),
    ],
)
def test_a_definition_that_is_wrong_is_refused(changes: dict[str, Any], words: str) -> None:
    assert not refused(crd())
    assert any(words in message for message in refused(crd(**changes))), refused(crd(**changes))


def test_a_version_without_a_schema_and_a_wrong_column_are_refused() -> None:
    version = {"name": "v1", "served": True, "storage": True}
    assert "openAPIV3Schema: Required value: schemas are required" in refused(crd(versions=[version]))
    column = {"name": "A", "type": "text", "jsonPath": ".spec[?(@.a=~/x/)]"}
    version |= {"schema": {"openAPIV3Schema": OBJECT}, "additionalPrinterColumns": [column]}
    said = refused(crd(versions=[version]))
    assert any("Unsupported value" in one for one in said) and any(
        "not understood from character" in one for one in said
    )


def test_a_kind_of_the_servers_own_group_and_version_is_refused() -> None:
    obj = crd(group="apiextensions.k8s.io")
    assert any("of this server's own" in message for message in refused(obj))


def test_values_are_pruned_and_given_defaults() -> None:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "a": {"type": "integer", "default": 1},
                    "n": {"type": "string", "nullable": True},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": OBJECT}}},
                },
            }
        },
    }
    value = {"kind": "K", "spec": {"b": 1, "n": None, "a": None, "free": {"y": 1}, "map": {"k": {"z": 1}}}, "c": 1}
    kept, lost = pruned(value, schema)
    assert kept == {"kind": "K", "spec": {"n": None, "a": None, "free": {"y": 1}, "map": {"k": {}}}}
    assert lost == [("spec", "b"), ("spec", "map", "k", "z"), ("c",)]
    assert defaulted(kept, schema)["spec"] == {"n": None, "a": 1, "free": {"y": 1}, "map": {"k": {}}}


@pytest.mark.parametrize(
    ("value", "schema", "words"),
    [
        ("x" * 9, {"type": "string", "maxLength": 3}, "Too long: may not be more than 3 bytes"),
        (True, {"type": "integer"}, 'must be of type integer: "boolean"'),
        (3, {"type": "integer", "multipleOf": 2}, "should be a multiple of 2"),
        (2**31, {"type": "integer", "format": "int32"}, "should be of type int32"),
        ("300.0.0.1", {"type": "string", "format": "ipv4"}, "must be of type ipv4"),
        ("2026-13-01T00:00:00Z", {"type": "string", "format": "date-time"}, "must be of type date-time"),
        ({"a": 1, "b": 2}, {"type": "object", "maxProperties": 1}, "Too many: 2"),
        ({}, {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, "at least one schema (anyOf)"),
        ({"a": 1}, {"type": "object", "not": {"required": ["a"]}}, "must not validate the schema (not)"),
        ({"a": 1, "b": 1}, {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, "(oneOf)"),
        (
            ["a", "a"],
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "Duplicate value",
        ),
    ],
)
def test_a_value_that_breaks_its_schema_is_told(value: Any, schema: dict[str, Any], words: str) -> None:
    assert any(words in message for message in told(value, schema)), told(value, schema)


# --- hostile ones -----------------------------------------------------------------------------------------------------


def test_a_pattern_that_backtracks_elsewhere_takes_no_time_here() -> None:
    schema = {"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"}
    assert any("should match" in message for message in told("a" * 100_000, schema))


def test_a_pattern_that_is_huge_is_refused() -> None:
    for pattern in ("((a{1000}){1000}){1000}", "(x{1000}y{1000}z{1000})" * 200):
        with pytest.raises(ValueError):
            compiled(pattern)


def test_a_schema_nested_deeply_or_too_large_is_refused_at_once() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        schema = {"type": "object", "properties": {"a": schema}}
    assert "nested too deeply" in problems(properties={"a": schema})[0]
    wide = {f"p{n}": {"type": "object", "properties": {"a": {"type": "string"}}} for n in range(60_000)}
    assert "too large" in problems(properties=wide)[0]


def test_checking_an_object_ends() -> None:
    some = [{"properties": {"a": {"enum": [n]}}} for n in range(2000)]
    item = {"type": "object", "properties": {"a": {"type": "integer"}}, "anyOf": some}
    schema = {"type": "array", "items": item}
    said = told([{"a": -1}] * 2000, schema)
    assert len(said) <= 51 and any(str(STEPS) in one or "anyOf" in one for one in said)


# --- paths, versions --------------------------------------------------------------------------------------------------


def test_paths_of_columns() -> None:
    value = {"spec": {"a.b": 1, "list": [{"type": "Ready", "status": "True"}, {"type": "Other"}], "m": {"x": 1}}}
    for path, found in {
        ".spec.list[0].type": ["Ready"],
        ".spec.list[-1].type": ["Other"],
        ".spec.list[*].type": ["Ready", "Other"],
        '.spec.list[?(@.type=="Ready")].status': ["True"],
        r".spec.a\.b": [1],
        ".spec['a.b']": [1],
        "{.spec.m.x}": [1],
        ".spec.none.x": [],
    }.items():
        assert jsonpath.find(value, jsonpath.parse(path)) == found, path
    for wrong in ("", "spec", ".spec[?(@.a>1)]", ".spec..a", "." + "a." * 1000):
        with pytest.raises(ValueError):
            jsonpath.parse(wrong)


def test_versions_are_sorted_as_kubernetes_sorts_them() -> None:
    versions = ["foo1", "v1", "v10beta3", "v11alpha2", "v2", "v12alpha1", "v3beta1", "v10", "foo10"]
    wanted = ["v10", "v2", "v1", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]
    assert sorted(versions, key=priority) == wanted
