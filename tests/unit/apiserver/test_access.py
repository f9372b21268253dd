"""docs/security.md's table of who may do what of a daemon, row by row."""

from __future__ import annotations

import grp
import os
import re
from typing import NamedTuple

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
