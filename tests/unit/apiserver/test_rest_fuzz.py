"""Whatever a client sends, the REST face has an answer that is no 500, and every refusal is a Status.

`K8SNETLAB_FUZZ` is how many requests are made, `K8SNETLAB_SEED` where they begin.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import random
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from face import LAB, Face, face_of, pod, service
from verbs import DECLARED

from k8snetlab.api.decoding import decode
from k8snetlab.api.scheme import RESOURCES, Resource, encode
from k8snetlab.apiserver import query as words
from k8snetlab.apiserver.access import ANONYMOUS, AUTHENTICATED, MASTERS, VIEWERS, User
from k8snetlab.apiserver.authentication import groups_of
from k8snetlab.apiserver.negotiation import APPLY_PATCH, JSON_PATCH, PATCHES, PROTOBUF
from k8snetlab.apiserver.parts import parts_of
from k8snetlab.apiserver.protobuf import MAGIC
from k8snetlab.apiserver.virtual import VIRTUAL
from k8snetlab.lab.operations import faulting, standing
from k8snetlab.messages.verb import Conversation

REQUESTS = int(os.environ.get("K8SNETLAB_FUZZ", "8000"))
SEED = int(os.environ.get("K8SNETLAB_SEED", "10"))
OWN = "/apis/k8snetlab/v1alpha1"
METHODS = ("GET", "HEAD", "OPTIONS", "BREW", "")
NAMES = ("a", "b", "web", "n1", "default", "kube-system", "l", "..", ".", "%2e", "a b", "ä", "\x00", "x" * 300, "", "*")
VALUES = (
    *(
        "",
        "true",
        "false",
        "1",
        "0",
        "-1",
        "2",
        "999999999999999999999999",
        "x",
        "All",
        "Background",
        "Orphan",
        "Strict",
    ),
    *("app=web", "app in (a, b", "!a,b notin (c)", "a=b=c", "metadata.name=a", "spec.nodeName=", "a\\,b=c", "(", ")"),
    *("NotOlderThan", "Exact", "ä", "\x00\x1b[31m", "1e9", "+1", " 1", "٣", "9" * 5000, "eyJydiI6MX0=", "ipv6", "None"),
)
QUERY = sorted(
    {
        *words.LIST,
        *words.WRITE,
        *words.DELETE,
        *(word.encode_name for verb in DECLARED for word in verb.words),
        "x",
        "ä",
        "",
    }
)
REVIEWS = tuple(virtual.path for virtual in VIRTUAL if not virtual.namespaced)
FORMS = (
    *(None, None, "application/json", "application/json; charset=utf-8", "application/merge-patch+json"),
    *("application/strategic-merge-patch+json", "application/yaml", "text/plain", "\x00", "application/json,a"),
)
ACCEPTS = (
    None,
    None,
    None,
    "*/*",
    "application/json",
    "application/yaml",
    "application/json;as=Table",
    ";;,,q=",
    "a/b;q=x",
)
USERS = (
    *(User("admin", (MASTERS, AUTHENTICATED)), User("view", (VIEWERS, AUTHENTICATED)), ANONYMOUS),
    User("system:serviceaccount:default:robot", groups_of("default")),
)
"""Who asks over TLS."""
HEADERS = (
    *((b"authorization", value) for value in (b"Bearer x", b"bearer a.b.c", b"Basic \xff", b"Bearer " + b"x" * 20_000)),
    *(
        (b"impersonate-user", value)
        for value in (b"tom", b"", b"\xff", b"system:serviceaccount:a", b"system:anonymous")
    ),
    *((b"impersonate-group", b"system:masters"), (b"impersonate-uid", b"1"), (b"impersonate-extra-%zz", b"\x00")),
    *((b"user-agent", b"\xff/\x00"), (b"user-agent", b"curl/8"), (b"content-length", b"x")),
)
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**63, 2**70, 1.5, 1e308, "", "x", "\x00", "ä" * 300, "..", "1", [], {}, [[]], [None]),
    *({"": ""}, {"a": {"b": {"c": []}}}, ["a", 1, None], "10.96.0.1", "fd00::1", "Always", -(2**63)),
)
SIZES = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.of"}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 0, "default": 1}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
VERSION = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "shops.fuzz.example.org"},
    "spec": {
        "group": "fuzz.example.org",
        "scope": "Namespaced",
        "names": {"plural": "shops", "singular": "shop", "kind": "Shop"},
        "versions": [{**VERSION, "subresources": {"status": {}, "scale": SIZES}}],
    },
}
OBJECTS: tuple[dict[str, Any], ...] = (
    DEFINITION,
    {"apiVersion": "fuzz.example.org/v1", "kind": "Shop", "metadata": {"name": "a"}, "spec": {"size": 2}},
    pod("a", app="web"),
    service("web", type="LoadBalancer", externalTrafficPolicy="Local"),
    service("b", clusterIP="None"),
    LAB,
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.1.0/24"}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n1"}},
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1"}]},
        "spec": {
            "replicas": 2,
            "strategy": {"rollingUpdate": {"maxSurge": "30%"}},
            "selector": {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}],
            },
            "template": {"metadata": {"labels": {"app": "web", "a": "b"}}, "spec": pod("x")["spec"]},
        },
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.1.2"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod"}}],
        "ports": [{"name": "", "port": 80}],
    },
    {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "web"},
        "subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}]}],
    },
    {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "a.1"},
        "involvedObject": {"kind": "Pod", "name": "a"},
        "reason": "Failed",
        "count": 3,
    },
    {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "a"}, "spec": {"replicas": 1}},
    {"kind": "DeleteOptions", "preconditions": {"uid": "1"}, "dryRun": ["All"], "gracePeriodSeconds": 0},
    {"from": "a", "to": "web:80", "port": 80, "protocols": ["TCP"], "predictOnly": True, "namespace": "default"},
    {"node": "n1", "predictOnly": True, "patience": 1},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"a": "b"}, "data": {"c": "YQ=="}},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": ["a/b"]}, "data": {"a": "b"}},
    {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}},
    },
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*at, key))
    return found


def mutated(value: Any, dice: random.Random) -> Any:
    """The value with junk in one to three places."""
    value = copy.deepcopy(value)
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        at = dice.choice(places(value))
        junk = copy.deepcopy(dice.choice(JUNK))
        if not at:
            return junk
        parent = value
        for key in at[:-1]:
            parent = parent[key]
        if dice.random() < 0.2 and isinstance(parent, dict):
            parent[dice.choice(("x", "spec", "status", "metadata", "name", "ports", "ä"))] = junk
        else:
            parent[at[-1]] = junk
    return value


def body_of(dice: random.Random, kind: str, method: str) -> bytes:
    """Mostly something of the kind, a little mutated; of a patch a part."""
    fitting = [obj for obj in OBJECTS if obj.get("kind", "") == kind]
    obj: Any = dice.choice(fitting) if fitting and dice.random() < 0.9 else dice.choice(OBJECTS)
    if method in ("PUT", "POST") and isinstance(obj, dict) and "metadata" in obj and dice.random() < 0.5:
        obj = {**obj, "metadata": {**obj["metadata"], "name": dice.choice(NAMES[:6])}}
    obj = mutated(obj, dice)
    if method == "PATCH" and isinstance(obj, dict) and obj:
        obj = {key: obj[key] for key in obj if dice.random() < 0.5}
    data = json.dumps(obj).encode()
    match dice.randrange(40):
        case 0:
            return b""
        case 1:
            return data[: dice.randrange(len(data) + 1)]
        case 2:
            return bytes(dice.randrange(256) for _ in range(dice.randrange(40)))
        case 3:
            return dice.choice((b"[" * 5000, b'{"a":' * 5000, b"1" * 5000, b"\x00", b"null", b'"\\ud800"'))
    return data


def own_path(dice: random.Random) -> tuple[str, str]:
    """Method and path of one of the lab's own operations."""
    verb = dice.choice([verb for verb in DECLARED if not isinstance(verb, Conversation)])
    path = re.sub(r"\{namespace\}", "default", verb.path)
    path = re.sub(r"\{[^}]+\}", lambda _: dice.choice(NAMES), path)
    return verb.method, f"{OWN}/{path}" + ("" if dice.random() < 0.95 else "/x")


