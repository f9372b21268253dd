"""What is answered without a look at any object: discovery, the version, whether the server is well, OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from k8snetlab.api.kinds import BUILT_IN, Kinds
from k8snetlab.apiserver import discovery, openapi
from k8snetlab.apiserver.bodies import forms_of
from k8snetlab.apiserver.negotiation import JSON, TEXT, YAML, Form, check_form, chosen
from k8snetlab.apiserver.paths import not_allowed, nowhere
from k8snetlab.apiserver.reviews import Reviews
from k8snetlab.apiserver.transport import Reply, Request
from k8snetlab.apiserver.virtual import Virtual, reviewed
from k8snetlab.cluster.node_status import VERSION

Checks = Callable[[], dict[str, str]]
"""What of the server is well: by name what is wrong with it, or ""."""
REVIEWS = tuple(form for form in forms_of("POST") if form != YAML)
"""How a review comes, which every user may ask for: not in YAML, which takes long to read."""
HEALTH = ("/healthz", "/livez", "/readyz")
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_AGGREGATED = [Form(JSON, discovery.AGGREGATED, "apidiscovery.k8s.io", version) for version in ("v2", "v2beta1")]


class Document(msgspec.Struct, frozen=True):
    """One of these: how a request for it is answered."""

    answer: Callable[[Request], Reply]


class Documents:
    def __init__(self, checks: Checks, reviews: Reviews) -> None:
        self._checks, self._reviews = checks, reviews

    def at(self, request: Request, kinds: Kinds = BUILT_IN) -> Document | None:
        """None where the path is none of a document. Raises RequestError (405)."""
        path = request.path.rstrip("/") or "/"
        if (found := reviewed(path)) is not None:
            if request.method != "POST":
                raise not_allowed(request.method, ("POST",))
            check_form(request.content_type, REVIEWS)
            return Document(lambda request: self._reviewed(request, *found))
        document = self._find(path, kinds)
        if document is not None and request.method not in ("GET", "HEAD"):
            raise not_allowed(request.method, ("GET",))
        return document

    def _find(self, path: str, kinds: Kinds) -> Document | None:
        if path.startswith("/api/v1/") or (path.startswith("/apis/") and path.count("/") > 3):
            return None  # objects', as most are
        fixed: dict[str, Callable[[Request], Reply]] = {
            "/": lambda request: _root(request, kinds),
            "/version": _version,
            "/api": lambda request: _discovered(request, discovery.core_versions(), kinds),
            "/apis": lambda request: _discovered(request, discovery.group_list(kinds), kinds),
            "/openapi/v2": lambda request: _swagger(request, kinds),
            "/openapi/v3": lambda request: _plain(request, openapi.index(kinds)),
            **dict.fromkeys(HEALTH, self._health),
        }
        if path in fixed:
            return Document(fixed[path])
        if match := re.fullmatch(r"/(?:healthz|livez|readyz)/([a-z-]+)", path):
            name = match[1]
            return Document(lambda request: self._one_check(request, name))
        if (match := re.fullmatch(r"/openapi/v3/(?:apis|api)/(.+)", path)) and (
            whole := openapi.document(match[1], kinds)
        ):
            return Document(lambda request: _openapi(request, whole))
        if match := re.fullmatch(r"/api/(v1)|/apis/([^/]+(?:/[^/]+)?)", path):
            said = match[1] or match[2]
            found = discovery.resource_list(said, kinds) if match[1] or "/" in said else discovery.group(said, kinds)
            if found is not None:
                return Document(lambda request: _plain(request, found))
        return None

    def _reviewed(self, request: Request, virtual: Virtual, namespace: str) -> Reply:
        chosen(request.accept, [Form()])
        return Reply(self._reviews.answered(virtual, namespace, request.user, request.body), 201)

    def _health(self, request: Request) -> Reply:
        checks = {
            name: wrong for name, wrong in self._checks().items() if name not in request.values.get("exclude", ())
        }
        bad = any(checks.values())
        name = request.path.strip("/")
        if not bad and "verbose" not in request.values:
            return Reply(b"ok", media=TEXT)
        lines = [f"[-]{check} failed: {wrong}" if wrong else f"[+]{check} ok" for check, wrong in checks.items()]
        text = "\n".join((*lines, f"{name} check {'failed' if bad else 'passed'}")) + "\n"
        return Reply(text.encode(), 500 if bad else 200, media=TEXT)

    def _one_check(self, request: Request, name: str) -> Reply:
        wrong = self._checks().get(name)
        if wrong is None:
            raise nowhere(request.path)
        return Reply(f"internal server error: {wrong}".encode() if wrong else b"ok", 500 if wrong else 200, media=TEXT)


def _discovered(request: Request, plain: dict[str, Any], kinds: Kinds) -> Reply:
    """/api and /apis: for old clients a list of what to ask for next, for new ones everything."""
    form = chosen(request.accept, [Form(), *_AGGREGATED])
    if not form.kind:
        return Reply(plain)
    return Reply(discovery.aggregated(request.path.rstrip("/") == "/api", form.version, kinds), media=form.content_type)


def _openapi(request: Request, document: bytes) -> Reply:
    chosen(request.accept, [Form()])
    return Reply(document)


def _swagger(request: Request, kinds: Kinds) -> Reply:
    """An old kubectl takes protobuf alone."""
    form = chosen(request.accept, [Form(), Form(V2_PROTOBUF)])
    if form.media == V2_PROTOBUF:
        return Reply(openapi.swagger_protobuf(kinds), media=V2_PROTOBUF.replace("@", "."))
    return Reply(openapi.swagger(kinds))


def _plain(request: Request, value: dict[str, Any]) -> Reply:
    chosen(request.accept, [Form()])
    return Reply(value)


def _root(request: Request, kinds: Kinds) -> Reply:
    return _plain(request, discovery.paths(("/version", "/openapi/v2", "/openapi/v3", *HEALTH), kinds))


def _version(request: Request) -> Reply:
    major, minor = re.findall(r"\d+", VERSION)[:2]
    return _plain(
        request,
        {
            "major": major,
            "minor": minor,
            "gitVersion": VERSION,
            "gitCommit": "",
            "gitTreeState": "",
            "buildDate": "",
            "goVersion": "",
            "compiler": "",
            "platform": "linux/amd64",
        },
    )
