"""What a word means as a kind: a lab's own kinds, and those that users bring, by any of their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedClient
from typer.testing import CliRunner

from k8snetlab.cli import kinds
from k8snetlab.cli.main import app_of
from k8snetlab.errors import InputError, ManifestError

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


SCHEMED = {
    "openAPIV3Schema": {
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 1, "maximum": 9}}},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
}


@pytest.fixture
def schemed(client: Bringing) -> Bringing:
    versions = [{**version("v1"), "schema": SCHEMED, "subresources": {"status": {}}}]
    client.objects[0] = {**DEFINITION, "spec": {**DEFINITION["spec"], "versions": versions}}
    client.events = [{"type": "done", "changes": {}, "seconds": 0.1}]
    return client


def test_such_an_object_is_applied_and_deleted_from_a_file(schemed: Bringing, tmp_path: Path) -> None:
    file = tmp_path / "widgets.yaml"
    file.write_text("apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\nspec: {}\nstatus: {size: 1}\n")
    for verb in ("apply", "delete"):
        said = CliRunner().invoke(app_of(), [verb, "-f", str(file)])
        assert "ignored" not in said.output
        _, question = schemed.asked[-1]
        [sent] = question.objects
        assert (sent["apiVersion"], sent["kind"], sent["spec"]) == ("example.com/v1", "Widget", {"size": 1})
        assert sent["metadata"]["namespace"] == "default" and "status" not in sent


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spec:\n  size: x\n", ":5: spec.size: Invalid value"),
        ("spec:\n  size: 10\n", ":5: spec.size: Invalid value: 10"),
        ("spec:\n  colour: red\n", "spec.colour: a Widget has no such field"),
        ("spec: {}\nmetadata: {name: A_B}\n", "metadata.name"),
        ("spec: []\n", "spec"),
    ],
)
def test_a_wrong_one_is_refused_with_its_line_and_nothing_is_asked(
    schemed: Bringing, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "w.yaml"
    name = "" if "metadata" in text else "metadata: {name: a}\n"
    file.write_text(f"apiVersion: example.com/v1\nkind: Widget\n{name}{text}")
    done = CliRunner().invoke(app_of(), ["apply", "-f", str(file)])
    assert isinstance(done.exception, ManifestError)
    assert any(said in str(problem) for problem in done.exception.problems), done.exception.problems
    assert not schemed.asked


def test_a_kind_that_nobody_has_brought_is_still_named_and_passed_over(client: Bringing, tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("apiVersion: other.com/v1\nkind: Widget\nmetadata: {name: a}\n")
    done = CliRunner().invoke(app_of(), ["apply", "-f", str(file)])
    assert "this kind is not part of the lab's network, ignored" in done.output and not client.asked


def test_such_an_object_is_deleted_as_any_other(client: Bringing) -> None:
    client.events = [{"type": "done", "changes": {}, "seconds": 0.1}]
    CliRunner().invoke(app_of(), ["delete", "wd", "a"])
    verb, question = client.asked[-1]
    assert verb == "delete" and [one["metadata"]["name"] for one in question.objects] == ["a"]
