"""Documents that are JSON on a line each mean what they mean as YAML; what could mean something else is YAML."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from k8snetlab.api import json_lines
from k8snetlab.api.source import Document, Flaw, parse

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        ["1e3", "0x1F", "null", "true", "<<", "a: b", "- x", "#", "---", "\\", '"', "\u2028", "\x85", "\t"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)


def as_yaml(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Document], list[Flaw]]:
    with monkeypatch.context() as patched:
        patched.setattr(json_lines, "documents", lambda text, plain: None)
        return parse(text, "f")


def same(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Document], list[Flaw]]:
    fast, slow = parse(text, "f"), as_yaml(text, monkeypatch)
    assert [one.value for one in fast[0]] == [one.value for one in slow[0]] and fast[1] == slow[1]
    for one, other in zip(fast[0], slow[0], strict=True):
        assert repr(one.value) == repr(other.value), "numbers are of the same type"
        assert {path: one.line(path) for path in other.lines} == other.lines
    return fast


@given(st.lists(OBJECTS, min_size=1, max_size=3), st.booleans())
@settings(deadline=None, max_examples=100)
def test_an_object_a_line_means_what_it_means_as_yaml(objects: list[dict[str, Any]], ascii_only: bool) -> None:
    text = "".join(f"---\n{json.dumps(one, ensure_ascii=ascii_only)}\n" for one in objects)
    with pytest.MonkeyPatch.context() as monkeypatch:
        same(text, monkeypatch)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '\n\n{"a": 1}\n---\n---\n\n{"b": [null, 1.0, 1e3, -0, 1E400, 0.1]}\r\n',
        '---\r\n{"a": {"b": "\\u00e9\\/\\n"}}\n',
        f'{{"a": {"9" * 80}}}',
    ],
)
def test_what_is_json_is_read_as_json(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, flaws = same(text, monkeypatch)
    assert documents and not flaws and all(isinstance(one.lines, json_lines.OneLine) for one in documents)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}\n{"b": 2}\n',
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        "{a: 1}",
        '{"a": 1} # why',
        '{"a":\n 1}',
        'a: 1\n---\n{"b": 2}\n',
        '{"a": 1}\n--- {"b": 2}\n',
        '{"x": {"<<": {"b": 1}}}',
        '{"a": "\\ud83d\\ude00"}',
        '---\n{"a": "\\ud83d\\ude00"}',
        '{"a": "x\u2028y"}',
        '{"a": ' * 101 + "1" + "}" * 101,
        '{"a": "\x01"}',
        "%YAML 1.1\n---\n{}\n",
        "---\n",
        "",
    ],
)
def test_what_is_not_only_json_is_read_as_yaml(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, _ = same(text, monkeypatch)
    assert not any(isinstance(one.lines, json_lines.OneLine) for one in documents)


def test_of_five_hundred_objects_no_event_of_yaml_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("read as YAML")

    monkeypatch.setattr(yaml, "parse", never)
    text = "".join(f'---\n{{"kind": "Service", "n": {number}}}\n' for number in range(500))
    documents, flaws = parse(text, "f")
    assert not flaws and [(one.value["n"], one.line(("kind",))) for one in documents] == [
        (number, 2 * number + 2) for number in range(500)
    ]
