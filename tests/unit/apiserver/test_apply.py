"""Server-side apply: fields have owners, who keep them, give them up, or fight for them."""

from __future__ import annotations

from typing import Any

import pytest
from face import SERVICES, Face, Said, pod, service, with_face
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins

from k8snetlab.api.apps import Deployment
from k8snetlab.api.scheme import resource_of_type
from k8snetlab.apiserver.fieldsets import decoded, encoded, fields_of, flaws, shown, values_of, without
from k8snetlab.apiserver.ownership import Application, Applied
from k8snetlab.apiserver.shapes import Shaped
from k8snetlab.errors import RequestError

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
APPLY = "application/apply-patch+yaml"
CONTAINERS = "f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"c"}'


def deployment(replicas: int | None = 2, image: str = "nginx:1", **labels: str) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod("x")["spec"]}
    template["spec"]["containers"][0]["image"] = image
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "labels": labels}, "spec": spec}


async def apply(face: Face, body: Any, manager: str = "one", more: str = "") -> Said:
    path = f"{DEPLOYMENTS}/a?fieldManager={manager}{more}"
    return await face.ask("PATCH", path, body, content_type=APPLY)


def owners(said: Said) -> dict[tuple[str, str], set[tuple[str, ...]]]:
    entries = said.json["metadata"].get("managedFields", [])
    return {(one["manager"], one["operation"]): set(decoded(one["fieldsV1"])) for one in entries}


def test_what_is_applied_is_made_and_owned() -> None:
    async def test(face: Face) -> None:
        made = await apply(face, deployment())
        assert made.code == 201
        mine = owners(made)["one", "Apply"]
        assert {("f:spec", "f:replicas"), (*CONTAINERS, "f:image"), CONTAINERS} <= mine
        assert not any(path[0] == "f:status" or path[:2] == ("f:metadata", "f:name") for path in mine)
        again = await apply(face, deployment())
        assert (again.code, again.json) == (200, made.json)

    with_face(test)


def test_what_a_manager_leaves_out_goes_if_nobody_else_owns_it() -> None:
    async def test(face: Face) -> None:
        await apply(face, deployment(tier="web", zone="z"))
        await apply(face, {**deployment(None), "metadata": {"labels": {"tier": "web"}}}, "two")
        said = await apply(face, deployment())
        assert said.json["metadata"]["labels"] == {"tier": "web"}

    with_face(test)


def test_a_field_of_another_manager_is_a_conflict_unless_forced() -> None:
    async def test(face: Face) -> None:
        await apply(face, deployment())
        said = await apply(face, {**deployment(5)}, "two")
        assert (said.code, said.json["reason"]) == (409, "Conflict")
        assert said.json["message"] == ('Apply failed with 1 conflict: conflict with "one": .spec.replicas')
        [cause] = said.json["details"]["causes"]
        assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".spec.replicas")
        taken = await apply(face, deployment(5), "two", "&force=true")
        assert taken.json["spec"]["replicas"] == 5
        assert ("f:spec", "f:replicas") not in owners(taken)["one", "Apply"]
        assert (await apply(face, deployment(2))).code == 409

    with_face(test)


def test_a_write_takes_what_it_changes_from_who_applied_it() -> None:
    async def test(face: Face) -> None:
        await apply(face, deployment())
        merge = "application/merge-patch+json"
        path = f"{DEPLOYMENTS}/a?fieldManager=hand"
        said = await face.ask("PATCH", path, {"spec": {"replicas": 7}}, content_type=merge)
        assert owners(said)["hand", "Update"] == {("f:spec", "f:replicas")}
        assert ("f:spec", "f:replicas") not in owners(said)["one", "Apply"]
        assert (await apply(face, deployment())).code == 409
        assert (await apply(face, deployment(None))).json["spec"]["replicas"] == 7

    with_face(test)


def test_what_was_there_before_belongs_to_who_made_it() -> None:
    async def test(face: Face) -> None:
        await face.ask("POST", DEPLOYMENTS, deployment())
        said = await apply(face, deployment(3))
        assert 'conflict with "before-first-apply"' in said.json["message"]
        assert set(owners(await apply(face, deployment()))) == {("one", "Apply"), ("before-first-apply", "Update")}
        dry = await apply(face, deployment(4), "one", "&force=true&dryRun=All")
        assert dry.json["spec"]["replicas"] == 4
        assert (await face.ask("GET", f"{DEPLOYMENTS}/a")).json["spec"]["replicas"] == 2

    with_face(test)


