"""OpenAPI 2 of what is told as OpenAPI 3 of paths, and the whole document as protobuf, which kubectl reads until 1.26.

Pure. Source: google/gnostic openapiv2/OpenAPIv2.proto (the numbers of the fields), kube-openapi pkg/util/proto (what of
it is read: schemas, and of a PATCH which parameters it has).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

Json = dict[str, Any]
METHODS = ("get", "put", "post", "delete", "patch")
V3, V2 = "#/components/schemas/", "#/definitions/"

# --- paths ----------------------------------------------------------------------------------------------------------


def path_item(item: Json) -> Json:
    """A path of version 3 as version 2 has it."""
    found: Json = {"parameters": [_parameter(one) for one in item.get("parameters", ())]}
    for method in METHODS:
        if method in item:
            found[method] = _operation(item[method])
    return found


def _parameter(said: Json) -> Json:
    """`schema` is one of a type alone."""
    return {**{field: held for field, held in said.items() if field != "schema"}, "type": said["schema"]["type"]}


def _operation(said: Json) -> Json:
    found = {field: held for field, held in said.items() if field not in ("requestBody", "responses", "parameters")}
    found["parameters"] = [_parameter(one) for one in said.get("parameters", ())]
    if (body := said.get("requestBody")) is not None:
        content = body["content"]
        found["consumes"] = list(content)
        schema = _linked(next(iter(content.values()))["schema"])
        found["parameters"].append({"name": "body", "in": "body", "required": True, "schema": schema})
    found["produces"] = ["application/json"]
    found["responses"] = {code: _response(response) for code, response in said["responses"].items()}
    return found


def _response(said: Json) -> Json:
    schemas = [one["schema"] for one in said.get("content", {}).values() if "schema" in one]
    found: Json = {"description": said["description"]}
    return {**found, "schema": _linked(schemas[0])} if schemas else found


def _linked(schema: Json) -> Json:
    return {"$ref": schema["$ref"].replace(V3, V2)} if "$ref" in schema else schema


# --- protobuf -------------------------------------------------------------------------------------------------------


def encoded(document: Json) -> bytes:
    """A document of version 2 as openapi.v2.Document."""
    info = document["info"]
    return b"".join(
        (
            _text(1, document["swagger"]),
            _message(2, _text(1, info["title"]) + _text(2, info["version"])),
            _message(8, _named(2, document["paths"], _path)),
            _message(9, _named(1, document["definitions"], _schema)),
        )
    )


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode()) if text else b""


def _texts(field: int, texts: Iterable[str]) -> bytes:
    return b"".join(_message(field, text.encode()) for text in texts)


def _true(field: int, value: Any) -> bytes:
    return _varint(field << 3) + b"\x01" if value else b""


def _named(field: int, values: Mapping[str, Any], encode: Any) -> bytes:
    """A mapping, as a list of names and values."""
    return b"".join(_message(field, _text(1, name) + _message(2, encode(value))) for name, value in values.items())


def _any(value: Any) -> bytes:
    """Whatever it is, as YAML, of which JSON is a part."""
    return _text(2, msgspec.json.encode(value).decode())


def _extensions(field: int, value: Mapping[str, Any]) -> bytes:
    return _named(field, {name: held for name, held in value.items() if name.startswith("x-")}, _any)


def _schema(schema: Json) -> bytes:
    parts = [
        _text(1, schema.get("$ref", "")),
        _text(2, schema.get("format", "")),
        _text(4, schema.get("description", "")),
        _texts(19, schema.get("required", ())),
        *(_message(20, _any(value)) for value in schema.get("enum", ())),
    ]
    if isinstance(others := schema.get("additionalProperties"), dict):
        parts.append(_message(21, _message(1, _schema(others))))
    if "type" in schema:
        parts.append(_message(22, _texts(1, (schema["type"],))))
    if "items" in schema:
        parts.append(_message(23, _message(1, _schema(schema["items"]))))
    if "properties" in schema:
        parts.append(_message(25, _named(1, schema["properties"], _schema)))
    return b"".join((*parts, _extensions(31, schema)))


_NUMBERS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def _path(item: Json) -> bytes:
    methods = (_message(number, _of_method(item[method])) for method, number in _NUMBERS.items() if method in item)
    return b"".join((*methods, *_parameters(9, item["parameters"])))


def _of_method(said: Json) -> bytes:
    responses = _named(1, said["responses"], lambda response: _message(1, _answer(response)))
    return b"".join(
        (
            _text(5, said.get("operationId", "")),
            _texts(6, said.get("produces", ())),
            _texts(7, said.get("consumes", ())),
            *_parameters(8, said["parameters"]),
            _message(9, responses),
            _extensions(13, said),
        )
    )


def _answer(response: Json) -> bytes:
    schema = _message(2, _message(1, _schema(response["schema"]))) if "schema" in response else b""
    return _text(1, response["description"]) + schema


_PLACES = {"query": 3, "path": 4}
"""Which member of NonBodyParameter it is."""


def _parameters(field: int, parameters: Iterable[Json]) -> Iterator[bytes]:
    for one in parameters:
        if one["in"] == "body":
            body = _text(2, one["name"]) + _text(3, "body") + _true(4, True) + _message(5, _schema(one["schema"]))
            yield _message(field, _message(1, _message(1, body)))
        else:
            begin = _true(1, one.get("required")) + _text(2, one["in"]) + _text(4, one["name"])
            kind = _text(6 if one["in"] == "query" else 5, one["type"])
            yield _message(field, _message(1, _message(2, _message(_PLACES[one["in"]], begin + kind))))
