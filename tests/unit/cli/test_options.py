"""One word for one option: over all verbs, a letter has one meaning and a meaning has one name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from k8snetlab.cli.main import app_of
from k8snetlab.cli.options import Form, form_of
from k8snetlab.errors import InputError

AS_KUBECTL_HAS_IT = {"-f": {"--filename", "--follow"}, "-p": {"--previous", "--protocol"}}
"""The letters that mean two things, because they do so in kubectl: `apply -f FILE`, `logs -f`; `logs -p`."""
MEANINGS = {
    "what is sent": ("--protocol", {"probe", "trace", "capture"}),
    "another form of the output": ("--output", {"get", "status", "probe", "trace", "graph", "capture", "diagnose"}),
    "manifests": ("--filename", {"apply", "delete", "graph", "render"}),
    "the namespace of names": (
        "--namespace",
        {"get", "delete", "scale", "exec", "shell", "logs", "probe", "trace", "capture", "tables", "rules"},
    ),
    "one node": ("--node", {"up", "rules", "render", "trace", "diagnose", "misses"}),
    "send nothing": ("--predict-only", {"trace", "diagnose"}),
    "which lab": ("--lab", {"up", "down", "status", "get", "probe", "trace", "graph", "capture"}),
    "all of it": ("--verbose", {"trace"}),
}
OLD = {"trace": ("--proto", "--svg", "--mermaid"), "probe": ("--proto",), "capture": ("--proto", "-c")}
"""Names that were, and are still taken without being shown."""


def options() -> Iterator[tuple[str, Any]]:
    """(verb, option) of every verb."""

    def below(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        for verb, held in getattr(command, "commands", {}).items():
            yield from below(held, f"{name} {verb}".strip())
        for parameter in command.params:
            if parameter.param_type_name == "option":
                yield name, parameter

    yield from below(typer.main.get_command(app_of()), "")


def shown() -> Iterator[tuple[str, Any]]:
    return ((verb, option) for verb, option in options() if not option.hidden)


def test_a_letter_means_one_thing() -> None:
    meanings: dict[str, set[str]] = defaultdict(set)
    for _, option in shown():
        letters = [name for name in option.opts if not name.startswith("--")]
        long = next(name for name in option.opts if name.startswith("--"))
        for letter in letters:
            meanings[letter].add(long)
    double = {letter: names for letter, names in meanings.items() if len(names) > 1}
    assert double == AS_KUBECTL_HAS_IT


def test_an_option_has_the_same_letter_wherever_it_is() -> None:
    letters: dict[str, set[frozenset[str]]] = defaultdict(set)
    for _, option in shown():
        short = frozenset(name for name in option.opts if not name.startswith("--"))
        letters[next(name for name in option.opts if name.startswith("--"))].add(short)
    letters.pop("--version"), letters.pop("--install-completion", None), letters.pop("--show-completion", None)
    assert {name: found for name, found in letters.items() if len(found) > 1} == {}


@pytest.mark.parametrize("meaning", MEANINGS)
def test_a_meaning_has_one_name_in_every_verb_that_has_it(meaning: str) -> None:
    name, verbs = MEANINGS[meaning]
    having = {verb for verb, option in shown() if name in option.opts}
    assert verbs <= having


def test_old_names_are_taken_and_not_shown() -> None:
    taken = {(verb, name): option.hidden for verb, option in options() for name in option.opts}
    assert {(verb, name): taken.get((verb, name)) for verb in OLD for name in OLD[verb]} == {
        (verb, name): True for verb in OLD for name in OLD[verb]
    }


def test_one_rule_for_forms_and_files() -> None:
    forms = ("json", "svg", "mermaid")
    assert form_of("svg", forms) == Form("svg")
    assert form_of("JSON", forms) == Form("json")
    assert form_of("a/way.svg", forms) == Form("svg", Path("a/way.svg"))
    assert form_of("way.MMD", forms) == Form("mermaid", Path("way.MMD"))
    for wrong, hint in (("way.png", ".svg, .mmd"), ("mermiad", "did you mean mermaid?"), ("way.dot", "forms: json")):
        with pytest.raises(InputError) as refused:
            form_of(wrong, forms)
        assert hint in refused.value.hint