def test_conflicts_are_told_as_a_real_server_tells_them() -> None:
    async def test(face: Face) -> None:
        await apply(face, deployment())
        merge = "application/merge-patch+json"
        path = f"{DEPLOYMENTS}/a?fieldManager=hand"
        hand = await face.ask("PATCH", path, {"spec": {"replicas": 7}}, content_type=merge)
        [since] = [one["time"] for one in hand.json["metadata"]["managedFields"] if one["manager"] == "hand"]
        other = deployment(5)
        other["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2"
        said = await apply(face, other, "two")
        assert said.json["message"] == (
            f'Apply failed with 2 conflicts: conflicts with "hand" using apps/v1 at {since}:\n- .spec.replicas\n'
            'conflicts with "one":\n- .spec.template.spec.containers[name="c"].image'
        )

    with_face(test)


def test_who_changes_nothing_keeps_his_entry_and_who_does_gets_a_new_one() -> None:
    def applied(manager: str, replicas: int, day: int, before: Applied | None = None) -> Applied:
        body, time = deployment(replicas), f"2026-01-0{day}T00:00:00Z"
        body["metadata"]["managedFields"] = None
        one = Application(manager, resource_of_type(Deployment), "default/a", body, force=True, time=time)
        if before is None:
            return one.to(None, ())
        metadata = {**before.value["metadata"], "managedFields": to_builtins(before.owners)}
        return one.to({**before.value, "metadata": metadata}, before.owners)

    first = applied("one", 2, day=1)
    assert applied("one", 2, 2, first).owners == first.owners
    changed = applied("one", 9, 3, first)
    assert [one.time for one in changed.owners] == ["2026-01-03T00:00:00Z"]
    taken = applied("two", 8, 4, changed)
    assert {one.manager: one.time[8:10] for one in taken.owners if one.time} == {"one": "03", "two": "04"}


def test_an_item_of_a_keyed_list_may_be_one_value() -> None:
    item = {"type": "object", "x-kubernetes-map-type": "atomic"}
    listed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item}
    kind = Shaped({"type": "object", "properties": {"steps": listed}}, True)
    value = {"steps": [{"name": "a", "run": "x"}, {"name": "b"}]}
    assert flaws(value, kind) == []
    assert fields_of(value, kind) == {("f:steps", 'k:{"name":"a"}'), ("f:steps", 'k:{"name":"b"}')}


def test_owners_are_forgotten_when_a_client_says_so() -> None:
    async def test(face: Face) -> None:
        made = await apply(face, deployment())
        said = await face.ask("PUT", f"{DEPLOYMENTS}/a", {**made.json, "metadata": {"name": "a"}})
        assert owners(said) == owners(made)
        reset = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
        said = await face.ask("PATCH", f"{DEPLOYMENTS}/a", reset, content_type="application/json-patch+json")
        assert (said.code, "managedFields" in said.json["metadata"]) == (200, False)

    with_face(test)


@pytest.mark.parametrize(
    ("containers", "message"),
    [
        ([{"name": "c"}, {"name": "c"}], 'containers: duplicate entries for key [name="c"]'),
        ([{"image": "x"}], 'containers: associative list with keys has an element that omits key field "name"'),
        (["x"], 'containers: expected map, got "x"'),
    ],
)
def test_items_that_cannot_be_told_apart_are_refused(containers: Any, message: str) -> None:
    async def test(face: Face) -> None:
        body = deployment()
        body["spec"]["template"]["spec"]["containers"] = containers
        said = await apply(face, body)
        place = "failed to create typed patch object (default/a; apps/v1, Kind=Deployment): .spec.template.spec."
        assert (said.code, said.json["message"]) == (400, place + message)

    with_face(test)


def test_a_field_that_the_kind_does_not_have_is_refused_and_nobodys() -> None:
    async def test(face: Face) -> None:
        body = deployment()
        body["spec"]["colour"] = "red"
        said = await apply(face, body, more="&fieldValidation=Ignore")
        assert said.code == 400
        assert said.json["message"].endswith("Kind=Deployment): .spec.colour: field not declared in schema")
        assert (await face.ask("GET", DEPLOYMENTS)).names == []

    with_face(test)


