"""Whatever text comes in, only a ManifestError may come out."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from k8snetlab.api.decoding import decode
from k8snetlab.api.load import load
from k8snetlab.api.scheme import RESOURCES, encode
from k8snetlab.api.source import parse
from k8snetlab.errors import ManifestError

VOCABULARY = """
apiVersion kind metadata spec status name namespace labels annotations ports port nodePort targetPort protocol
clusterIP clusterIPs type selector nodes podCIDR podCIDRs serviceCIDR underlay cidr router network mtu
replicas template containers containerPort hostPort nodeName matchLabels endpoints addresses subsets ip
addressType conditions items externalIPs loadBalancerSourceRanges ipFamilies mode clusterCIDR
nodePortAddresses detectLocalMode store address outside vni 10.0.0.0/8 10.0.0.1 fd00::/48 fd00::1 0.0.0.0/0
::/0 127.0.0.1 255.255.255.255/32 http TCP UDP node1 NodePort None IPv4 IPv6 LoadBalancer ExternalName Local
web default app a.b A_b -x etcd BridgeInterface
"""
WORDS = st.sampled_from(VOCABULARY.split())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True)
    | st.sampled_from([0, 1, 2, 24, 80, 8080, 30000, 65535, 65536, -1])
    | WORDS
    | st.text(max_size=8)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=5),
    max_leaves=25,
)
KINDS = st.sampled_from([(r.type.API_VERSION, r.kind) for r in RESOURCES] + [("v1", "List"), ("v1", "PodList")])


def loads(text: str) -> None:
    with contextlib.suppress(ManifestError):
        for obj in load([("dir/f.yaml", text)]).objects:
            assert decode(type(obj), encode(obj)) == obj


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_is_loaded_or_refused(text: str) -> None:
    loads(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab01:-[]{},&*!|>%#'\"\n\t ~<?.x", max_size=60))
def test_text_made_of_yamls_own_characters(text: str) -> None:
    loads(text)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    parse(data, "f")


def without_strange_strings(tree: Any) -> Any:
    return yaml.safe_dump(tree, allow_unicode=True)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(KINDS, st.dictionaries(WORDS, TREES, max_size=5))
def test_any_tree_in_a_manifest(kind: tuple[str, str], tree: dict[str, Any]) -> None:
    loads(without_strange_strings({**tree, "apiVersion": kind[0], "kind": kind[1]}))


def shaped(info: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    """Values that have a type's shape, with now and then a wrong leaf: they come through to validation."""
    match info:
        case msgspec.inspect.StructType():
            fields = {f.encode_name: f for f in info.fields}
            required = {n: shaped(f.type) for n, f in fields.items() if f.required}
            optional = {n: shaped(f.type) for n, f in fields.items() if not f.required}
            return st.fixed_dictionaries(required, optional=optional)
        case msgspec.inspect.VarTupleType():
            return st.lists(shaped(info.item_type), max_size=2)
        case msgspec.inspect.DictType():
            return st.dictionaries(WORDS, WORDS | st.text(max_size=3), max_size=2)
        case msgspec.inspect.UnionType():
            return st.one_of([shaped(t) for t in info.types])
        case msgspec.inspect.LiteralType():
            return st.sampled_from(info.values)
        case msgspec.inspect.IntType():
            return st.integers(info.ge or 0, min(info.le or 70000, 70000)) | st.sampled_from([30000, 80])
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
    return WORDS | st.text(max_size=4)


OBJECTS = st.one_of(
    [
        shaped(msgspec.inspect.type_info(r.type)).map(
            lambda tree, r=r: {**tree, "apiVersion": r.type.API_VERSION, "kind": r.kind}
        )
        for r in RESOURCES
    ]
)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(OBJECTS, max_size=3))
def test_objects_of_the_right_shape(objects: list[Any]) -> None:
    loads(yaml.safe_dump_all(objects, allow_unicode=True))
