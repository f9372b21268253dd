"""What is made of a lab's answers: what is right, what is wrong and why, as JUnit's XML and as a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from scripted import ScriptedClient
from typer.testing import CliRunner

from k8snetlab.cli.main import app_of
from k8snetlab.errors import ConflictError, InputError, ManifestError
from k8snetlab.workshop import scenes
from k8snetlab.workshop.checking import unlikely

HEAD = "apiVersion: k8snetlab/v1alpha1\nkind: Expectations\nexpect:\n"
RESULT = {
    "from": "client",
    "fromNode": "node1",
    "to": "web",
    "kind": "clusterIP",
    "address": "10.96.0.7",
    "port": 80,
    "protocol": "TCP",
    "reached": True,
    "seen": "answered",
    "answeredBy": "web-1-abc",
    "client": "10.244.1.2",
}
Check = Callable[..., tuple[int, dict[str, Any]]]


def pod(name: str, ip: str, owner: str = "", space: str = "default", template: str = "") -> dict[str, Any]:
    owners = [{"name": owner}] if owner else []
    labels = {"pod-template-hash": template} if template else {}
    return {
        "kind": "pods",
        "metadata": {"name": name, "namespace": space, "ownerReferences": owners, "labels": labels},
        "status": {"podIPs": [{"ip": ip}]},
    }


def hop(place: str, interface: str) -> dict[str, Any]:
    return {"netns": "", "place": place, "interface": interface, "direction": "out", "packet": {"src": "", "dst": ""}}


def trace(*ways: tuple[str, float], hops: tuple[tuple[str, str], ...] = (), differs: tuple[str, ...] = ()) -> Any:
    observed = {
        "fate": "answered",
        "agrees": not differs,
        "differences": differs,
        "remark": "",
        "milliseconds": 1.0,
        "error": "",
        "connections": (),
        "unwatched": (),
    }
    there = [hop(*one) for one in hops]
    return {
        "from": "client",
        "fromNode": "",
        "to": "web",
        "kind": "pod",
        "address": "",
        "port": 80,
        "protocol": "tcp",
        "ways": [{"probability": p, "fate": "answered", "there": there, "endpoint": e} for e, p in ways],
        "chosen": 0,
        "observed": observed,
        "note": "",
    }


@pytest.fixture
def check(lab: ScriptedClient, tmp_path: Path) -> Check:
    """Checks one expectation; the exit code and the report."""
    lab.objects = [
        pod("client", "10.1.1.2", space="a"),
        pod("client", "10.244.1.2"),
        pod("web-1-abc", "10.244.2.2", "web-1", template="1"),
        pod("web-canary-x", "10.244.2.3", "web-canary"),
        pod("db", "10.1.1.1", "", "x"),
    ]

    def checked(entry: str, *words: str, **changed: Any) -> tuple[int, dict[str, Any]]:
        lab.answers |= {"probe": {"results": [{**RESULT, **changed}]}}
        (tmp_path / "expect.yaml").write_text(HEAD + f"- {entry}\n")
        done = CliRunner().invoke(app_of("scenario"), ["scenario", "check", str(tmp_path), "-o", "json", *words])
        assert done.stdout, done.exception
        return done.exit_code, json.loads(done.stdout)

    return checked


@pytest.mark.parametrize(
    ("entry", "changed"),
    [
        ("{from: client, to: web}", {}),
        ("{from: client, to: web, answeredBy: web-1-abc, client: own}", {}),
        ("{from: client, to: web, answeredBy: web, client: 10.244.1.0/24}", {}),
        ("{from: client, to: web, answeredBy: [db, web-1]}", {}),
        ("{from: client, to: web, answeredBy: x/db}", {"answeredBy": "db"}),
        ("{from: client, to: web, answeredBy: x/db}", {"answeredBy": "db", "answeredNamespace": "x"}),
        ("{from: client, to: web, answeredBy: web}", {"answeredNamespace": "default"}),
        ("{from: client, to: web, result: closed}", {"seen": "refused", "reached": False}),
        ("{from: client, to: web, result: silent}", {"seen": "silent", "reached": False}),
    ],
)
def test_what_is_as_expected_is_ok(check: Check, entry: str, changed: dict[str, Any]) -> None:
    code, report = check(entry, **changed)
    assert code == 0 and report["ok"] and report["checks"][0]["why"] == ""


@pytest.mark.parametrize(
    ("entry", "changed", "why"),
    [
        ("{from: client, to: web}", {"seen": "silent", "why": "no answer at web"}, "no answer at web"),
        ("{from: client, to: web, result: closed}", {}, "it was answered, and should be closed"),
        ("{from: client, to: web, result: closed}", {"seen": "not tried", "error": "gone"}, "gone"),
        ("{from: client, to: web, result: refused}", {"seen": "silent"}, "it was silent, and should be refused"),
        ("{from: client, to: web, answeredBy: db}", {}, "web-1-abc answered, and only db may"),
        (
            "{from: client, to: web, answeredBy: x/db}",
            {"answeredBy": "db", "answeredNamespace": "y"},
            "y/db answered, and only x/db may",
        ),
        (
            "{from: client, to: web, answeredBy: web}",
            {"answeredNamespace": "x"},
            "x/web-1-abc answered, and only web may",
        ),
        (
            "{from: client, to: web, answeredBy: web}",
            {"answeredBy": ""},
            "something that does not say who it is answered",
        ),
        ("{from: client, to: web, client: own}", {"client": "10.244.1.1"}, "it saw client 10.244.1.1"),
        ("{from: client, to: web, client: own}", {"client": ""}, "what answered does not say which client it saw"),
        ("{from: client, to: web, client: own}", {"client": "me"}, "what answered does not say which client it saw"),
        ("{from: client, to: web, answeredBy: web}", {"answeredBy": "web-canary-x"}, "web-canary-x answered, and only"),
        ("{from: outside, to: web, client: own}", {}, "client: own: outside is no pod or node"),
    ],
)
def test_what_is_not_says_why(check: Check, entry: str, changed: dict[str, Any], why: str) -> None:
    code, report = check(entry, **changed)
    assert code == 1 and not report["ok"] and report["checks"][0]["why"].startswith(why)


def test_shares_are_read_from_the_rules(check: Check, lab: ScriptedClient) -> None:
    entry = "{from: client, to: web, answeredBy: web, evenly: 5}"
    lab.answers["trace"] = trace(("10.244.2.2:80", 0.5), ("10.244.2.3:80", 0.5))
    code, report = check(entry)
    assert code == 0 and report["checks"][0]["found"] == "web-1-abc 5"
    lab.answers["trace"] = trace(("10.244.2.2:80", 0.3), ("10.244.2.3:80", 0.7))
    code, report = check(entry)
    assert code == 1 and "the rules give 10.244.2.2:80 30.0%" in report["checks"][0]["why"]


def test_what_is_wrong_at_once_is_asked_once(check: Check, lab: ScriptedClient) -> None:
    code, _ = check("{from: client, to: web, answeredBy: web, evenly: 1000}", seen="silent", reached=False)
    assert code == 1 and len([one for one in lab.asked if one[0] == "probe"]) == 1


def test_rules_that_say_even_and_one_that_gets_all_is_no_chance(check: Check, lab: ScriptedClient) -> None:
    lab.answers["trace"] = trace(("10.244.2.2:80", 0.5), ("10.244.2.3:80", 0.5))
    code, report = check("{from: client, to: web, answeredBy: web, evenly: 60}")
    assert code == 1 and "web-1-abc answered 60 of 60" in report["checks"][0]["why"]


@pytest.mark.parametrize(
    ("count", "tries", "chance", "rare"),
    [
        (0, 60, 1 / 3, True),
        (0, 20, 0.5, False),
        (20, 60, 1 / 3, False),
        (60, 60, 1 / 3, True),
        (1000, 1000, 1.0, False),
    ],
)
def test_what_chance_hardly_does_is_told_from_what_it_may_do(count: int, tries: int, chance: float, rare: bool) -> None:
    assert unlikely(count, tries, chance) is rare


def test_a_way_is_a_part_of_the_devices_in_their_order(check: Check, lab: ScriptedClient) -> None:
    hops = (("client", "eth0"), ("node1", "cni0"), ("node1", "flannel.1"), ("node2", "flannel.1"))
    lab.answers["trace"] = trace(("", 1.0), hops=hops)
    assert check("{from: client, to: web, way: [client, 'node1:flannel.1', node2]}")[0] == 0
    code, report = check("{from: client, to: web, way: [node2, node1]}")
    assert code == 1 and report["checks"][0]["why"] == "it does not pass node1 there"
    assert check("{from: client, to: web, way: 'node1:eth0'}")[0] == 1
    lab.answers["trace"] = trace(("", 1.0), hops=hops, differs=("node2 never saw it",))
    code, report = check("{from: client, to: web, way: node1}")
    assert code == 1 and report["checks"][0]["why"] == "it went otherwise: node2 never saw it"


def test_every_pair_is_asked_and_named_with_its_line(check: Check, lab: ScriptedClient) -> None:
    code, report = check("{from: [a, b], to: ['web:80', '[fd00::1]:81'], name: all}")
    pairs = [(one["from"], one["to"]) for one in report["checks"]]
    assert code == 0
    assert pairs == [("a", "web:80"), ("a", "[fd00::1]:81"), ("b", "web:80"), ("b", "[fd00::1]:81")]
    assert {one["where"].rpartition("/")[2] for one in report["checks"]} == {"expect.yaml:4"}
    asked = {(one[1].source, one[1].target, one[1].port) for one in lab.asked if one[0] == "probe"}
    assert asked == {("a", "web", 80), ("a", "fd00::1", 81), ("b", "web", 80), ("b", "fd00::1", 81)}


def test_junit_tells_of_every_check_and_holds_no_character_that_xml_has_not(check: Check, tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    check('{from: client, to: web, name: "a<b&c"}', "--junit", str(file), seen="silent", why="bell \x07")
    suite = ElementTree.fromstring(file.read_text())[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    failure = suite[0][0]
    assert failure.get("message") == "bell ?" and suite[0].get("name", "").startswith("a<b&c: client -> web TCP")


def test_a_wrong_file_is_refused_before_a_lab_is_looked_for(lab: ScriptedClient, tmp_path: Path) -> None:
    (tmp_path / "expect.yaml").write_text(HEAD + "- {from: client}\n")
    done = CliRunner().invoke(app_of("scenario"), ["scenario", "check", str(tmp_path)])
    assert isinstance(done.exception, ManifestError) and lab.asked == []


def test_without_a_name_it_is_the_scenario_that_the_lab_was_built_from(
    lab: ScriptedClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lab.answers["probe"] = {"results": [RESULT]}

    def built_from(source: str) -> Any:
        lab.objects = [{"kind": "lab", "metadata": {"name": "demo", "annotations": {"k8snetlab/source": source}}}]
        return CliRunner().invoke(app_of("scenario"), ["scenario", "check", "-o", "json"])

    assert json.loads(built_from("network-policy/lab.yaml:1").stdout)["scenario"] == "network-policy"
    assert isinstance(built_from("/nowhere/lab.yaml:1").exception, InputError)
    (tmp_path / "expect.yaml").write_text(HEAD + "- {from: client, to: web}\n")
    assert json.loads(built_from("network-policy/lab.yaml:1").stdout)["scenario"] == "."


def test_list_and_show_tell_what_ships() -> None:
    listed = CliRunner().invoke(app_of("scenario"), ["scenario", "list"]).stdout
    assert "two-nodes" in listed and "business-manager" in listed
    shown = CliRunner().invoke(app_of("scenario"), ["scenario", "show", "two-nodes"]).stdout
    assert "flannel.1 ====" in shown and "client -> web:80 TCP: answered by web, client own" in shown


def test_a_new_scenario_has_what_it_needs_and_spoils_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app_of("scenario"), ["scenario", "new", str(tmp_path / "mine"), "--nodes", "3"])
    assert done.exit_code == 0
    assert scenes.of(str(tmp_path / "mine")).files == ("README.md", "expect.yaml", "lab.yaml", "pods.yaml")
    assert "nodes: 3" in (tmp_path / "mine" / "lab.yaml").read_text()
    assert "nodeName: node3" in (tmp_path / "mine" / "pods.yaml").read_text()
    before = sorted((tmp_path / "mine").iterdir())
    again = CliRunner().invoke(app_of("scenario"), ["scenario", "new", str(tmp_path / "mine")])
    assert isinstance(again.exception, ConflictError) and sorted((tmp_path / "mine").iterdir()) == before
