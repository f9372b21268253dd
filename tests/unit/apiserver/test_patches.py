"""What each form of a patch makes of an object, and how wrong ones are refused."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from face import PODS, SERVICES, Face, pod, service, with_face
from hypothesis import given
from hypothesis import strategies as st

from k8snetlab.apiserver.bodies import carried, patch_of
from k8snetlab.apiserver.negotiation import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from k8snetlab.apiserver.patches import Patch, json_patch
from k8snetlab.apiserver.strategic import strategic_merge
from k8snetlab.errors import RequestError

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PORTS = [{"containerPort": 80, "name": "http"}]


class Case(NamedTuple):
    """`patch` of a `target` of `type_` gives `result`."""

    type_: str
    target: Any
    patch: Any
    result: Any


CASES = {
    "containers are merged by their name": Case(
        "PodSpec",
        {"containers": [{"name": "a", "image": "1", "ports": PORTS}, {"name": "b", "image": "1"}]},
        {"containers": [{"name": "a", "image": "2"}]},
        {"containers": [{"name": "a", "image": "2", "ports": PORTS}, {"name": "b", "image": "1"}]},
    ),
    "an item is deleted by its key": Case(
        "PodSpec",
        {"containers": [{"name": "a"}, {"name": "b"}]},
        {"containers": [{"name": "a", "$patch": "delete"}]},
        {"containers": [{"name": "b"}]},
    ),
    "an item is replaced": Case(
        "PodSpec",
        {"containers": [{"name": "a", "image": "1"}]},
        {"containers": [{"name": "a", "$patch": "replace", "command": ["x"]}]},
        {"containers": [{"name": "a", "command": ["x"]}]},
    ),
    "a list is replaced as a whole": Case(
        "PodSpec",
        {"containers": [{"name": "a"}, {"name": "b"}]},
        {"containers": [{"$patch": "replace"}, {"name": "c"}]},
        {"containers": [{"name": "c"}]},
    ),
    "items stand as the patch orders them": Case(
        "ServiceSpec",
        {"ports": [{"port": 1}, {"port": 2}, {"port": 3}]},
        {"$setElementOrder/ports": [{"port": 4}, {"port": 3}, {"port": 1}], "ports": [{"port": 4, "name": "d"}]},
        {"ports": [{"port": 4, "name": "d"}, {"port": 3}, {"port": 1}, {"port": 2}]},
    ),
    "lists without a key are replaced": Case(
        "PodSpec", {"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "b"}]}
    ),
    "sets are merged": Case(
        "ObjectMeta", {"finalizers": ["a", "b"]}, {"finalizers": ["c", "a"]}, {"finalizers": ["a", "b", "c"]}
    ),
    "of a set what is named is taken out": Case(
        "ObjectMeta",
        {"finalizers": ["a", "b"]},
        {"$deleteFromPrimitiveList/finalizers": ["a"]},
        {"finalizers": ["b"]},
    ),
    "null takes a field out": Case("ServiceSpec", {"type": "A", "clusterIP": "x"}, {"type": None}, {"clusterIP": "x"}),
    "a mapping is replaced": Case(
        "ObjectMeta", {"labels": {"a": "b"}}, {"labels": {"$patch": "replace", "c": "d"}}, {"labels": {"c": "d"}}
    ),
    "other fields go where those that stay are named": Case(
        "DeploymentSpec",
        {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
        {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
        {"strategy": {"type": "Recreate"}},
    ),
    "what is new has no directives": Case(
        "Deployment",
        {},
        {
            "spec": {
                "template": {"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a"}]}}
            }
        },
        {"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_strategic_merge_patch_merges(case: Case) -> None:
    before = str(case.target)
    assert strategic_merge(case.target, case.patch, case.type_) == case.result
    assert str(case.target) == before, "what is stored stays as it is"


@pytest.mark.parametrize(
    "patch",
    [
        {"$patch": "merge it"},
        {"containers": [{"image": "1"}]},
        {"containers": ["a"]},
        {"$retainKeys": "a"},
        {"$setElementOrder/containers": {}},
        {"$nothing": 1},
    ],
)
def test_a_wrong_strategic_merge_patch_is_refused(patch: Any) -> None:
    with pytest.raises(RequestError) as refused:
        strategic_merge({"containers": [{"name": "a"}]}, patch, "PodSpec")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("operations", "status"),
    [
        ({}, 400),
        ([1], 400),
        ([{"op": "jump", "path": "/a"}], 400),
        ([{"path": "/a"}], 400),
        ([{"op": "replace", "path": "a", "value": 1}], 400),
        ([{"op": "add", "path": "/a"}], 400),
        ([{"op": "remove", "path": "/nothing"}], 422),
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "add", "path": "/l/9", "value": 2}], 422),
        ([{"op": "add", "path": "/a/b/c", "value": 2}], 422),
        ([{"op": "move", "from": "/x", "path": "/y"}], 422),
        ([{"op": "test", "path": "/a", "value": 1}] * 10_001, 422),
        ([{"op": "replace", "path": "", "value": 1}], 400),
        ([{"op": "add", "path": "/b", "value": "x" * 10_000}, *[{"op": "copy", "from": "", "path": "/c"}] * 40], 422),
    ],
)
def test_a_wrong_json_patch_is_refused(operations: Any, status: int) -> None:
    target = {"a": 1, "l": []}
    with pytest.raises(RequestError) as refused:
        json_patch(target, operations)
    assert refused.value.status == status
    assert target == {"a": 1, "l": []}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "name", "replace", "/a", "add", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "containers", "ports", "op", "path", "value", "from", "$patch", "$retainKeys", "spec"]
                + ["$setElementOrder/containers", "$deleteFromPrimitiveList/a", "finalizers", "metadata"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(target=st.dictionaries(st.sampled_from(["spec", "metadata", "containers"]), JUNK, max_size=3), body=JUNK)
def test_junk_is_patched_or_refused(target: dict[str, Any], body: Any) -> None:
    for media in (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH):
        for kind in ("Pod", "PodSpec", ""):
            try:
                assert isinstance(Patch(media, body).applied(target, kind), dict)
            except RequestError as error:
                assert error.status in (400, 422)


def test_an_image_is_set_and_the_ports_stay() -> None:
    async def test(face: Face) -> None:
        template = {"metadata": {"labels": {"app": "a"}}, "spec": pod("x")["spec"]}
        spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
        await face.ask("POST", DEPLOYMENTS, {"metadata": {"name": "a"}, "spec": spec})
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}}}
        said = await face.ask("PATCH", f"{DEPLOYMENTS}/a", patch, content_type=STRATEGIC_MERGE_PATCH)
        [container] = said.json["spec"]["template"]["spec"]["containers"]
        assert (container["image"], container["ports"][0]["containerPort"]) == ("nginx:2", 80)
        replicas = [{"op": "replace", "path": "/spec/replicas", "value": 3}]
        said = await face.ask("PATCH", f"{DEPLOYMENTS}/a", replicas, content_type=JSON_PATCH)
        assert said.json["spec"]["replicas"] == 3
        said = await face.ask("PATCH", f"{DEPLOYMENTS}/a/scale", {"spec": {"replicas": 4}}, content_type=MERGE_PATCH)
        assert (said.json["kind"], said.json["spec"]["replicas"]) == ("Scale", 4)

    with_face(test)


def test_a_patch_for_an_older_object_is_a_conflict() -> None:
    async def test(face: Face) -> None:
        await face.ask("POST", SERVICES, service("s"))
        for body, media in (
            ({"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}, STRATEGIC_MERGE_PATCH),
            ({"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}, MERGE_PATCH),
            ([{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}], JSON_PATCH),
        ):
            said = await face.ask("PATCH", f"{SERVICES}/s", body, content_type=media)
            assert (said.code, said.json["reason"]) == (409, "Conflict")
            assert 'Operation cannot be fulfilled on services "s": the object has been modified' in said.json["message"]
            assert said.json["details"]["name"] == "s"

    with_face(test)


def test_a_manifest_may_be_yaml() -> None:
    async def test(face: Face) -> None:
        text = b"metadata: {name: a}\nspec: {containers: [{name: c, image: nginx}]}\n"
        assert (await face.ask("POST", PODS, text, content_type="application/yaml")).code == 201
        for wrong in (b"a: [", b"a: 1\n---\nb: 2\n", b"a: *x\n"):
            assert (await face.ask("POST", PODS, wrong, content_type="application/yaml")).code == 400

    with_face(test)


def test_what_form_a_patch_has_says_its_header_alone() -> None:
    """Between machines a patch is carried in a wrapping, which a client may not use to get past the check of forms."""
    sent = carried(STRATEGIC_MERGE_PATCH, {"metadata": {}})
    assert patch_of(MERGE_PATCH, sent, alone=False) == Patch(MERGE_PATCH, sent)
    assert patch_of("application/json", sent, alone=True) == Patch(STRATEGIC_MERGE_PATCH, {"metadata": {}})
