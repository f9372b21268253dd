"""The REST face answers as kube-apiserver does, and refuses what it does not do."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, NamedTuple

import pytest
from face import PODS, SERVICES, Face, Said, pod, service, with_face
from msgspec.structs import replace

from k8snetlab.api.core import Pod
from k8snetlab.apiserver.negotiation import check_accepted
from k8snetlab.apiserver.reading import INITIAL_END

NODES = "/api/v1/nodes"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def three_pods(face: Face) -> None:
    for name, labels in (("a", {"app": "web", "tier": "1"}), ("b", {"app": "web"}), ("c", {"app": "db"})):
        assert (await face.ask("POST", PODS, pod(name, **labels))).code == 201


# --- selectors ---


def test_a_delete_by_selector_deletes_what_it_selects() -> None:
    async def test(face: Face) -> None:
        await three_pods(face)
        assert (await face.ask("DELETE", PODS + "?labelSelector=app=none")).names == []
        assert (await face.ask("GET", PODS)).names == ["a", "b", "c"]
        assert (await face.ask("DELETE", PODS + "?labelSelector=app=web,!tier&dryRun=All")).names == ["b"]
        assert (await face.ask("GET", PODS)).names == ["a", "b", "c"]
        assert (await face.ask("DELETE", PODS + "?labelSelector=app in (web, x),!tier")).names == ["b"]
        assert (await face.ask("DELETE", PODS + "?fieldSelector=metadata.name=c")).names == ["c"]
        assert (await face.ask("GET", PODS)).names == ["a"]
        assert (await face.ask("DELETE", "/api/v1/pods")).code == 405
        assert (await face.ask("DELETE", PODS)).names == ["a"]
        assert (await face.ask("GET", PODS)).names == []

    with_face(test)


def test_lists_are_narrowed_by_both_selectors() -> None:
    async def test(face: Face) -> None:
        await three_pods(face)
        assert (await face.ask("GET", "/api/v1/pods?labelSelector=app=web")).names == ["a", "b"]
        assert (await face.ask("GET", PODS + "?labelSelector=app!=web")).names == ["c"]
        assert (await face.ask("GET", PODS + "?labelSelector=tier>0")).names == ["a"]
        assert (await face.ask("GET", PODS + "?fieldSelector=metadata.name!=a,status.phase=Pending")).names == [
            "b",
            "c",
        ]
        assert (await face.ask("GET", PODS + "?labelSelector=app&fieldSelector=spec.nodeName=n")).names == []
        for wrong in ("labelSelector=a in", "labelSelector=a b", "fieldSelector=spec.no=1", "fieldSelector=a"):
            said = await face.ask("GET", f"{PODS}?{wrong}")
            assert (said.code, said.json["reason"]) == (400, "BadRequest"), wrong

    with_face(test)


def test_a_forbidden_one_keeps_all_from_being_deleted() -> None:
    async def test(face: Face) -> None:
        await face.ask("POST", NODES, {"metadata": {"name": "n"}})
        said = await face.ask("DELETE", NODES)
        assert (said.code, said.json["reason"]) == (422, "Invalid")
        assert (await face.ask("GET", NODES)).names == ["n"]

    with_face(test)


# --- what is refused ---


@pytest.mark.parametrize(
    ("method", "path", "code", "reason"),
    [
        ("DELETE", PODS + "?labelSelectr=app=web", 400, "BadRequest"),
        ("GET", PODS + "?limit=x", 400, "BadRequest"),
        ("GET", PODS + "?limit=-1", 400, "BadRequest"),
        ("GET", PODS + "?limit=1&continue=nonsense", 400, "BadRequest"),
        ("GET", PODS + "?resourceVersion=x", 400, "BadRequest"),
        ("GET", PODS + "?resourceVersion=999999", 504, "Timeout"),
        ("GET", PODS + "?resourceVersionMatch=Exact", 400, "BadRequest"),
        ("GET", PODS + "?resourceVersion=1&resourceVersionMatch=Exact", 410, "Expired"),
        ("GET", PODS + "?watch=perhaps", 400, "BadRequest"),
        ("GET", PODS + "?watch=1&sendInitialEvents=true", 400, "BadRequest"),
        ("GET", PODS + "/none", 404, "NotFound"),
        ("GET", "/api/v1/nothing", 404, "NotFound"),
        ("GET", "/apis/apps/v1/namespaces//deployments", 404, "NotFound"),
        ("GET", PODS + "/a/nothing", 404, "NotFound"),
        ("GET", PODS + "/a/scale", 404, "NotFound"),
        ("GET", "/nothing", 404, "NotFound"),
        ("POST", "/", 405, "MethodNotAllowed"),
        ("GET", "/apis/nothing", 404, "NotFound"),
        ("GET", "/apis/apps/v2", 404, "NotFound"),
        ("GET", "/openapi/v3/apis/apps/v2", 404, "NotFound"),
        ("GET", "/livez/nothing", 404, "NotFound"),
        ("GET", PODS + "?includeObject=All", 400, "BadRequest"),
        ("POST", "/api/v1/pods", 405, "MethodNotAllowed"),
        ("POST", PODS + "/a", 405, "MethodNotAllowed"),
        ("PUT", PODS, 405, "MethodNotAllowed"),
        ("OPTIONS", PODS, 405, "MethodNotAllowed"),
        ("DELETE", "/api/v1/namespaces", 405, "MethodNotAllowed"),
        ("DELETE", PODS + "?labelSelector=app in", 400, "BadRequest"),
        ("DELETE", PODS + "?watch=1", 400, "BadRequest"),
        ("DELETE", PODS + "/a?dryRun=Some", 422, "Invalid"),
        ("DELETE", PODS + "/a?propagationPolicy=Orphan&orphanDependents=true", 422, "Invalid"),
        ("DELETE", PODS + "/a?propagationPolicy=Up", 422, "Invalid"),
        ("POST", PODS + "/a/eviction", 400, "BadRequest"),
        ("GET", PODS + "/a/eviction", 405, "MethodNotAllowed"),
        ("POST", PODS + "/b/eviction", 404, "NotFound"),
        ("DELETE", PODS + "/a?gracePeriodSeconds=-5", 400, "BadRequest"),
        ("GET", "/apis/k8snetlab/v1alpha1/pods/default/a/log?tailLines=x", 400, "BadRequest"),
        ("GET", "/apis/k8snetlab/v1alpha1/pods/default/a/log?sinceSeconds=0", 400, "BadRequest"),
        ("GET", "/apis/k8snetlab/v1alpha1/status?x=1", 400, "BadRequest"),
        ("GET", "/apis/k8snetlab/v1alpha1/nothing", 404, "NotFound"),
        ("GET", "/apis/k8snetlab/v1alpha1/up", 405, "MethodNotAllowed"),
    ],
)
def test_what_is_not_done_is_refused(method: str, path: str, code: int, reason: str) -> None:
    async def test(face: Face) -> None:
        assert (await face.ask("POST", PODS, pod("a"))).code == 201
        said = await face.ask(method, path)
        assert (said.code, said.json["reason"]) == (code, reason), said.json
        assert (said.json["kind"], said.json["status"], said.json["code"]) == ("Status", "Failure", code)
        assert (await face.ask("GET", PODS)).names == ["a"]

    with_face(test)


class Wrong(NamedTuple):
    """A request whose body is not taken, and the code of the answer."""

    method: str
    path: str
    body: Any
    code: int
    content_type: str | None = None


MERGE = "application/merge-patch+json"
ELSEWHERE = {"metadata": {"name": "x", "namespace": "other"}, "spec": pod("x")["spec"]}
OLD = {**pod("a"), "metadata": {"name": "a", "resourceVersion": "1"}}
LABELLED = {"metadata": {"labels": {"x": "y"}}}
ZONELESS = {**pod("a"), "status": {"startTime": "2026-01-01T00:00:00"}}
WRONG = {
    "JSON that is cut off": Wrong("POST", PODS, b'{"kind": "Pod"', 400),
    "JSON too deep": Wrong("POST", PODS, b"[" * 100_000, 400),
    "a number without an end": Wrong("POST", PODS, b'{"spec": {"x": ' + b"1" * 5000 + b"}}", 400),
    "no UTF-8": Wrong("POST", PODS, b"\xff\xfe", 400),
    "no body": Wrong("POST", PODS, b"", 400),
    "a list": Wrong("POST", PODS, [], 400),
    "another kind": Wrong("POST", PODS, {"kind": "Service"}, 400),
    "another shape": Wrong("POST", PODS, {"metadata": {"name": "x"}, "spec": {"containers": {"a": 1}}}, 400),
    "no name": Wrong("POST", PODS, {"metadata": {}, "spec": pod("x")["spec"]}, 400),
    "another namespace": Wrong("POST", PODS, ELSEWHERE, 400),
    "a name that is taken": Wrong("POST", PODS, pod("a"), 409),
    "a name that is none": Wrong("POST", PODS, pod("B_"), 422),
    "protobuf that is none": Wrong("POST", PODS, pod("x"), 400, "application/vnd.kubernetes.protobuf"),
    "plain text": Wrong("POST", PODS, pod("x"), 415, "text/plain"),
    "too much": Wrong("POST", PODS, b" " * (4 << 20), 413),
    "a look with a body": Wrong("GET", PODS, b"x", 413),
    "a look for headers with a body": Wrong("HEAD", "/version", b"[]", 413, "application/yaml"),
    "a look at the lab's own with a body": Wrong("GET", "/apis/k8snetlab/v1alpha1/labs", b"x", 413),
    "a review in YAML": Wrong("POST", REVIEWS, b"[]", 415, "application/yaml"),
    "a strategic patch": Wrong("PATCH", PODS + "/a", [LABELLED], 400, "application/strategic-merge-patch+json"),
    "a JSON patch": Wrong("PATCH", PODS + "/a", LABELLED, 400, "application/json-patch+json"),
    "a patch of no form": Wrong("PATCH", PODS + "/a", LABELLED, 415, "application/json"),
    "an apply patch of nobody": Wrong("PATCH", PODS + "/a", {}, 422, "application/apply-patch+yaml"),
    "a patch of no kind": Wrong("PATCH", PODS + "/a", {}, 415),
    "a merge patch that is a list": Wrong("PATCH", PODS + "/a", [], 400, MERGE),
    "a patched name": Wrong("PATCH", PODS + "/a", {"metadata": {"name": "b"}}, 400, MERGE),
    "a patch of an old version": Wrong("PATCH", PODS + "/a", {"metadata": {"resourceVersion": "1"}}, 409, MERGE),
    "a patch of another's uid": Wrong("PATCH", PODS + "/a", {"metadata": {"uid": "1"}}, 409, MERGE),
    "put under another name": Wrong("PUT", PODS + "/a", pod("b"), 400),
    "a time that is none": Wrong("PUT", PODS + "/a/status", {**pod("a"), "status": {"startTime": "soon"}}, 400),
    "a time without a zone": Wrong("PUT", PODS + "/a/status", ZONELESS, 400),
    "put of an old version": Wrong("PUT", PODS + "/a", OLD, 409),
    "deletion of another's uid": Wrong("DELETE", PODS + "/a", {"preconditions": {"uid": "other"}}, 409),
    "deletion of an old version": Wrong("DELETE", PODS + "/a", {"preconditions": {"resourceVersion": "0"}}, 409),
    "deletion with a word unknown": Wrong("DELETE", PODS + "/a", {"gracePeriodSecond": 0}, 400),
    "deletion with an object": Wrong("DELETE", PODS + "/a", {"kind": "Pod"}, 400),
    "deletion half dry": Wrong("DELETE", PODS + "/a", {"dryRun": ["Some"]}, 422),
    "deletion before now": Wrong("DELETE", PODS + "/a", {"gracePeriodSeconds": -1}, 422),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_bodies_change_nothing(wrong: Wrong) -> None:
    async def test(face: Face) -> None:
        assert (await face.ask("POST", PODS, pod("a"))).code == 201
        before = (await face.ask("GET", PODS)).body
        said = await face.ask(wrong.method, wrong.path, wrong.body, content_type=wrong.content_type)
        assert (said.code, said.json["kind"]) == (wrong.code, "Status"), said.json
        assert (await face.ask("GET", PODS)).body == before

    with_face(test)


def test_what_cannot_be_served_is_not_acceptable() -> None:
    async def test(face: Face) -> None:
        table = "application/json;as=Table;v=v3;g=meta.k8s.io"
        assert (await face.ask("GET", PODS, accept=f"{table},application/json")).json["kind"] == "PodList"
        for accept in (table, "application/yaml", "application/vnd.kubernetes.protobuf", "application/json;q=0"):
            said = await face.ask("GET", PODS, accept=accept)
            assert (said.code, said.json["reason"]) == (406, "NotAcceptable")

    with_face(test)
    for accepted in ("", "*/*", "application/*;q=0.5", "application/json;stream=watch", "text/html, */*;q=0.8"):
        check_accepted(accepted)


# --- writes ---


def test_dry_run_changes_nothing() -> None:
    async def test(face: Face) -> None:
        made = await face.ask("POST", SERVICES + "?dryRun=All", service("s"))
        assert (made.code, made.json["spec"]["type"]) == (201, "ClusterIP")
        assert made.json["spec"]["clusterIP"]
        assert (await face.ask("GET", SERVICES)).names == []
        await face.ask("POST", SERVICES, service("s"))
        before = (await face.ask("GET", f"{SERVICES}/s")).body
        patch = {"spec": {"type": "NodePort"}}
        said = await face.patch(f"{SERVICES}/s?dryRun=All", patch)
        assert said.json["spec"]["ports"][0]["nodePort"] >= 30000
        assert (await face.ask("DELETE", f"{SERVICES}/s", {"dryRun": ["All"]})).code == 200
        assert (await face.ask("GET", f"{SERVICES}/s")).body == before

    with_face(test)


def test_an_unknown_field_is_refused_warned_of_or_ignored_as_asked() -> None:
    async def test(face: Face) -> None:
        typo = service("s", selectr={"app": "x"})
        strict = await face.ask("POST", SERVICES + "?fieldValidation=Strict", typo)
        assert strict.code == 400
        assert 'strict decoding error: unknown field "spec.selectr"' in strict.json["message"]
        warned = await face.ask("POST", SERVICES + "?fieldValidation=Warn&fieldManager=kubectl", typo)
        assert (b"warning", b'299 - "unknown field \\"spec.selectr\\""') in warned.headers
        assert (await face.ask("POST", SERVICES + "?fieldValidation=Maybe", service("t"))).code == 422
        quiet = await face.ask("PUT", f"{SERVICES}/s?fieldValidation=Ignore", typo)
        assert quiet.code == 200
        assert all(name != b"warning" for name, _ in quiet.headers)

    with_face(test)


def test_spec_and_status_are_written_apart() -> None:
    async def test(face: Face) -> None:
        await face.ask("POST", PODS, {**pod("a"), "status": {"phase": "Running", "podIP": "1.2.3.4"}})
        stored = (await face.ask("GET", f"{PODS}/a")).json
        assert (stored["status"]["phase"], stored["metadata"]["generation"]) == ("Pending", 1)
        said = await face.patch(f"{PODS}/a", {"status": {"phase": "Failed"}, "metadata": {"labels": {"x": "y"}}})
        assert (said.json["status"]["phase"], said.json["metadata"]["labels"]) == ("Pending", {"x": "y"})
        said = await face.patch(f"{PODS}/a/status", {"status": {"phase": "Failed"}, "spec": {"nodeName": "n"}})
        assert (said.json["status"]["phase"], said.json["spec"].get("nodeName")) == ("Failed", None)
        assert (await face.ask("PUT", f"{PODS}/a/status", said.json)).code == 200
        assert (await face.ask("GET", f"{SERVICES}/a/status")).code == 404

    with_face(test)


def test_generate_name_gives_names_of_their_own() -> None:
    async def test(face: Face) -> None:
        body = pod("")
        body["metadata"] = {"generateName": "web-"}
        names = [(await face.ask("POST", PODS, body)).json["metadata"]["name"] for _ in range(3)]
        assert len(set(names)) == 3
        assert all(name.startswith("web-") and len(name) == 9 for name in names)

    with_face(test)


def test_scale() -> None:
    async def test(face: Face) -> None:
        path = "/apis/apps/v1/namespaces/default/deployments"
        template = {"metadata": {"labels": {"app": "w"}}, "spec": pod("x")["spec"]}
        spec = {"selector": {"matchLabels": {"app": "w"}}, "template": template}
        await face.ask("POST", path, {"metadata": {"name": "w"}, "spec": spec})
        said = (await face.ask("GET", f"{path}/w/scale")).json
        assert (said["spec"], said["status"]) == ({"replicas": 1}, {"replicas": 0, "selector": "app=w"})
        assert (await face.ask("PUT", f"{path}/w/scale", {**said, "spec": {"replicas": 3}})).json["spec"][
            "replicas"
        ] == 3
        assert (await face.ask("PUT", f"{path}/w/scale", said)).code == 409
        assert (await face.patch(f"{path}/w/scale", {"spec": {"replicas": 0}})).json["spec"] == {}
        for wrong in ({"spec": {"replicas": "x"}}, {"spec": {"replicas": -1}}, {"spec": {"replicas": True}}, [], None):
            assert (await face.ask("PUT", f"{path}/w/scale", wrong)).code in (400, 422)
        assert (await face.ask("GET", f"{path}/w")).json["metadata"]["generation"] == 3

    with_face(test)


def test_what_is_read_may_be_written_again() -> None:
    async def test(face: Face) -> None:
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        made = await face.ask("POST", slices, {"metadata": {"name": "s"}, "addressType": "IPv4"})
        assert (made.json["endpoints"], made.json["ports"]) == (None, None)
        again = await face.ask("PUT", f"{slices}/s?fieldValidation=Strict", made.json)
        assert (again.code, again.json) == (200, made.json)

    with_face(test)


# --- lists in chunks, watches ---


def test_a_list_in_chunks_is_one_list() -> None:
    async def test(face: Face) -> None:
        await three_pods(face)
        first = await face.ask("GET", PODS + "?limit=2")
        assert (first.names, first.json["metadata"]["remainingItemCount"]) == (["a", "b"], 1)
        token = first.json["metadata"]["continue"]
        assert (await face.ask("DELETE", PODS + "/c")).code == 200
        rest = await face.ask("GET", f"{PODS}?limit=2&continue={token}")
        assert (rest.names, "continue" in rest.json["metadata"]) == (["c"], False)
        assert rest.json["metadata"]["resourceVersion"] == first.json["metadata"]["resourceVersion"]
        exact = f"{PODS}?resourceVersion={first.json['metadata']['resourceVersion']}&resourceVersionMatch=Exact"
        assert (await face.ask("GET", exact)).names == ["a", "b", "c"]

    with_face(test)


def events(said: Any) -> list[tuple[str, str]]:
    return [(line["type"], line["object"]["metadata"].get("name", "")) for line in said.lines]


def _has(lines: int, said: Said) -> bool:
    return len(said.lines) >= lines


def test_a_watch_goes_on_where_a_list_ended() -> None:
    async def test(face: Face) -> None:
        await three_pods(face)
        revision = (await face.ask("GET", PODS)).json["metadata"]["resourceVersion"]
        await face.ask("DELETE", PODS + "/a")
        await face.patch(PODS + "/b", {"metadata": {"labels": {"app": "db"}}})
        await face.patch(PODS + "/c", {"metadata": {"labels": {"app": "web"}}})
        await face.ask("POST", SERVICES, service("s"))
        for query, wanted in {
            "": [("DELETED", "a"), ("MODIFIED", "b"), ("MODIFIED", "c")],
            "&labelSelector=app=web": [("DELETED", "a"), ("DELETED", "b"), ("ADDED", "c")],
            "&fieldSelector=metadata.name=c": [("MODIFIED", "c")],
        }.items():
            path = f"{PODS}?watch=1&resourceVersion={revision}{query}"
            said = await face.ask("GET", path, until=partial(_has, len(wanted)))
            assert sorted(events(said)) == sorted(wanted)
        said = await face.ask("GET", PODS + "?watch=1", until=lambda said: len(said.lines) == 2)
        assert events(said) == [("ADDED", "b"), ("ADDED", "c")]

    with_face(test)


def test_a_watch_hears_what_happens_and_ends_in_time() -> None:
    async def test(face: Face) -> None:
        revision = (await face.ask("GET", PODS)).json["metadata"]["resourceVersion"]
        path = f"{PODS}?watch=true&resourceVersion={revision}&timeoutSeconds=1&allowWatchBookmarks=true"
        watching = asyncio.ensure_future(face.ask("GET", path))
        await asyncio.sleep(0)
        await three_pods(face)
        await face.ask("DELETE", PODS + "/a")
        await face.ask("POST", PODS, pod("a"))
        assert (await face.ask("GET", PODS + "?watch=1&resourceVersion=999999")).code == 504
        said = await watching
        assert (said.code, said.pieces[0]) == (200, b"")
        heard = events(said)
        assert [name for _, name in heard if name in ("b", "c")] == ["b", "c"]
        assert heard[-2:] == [("ADDED", "a"), ("BOOKMARK", "")]

    with_face(test)


def test_a_watch_list_ends_with_a_bookmark() -> None:
    async def test(face: Face) -> None:
        await three_pods(face)
        query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        said = await face.ask("GET", f"{PODS}?{query}", until=lambda said: b"BOOKMARK" in said.body)
        assert events(said) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"), ("BOOKMARK", "")]
        mark = said.lines[-1]["object"]
        assert (mark["kind"], mark["metadata"]["annotations"]) == ("Pod", {INITIAL_END: "true"})

    with_face(test)


def test_what_a_watch_has_not_read_yet_is_kept_for_it() -> None:
    async def test(face: Face) -> None:
        await face.ask("GET", PODS)
        history = face.api._objects._reading._history
        history._remembered = 2
        reading = history.follow(history.end)
        await anext(reading)
        for number in range(6):
            await face.ask("POST", PODS, pod(f"p{number}"))
            await face.ask("GET", PODS)
        seen: set[str] = set()
        while len(seen) < 6:
            seen |= {change.new.name for change in await anext(reading) if isinstance(change.new, Pod)}
        await reading.aclose()  # type: ignore[attr-defined]
        await face.ask("POST", PODS, pod("last"))
        await face.ask("GET", PODS)
        assert len(history._changes) <= 4

    with_face(test)


def test_a_watch_from_too_long_ago_has_to_list_again() -> None:
    async def test(face: Face) -> None:
        await face.ask("GET", PODS)
        history = face.api._objects._reading._history
        history._remembered = 2
        revision = history.revision
        for number in range(6):
            await face.ask("POST", PODS, pod(f"p{number}"))
            await face.ask("GET", PODS)
        said = await face.ask("GET", f"{PODS}?watch=1&resourceVersion={revision}")
        assert (said.code, said.json["reason"]) == (410, "Expired")
        assert (await face.ask("GET", f"{PODS}?watch=1&resourceVersion=1")).code == 410

    with_face(test)


# --- deletion ---


def test_an_object_with_finalizers_stays_until_it_has_none() -> None:
    async def test(face: Face) -> None:
        held = service("s")
        held["metadata"]["finalizers"] = ["example.com/a", "example.com/b"]
        await face.ask("POST", SERVICES, held)
        said = await face.ask("DELETE", SERVICES + "/s")
        assert said.json["metadata"]["deletionTimestamp"] and said.json["metadata"]["deletionGracePeriodSeconds"] == 0
        assert (await face.ask("DELETE", SERVICES + "/s")).code == 200
        assert (await face.ask("GET", SERVICES)).names == ["s"]
        more = {"metadata": {"finalizers": ["example.com/a", "example.com/b", "example.com/c"]}}
        said = await face.patch(SERVICES + "/s", more)
        assert (said.code, said.json["reason"]) == (422, "Invalid")
        said = await face.patch(SERVICES + "/s", {"metadata": {"finalizers": ["example.com/b"]}})
        assert said.json["metadata"]["finalizers"] == ["example.com/b"]
        assert (await face.patch(SERVICES + "/s", {"metadata": {"finalizers": None}})).code == 200
        assert (await face.ask("GET", SERVICES)).names == []

    with_face(test)


def test_what_keeps_a_namespace_is_a_list_and_null_is_none() -> None:
    async def test(face: Face) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
        assert (await face.ask("POST", "/api/v1/namespaces", namespace)).json["spec"]["finalizers"] == ["kubernetes"]
        finalize = "/api/v1/namespaces/n/finalize"
        for wrong in ("text", ["a"], 3, {"finalizers": "a"}):
            assert (await face.ask("PUT", finalize, {**namespace, "spec": wrong})).code == 400, wrong
        said = await face.ask("PUT", finalize, {**namespace, "spec": {"finalizers": None}})
        assert (said.code, said.json["spec"]["finalizers"]) == (200, [])

    with_face(test)


def test_a_deleted_pod_tells_its_grace_period() -> None:
    async def test(face: Face) -> None:
        await face.ask("POST", PODS, pod("a"))
        held = face.cluster.snapshot.get(Pod, "a", "default")
        assert held
        await face.cluster.edit(held, lambda one: replace(one, spec=replace(one.spec, nodeName="node1")))
        await face.cluster.edit(held, lambda one: replace(one, status=replace(one.status, podIP="10.244.1.9")))
        said = await face.ask("DELETE", PODS + "/a")
        assert said.json["metadata"]["deletionGracePeriodSeconds"] == 30
        assert (await face.ask("DELETE", PODS + "/a?gracePeriodSeconds=0")).code == 200
        assert (await face.ask("GET", PODS)).names == []

    with_face(test)


def test_a_watch_ends_with_a_bookmark_from_which_the_next_goes_on() -> None:
    async def test(face: Face) -> None:
        await three_pods(face)
        since = (await face.ask("GET", PODS)).json["metadata"]["resourceVersion"]
        watch = f"{SERVICES}?watch=1&allowWatchBookmarks=1&timeoutSeconds=1&resourceVersion="
        await face.ask("POST", PODS, pod("d"))
        [mark] = (await face.ask("GET", watch + since)).lines
        assert (mark["type"], mark["object"]["kind"]) == ("BOOKMARK", "Service")
        revision = mark["object"]["metadata"]["resourceVersion"]
        assert int(revision) > int(since), "what happened to other kinds need not be read again"
        await face.ask("POST", SERVICES, service("s"))
        again = await face.ask("GET", watch + revision)
        assert [line["type"] for line in again.lines] == ["ADDED", "BOOKMARK"]
        silent = await face.ask("GET", f"{SERVICES}?watch=1&timeoutSeconds=1&resourceVersion={revision}")
        assert [line["type"] for line in silent.lines] == ["ADDED"]

    with_face(test)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a", "namespace": "default"}}, 201),
        ({"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "a"}}, 201),
        ({"kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": {"gracePeriodSeconds": 5}}, 201),
        ({"kind": "Eviction", "metadata": {"name": "b"}}, 400),
        ({"kind": "Eviction", "metadata": {"namespace": "b"}}, 400),
        ({"kind": "Eviction", "metadata": []}, 400),
        ({"kind": "Pod"}, 400),
        ({"apiVersion": "v1", "kind": "Eviction"}, 400),
        ({"kind": "Eviction", "deleteOptions": {"preconditions": {"uid": "x"}}}, 409),
        ({"kind": "Eviction", "deleteOptions": {"gracePeriodSeconds": -1}}, 422),
        ({"kind": "Eviction", "deleteOptions": []}, 400),
        ([], 400),
    ],
)
def test_an_eviction_deletes_the_pod_that_it_names(body: Any, code: int) -> None:
    async def test(face: Face) -> None:
        assert (await face.ask("POST", PODS, pod("a"))).code == 201
        assert (await face.ask("POST", PODS + "/a/eviction?dryRun=All", body)).code == code
        assert (await face.ask("GET", PODS + "/a")).code == 200
        said = await face.ask("POST", PODS + "/a/eviction", body)
        assert said.code == code and said.json["kind"] == "Status"
        assert (await face.ask("GET", PODS + "/a")).code == (404 if code == 201 else 200)

    with_face(test)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": {"name": "node1"}}, 201),
        ({"target": {"kind": "Node", "name": "node1"}}, 201),
        ({"target": {"kind": "Pod", "name": "node1"}}, 422),
        ({"target": {}}, 422),
        ({"metadata": {"name": "b"}, "target": {"name": "node1"}}, 400),
        ({"metadata": {"uid": "x"}, "target": {"name": "node1"}}, 409),
        ({"kind": "Eviction"}, 400),
        ([], 400),
    ],
)
def test_a_binding_gives_the_pod_that_it_names_a_node(body: Any, code: int) -> None:
    async def test(face: Face) -> None:
        waiting = pod("a")
        waiting["spec"]["schedulerName"] = "mine"
        assert (await face.ask("POST", PODS, waiting)).code == 201
        assert (await face.ask("POST", PODS + "/a/binding?dryRun=All", body)).code == code
        assert "nodeName" not in (await face.ask("GET", PODS + "/a")).json["spec"]
        assert (await face.ask("POST", PODS + "/a/binding", body)).code == code
        stored = (await face.ask("GET", PODS + "/a")).json
        assert stored["spec"].get("nodeName") == ("node1" if code == 201 else None)
        if code == 201:
            (condition,) = [one for one in stored["status"]["conditions"] if one["type"] == "PodScheduled"]
            assert condition["status"] == "True"
            again = await face.ask("POST", PODS + "/a/binding", body)
            assert again.code == 409 and 'already assigned to node "node1"' in again.json["message"]

    with_face(test)


def test_a_query_word_that_nobody_knows_is_ignored_and_told() -> None:
    async def test(face: Face) -> None:
        await face.ask("POST", PODS + "?timeout=10s&pretty=true", pod("a"))
        said = await face.ask("GET", PODS + "?labelSelectr=app=web&pretty=1&limit=5&limit=x")
        assert said.names == ["a"]
        warning = dict(said.headers)[b"warning"].decode()
        assert "query parameter 'labelSelectr' is ignored; did you mean" in warning
        for path in ("/version?a=b", "/api?a=b", "/openapi/v2?a=b", "/livez?a=b", PODS + "/a?watch=1"):
            assert (await face.ask("GET", path)).code == 200, path

    with_face(test)