@pytest.mark.parametrize(
    ("body", "query", "code"),
    [
        (deployment(), "", 422),
        ([], "?fieldManager=one", 400),
        ({**deployment(), "spec": {"$patch": "delete"}}, "?fieldManager=one", 400),
        ({**deployment(), "metadata": {"managedFields": [{"manager": "x"}]}}, "?fieldManager=one", 400),
        ({**deployment(), "metadata": {"name": "b"}, "kind": "Pod"}, "?fieldManager=one", 400),
        ({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "x"}}, "?fieldManager=one", 400),
        ({**deployment(), "metadata": {"name": "b"}}, "?fieldManager=one", 400),
        (b"a: [", "?fieldManager=one", 400),
    ],
)
def test_what_cannot_be_applied_is_refused(body: Any, query: str, code: int) -> None:
    async def test(face: Face) -> None:
        said = await face.ask("PATCH", f"{DEPLOYMENTS}/a{query}", body, content_type=APPLY)
        assert (said.code, said.json["kind"]) == (code, "Status"), said.json
        assert (await face.ask("GET", DEPLOYMENTS)).names == []

    with_face(test)


def test_items_that_two_keys_tell_apart_are_all_kept() -> None:
    async def test(face: Face) -> None:
        ports = [{"name": name, "port": 53, "protocol": name.upper()} for name in ("tcp", "udp")]
        body = {**service("dns", ports=ports), "metadata": {"name": "dns"}}
        path = f"{SERVICES}/dns?fieldManager=one"
        said = await face.ask("PATCH", path, body, content_type=APPLY)
        assert [(port["port"], port["protocol"]) for port in said.json["spec"]["ports"]] == [(53, "TCP"), (53, "UDP")]
        body["spec"]["ports"] = ports[1:]
        said = await face.ask("PATCH", path, body, content_type=APPLY)
        assert said.code == 200, said.json["message"]
        assert [port["name"] for port in said.json["spec"]["ports"]] == ["udp"]

    with_face(test)


def test_a_status_that_is_put_leaves_the_owners_of_the_rest() -> None:
    async def test(face: Face) -> None:
        made = await apply(face, deployment())
        body = {**made.json, "metadata": {"name": "a"}}
        said = await face.ask("PUT", f"{DEPLOYMENTS}/a/status", body)
        assert (said.code, owners(said)) == (200, owners(made))

    with_face(test)


def test_what_is_made_by_apply_begins_anew() -> None:
    async def test(face: Face) -> None:
        metadata = {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 3}
        said = await apply(face, {**deployment(), "metadata": metadata, "status": {"replicas": 9}})
        assert said.code == 201
        assert not said.json["metadata"].keys() & {"deletionTimestamp", "deletionGracePeriodSeconds"}
        assert said.json["status"].get("replicas", 0) == 0

    with_face(test)


def test_paths_lead_to_their_values_and_back() -> None:
    value = deployment(tier="web")
    paths = fields_of(value, "Deployment")
    assert frozenset(decoded(encoded(paths))) == paths
    assert paths <= values_of(value, "Deployment").keys()
    image = (*CONTAINERS, "f:image")
    assert values_of(value, "Deployment")[image] == "nginx:1"
    assert shown(image) == '.spec.template.spec.containers[name="c"].image'
    assert image not in values_of(without(value, [image]), "Deployment")
    assert without(value, [CONTAINERS])["spec"]["template"]["spec"]["containers"] == []


JUNK = st.recursive(
    st.none() | st.integers(0, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["f:a", "k:{}", "v:1", "k:", ".", "a", "spec", "containers"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(JUNK)
def test_junk_is_no_set_of_fields_or_one(value: Any) -> None:
    try:
        paths = frozenset(decoded(value))
    except RequestError as error:
        assert error.status == 400
    else:
        assert frozenset(decoded(encoded(paths))) == paths
        if isinstance(value, dict):
            assert isinstance(without(value, [path for path in paths if path]), dict)
            fields_of(value, "Pod")
