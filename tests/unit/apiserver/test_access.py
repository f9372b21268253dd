"""docs/security.md's table of who may do what of a daemon, row by row."""

from __future__ import annotations

import grp
import os
import re

import pytest
from repository import DOCS
from verbs import DECLARED

from k8snetlab.apiserver.access import Caller, admit, permit
from k8snetlab.apiserver.verbs import VerbPaths
from k8snetlab.errors import ForbiddenError
from k8snetlab.messages.verb import BASE

PAGE = DOCS / "security.md"
GROUP = grp.getgrgid(os.getgid()).gr_name
ROOT, MEMBER, OTHER = Caller(0, 0), Caller(54321, os.getgid()), Caller(54321, 54321)


def rows() -> list[tuple[str, str, str, str, str]]:
    """(request, in words, root, group, others)"""
    found = re.findall(r"^\| `(\w+ [^`]+)` \| ([^|]+) \| (yes|no) \| (yes|no) \| (yes|no) \|$", PAGE.read_text(), re.M)
    assert len(found) > 15
    return found


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


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_of_the_table_says_what_a_request_gets(
    row: tuple[str, str, str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, _, root, group, others = row
    monkeypatch.setenv("K8SNETLAB_GROUP", GROUP)
    said = {"root": root, "group": group, "others": others}
    found = {"root": may(ROOT, request), "group": may(MEMBER, request), "others": may(OTHER, request)}
    assert found == {who: word == "yes" for who, word in said.items()}
    monkeypatch.setenv("K8SNETLAB_GROUP", "no-such-group")
    assert may(ROOT, request) and not may(MEMBER, request)
    assert may(None, request), "another machine's daemon, through the store"