def object_path(dice: random.Random, resource: Resource) -> tuple[str, str]:
    """Method and path of objects of a kind, or of one."""
    version = resource.type.API_VERSION
    parts = ["api" if "/" not in version else "apis", version]
    if resource.type.namespaced and dice.random() < 0.9:
        parts += ["namespaces", dice.choice(("default", "default", "default", "default", "default", *NAMES))]
    parts.append(resource.plural)
    methods = ["GET", "GET", "POST", "POST", "POST", "DELETE"]
    if dice.random() < 0.6:
        mine = [obj["metadata"]["name"] for obj in OBJECTS if obj.get("kind") == resource.kind]
        parts.append(dice.choice(mine) if mine and dice.random() < 0.8 else dice.choice(NAMES))
        methods = ["GET", "PUT", "PUT", "PATCH", "PATCH", "PATCH", "DELETE"]
        if dice.random() < 0.3:
            parts.append(dice.choice([*(part.name for part in parts_of(resource)), "scale", "status", "x"]))
    if dice.random() < 0.05:
        parts[dice.randrange(len(parts))] = dice.choice(NAMES)
    return dice.choice(methods), "/" + "/".join(parts)


def custom_path(dice: random.Random) -> tuple[str, str]:
    """Of objects of a kind that was brought."""
    path = "/apis/fuzz.example.org/v1/namespaces/default/shops"
    if dice.random() < 0.4:
        return dice.choice(("GET", "POST", "POST", "DELETE")), path
    part = dice.choice(("", "", "", "/status", "/scale", "/x"))
    return dice.choice(
        ("GET", "PUT", "PUT", "PATCH", "PATCH", "DELETE")
    ), f"{path}/{dice.choice(('a', 'a', 'web'))}{part}"


