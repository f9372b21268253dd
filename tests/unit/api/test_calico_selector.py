"""Calico's selectors: what each matches, how it is printed, what is refused, and that none brings the parser down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from k8snetlab.api.calico_selector import (
    DEEPEST,
    LONGEST,
    LONGEST_LABEL,
    OPERATORS,
    All,
    Among,
    Compared,
    Has,
    Joined,
    Node,
    Not,
    SelectorError,
    both,
    parse,
    prefixed,
)

DATA: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("calico_selectors.yaml").read_text())
NAMES = st.sampled_from(("a", "b", "k8s-app", "projectcalico.org/namespace", "in", "not", "contains", "has", "all"))
TEXTS = st.text(st.characters(exclude_characters="\"'", exclude_categories=("Cs",)), max_size=6) | st.sampled_from(
    ("", "x", "xy", 'say "x"', "it's", "all()", "&&", "}")
)
LABELS = st.dictionaries(NAMES, TEXTS, max_size=4)


def _nodes() -> st.SearchStrategy[Node]:
    compared = st.builds(Compared, NAMES, st.sampled_from(list(OPERATORS)), TEXTS)
    among = st.builds(Among, NAMES, st.booleans(), st.sets(TEXTS, max_size=3).map(lambda some: tuple(sorted(some))))
    leaves = st.builds(All) | st.builds(Has, NAMES) | compared | among
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(Not, inner) | st.builds(Joined, st.booleans(), st.lists(inner, min_size=2, max_size=3).map(tuple))
        ),
        max_leaves=8,
    )


@pytest.mark.parametrize(("text", "held", "others"), DATA["truth"], ids=[one[0] for one in DATA["truth"]])
def test_selector_matches_what_its_table_says(text: str, held: list[Any], others: list[Any]) -> None:
    for selector in (parse(text), parse(str(parse(text)))):
        assert [labels for labels in held if not selector.matches(labels)] == []
        assert [labels for labels in others if selector.matches(labels)] == []


@pytest.mark.parametrize(("text", "printed"), DATA["printed"])
def test_selector_is_printed_as_calico_prints_it(text: str, printed: str) -> None:
    assert str(parse(text)) == printed == str(parse(printed))


@pytest.mark.parametrize(("text", "printed"), DATA["prefixed"])
def test_labels_get_a_prefix_and_texts_do_not(text: str, printed: str) -> None:
    assert str(prefixed(parse(text), "visited/")) == printed


@pytest.mark.parametrize(("text", "at"), DATA["wrong"])
def test_what_is_no_selector_is_refused_with_the_place(text: str, at: int) -> None:
    with pytest.raises(SelectorError, match=rf"\(at character {at}\)$"):
        parse(text)


@given(_nodes(), LABELS)
def test_what_is_printed_is_read_back(node: Node, labels: dict[str, str]) -> None:
    again = parse(str(node))
    assert again.matches(labels) is node.matches(labels)
    assert str(parse(str(again))) == str(again)


@given(_nodes(), LABELS)
def test_a_prefix_asks_the_same_of_prefixed_labels(node: Node, labels: dict[str, str]) -> None:
    assert prefixed(node, "pcns.").matches({f"pcns.{k}": v for k, v in labels.items()}) is node.matches(labels)


@given(st.text(max_size=60) | st.text("ab()!&|={}\"', ~hasinot", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text).matches({"a": "b"})
    except SelectorError as error:
        assert re.search(r"\(at character \d+\)$", str(error))


def test_length_and_depth_have_bounds() -> None:
    deep = "(" * DEEPEST + "has(a)" + ")" * DEEPEST
    assert parse(deep) == Has("a")
    assert str(parse("!" * 1000 + "has(a)")) == "has(a)"
    long = " && ".join(["has(a)"] * 102)
    assert len(long) <= LONGEST
    assert parse(long).matches({"a": ""})
    with pytest.raises(SelectorError, match=f"more than {DEEPEST} parentheses"):
        parse(f"({deep})")
    with pytest.raises(SelectorError, match=f"more than {DEEPEST} parentheses"):
        parse("(" * LONGEST)
    with pytest.raises(SelectorError, match=f"at most {LONGEST} are taken"):
        parse(" " * (LONGEST + 1))
    assert parse(f"has({'a' * LONGEST_LABEL})").matches({"a" * LONGEST_LABEL: ""})
    with pytest.raises(SelectorError, match=f"longer than {LONGEST_LABEL} characters"):
        parse(f"{'a' * (LONGEST_LABEL + 1)} == ''")


def test_both_of_one_is_that_one() -> None:
    assert both(Has("a")) == Has("a")
    assert str(both(Has("a"), Not(Has("b")))) == "(has(a) && !has(b))"
