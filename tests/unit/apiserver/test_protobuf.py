"""Bodies in Kubernetes' protobuf are read as the same objects in JSON, and wrong ones are refused."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from face import Face, with_face
from hypothesis import example, given
from hypothesis import strategies as st

from k8snetlab.api import reference, wire
from k8snetlab.apiserver.protobuf import MAGIC, decoded
from k8snetlab.errors import RequestError

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PROTOBUF = "application/vnd.kubernetes.protobuf"


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def message(**fields: Any) -> bytes:
    """`f1=…` by number: text, bytes, number, or a list of them."""
    data = b""
    for name, held in fields.items():
        for one in held if isinstance(held, list) else [held]:
            number = int(name[1:])
            if isinstance(one, int):
                data += varint(number << 3) + varint(one)
            else:
                raw = one.encode() if isinstance(one, str) else one
                data += varint(number << 3 | 2) + varint(len(raw)) + raw
    return data


def whole(version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + message(f1=message(f1=version, f2=kind), f2=raw, f3="", f4="")


LABELS = message(f1="app", f2="web")
METADATA = message(f1="web", f2="", f3="", f8=message(), f11=[LABELS])
CONTAINER = message(f1="c", f2="nginx", f6=message(f1="", f2=0, f3=80, f4="", f5=""), f8=message())
PROBE = message(f1=message(f2=message(f1="/", f2=message(f1=1, f2=0, f3="http"), f3="")), f2=0)
TEMPLATE = message(f1=message(f11=[LABELS]), f2=message(f2=[CONTAINER], f13=0))
SURGE = message(f2=message(f2=message(f1=0, f2=2, f3="")))
SPEC = message(f1=0, f2=message(f1=[LABELS]), f3=TEMPLATE, f4=SURGE, f5=0, f7=0)
DEPLOYMENT = whole("apps/v1", "Deployment", message(f1=METADATA, f2=SPEC, f3=message(f1=0)))


def test_a_deployment_is_read() -> None:
    found = decoded(DEPLOYMENT)
    assert (found["apiVersion"], found["kind"]) == ("apps/v1", "Deployment")
    assert found["metadata"] == {"name": "web", "labels": {"app": "web"}}
    assert found["spec"]["replicas"] == 0
    assert found["spec"]["selector"] == {"matchLabels": {"app": "web"}}
    assert found["spec"]["strategy"] == {"rollingUpdate": {"maxSurge": 2}}
    [container] = found["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"hostPort": 0, "containerPort": 80}]


def test_forms_of_values_are_read() -> None:
    raw = message(f1=METADATA, f2=[message(f1="k", f2=b"\x00\xff")], f3="Opaque", f5=1)
    secret = decoded(whole("v1", "Secret", raw))
    assert (secret["data"], secret["type"], secret["immutable"]) == ({"k": "AP8="}, "Opaque", True)
    made = message(f1=1_700_000_000)
    limits = message(f1="cpu", f2=message(f1="200m"))
    container = message(f1="c", f8=message(f1=[limits]), f10=PROBE)
    pod = decoded(whole("v1", "Pod", message(f1=message(f1="a", f7=-1, f8=made), f2=message(f2=[container]))))
    assert pod["metadata"] == {"name": "a", "generation": -1, "creationTimestamp": "2023-11-14T22:13:20Z"}
    [one] = pod["spec"]["containers"]
    assert one["resources"] == {"limits": {"cpu": "200m"}}
    assert one["livenessProbe"] == {"httpGet": {"path": "/", "port": "http"}, "initialDelaySeconds": 0}


def test_a_lease_keeps_its_microseconds() -> None:
    spec = message(f1="me", f2=15, f3=message(f1=1_700_000_000, f2=0), f4=message(f1=1_700_000_000, f2=123_456_789))
    lease = decoded(whole("coordination.k8s.io/v1", "Lease", message(f1=METADATA, f2=spec)))
    assert lease["spec"]["acquireTime"] == "2023-11-14T22:13:20.000000Z"
    assert lease["spec"]["renewTime"] == "2023-11-14T22:13:20.123456Z"


def test_every_field_has_the_name_and_kind_of_the_reference() -> None:
    same = {"y": "s", "{y}": "{s}", "m": "t"}
    for type_ in wire._types():
        known = reference.fields(type_)
        if not known or type_ in ("EndpointPort",):
            continue
        for field in wire.fields(type_).values():
            if not field.inline and field.kind != "o" and field.name in known:
                said = {"l": "i", "[l]": "[i]"}.get(known[field.name], known[field.name])  # both are varints
                assert same.get(field.kind, field.kind) == said or said == "o", (type_, field)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        MAGIC,
        MAGIC + b"\xff",
        MAGIC + b"\xff" * 20,
        whole("v1", "Nothing", b""),
        whole("v1", "Pod", b"\x0a\xff"),
        whole("v1", "Pod", b"\x0b"),
        whole("v1", "Pod", b"\x08\x01"),
        whole("v1", "Pod", message(f1=message(f1=b"\xff"))),
        MAGIC + message(f1=message(f1="v1", f2="Pod"), f2=b"", f3="gzip"),
        whole("v1", "Pod", message(f1=message(f8=message(f1=2**62)))),
        whole("v1", "Pod", message(f1=message(f8=message(f1=1, f2=10**9)))),
        whole("v1", "Pod", message(f1=message(f8=message(f1=1, f2=-1)))),
    ],
)
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(RequestError, match="no object in protobuf"):
        decoded(data)


@given(st.binary(max_size=200), st.sampled_from(sorted(wire._types())))
@example(b"\x0a\x02\x0a\x00", "Pod")
def test_junk_is_read_or_refused(data: bytes, kind: str) -> None:
    try:
        assert isinstance(decoded(whole("v1", kind, data)), dict)
    except RequestError as error:
        assert error.status == 400


def test_an_object_is_made_of_protobuf() -> None:
    async def test(face: Face) -> None:
        said = await face.ask("POST", DEPLOYMENTS, DEPLOYMENT, content_type=PROTOBUF)
        assert (said.code, said.json["spec"]["replicas"]) == (201, 0)
        said = await face.ask("POST", DEPLOYMENTS, whole("v1", "Pod", b""), content_type=PROTOBUF)
        assert said.code == 400

    with_face(test)


def test_a_kind_that_is_none_is_forgotten() -> None:
    class Kind(str):
        """One that can be watched."""

    kind = Kind("Nothing")
    known = weakref.ref(kind)
    assert not wire.fields(kind)
    del kind
    gc.collect()
    assert known() is None


def test_a_status_that_is_read_is_stored_and_one_that_is_not_is_refused() -> None:
    @with_face
    async def _(face: Face) -> None:
        base = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
        backend = {"service": {"name": "web", "port": {"number": 80}}}
        await face.ask("POST", base, {"metadata": {"name": "web"}, "spec": {"defaultBackend": backend}})
        status = message(f1=message(f1=[message(f1="192.168.0.21", f4=[message(f1=80, f2="TCP")])]))
        raw = whole("networking.k8s.io/v1", "Ingress", message(f1=message(f1="web", f3="default"), f3=status))
        said = await face.ask("PUT", f"{base}/web/status", raw, content_type=PROTOBUF)
        assert said.code == 200, said.json
        [point] = said.json["status"]["loadBalancer"]["ingress"]
        assert point == {"ip": "192.168.0.21", "ports": [{"port": 80, "protocol": "TCP"}]}
        said = await face.ask("PUT", f"{DEPLOYMENTS}/web/status", DEPLOYMENT, content_type=PROTOBUF)
        assert said.code == 415
        assert said.json["message"] == "the status of a Deployment is not read in protobuf: send JSON"