def query_of(dice: random.Random, method: str, path: str) -> str:
    if dice.random() < 0.6:
        return ""
    fitting = {"GET": words.LIST, "DELETE": (*words.DELETE, "labelSelector", "fieldSelector")}.get(method, words.WRITE)
    if path.startswith(OWN + "/"):
        own = [verb for verb in DECLARED if re.fullmatch(verb.pattern, path.removeprefix(OWN + "/"), re.DOTALL)]
        fitting = [word.encode_name for verb in own for word in verb.words] or fitting
    known = [
        dice.choice(fitting) if dice.random() < 0.9 else dice.choice(QUERY) for _ in range(dice.choice((1, 1, 2, 3)))
    ]
    text = "&".join(f"{quote(key)}={quote(dice.choice(VALUES))}" for key in known)
    text += "&x=1" * (1100 if dice.random() < 0.005 else 0)
    return text + dice.choice(("", "", "", "", "", "", "&", "&&=", "%ff", "%", ";x"))


def document_path(dice: random.Random, resource: Resource) -> tuple[str, str]:
    """Discovery, OpenAPI, reviews, and what of a pod is no part that is stored."""
    version = resource.type.API_VERSION
    paths = ("/", "/api", "/apis", "/version", "/livez", "/readyz/etcd", "/openapi/v2", "/openapi/v3")
    more = (f"/apis/{version}", f"/api/{version}", f"/openapi/v3/apis/{version}", f"/openapi/v3/api/{version}")
    parts = tuple(f"/api/v1/namespaces/default/pods/a/{part}" for part in ("log", "exec", "attach", "x"))
    path = dice.choice((*paths, *more, *parts, *REVIEWS))
    return ("POST" if path in REVIEWS or dice.random() < 0.1 else "GET"), path


def operations(dice: random.Random) -> Any:
    """A JSON patch."""
    places = (
        "/metadata/labels",
        "/metadata/labels/a",
        "/spec",
        "/spec/replicas",
        "/spec/ports/0",
        "/metadata",
        "",
        "/x",
    )
    kinds = ("add", "remove", "replace", "move", "copy", "test", "x")
    return [
        {
            "op": dice.choice(kinds),
            "path": dice.choice(places),
            "from": dice.choice(places),
            "value": dice.choice(JUNK),
        }
        for _ in range(dice.choice((0, 1, 1, 2, 5)))
    ]


def octets(dice: random.Random, resource: Resource) -> bytes:
    """Something like protobuf."""
    raw = bytes(
        dice.choice((10, 18, 26, 8, 2, 4, 0, 1, 97, 255, dice.randrange(256))) for _ in range(dice.randrange(40))
    )
    version, kind = resource.type.API_VERSION.encode(), resource.kind.encode()
    meta = b"\x0a" + bytes([len(version)]) + version + b"\x12" + bytes([len(kind)]) + kind
    return MAGIC + b"\x0a" + bytes([len(meta)]) + meta + b"\x12" + bytes([len(raw)]) + raw


