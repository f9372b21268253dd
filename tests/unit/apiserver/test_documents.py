"""Discovery and OpenAPI tell of every kind what the paths do, and in the forms that clients ask for."""

from __future__ import annotations

import json

import pytest
from face import Face, with_face

from k8snetlab.api.kinds import BUILT_IN
from k8snetlab.api.scheme import RESOURCES
from k8snetlab.apiserver import discovery, openapi
from k8snetlab.apiserver.negotiation import LIST, Form, chosen
from k8snetlab.apiserver.operations import operations
from k8snetlab.apiserver.paths import parse
from k8snetlab.apiserver.virtual import UNSERVED, VIRTUAL
from k8snetlab.errors import RequestError

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList"


def test_aggregated_discovery_says_the_same_as_discovery_by_group() -> None:
    found = {}
    for core in (True, False):
        for group in discovery.aggregated(core, "v2", BUILT_IN)["items"]:
            for version in group["versions"]:
                name = group["metadata"].get("name", "")
                found[f"{name}/{version['version']}".lstrip("/")] = version["resources"]
    assert set(found) == set(BUILT_IN.versions) | {one.version for one in (*VIRTUAL, *UNSERVED)}
    assert all(found.values()), "a client keeps no list that is empty"
    for group_version, resources in found.items():
        plain = discovery.resource_list(group_version, BUILT_IN)
        assert plain
        by_name = {one["name"]: one for one in plain["resources"]}
        for one in resources:
            assert one["verbs"] == by_name[one["resource"]]["verbs"]
            assert (one["scope"] == "Namespaced") == by_name[one["resource"]]["namespaced"]
            for part in one.get("subresources", ()):
                assert part["verbs"] == by_name[f"{one['resource']}/{part['subresource']}"]["verbs"]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
def test_openapi_describes_each_path_that_is_answered(resource: object) -> None:
    assert isinstance(resource, type(RESOURCES[0]))
    document = json.loads(openapi.document(resource.type.API_VERSION, BUILT_IN))
    methods = {"GET", "PUT", "POST", "PATCH", "DELETE"}
    for path in operations(resource, ""):
        item = document["paths"][path]
        target = parse(path.replace("{namespace}", "n").replace("{name}", "x"))
        assert {method for method in methods if method.lower() in item} == set(target.methods)


def test_every_reference_of_a_document_leads_to_a_schema() -> None:
    def references(value: object) -> set[str]:
        if isinstance(value, list):
            return {one for item in value for one in references(item)}
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own | {one for item in value.values() for one in references(item)}
        return set()

    for group_version in set(BUILT_IN.versions):
        document = json.loads(openapi.document(group_version, BUILT_IN))
        schemas = {f"{openapi.V3}{name}" for name in document["components"]["schemas"]}
        assert references(document) <= schemas
    whole = json.loads(openapi.swagger(BUILT_IN))
    assert references(whole) <= {f"{openapi.V2}{name}" for name in whole["definitions"]}


def test_old_and_new_clients_get_the_form_that_they_ask_for() -> None:
    async def test(face: Face) -> None:
        plain = await face.ask("GET", "/apis")
        assert plain.json["kind"] == "APIGroupList"
        for version in ("v2", "v2beta1"):
            accept = AGGREGATED % version
            said = await face.ask("GET", "/api", accept=f"{accept},application/json;q=0.9")
            assert said.json["apiVersion"] == f"apidiscovery.k8s.io/{version}"
            assert (b"content-type", accept.encode()) in said.headers
        assert (await face.ask("GET", "/api/v1")).json["kind"] == "APIResourceList"
        assert (await face.ask("GET", "/apis/apps")).json["preferredVersion"]["version"] == "v1"
        swagger = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        said = await face.ask("GET", "/openapi/v2", accept=swagger)
        assert said.code == 200 and said.body.startswith(b"\x0a\x032.0")
        assert (await face.ask("GET", "/openapi/v2")).json["swagger"] == "2.0"
        table = await face.ask("GET", "/api/v1/nodes", accept="application/json;as=Table;v=v1beta1;g=meta.k8s.io")
        assert (table.json["kind"], table.json["apiVersion"]) == ("Table", "meta.k8s.io/v1beta1")
        asked = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        assert (await face.ask("GET", "/api/v1/namespaces", accept=asked)).json["kind"] == "PartialObjectMetadataList"

    with_face(test)


def test_the_form_that_is_liked_best_is_taken() -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    assert chosen(f"application/json;q=0.1,{table}", LIST).kind == "Table"
    assert chosen(f"{table};q=0.1,application/json", LIST) == Form()
    assert chosen("*/*", LIST) == Form()
    for nothing in ("application/yaml", "application/json;as=Nothing", f"{table};q=0"):
        with pytest.raises(RequestError, match="only the following media types"):
            chosen(nothing, LIST)


def test_json_is_indented_for_those_who_look() -> None:
    async def test(face: Face) -> None:
        for agent, path, indented in (
            (b"curl/8.5", "/version", True),
            (b"curl/8.5", "/version?pretty=false", False),
            (b"kubectl/v1.37.1", "/version", False),
            (b"kubectl/v1.37.1", "/version?pretty", True),
        ):
            said = await face.ask("GET", path, headers=((b"user-agent", agent),))
            assert (b"\n  " in said.body) is indented, (agent, path)

    with_face(test)


def test_what_a_lab_has_none_of_is_refused_with_why() -> None:
    async def test(face: Face) -> None:
        said = await face.ask("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", {})
        assert (said.code, said.json["reason"]) == (404, "NotFound")
        why = "no pod's load is measured here, so that nothing scales by it; `kubectl scale` does"
        assert said.json["message"].endswith(why)
        assert dict(said.headers)[b"warning"] == f'299 - "{why}"'.encode(), (
            "kubectl autoscale tries autoscaling/v1 next, and shows what of v2 was a warning"
        )

    with_face(test)


def test_that_endpoints_are_deprecated_is_told_over_the_api_alone() -> None:
    async def test(face: Face) -> None:
        said = await face.ask("GET", "/api/v1/endpoints")
        assert b"warning" not in dict(said.headers)

    with_face(test)
