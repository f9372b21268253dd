"""expect.yaml: what is read, and that everything wrong is named with file, line and field."""

from __future__ import annotations

import pytest

from k8snetlab.errors import ManifestError
from k8snetlab.state import scenarios
from k8snetlab.workshop import scenes
from k8snetlab.workshop.expectations import load, parted

HEAD = "apiVersion: k8snetlab/v1alpha1\nkind: Expectations\nexpect:\n"


def said(text: str) -> list[str]:
    with pytest.raises(ManifestError) as error:
        load(text, "expect.yaml")
    return error.value.problems


def test_one_name_and_a_list_of_names_mean_the_same() -> None:
    [one] = load(HEAD + "- {from: client, to: 'web:80'}\n", "e.yaml")
    assert one.where == "e.yaml:4"
    assert (one.expectation.sources, one.expectation.targets) == (("client",), (("web", 80),))
    [many] = load(HEAD + "- {from: [a, b], to: [web, '[fd00::1]:80']}\n", "e.yaml")
    assert (many.expectation.sources, many.expectation.targets) == (("a", "b"), (("web", None), ("fd00::1", 80)))


@pytest.mark.parametrize(
    ("target", "name", "port"),
    [
        ("web", "web", None),
        ("web:80", "web", 80),
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("fd00::1", "fd00::1", None),
        ("[fd00::1]:80", "fd00::1", 80),
        ("[fd00::1]", "fd00::1", None),
    ],
)
def test_a_target_has_its_port_after_the_last_colon(target: str, name: str, port: int | None) -> None:
    assert parted(target) == (name, port)


@pytest.mark.parametrize(
    ("entry", "where", "what"),
    [
        ("{to: web}", 4, "expect[0].from: Required value"),
        (
            "{from: client, to: web, answerdBy: web}",
            4,
            'unknown field "expect[0].answerdBy"; did you mean "answeredBy"?',
        ),
        ("{from: client, to: web, result: never}", 4, "expect[0].result: Unsupported value"),
        ("{from: client, to: web, protocol: GRE}", 4, "expect[0].protocol: Unsupported value"),
        ("{from: client, to: 'web:99999'}", 4, "expect[0].to: web:99999: ports are 1 to 65535"),
        ("{from: client, to: 'web:80', protocol: ICMP}", 4, "expect[0].to: web:80: a ping has no port"),
        ("{from: [], to: web}", 4, "expect[0].from: is empty"),
        ("{from: 7, to: web}", 4, "expect[0].from: expected a string or a list, got the number 7"),
        ("{from: 'a\\tb', to: web}", 4, ""),
        ('{from: "a\\x1b[2J", to: web}', 4, "expect[0].from:"),
        ("{from: client, to: web, client: 10.0.0.1/8}", 4, "expect[0].client:"),
        ("{from: client, to: web, client: somebody}", 4, "expect[0].client:"),
        ("{from: client, to: web, evenly: 1, answeredBy: web}", 4, "expect[0].evenly: 1 is out of range"),
        ("{from: client, to: web, evenly: 9}", 4, "expect[0].evenly: say with answeredBy"),
        ("{from: client, to: web, result: closed, answeredBy: web}", 4, "expect[0].answeredBy: nobody answers"),
        ("{from: client, to: web, result: refused, client: own}", 4, "expect[0].client: nobody answers"),
        ("{from: client, to: web, way: [7]}", 4, "expect[0].way[0]: expected a string"),
        ("{from: client, to: web, way: ['']}", 4, 'expect[0].way: "" is no name'),
        ("just text", 4, "expect[0]: expected a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_field(entry: str, where: int, what: str) -> None:
    if not what:
        load(HEAD + f"- {entry}\n", "expect.yaml")  # single quotes: no tab, two characters
        return
    assert any(line.startswith(f"expect.yaml:{where}: {what}") for line in said(HEAD + f"- {entry}\n"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "expect.yaml:1: no expectation in it"),
        ("[]", "expect.yaml:1: expected a mapping"),
        ("kind: Pod\napiVersion: v1\nexpect: []", "expect.yaml:2: apiVersion: Unsupported value"),
        (HEAD.replace("expect:\n", "expect: []\n"), "expect.yaml:3: expect: is empty"),
        (HEAD.replace("expect:\n", "expect: {}\n"), "expect.yaml:3: expect: expected a list"),
        ("a: &a [*a]", "expect.yaml:1: alias *a stands inside its own anchor"),
        ("\tx: 1", "expect.yaml:1: a tab cannot indent YAML"),
        ("a: " + "[" * 200, "expect.yaml:1: nested deeper"),
        (HEAD + f"- from: [{', '.join('a' for _ in range(101))}]\n  to: [{', '.join('b' for _ in range(100))}]\n", "e"),
    ],
)
def test_a_hostile_file_is_refused_without_a_traceback(text: str, what: str) -> None:
    assert any(line.startswith(what) for line in said(text))


def test_all_wrong_places_are_named_at_once() -> None:
    lines = said(HEAD + "- {from: client}\n- {from: client, to: web, evenly: 0}\n- {too: web}\n")
    assert [line.split(":")[1] for line in lines] == ["4", "5", "6", "6", "6"]


@pytest.mark.parametrize("name", scenarios.names())
def test_every_scenario_says_what_is_expected_of_it(name: str) -> None:
    assert scenes.expectations(name) and scenes.of(name).title and scenes.opening(name)
