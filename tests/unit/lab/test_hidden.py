"""Secrets are no group member's and no viewer's to see, whatever the way in."""

from __future__ import annotations

import grp
import os

import pytest
from face import Face, with_face

SECRETS = "/api/v1/namespaces/default/secrets"


def test_a_member_of_the_group_sees_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_GROUP", grp.getgrgid(os.getgid()).gr_name)

    async def test(face: Face) -> None:
        made = await face.ask("POST", SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
        assert made.code == 201
        for path in (SECRETS, f"{SECRETS}/s", "/api/v1/secrets", "/api/v1/secrets?watch=1"):
            said = await face.ask("GET", path, client=("54321", os.getgid()))
            assert (said.code, said.json["reason"]) == (403, "Forbidden"), path
        assert (await face.ask("GET", "/api/v1/pods", client=("54321", os.getgid()))).code == 200

    with_face(test)
