"""Kubernetes' paths for objects: list, watch, get, create, update, merge patch, delete, scale, status, finalize.

What is not supported is refused with a Status, never ignored: query words, forms of bodies and answers, methods.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.config import ServiceAccount
from k8snetlab.api.core import Endpoints, Namespace, Pod, Service
from k8snetlab.api.kinds import Kinds, kinds_of
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import Resource
from k8snetlab.api.selection import owned
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.wire import reads_status
from k8snetlab.apiserver import escalation
from k8snetlab.apiserver import query as words
from k8snetlab.apiserver.access import ROOT
from k8snetlab.apiserver.authentication import Authentication
from k8snetlab.apiserver.authorization import attributes_of, authorize
from k8snetlab.apiserver.binding import binding
from k8snetlab.apiserver.bodies import forms_of, patch_of
from k8snetlab.apiserver.cascade import Cascade
from k8snetlab.apiserver.documents import Document, Documents
from k8snetlab.apiserver.negotiation import (
    APPLY_PATCH,
    LIST,
    OBJECT,
    PROTOBUF,
    WHOLE,
    Form,
    check_form,
    chosen,
    media_type,
)
from k8snetlab.apiserver.options import DeleteOptions, delete_options, eviction
from k8snetlab.apiserver.parts import BINDING, STREAMED
from k8snetlab.apiserver.paths import Target, not_allowed, nowhere, parse
from k8snetlab.apiserver.reading import Reading, ordered
from k8snetlab.apiserver.refusals import missing, worded
from k8snetlab.apiserver.reviews import Reviews
from k8snetlab.apiserver.scaling import scale_of
from k8snetlab.apiserver.tables import check_include
from k8snetlab.apiserver.token_requests import issued
from k8snetlab.apiserver.transport import Json, Reply, Request, target_of
from k8snetlab.apiserver.views import View, shown
from k8snetlab.apiserver.writing import Writing
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.cluster.deletion import refuse_deletion
from k8snetlab.errors import K8sNetLabError, NotFoundError, RequestError

ENDPOINTS = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
"""What a real cluster warns of, in its words, for what is said in its API."""
LARGEST_OBJECT = 3 << 20
"""Bytes of an object in a request, as kube-apiserver limits it."""


class ObjectRoutes:
    """Answers them from the cluster's snapshot, and writes through it. Without `authentication` no token is given or
    good."""

    def __init__(self, cluster: Cluster, authentication: Authentication | None = None) -> None:
        self._cluster, self.authentication = cluster, authentication
        reviews = Reviews(lambda: cluster.snapshot, authentication)
        self._reading, self._writing = Reading(cluster), Writing(cluster)
        self._documents, self._cascade = Documents(self._health, reviews), Cascade(cluster)

    @property
    def snapshot(self) -> Snapshot:
        return self._cluster.snapshot

    @property
    def kinds(self) -> Kinds:
        """Those that there are now."""
        return kinds_of(self._cluster.snapshot)

    def _health(self) -> dict[str, str]:
        store = self._cluster.informer.health()
        return {"ping": "", "etcd": "" if store.healthy else store.problem or "no answer"}

    def check(self, request: Request) -> Target | Document:
        """What the request is about. Raises what its path, method and headers are refused with."""
        if (document := self._documents.at(request, self.kinds)) is not None:
            return document
        target = parse(request.path, self.kinds)
        if request.method not in target.methods:
            raise not_allowed(request.method, target.methods)
        _form(request, target)
        if request.size and request.method != "GET" and not request.alone:
            check_form(request.content_type, forms_of(request.method, target.resource.defined is not None))
            _check_status(request, target)
        return target

    def streamed(self, scope: Json) -> tuple[Target, Pod | None, words.Query]:
        """What a WebSocket is for: the part of a pod, the pod, the query. Raises NotFoundError, RequestError."""
        target = parse(scope["path"], self.kinds)
        if target.subresource not in STREAMED:
            raise nowhere(scope["path"])
        return target, self.pod(target), target_of(scope)[1]

    def pod(self, target: Target) -> Pod | None:
        """The one whose part a path names."""
        return self._cluster.snapshot.get(Pod, target.name, target.namespace)

    async def answer(self, request: Request, target: Target | Document) -> Reply:
        if isinstance(target, Document):
            return target.answer(request)
        try:
            reply = await (self._one(request, target) if target.name else self._collection(request, target))
            warnings = (*_warnings(request, target), *reply.warnings)
            return replace(reply, warnings=warnings) if warnings else reply
        except K8sNetLabError as error:
            raise worded(error, target, request.body) from error

    async def _one(self, request: Request, target: Target) -> Reply:
        resource, query = target.resource, request.values
        old = self._cluster.snapshot.get(resource.type, target.name, target.namespace)
        if request.method == "PATCH":
            patch = patch_of(request.content_type, request.body, request.alone)
            if patch.media == APPLY_PATCH:
                return await self._apply(request, target, patch.body)
        if old is None:
            raise missing(target)
        view, part = _view(request, target), target.subresource
        if part in STREAMED:
            raise RequestError("Upgrade request required", f"{part} wants a WebSocket, or SPDY/3.1")
        match request.method:
            case "POST":
                return Reply(await self._posted(request, target, old), 201)
            case "GET":
                self._reading.check_get(query)
                return Reply(scale_of(old, resource) if part == "scale" else view.one(old))
            case "DELETE":
                return Reply(await self._delete(resource, old, delete_options(request.body, query)))
        return await self._change(request, target, old)

    async def _posted(self, request: Request, target: Target, old: Object) -> Json:
        """Of the parts that are no conversation: a token, a binding, an eviction."""
        query = request.values
        if isinstance(old, ServiceAccount):
            return self._token(old, request)
        if target.subresource == BINDING.name:
            bound = binding(request.body, query, target.name, target.namespace)
            if words.wish(query).dry:
                self._cluster.tried(bound(old), old)
            else:
                await self._cluster.edit(old, bound)
        else:
            await self._delete(target.resource, old, eviction(request.body, query, target.name, target.namespace))
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _token(self, account: ServiceAccount, request: Request) -> Json:
        if self.authentication is None:
            raise RequestError("this server gives no tokens")
        dry = words.wish(request.values).dry
        return issued(account, request.body, self._cluster.snapshot, self.authentication.keys, dry)

    def _wish(self, request: Request) -> words.Wish:
        agent = "" if request.method == "POST" else request.agent
        guard = partial(escalation.guard, request.user, lambda: self._cluster.snapshot)
        return replace(words.wish(request.values, agent), guard=guard)

    async def _apply(self, request: Request, target: Target, body: Any) -> Reply:
        query = request.values
        if target.part:
            raise RequestError(f"{target.subresource} cannot be applied: send another form of patch")
        if not words.text(query, "fieldManager"):
            raise RequestError("fieldManager: Required value: is required for apply patch", "", "Invalid", 422)
        if self._cluster.snapshot.get(target.resource.type, target.name, target.namespace) is None:
            asked = attributes_of("PATCH", request.path, kinds=self.kinds)
            authorize(request.user, replace(asked, verb="create"), self._cluster.snapshot)
        wish = self._wish(request)
        value, warnings, made = await self._writing.apply(target.resource, target.namespace, target.name, body, wish)
        return Reply(value, 201 if made else 200, tuple(warnings))

    async def _change(self, request: Request, target: Target, old: Object) -> Reply:
        """PUT and PATCH."""
        resource, query, part = target.resource, request.values, target.subresource
        patch = patch_of(request.content_type, request.body, request.alone) if request.method == "PATCH" else None
        if "force" in query:
            raise RequestError("force: Forbidden: may not be specified for non-apply patch", "", "Invalid", 422)
        wish = self._wish(request)
        if part == "scale":
            return Reply(await self._writing.scale(resource, old, patch or request.body, wish))
        if patch:
            value, warnings = await self._writing.patch(resource, old, patch, wish, part)
        else:
            value, warnings = await self._writing.put(resource, old, request.body, wish, part)
        return Reply(value, warnings=tuple(warnings))

    @staticmethod
    def allocates(request: Request, target: Target | Document) -> bool:
        """Whether it may give an object an address or a port of its own: of all kinds only Services get any when they
        are written (`admission`)."""
        return (
            request.method in ("POST", "PUT", "PATCH")
            and isinstance(target, Target)
            and target.resource.type is Service
        )

    async def _collection(self, request: Request, target: Target) -> Reply:
        resource, query = target.resource, request.values
        match request.method:
            case "POST":
                wish = self._wish(request)
                value, warnings = await self._writing.create(resource, target.namespace, request.body, wish)
                return Reply(value, 201, tuple(warnings))
            case "DELETE":
                return await self._delete_many(request, target)
        wanted = words.selection(query, resource.type, target.namespace)
        view = _view(request, target)
        if words.boolean(query, "watch"):
            return Reply(self._reading.watch(resource, wanted, query, view))
        return Reply(self._reading.list(resource, wanted, query, view))

    async def _delete(self, resource: Resource, old: Object, options: DeleteOptions) -> Json:
        """The object, where it goes on living for a while; else a Status that it is gone."""

        def refuse(stored: Object) -> None:
            options.refuse_if_other(stored)
            refuse_deletion(stored)

        if options.dry:
            refuse(old)
        elif options.orphans:
            await self._cascade.orphan(old, refuse)
        else:
            after = options.foreground and any(owned(old, self._cluster.snapshot))
            grace = options.gracePeriodSeconds
            await self._cluster.delete(old, options.force, refuse, grace, foreground=after)
        still = self._cluster.snapshot.get(type(old), old.name, old.namespace)
        if isinstance(old, Pod | Service | Namespace) or (still and still.metadata.deletionTimestamp):
            return shown(still or old, resource)
        details = {"name": old.name, "kind": resource.plural, "uid": old.metadata.uid}
        if group := resource.group:
            details["group"] = group
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    async def _delete_many(self, request: Request, target: Target) -> Reply:
        """Deletes what the selectors match, and nothing where one of it may not be deleted."""
        resource, query = target.resource, request.values
        words.refuse_unknown(query, (*words.LIST, *words.DELETE), ("dryRun",))
        for word in ("watch", "limit", "continue", "allowWatchBookmarks", "sendInitialEvents"):
            if word in query:
                raise RequestError(f"{word} does not go with a deletion")
        for word in ("resourceVersion", "resourceVersionMatch"):
            if words.text(query, word) not in ("", "0"):
                raise RequestError(f"{word} is not supported in a deletion of many", "delete what is there now")
        words.number(query, "timeoutSeconds")
        wanted = words.selection(query, resource.type, target.namespace)
        options = delete_options(request.body, query)
        doomed = [obj for obj in ordered(resource, self._cluster.snapshot) if wanted.matches(obj)]
        for obj in doomed:
            refuse_deletion(obj)
        for obj in doomed:
            with contextlib.suppress(NotFoundError):
                await self._delete(resource, obj, options)
        metadata = {"resourceVersion": str(self._cluster.snapshot.revision)}
        return Reply(_view(request, target).many(doomed, metadata))


def _warnings(request: Request, target: Target) -> tuple[str, ...]:
    """What is to be used instead of what the path names, and what of the query is not read. The lab's own command line,
    at its socket, has no use for the news of Endpoints."""
    resource, unread = target.resource, words.unread(request.values)
    if resource.former is not None and resource.former.gone:
        return (resource.former.warning(resource.type.API_VERSION), *unread)
    return (ENDPOINTS, *unread) if resource.type is Endpoints and request.user is not ROOT else unread


def _check_status(request: Request, target: Target) -> None:
    """Raises RequestError (415) for a status in protobuf that nobody here reads: it would be lost."""
    if target.subresource != "status" or media_type(request.content_type) != PROTOBUF:
        return
    if not reads_status(target.resource.kind):
        message = f"the status of a {target.resource.kind} is not read in protobuf: send JSON"
        raise RequestError(message, "", "UnsupportedMediaType", 415)


def _form(request: Request, target: Target) -> Form:
    """How it is to be answered. Raises RequestError (406)."""
    if request.method != "GET" and target.name:
        return chosen(request.accept, (WHOLE,))
    listed = not target.name and not words.boolean(request.values, "watch")
    return chosen(request.accept, (WHOLE,) if target.part else LIST if listed else OBJECT)


def _view(request: Request, target: Target) -> View:
    form = _form(request, target)
    return View(target.resource, form, time.time(), check_include(words.text(request.values, "includeObject")))
