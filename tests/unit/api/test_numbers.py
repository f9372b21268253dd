"""Every whole number of Kubernetes' objects: one that its field cannot hold is named, one out of bounds is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from k8snetlab.api import reference, structural
from k8snetlab.api.body import decode
from k8snetlab.api.fields import check
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.words import show
from k8snetlab.errors import ManifestError, RefusedError

KINDS = [kind for kind in BY_KIND if reference.fields(kind) and kind != "KubeProxyConfiguration"]
FEWEST = 1600
ELSEWHERE = ("spec.conversion.webhook", "spec.versions.schema.openAPIV3Schema")
"""Forbidden as a whole, and looked at by `structural` (the next test)."""


def numbers(type_: str, above: tuple[str, ...] = ()) -> Iterator[tuple[list[tuple[str, str]], str]]:
    """([(field, its type)] down to a whole number, its letter); what is in itself is followed once."""
    for field, kind in reference.fields(type_).items():
        inner = kind.strip("[]{}")
        if inner in ("i", "l"):
            yield [(field, kind)], inner
        elif len(inner) > 1 and inner not in above and field not in ("status", "metadata"):
            for path, letter in numbers(inner, (*above, inner)):
                yield [(field, kind), *path], letter


def written(path: list[tuple[str, str]], number: int) -> Any:
    value: Any = number
    for field, kind in reversed(path):
        for sign in reversed(kind.rstrip("]}abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")):
            value = [value] if sign == "[" else {"key": value}
        value = {field: value}
    return value


def test_every_whole_number_that_its_field_cannot_hold_is_named() -> None:
    silent, looked = [], 0
    for kind in KINDS:
        for path, letter in numbers(kind):
            bits = {"i": 32, "l": 64}[letter]
            for number in (2 ** (bits - 1), -(2 ** (bits - 1)) - 1):
                looked += 1
                said = [message for _, message in check(written(path, number), BY_KIND[kind].type).wrong]
                where = ".".join(field for field, _ in path)
                if not where.startswith(ELSEWHERE) and not any(str(number) in message for message in said):
                    silent.append((kind, where, number))
    assert not silent and looked > FEWEST, (looked, silent)


def test_so_it_is_with_the_numbers_of_a_definitions_schema() -> None:
    for number, fits in ((2**63, False), (-1, False), (2**63 - 1, True)):
        schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": number}}}
        assert bool(list(structural.problems(schema, ("schema",)))) is not fits, number


def pod(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", **spec.pop("container", {})}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}


HTTP = {"httpGet": {"port": 80}}
REFUSED = [
    (pod(container={"livenessProbe": {**HTTP, "periodSeconds": -1}}), "must be greater than or equal to 0"),
    (pod(container={"livenessProbe": {"httpGet": {"port": 70000}}}), "must be between 1 and 65535, inclusive"),
    (pod(container={"startupProbe": {**HTTP, "terminationGracePeriodSeconds": 0}}), "must be greater than 0"),
    (pod(container={"securityContext": {"runAsUser": -1}}), "must be between 0 and 2147483647, inclusive"),
    (pod(securityContext={"supplementalGroups": [1, 2**31]}), "must be between 0 and 2147483647, inclusive"),
    (
        pod(volumes=[{"name": "v", "configMap": {"name": "c", "defaultMode": 0o1000}}]),
        "must be a number between 0 and 0777 (octal), both inclusive",
    ),
    (
        pod(
            affinity={
                "nodeAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 101, "preference": {"matchExpressions": []}}
                    ]
                }
            }
        ),
        "must be in the range 1-100",
    ),
    (pod(container={"imagePullPolicy": "Sometimes"}), "supported values"),
    (pod(os={"name": "plan9"}), "supported values"),
]


@pytest.mark.parametrize(("body", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_number_out_of_bounds_is_refused_as_the_server_refuses_it(body: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedError) as refused:
        decode(body)
    assert words in refused.value.message


def test_one_that_no_field_holds_is_none_that_can_be_read() -> None:
    body = pod(terminationGracePeriodSeconds=2**63)
    with pytest.raises(ManifestError, match="cannot unmarshal number 9223372036854775808 into a field of type int64"):
        decode(body)
    body = pod(container={"ports": [{"containerPort": 2**31}]})
    with pytest.raises(ManifestError, match="2147483648") as said:
        decode(body)
    assert not isinstance(said.value, RefusedError)
    assert show(("spec", "containers", 0, "ports", 0, "containerPort")) in said.value.message