def sent(dice: random.Random, resource: Resource, asked: tuple[str, str], kind: str) -> tuple[str | None, bytes]:
    """The Content-Type of a request and its body."""
    method, path = asked
    form = dice.choice(PATCHES) if method == "PATCH" else None
    if form == JSON_PATCH and dice.random() < 0.9:
        return form, json.dumps(operations(dice)).encode()
    if method == "POST" and dice.random() < 0.05:
        return PROTOBUF, octets(dice, resource)
    if path.removeprefix(OWN) in ("/up", "/apply", "/delete") and method == "POST":
        # a good one would wait for a kernel
        return form, json.dumps({"objects": [dice.choice(JUNK)]}).encode()
    if path.endswith("/diagnose"):
        return form, json.dumps({"node": dice.choice(JUNK[1:])}).encode()
    has_body = method not in ("GET", "HEAD") or dice.random() < 0.03
    return form, body_of(dice, kind, method) if has_body else b""


async def fuzz(face: Face, dice: random.Random, number: int) -> str:
    """One request; what was wrong with its answer, "" for nothing."""
    resource = dice.choice(RESOURCES)
    method, path = own_path(dice) if dice.random() < 0.25 else object_path(dice, resource)
    if dice.random() < 0.05:
        method, path = document_path(dice, resource)
    brought = dice.random() < 0.08
    if brought:
        method, path = custom_path(dice)
    query = query_of(dice, method, path)
    method = method if dice.random() < 0.97 else dice.choice(METHODS)
    kind = "" if path.startswith(OWN + "/") and resource.kind != "Lab" else resource.kind
    kind = "Shop" if brought else kind
    kind = "Scale" if path.endswith("/scale") else "DeleteOptions" if method == "DELETE" else kind
    form, body = sent(dice, resource, (method, path), kind)
    if form == APPLY_PATCH:
        query += "&fieldManager=m" + dice.choice(("", "&force=true"))
    form = dice.choice(FORMS) if dice.random() < 0.05 else form
    accept = dice.choice(ACCEPTS) if dice.random() < 0.05 else None
    user = dice.choice(USERS) if dice.random() < 0.2 else None
    headers = tuple(dice.choices(HEADERS, k=dice.choice((1, 1, 2)))) if dice.random() < 0.1 else ()
    said = await face.ask(
        method,
        path,
        body,
        query=query,
        content_type=form,
        accept=accept,
        headers=headers,
        user=user,
        patience=0.01,
    )
    asked = f"{number}: {user and user.name} {headers} {method} {path}?{query[:300]} {form} {accept} {body[:300]!r}"
    where = f"{asked}: {said.code} {said.body[:300]!r}"
    if said.code >= 500 and said.code != 504:
        return where
    if said.code >= 400:
        try:
            status = said.json
        except ValueError:
            return where
        if not isinstance(status, dict) or status.get("kind") != "Status" or status.get("code") != said.code:
            return where
    for line in said.body.splitlines() if said.code == 200 else ():
        if b'"type":"error"' in line and b'"code":500' in line:
            return where
    return ""


def test_no_request_is_answered_with_a_500(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))
    monkeypatch.setattr(standing, "WAIT", 0.0)
    monkeypatch.setattr(faulting, "SETTLING", 0.0)
    dice = random.Random(SEED)
    wrong: list[str] = []

    async def main() -> None:
        async with face_of(whole=True) as face:
            definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            for number in range(REQUESTS):
                if number % 500 == 0:  # it may have been deleted
                    assert (await face.ask("POST", definitions, DEFINITION)).code in (201, 409, 422)
                if problem := await fuzz(face, dice, number):
                    wrong.append(problem)
            assert not face.cluster.informer.problems
            for kind in face.cluster.snapshot.objects.values():
                for obj in kind.values():
                    decode(type(obj), encode(obj))
            for resource in RESOURCES:
                version = resource.type.API_VERSION
                path = f"/api{'s' if '/' in version else ''}/{version}/{resource.plural}"
                assert (await face.ask("GET", path)).code == 200

    asyncio.run(main())
    assert not wrong, "\n".join(wrong[:20])
