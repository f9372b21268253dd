"""ConfigMaps, Secrets and ServiceAccounts are kept as an API server keeps them."""

from __future__ import annotations

from typing import Any

import pytest
from face import Face, with_face

CORE = "/api/v1/namespaces/default"


async def make(face: Face, plural: str, **body: Any) -> Any:
    return await face.ask("POST", f"{CORE}/{plural}", {"metadata": {"name": "x"}, **body})


def test_text_of_a_secret_becomes_data() -> None:
    async def test(face: Face) -> None:
        said = await make(face, "secrets", stringData={"a": "b"}, data={"c": "ZA=="})
        assert said.code == 201
        assert (said.json["data"], said.json["type"]) == ({"a": "Yg==", "c": "ZA=="}, "Opaque")
        assert "stringData" not in said.json
        said = await face.patch(f"{CORE}/secrets/x", {"stringData": {"a": "e"}})
        assert said.json["data"] == {"a": "ZQ==", "c": "ZA=="}
        assert (await face.patch(f"{CORE}/secrets/x", {"type": "other"})).code == 422

    with_face(test)


def test_what_is_immutable_stays_as_it_is() -> None:
    async def test(face: Face) -> None:
        assert (await make(face, "configmaps", data={"a": "b"}, immutable=True)).code == 201
        for change in ({"data": {"a": "c"}}, {"immutable": False}, {"binaryData": {"b": "YQ=="}}):
            said = await face.patch(f"{CORE}/configmaps/x", change)
            assert (said.code, said.json["reason"]) == (422, "Invalid"), change
        assert (await face.patch(f"{CORE}/configmaps/x", {"metadata": {"labels": {"a": "b"}}})).code == 200

    with_face(test)


@pytest.mark.parametrize(
    ("plural", "body", "code"),
    [
        ("configmaps", {"data": {"a b": "c"}}, 422),
        ("configmaps", {"data": {"..": "c"}}, 422),
        ("configmaps", {"data": {"a": "b"}, "binaryData": {"a": "YQ=="}}, 422),
        ("configmaps", {"binaryData": {"a": "?"}}, 422),
        ("configmaps", {"data": {"a": "b" * (1 << 20) + "c"}}, 422),
        ("configmaps", {"data": {"a": 1}}, 400),
        ("secrets", {"data": {"a": "b"}}, 422),
        ("secrets", {"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ=="}}, 422),
        ("serviceaccounts", {"secrets": "x"}, 400),
    ],
)
def test_wrong_ones_are_refused(plural: str, body: Any, code: int) -> None:
    async def test(face: Face) -> None:
        said = await make(face, plural, **body)
        assert (said.code, said.json["kind"]) == (code, "Status"), said.json
        assert (await face.ask("GET", f"{CORE}/{plural}")).names == []

    with_face(test)
