"""docs/security.md's table of who may do what of a daemon, row by row."""

from __future__ import annotations

import grp
import os
import re
from typing import NamedTuple

import pytest
from face import Face, with_face
from repository import DOCS
from verbs import DECLARED

from k8snetlab.apiserver.access import ANONYMOUS, MASTERS, VIEWERS, Caller, User, admit, permit
from k8snetlab.apiserver.authorization import Attributes, allowed, attributes_of, authorize, is_public
from k8snetlab.apiserver.listener import user_of
from k8snetlab.apiserver.verbs import VerbPaths
from k8snetlab.errors import ForbiddenError
from k8snetlab.messages.verb import BASE

PAGE = DOCS / "security.md"
GROUP = grp.getgrgid(os.getgid()).gr_name
ROOT, MEMBER, OTHER = Caller(0, 0), Caller(54321, os.getgid()), Caller(54321, 54321)


class Row(NamedTuple):
    """Who may do what; the last three say "yes" or "no"."""

    request: str
    words: str
    root: str
    group: str
    others: str


def rows() -> list[Row]:
    found = re.findall(r"^\| `(\w+ [^`]+)` \| ([^|]+) \| (yes|no) \| (yes|no) \| (yes|no) \|$", PAGE.read_text(), re.M)
    assert len(found) > 15
    return [Row(*row) for row in found]


def may(caller: Caller | None, request: str) -> bool:
    method, _, path = request.partition(" ")
    looks = method == "GET" if path == "objects" else VerbPaths(DECLARED).find(method, f"{BASE}/{path}").verb.group
    try:
        admit(caller)
        permit(caller, looks, request)
    except ForbiddenError as error:
        assert error.hint == "use sudo"
        return False
    return True


def test_every_verb_has_a_row() -> None:
    requests = [row.request.partition(" ") for row in rows() if not row.request.endswith(" objects")]
    found = [VerbPaths(DECLARED).find(method, f"{BASE}/{path}").verb.name for method, _, path in requests]
    assert sorted(found) == sorted(verb.name for verb in DECLARED)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.request)
def test_a_row_of_the_table_says_what_a_request_gets(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_GROUP", GROUP)
    request = row.request
    found = {"root": may(ROOT, request), "group": may(MEMBER, request), "others": may(OTHER, request)}
    assert found == {who: getattr(row, who) == "yes" for who in found}
    monkeypatch.setenv("K8SNETLAB_GROUP", "no-such-group")
    assert may(ROOT, request) and not may(MEMBER, request)
    assert may(None, request), "another machine's daemon, through the store"


def test_a_viewer_looks_at_everything_but_secrets() -> None:
    viewer, nobody = User("view", (VIEWERS,)), User("n", ("system:authenticated",))
    for method, path, may_view in (
        ("GET", "/api/v1/pods", True),
        ("GET", "/api/v1/namespaces/default/pods/a", True),
        ("GET", "/apis/apps/v1/deployments", True),
        ("POST", "/api/v1/namespaces/default/pods", False),
        ("PATCH", "/api/v1/namespaces/default/pods/a", False),
        ("DELETE", "/api/v1/namespaces/default/pods", False),
        ("PUT", "/apis/apps/v1/namespaces/default/deployments/a/scale", False),
        ("GET", "/apis", True),
        ("POST", "/apis", False),
    ):
        asked = attributes_of(method, path)
        assert allowed(viewer, asked) == may_view, (method, path)
        assert allowed(User("admin", (MASTERS,)), asked)
        assert allowed(nobody, asked) == (may_view and path == "/apis"), (method, path)
    assert not allowed(viewer, Attributes("list", "", "secrets"))
    assert not allowed(viewer, Attributes("create", "", "pods", "exec"))
    assert not allowed(viewer, Attributes("get", "", "pods", "exec"))
    assert not allowed(viewer, Attributes("get", "*", "*"))
    assert allowed(ANONYMOUS, attributes_of("GET", "/livez")) and is_public("/readyz/etcd")


def test_a_refusal_says_who_may_not_do_what() -> None:
    viewer = User("view", (VIEWERS,))
    with pytest.raises(ForbiddenError) as refused:
        authorize(viewer, attributes_of("DELETE", "/apis/apps/v1/namespaces/n/deployments/web"))
    assert refused.value.message == (
        'deployments.apps "web" is forbidden: User "view" cannot delete resource "deployments" in API group "apps" '
        'in the namespace "n"'
    )


def test_a_certificate_says_who_comes() -> None:
    subject = ((("organizationName", VIEWERS),), (("commonName", "view"),))
    assert user_of({"subject": subject}) == User("view", (VIEWERS, "system:authenticated"))
    assert user_of(None) == user_of({}) == user_of({"subject": ()}) == ANONYMOUS


def test_a_query_with_too_many_parameters_is_a_bad_request_of_a_user_too() -> None:
    async def test(face: Face) -> None:
        user = User("admin", (MASTERS,))
        said = await face.ask("GET", "/api/v1/pods", query="&x=1" * 1100, user=user)
        assert (said.code, said.json["reason"]) == (400, "BadRequest")

    with_face(test)
