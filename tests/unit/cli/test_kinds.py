"""What a word means as a kind: a lab's own kinds, and those that users bring, by any of their names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted import ScriptedClient
from typer.testing import CliRunner

from k8snetlab.cli import kinds
from k8snetlab.cli.main import app_of
from k8snetlab.errors import InputError

COLUMNS = [
    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
    {"name": "Colour", "type": "string", "jsonPath": ".spec.colour", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]
SCHEMA = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
NAMES = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList", "shortNames": ["wd"]}


def version(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "served": True, "storage": name == "v1", "schema": SCHEMA, **more}


DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": NAMES,
        "versions": [version("v1beta1"), version("v1", additionalPrinterColumns=COLUMNS)],
    },
    "status": {"acceptedNames": NAMES, "conditions": [{"type": "Established", "status": "True"}]},
}


def widget(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "creationTimestamp": "2020-01-01T00:00:00Z"}
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": spec}


class Bringing(ScriptedClient):
    """Answers for kinds that are no built-in ones, too, as the client does."""

    def list(self, kind: Any, namespace: str | None = None, labels: str = "", fields: str = "") -> list[dict[str, Any]]:
        return super().list(kind if isinstance(kind, str) else kind.kind, namespace, labels, fields)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Bringing:
    made = Bringing()
    made.objects = [DEFINITION, widget("a", size=3, colour="red"), widget("b")]
    monkeypatch.setattr("k8snetlab.cli.objects.client_of", lambda lab: made)
    return made


def ran(*words: str) -> str:
    done = CliRunner().invoke(app_of(), words)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    "word", ["widgets", "widget", "wd", "Widget", "widgets.example.com", "widgets.v1.example.com", "WIDGETS"]
)
def test_a_kind_that_users_bring_is_known_by_all_of_its_names(client: Bringing, word: str) -> None:
    found = kinds.resource_of(word, lambda: kinds.brought(client))  # type: ignore[arg-type]
    assert (found.version, found.plural, found.kind) == ("example.com/v1", "widgets", "Widget")


def test_an_older_version_is_had_by_its_name(client: Bringing) -> None:
    found = kinds.resource_of("widgets.v1beta1.example.com", lambda: kinds.brought(client))  # type: ignore[arg-type]
    assert found.version == "example.com/v1beta1"


@pytest.mark.parametrize("word", ["wigets", "widgets.other.com", "deployments.example.com", "zz"])
def test_what_is_no_kind_is_said_with_what_there_is(client: Bringing, word: str) -> None:
    with pytest.raises(InputError, match="the lab has no kind") as error:
        kinds.resource_of(word, lambda: kinds.brought(client))  # type: ignore[arg-type]
    assert any(known in error.value.hint for known in ("widgets", "deployments"))


def test_a_labs_own_kinds_ask_nobody() -> None:
    def nobody() -> Any:
        raise AssertionError("who knows the kind need not ask")

    assert kinds.resource_of("deployments.apps", nobody).kind == "Deployment"
    assert kinds.resource_of("po", nobody).kind == "Pod"


def test_objects_of_such_a_kind_are_shown_in_their_columns(client: Bringing) -> None:
    assert ran("get", "wd").split("\n")[0].split() == ["NAME", "SIZE", "AGE"]
    rows = [line.split()[:2] for line in ran("get", "widgets").splitlines()[1:]]
    assert rows == [["a", "3"], ["b", "<none>"]]
    assert ran("get", "wd", "-o", "wide").split("\n")[0].split() == ["NAME", "SIZE", "COLOUR", "AGE"]
    assert ran("get", "wd", "-o", "name").split() == ["widget.example.com/a", "widget.example.com/b"]
    assert json.loads(ran("get", "widget/a", "-o", "json"))["spec"] == {"size": 3, "colour": "red"}
    assert "colour: red" in ran("get", "wd", "a", "-o", "yaml")


def test_such_an_object_is_deleted_as_any_other(client: Bringing) -> None:
    client.events = [{"type": "done", "changes": {}, "seconds": 0.1}]
    CliRunner().invoke(app_of(), ["delete", "wd", "a"])
    verb, question = client.asked[-1]
    assert verb == "delete" and [one["metadata"]["name"] for one in question.objects] == ["a"]
