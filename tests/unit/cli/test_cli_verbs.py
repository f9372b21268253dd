"""What each verb asks of the lab and what it prints."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from scripted import ScriptedClient
from typer.testing import CliRunner, Result

from k8snetlab.cli.main import app_of
from k8snetlab.cli.options import duration
from k8snetlab.errors import InputError, K8sNetLabError, NotFoundError, UnconfirmedError
from k8snetlab.messages.changes import Change, ChangeEvent, Named, Up, Wait
from k8snetlab.messages.nodes import NodeName
from k8snetlab.messages.places import LogsQuestion
from k8snetlab.messages.probe import ProbeQuestion, ProbeResult

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "client", "namespace": "default", "creationTimestamp": "2020-01-01T00:00:00Z"},
    "spec": {"nodeName": "node1", "containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]},
    "status": {
        "phase": "Running",
        "podIP": "10.244.1.2",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "c", "ready": True, "restartCount": 2, "state": {"running": {}}}],
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "type": "NodePort",
        "clusterIP": "10.96.0.7",
        "selector": {"app": "web"},
        "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP", "name": "dns"}],
    },
}
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node1"},
    "spec": {"podCIDR": "10.244.1.0/24"},
    "status": {
        "addresses": [{"type": "InternalIP", "address": "192.168.0.21"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app_of(), arguments)


def refusal(*arguments: str) -> BaseException:
    result = call(*arguments)
    assert result.exception is not None
    return result.exception


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


# --- get ---


def test_get_pods_has_kubectls_columns(lab: ScriptedClient) -> None:
    lab.objects = [POD]
    header, row = rows(call("get", "pods").stdout)
    assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert row[:4] == ["client", "1/1", "Running", "2"]
    assert row[4].endswith("d")
    assert row[5:] == ["10.244.1.2", "node1"]


@pytest.mark.parametrize("words", [("po",), ("pod", "client"), ("pods/client",), ("POD/client",)], ids=" ".join)
def test_get_takes_every_spelling_of_kubectl(lab: ScriptedClient, words: tuple[str, ...]) -> None:
    lab.objects = [POD]
    assert rows(call("get", *words).stdout)[1][0] == "client"


def test_get_of_several_kinds_names_the_kind(lab: ScriptedClient) -> None:
    lab.objects = [POD, SERVICE]
    pods, services = call("get", "po,svc").stdout.split("\n\n")
    assert rows(pods)[1][0] == "pod/client"
    assert rows(services)[1][0] == "service/web"
    assert "80:30080/TCP,53/UDP" in services


def test_get_keeps_to_the_namespace(lab: ScriptedClient) -> None:
    other = {**POD, "metadata": {"name": "hidden", "namespace": "other"}}
    lab.objects = [POD, other]
    assert "hidden" not in call("get", "pods").stdout
    assert "client" not in call("get", "pods", "-n", "other").stdout
    table = rows(call("get", "pods", "-A").stdout)
    assert [row[:2] for row in table] == [["NAMESPACE", "NAME"], ["default", "client"], ["other", "hidden"]]


def test_get_nothing_says_so_and_is_no_failure(lab: ScriptedClient) -> None:
    result = call("get", "pods", "-n", "empty")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "No resources found in empty namespace.\n"


def test_get_a_name_that_is_not_there_fails(lab: ScriptedClient) -> None:
    assert isinstance(refusal("get", "pod", "nobody"), NotFoundError)


def test_get_json_of_one_is_the_object_of_many_a_list(lab: ScriptedClient) -> None:
    lab.objects = [POD]
    assert json.loads(call("get", "pod", "client", "-o", "json").stdout) == POD
    many = json.loads(call("get", "pods", "-o", "json").stdout)
    assert (many["kind"], many["items"]) == ("List", [POD])


def test_get_yaml_is_a_manifest_again(lab: ScriptedClient) -> None:
    import yaml

    lab.objects = [SERVICE]
    assert yaml.safe_load(call("get", "svc", "web", "-o", "yaml").stdout) == SERVICE


def test_get_name_and_wide(lab: ScriptedClient) -> None:
    lab.objects = [POD, SERVICE]
    assert call("get", "pods,svc", "-o", "name").stdout == "pod/client\nservice/web\n"
    assert "8080/TCP" in call("get", "pods", "-o", "wide").stdout
    assert "app=web" in call("get", "svc", "-o", "wide").stdout


def test_unknown_kind_suggests_the_near_one(lab: ScriptedClient) -> None:
    error = refusal("get", "servces")
    assert isinstance(error, InputError)
    assert "services" in error.hint


# --- apply, delete, scale ---


MANIFEST = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
CHANGED = [
    {"type": "progress", "phase": "objects", "done": 0, "total": 1, "message": ""},
    {"type": "warning", "message": "look out"},
    {"type": "changed", "action": "created", "kind": "Namespace", "name": "shop"},
    {"type": "progress", "phase": "objects", "done": 1, "total": 1, "message": "shop"},
    {"type": "done", "seconds": 0.1, "created": ["namespace/shop"], "updated": [], "deleted": []},
]


def test_apply_from_stdin_prints_what_changed(lab: ScriptedClient) -> None:
    lab.events = CHANGED
    result = CliRunner().invoke(app_of(), ["apply", "-f", "-"], input=MANIFEST)
    assert result.stdout == "namespace/shop created\n"
    assert result.stderr == "warning: look out\nobjects 1/1  shop\n"
    verb, asked = lab.asked[-1]
    [sent] = asked.objects
    assert (verb, sent["kind"], sent["metadata"]["name"]) == ("apply", "Namespace", "shop")


def test_apply_json_is_one_document(lab: ScriptedClient) -> None:
    lab.events = CHANGED
    result = CliRunner().invoke(app_of(), ["apply", "-f", "-", "-o", "json"], input=MANIFEST)
    outcome = json.loads(result.stdout)
    assert outcome["created"] == ["namespace/shop"]
    assert outcome["warnings"] == ["look out"]
    assert outcome["changes"] == [{"action": "created", "kind": "Namespace", "name": "shop"}]


def test_delete_by_name_deletes_what_there_is_and_names_what_there_is_not(lab: ScriptedClient) -> None:
    lab.objects = [POD, SERVICE]
    lab.events = [{**CHANGED[2], "action": "deleted"}, CHANGED[-1]]
    assert call("delete", "pod/client", "svc/web").stdout == "namespace/shop deleted\n"
    deletions = [asked for asked in lab.asked if asked[0] == "delete"]
    assert deletions == [("delete", Change(objects=[POD, SERVICE]))]
    assert "'nobody' not found" in str(refusal("delete", "pod/client", "pod/nobody"))
    assert [asked for asked in lab.asked if asked[0] == "delete"] == deletions, "nothing is deleted then"


def test_delete_by_file_asks_the_lab_once(lab: ScriptedClient) -> None:
    lab.events = [{**CHANGED[2], "action": "deleted"}, CHANGED[-1]]
    result = CliRunner().invoke(app_of(), ["delete", "-f", "-"], input=MANIFEST)
    assert result.stdout == "namespace/shop deleted\n"


def test_scale_asks_for_the_replicas_and_says_so(lab: ScriptedClient) -> None:
    result = call("scale", "deploy", "web", "--replicas", "5", "-n", "shop")
    assert result.stdout == "deployment.apps/web scaled to 5\n"
    assert lab.asked[-2:] == [
        ("scale", "Deployment", "web", "shop", 5),
        ("wait", Wait(objects=(Named("Deployment", "web", "shop"),))),
    ]


# --- probe ---


def result_of(source: str, target: str, **changes: Any) -> dict[str, Any]:
    return {
        "from": source,
        "fromNode": "node1",
        "to": target,
        "kind": "clusterIP",
        "address": "10.96.0.7",
        "port": 80,
        "protocol": "TCP",
        "reached": True,
        "seen": "answered",
        "expected": "answered",
        "verdict": "as intended",
        "ok": True,
        "why": "",
        "answeredBy": "web-1",
        "answeredNode": "node2",
        "answeredIP": "10.244.2.9",
        "client": "10.244.1.2:4711",
        "milliseconds": 0.84,
        "error": "",
    } | changes


def test_a_probe_is_one_line(lab: ScriptedClient) -> None:
    lab.answers["probe"] = {"results": [result_of("client", "web")]}
    result = call("probe", "client", "web:80")
    assert result.exit_code == 0
    assert result.stdout == (
        "client → web 10.96.0.7:80 tcp: answered by web-1 (10.244.2.9 on node2) in 0.8 ms, saw client 10.244.1.2:4711\n"
    )
    assert lab.asked[-1] == ("probe", ProbeQuestion("client", "web", 80, ("TCP",)))


def test_a_probe_without_answer_fails(lab: ScriptedClient) -> None:
    silent = result_of("client", "web", reached=False, ok=False, answeredBy="", error="connection refused")
    lab.answers["probe"] = {"results": [silent]}
    result = call("probe", "client", "[fd00::7]:80", "-p", "udp")
    assert result.exit_code == 1
    assert "no answer: connection refused" in result.stdout
    assert lab.asked[-1] == ("probe", ProbeQuestion("client", "fd00::7", 80, ("UDP",)))


def test_a_probe_that_nobody_answers_says_so_once(lab: ScriptedClient) -> None:
    late = result_of("client", "db", ok=False, reached=False, error="no answer within 2 s")
    lab.answers["probe"] = {"results": [late]}
    assert call("probe", "client", "db").stdout.count("no answer") == 1


def test_an_address_not_reached_by_right_still_fails_the_single_probe(lab: ScriptedClient) -> None:
    apart = result_of("outside", "client", reached=False, expected="closed", ok=True, error="no route to host")
    lab.answers["probe"] = {"results": [apart]}
    assert call("probe", "outside", "client").exit_code == 1


def test_the_matrix_has_a_row_for_each_source_and_a_column_for_each_target(lab: ScriptedClient) -> None:
    fine = [result_of(s, t) for s in ("client", "server") for t in ("web", "db")]
    fine.append(result_of("client", "web", answeredBy="web-2"))
    fine.append(result_of("outside", "web", fromNode="", reached=False, expected="closed"))
    lab.answers["probe"] = {"results": fine}
    result = call("probe", "--all")
    assert result.exit_code == 0
    table = rows(result.stdout)
    assert table[0] == ["1", "2"]
    assert table[1] == ["client", "(node1)", "✓2", "✓"]
    assert table[2] == ["server", "(node1)", "✓", "✓"]
    assert table[3] == ["outside", "-", "·"]
    assert "clusterIP web 10.96.0.7:80/tcp" in result.stdout
    assert lab.asked[-1] == ("probe", ProbeQuestion(protocols=("TCP", "UDP")))


def test_the_matrix_names_what_failed(lab: ScriptedClient) -> None:
    results = [
        result_of("client", "web"),
        result_of("client", "db", ok=False, reached=False, error="no answer within 2 s"),
        result_of("outside", "db", ok=False, expected="closed"),
    ]
    lab.answers["probe"] = {"results": results}
    result = call("probe", "--all", "-p", "TCP")
    assert result.exit_code == 1
    assert "✗ client (node1) → db 10.96.0.7:80 tcp: no answer within 2 s" in result.stdout
    assert "1 of 3 probes went as they should" in result.stdout
    assert "!" in result.stdout


def test_many_failures_are_summed_up_by_cause(lab: ScriptedClient) -> None:
    lost = {"ok": False, "reached": False, "error": "no answer within 2 s"}
    results = [result_of("client", f"web{n}", **lost, why="flannel.1 of node1 is down") for n in range(30)]
    results += [result_of("other", "db", ok=False, reached=False, error="connection refused", fromNode="node2")]
    meant = {"expected": "closed", "verdict": "closed on purpose", "why": "known to nodes only"}
    shut = result_of("outside", "web", reached=False, **meant)
    lab.answers["probe"] = {"results": [*results, shut]}
    said = call("probe", "--all").stdout
    assert said.count("✗ client") == 10 and "✗ … and 21 more" in said
    assert "   30  flannel.1 of node1 is down: from node1 to web0, web1, web2 and 27 more" in said
    assert "    1  connection refused: from node2 to db" in said
    assert said.index("flannel.1 of node1 is down: from") < said.index("connection refused: from")
    assert "closed on purpose:\n    1  known to nodes only\n" in said
    assert "1 of 32 probes went as they should, 1 of them by not being answered" in said
    assert said.rstrip().endswith("`k8snetlab diagnose` names what is broken and how to mend it")


def test_a_wide_matrix_is_cut_into_blocks_that_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    from k8snetlab.cli.matrix import draw

    results = [msgspec.convert(result_of("client", f"web{n}"), ProbeResult) for n in range(25)]
    text = draw(results, width=60)
    grid = text.split("\n\n   1  ")[0]
    assert max(map(len, grid.splitlines())) <= 60
    assert grid.count("✓") == 25


# --- the lab as a whole ---


STATUS: dict[str, Any] = {
    "lab": "demo",
    "nodes": [
        {
            "name": "node1",
            "address": "192.168.0.21",
            "podCIDR": "10.244.1.0/24",
            "ready": True,
            "paused": True,
            "pods": 3,
            "proxy": "iptables",
            "off": 0.0,
            "answers": True,
            "agent": {
                "synced": True,
                "revision": 7,
                "lastSync": 0.0,
                "seconds": 0.1,
                "operations": 12,
                "error": "",
                "operation": "",
                "drift": ["ip -n demo.node1 route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink"],
                "managers": [],
            },
        }
    ],
    "pods": {"running": 3, "total": 4},
    "services": 2,
    "daemon": {"pid": 12, "version": "0.1.0", "uptime": 61.0, "longestTurn": 0.01},
    "kubelet": {"pid": 13},
    "store": {"type": "embedded", "insecure": False, "revision": 7, "healthy": True, "age": 0.0, "problem": ""},
    "iptables": "nft",
    "failures": [],
    "controllers": [],
    "problems": ["pod x: no room on any node"],
    "routers": [
        {
            "name": "leaf1",
            "links": ["rack1 192.168.1.1", "up1 192.168.11.2"],
            "down": ["up1"],
            "daemons": [{"name": "zebra", "problem": ""}, {"name": "ospfd", "problem": "it ended with 1"}],
        }
    ],
}


def test_status_shows_nodes_drift_and_problems(lab: ScriptedClient) -> None:
    lab.answers["status"] = STATUS
    text = call("status").stdout
    assert "lab demo: 3 of 4 pods running, 2 Services" in text
    assert ["node1", "192.168.0.21", "10.244.1.0/24", "Ready", "3", "paused", "<unknown>", "1"] in rows(text)
    assert "\n  ip -n demo.node1 route replace 10.244.2.0/24" in text
    assert "no room on any node" in text
    assert "leaf1    rack1 192.168.1.1, up1 192.168.11.2 (down)   zebra running, ospfd failing" in text
    assert json.loads(call("status", "-o", "json").stdout) == STATUS


def test_status_says_each_problem_once(lab: ScriptedClient) -> None:
    node = {**STATUS["nodes"][0], "answers": False, "agent": {"synced": False, "lastSync": 0.0, "error": "away"}}
    lab.answers["status"] = {**STATUS, "nodes": [node], "problems": ["node1: away"], "services": 1}
    text = call("status").stdout
    assert text.count("away") == 1
    assert "1 Service\n" in text


def test_pause_and_resume_reach_the_node(lab: ScriptedClient) -> None:
    lab.answers |= {"pause": {"node": "node1", "paused": True}, "resume": {"node": "node1", "paused": False}}
    assert "k8snetlab resume node1" in call("pause", "node1").stdout
    assert "resumed" in call("resume", "node1").stdout
    assert [asked for asked in lab.asked if asked[0] != "find"] == [
        ("pause", NodeName("node1")),
        ("resume", NodeName("node1")),
    ]


@pytest.mark.parametrize("words", [("--lab", "b", "status"), ("status", "--lab", "b")], ids=" ".join)
def test_the_lab_is_chosen_before_or_after_the_verb(lab: ScriptedClient, words: tuple[str, ...]) -> None:
    lab.answers["status"] = STATUS
    call(*words)
    assert lab.asked[0] == ("find", "b")


def test_up_names_the_lab_and_says_what_to_try(lab: ScriptedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from k8snetlab.lab import up
    from k8snetlab.state import labs

    monkeypatch.setattr(up, "start", lambda name, store, **_: lab)
    monkeypatch.setattr(labs, "running", lambda: ["mine"])
    monkeypatch.setattr("os.geteuid", lambda: 0)
    lab.events, lab.objects = [CHANGED[-1]], [NODE, POD, SERVICE]
    result = CliRunner().invoke(app_of(), ["up", "--lab", "mine", "-"], input=MANIFEST)
    assert result.exit_code == 0, result.output
    _, sent = next(asked for asked in lab.asked if asked[0] == "up")
    assert [obj["metadata"]["name"] for obj in sent.objects if obj["kind"] == "Lab"] == ["mine"]
    assert result.stdout.startswith("lab mine is up: 1 node, 1 pod, 1 Service in ")
    assert "(1 created)" in result.stdout.splitlines()[0]
    assert "k8snetlab probe client web:80 " in result.stdout
    assert "k8snetlab probe outside 192.168.0.21:30080 " in result.stdout
    monkeypatch.setattr(labs, "running", lambda: ["mine", "yours"])
    result = CliRunner().invoke(app_of(), ["up", "--lab", "mine", "-"], input=MANIFEST)
    assert "k8snetlab --lab mine probe client web:80 " in result.stdout


def test_up_with_a_pod_that_fails_says_all_else_and_ends_with_1(
    lab: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from k8snetlab.lab import up
    from k8snetlab.state import labs

    monkeypatch.setattr(up, "start", lambda name, store, **_: lab)
    monkeypatch.setattr(labs, "running", lambda: ["mine"])
    monkeypatch.setattr("os.geteuid", lambda: 0)
    message = "pod shop/cart: CrashLoopBackOff: exited with 3"
    failed = {"namespace": "shop", "name": "cart", "message": message}
    lab.events, lab.objects = [{"type": "failed", **failed}, CHANGED[-1]], [NODE, POD]
    result = CliRunner().invoke(app_of(), ["up", "--lab", "mine", "-"], input=MANIFEST)
    assert result.stderr == f"warning: {message}\n"
    assert result.stdout.startswith("lab mine is up: ")
    assert isinstance(result.exception, K8sNetLabError)
    assert (result.exception.message, result.exception.exit_code) == ("1 pod does not run", 1)
    assert result.exception.hint == "k8snetlab logs cart -n shop"
    result = CliRunner().invoke(app_of(), ["up", "--lab", "mine", "-", "-o", "json"], input=MANIFEST)
    assert json.loads(result.stdout)["failed"] == [failed] and result.exit_code == 1
    assert CliRunner().invoke(app_of(), ["apply", "-f", "-"], input=MANIFEST).exit_code == 0


WRITTEN: list[dict[str, Any]] = [{"data": base64.b64encode(line).decode()} for line in (b"one\n", b"two\n")]


def test_logs_are_passed_through(lab: ScriptedClient) -> None:
    lab.events = WRITTEN
    assert call("logs", "pod/client", "-c", "main", "-f").stdout == "one\ntwo\n"
    assert lab.asked[-1] == ("logs", LogsQuestion("default", "client", "main", follow=True))
    call("logs", "client", "--previous")
    assert lab.asked[-1] == ("logs", LogsQuestion("default", "client", previous=True))


def test_logs_of_a_deployment_are_those_of_a_ready_pod_and_it_is_said_which(lab: ScriptedClient) -> None:
    def pod(name: str, ready: str, app: str = "web") -> dict[str, Any]:
        metadata = {"name": name, "namespace": "shop", "labels": {"app": app}}
        return {**POD, "metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}]}}

    selector = {"matchLabels": {"app": "web"}}
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": selector},
    }
    service = {**SERVICE, "metadata": {"name": "web", "namespace": "shop"}}
    empty = {"kind": "Service", "metadata": {"name": "out", "namespace": "shop"}, "spec": {}}
    pods = [pod("a", "False"), pod("b", "True"), pod("c", "True", "other")]
    lab.objects, lab.events = [deployment, service, empty, *pods], WRITTEN
    for target in ("deploy/web", "deployments.apps/web", "svc/web"):
        result = call("logs", target, "-n", "shop", "--tail", "5")
        assert (result.stdout, result.stderr) == ("one\ntwo\n", f"{target} has 2 pods; this is b\n")
        assert lab.asked[-1] == ("logs", LogsQuestion("shop", "b", tailLines=5))
    assert isinstance(refusal("logs", "svc/out", "-n", "shop"), NotFoundError)
    assert isinstance(refusal("logs", "deploy/no", "-n", "shop"), NotFoundError)
    assert isinstance(refusal("logs", "node/node1"), InputError)
    assert call("logs", "a", "--tail", "-2").exit_code == 2


# --- completion ---


def test_completion_offers_names_of_the_lab(lab: ScriptedClient) -> None:
    from k8snetlab.cli import options

    class Context:
        params: dict[str, Any] = {}  # noqa: RUF012
        command = SimpleNamespace(params=())

        def find_root(self) -> Context:
            return self

    lab.objects = [NODE, POD, SERVICE]
    here: Any = Context()
    assert options.complete_node(here, "n") == ["node1"]
    assert options.complete_logged(here, "cl") == ["client"]
    assert options.complete_logged(here, "svc/") == ["svc/web"]
    assert options.complete_logged(here, "d") == ["deploy/"]
    assert options.complete_place(here, "o") == ["outside"]
    assert options.complete_target(here, "we") == ["web"]
    assert options.complete_object(here, "svc/w") == ["svc/web"]
    here.params = {"target": ["pods"]}
    assert options.complete_object(here, "c") == ["client"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("exec ", ["client", "node1", "outside"]),
        ("exec -n shop ", ["cart", "node1", "outside"]),
        ("exec --namespace=shop c", ["cart"]),
        ("logs -n shop c", ["cart"]),
        ("logs c", ["client"]),
        ("tables -n shop c", ["cart"]),
        ("probe ", ["client", "shop/cart", "node1", "outside"]),
        ("get -n shop pods ", ["cart"]),
        ("exec -n s", ["shop"]),
    ],
)
def test_completion_respects_the_namespace(
    lab: ScriptedClient, monkeypatch: pytest.MonkeyPatch, words: str, offered: list[str]
) -> None:
    cart = {**POD, "metadata": {"name": "cart", "namespace": "shop"}}
    shop = {"kind": "Namespace", "metadata": {"name": "shop"}}
    lab.objects = [NODE, POD, cart, SERVICE, shop]
    line = f"k8snetlab {words}"
    asked = {"_K8SNETLAB_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    result = CliRunner().invoke(app_of(), [], env=asked, prog_name="k8snetlab")
    assert result.stdout.split() == offered


def test_each_phase_is_one_line_also_where_phases_interleave(lab: ScriptedClient) -> None:
    def step(phase: str, done: int, total: int) -> dict[str, Any]:
        return {"type": "progress", "phase": phase, "done": done, "total": total, "message": ""}

    steps = [("nodes", 0, 2), ("pods", 0, 3), ("nodes", 2, 2), ("pods", 1, 3), ("nodes", 2, 2)]
    lab.events = [step(*event) for event in steps]
    result = CliRunner().invoke(app_of(), ["apply", "-f", "-"], input=MANIFEST)
    assert result.stderr == "nodes 2/2\npods 1/3\n"


# --- whose lab, and what would be lost ---


LAB_FILE = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nmetadata:\n  name: shop\nspec: {nodes: 1}\n"


@pytest.mark.parametrize(
    ("words", "environment", "chosen"),
    [
        (["up", "-"], "demo", "K8SNETLAB_LAB says demo"),
        (["--lab", "demo", "up", "-"], None, "--lab says demo"),
        (["apply", "-f", "-"], None, "the lab that runs is demo"),
        (["apply", "-f", "-"], "demo", "K8SNETLAB_LAB says demo"),
        (["delete", "-f", "-"], None, "the lab that runs is demo"),
    ],
)
def test_a_written_name_of_another_lab_is_refused(
    lab: ScriptedClient, monkeypatch: pytest.MonkeyPatch, words: list[str], environment: str | None, chosen: str
) -> None:
    monkeypatch.setattr("sys.argv", ["k8snetlab", *words])
    if environment:
        monkeypatch.setenv("K8SNETLAB_LAB", environment)
    result = CliRunner().invoke(app_of(), words, input=LAB_FILE)
    assert isinstance(result.exception, InputError)
    assert result.exception.message.startswith("stdin:4: metadata.name: this is the file of lab shop, but " + chosen)
    assert result.exception.hint and not {"up", "apply", "delete"} & {asked[0] for asked in lab.asked}


def test_a_name_that_is_not_written_is_that_of_the_lab(lab: ScriptedClient) -> None:
    lab.events = [CHANGED[-1]]
    text = LAB_FILE.replace("metadata:\n  name: shop\n", "")
    assert CliRunner().invoke(app_of(), ["apply", "-f", "-"], input=text).exit_code == 0
    assert [obj["metadata"]["name"] for obj in lab.asked[-1][1].objects] == ["demo"]


def test_up_asks_nobody_where_nobody_sits(lab: ScriptedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from k8snetlab.lab import up
    from k8snetlab.state import labs

    monkeypatch.setattr(up, "start", lambda name, store, **_: lab)
    monkeypatch.setattr(labs, "running", lambda: ["demo"])
    monkeypatch.setattr("os.geteuid", lambda: 0)

    def refused(verb: Any, wanted: Up) -> Any:
        lab.asked.append((verb.name, wanted.yes))
        if not wanted.yes:
            raise UnconfirmedError("this deletes 5 of the 7 objects that `up` brought: pod/a", "--yes if that is meant")
        return iter([msgspec.convert(CHANGED[-1], ChangeEvent)])

    monkeypatch.setattr(lab, "stream", refused)
    result = CliRunner().invoke(app_of(), ["up", "--lab", "demo", "-"], input=MANIFEST)
    assert isinstance(result.exception, UnconfirmedError) and result.exception.exit_code == 2
    assert "5 of the 7" in result.exception.message and "--yes" in result.exception.hint
    assert CliRunner().invoke(app_of(), ["up", "--lab", "demo", "-y", "-", "-o", "json"], input=MANIFEST).exit_code == 0
    assert lab.asked[:2] == [("up", False), ("up", True)]


@pytest.mark.parametrize(
    ("text", "seconds"), [("2m", 120.0), ("90s", 90.0), ("1h30m", 5400.0), ("500ms", 0.5), ("7", 7.0), ("1.5m", 90.0)]
)
def test_durations_are_kubectls(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "m", "-1s", "2 m", "2x", "1h1", "inf", "9" * 4301, "99999999h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert call("delete", "pod", "x", f"--timeout={text}").exit_code == 2


def test_what_is_waited_for_is_told_in_lines(lab: ScriptedClient) -> None:
    reasons = [f"pod default/p{number}: ContainerCreating on node1" for number in range(5)]
    lab.events = [{"type": "waiting", "seconds": float(second), "for": reasons} for second in range(1, 9)]
    lab.objects = [POD]
    said = call("delete", "pod", "client").stderr.splitlines()
    assert [line.split("  ")[0] for line in said] == ["waiting 1 s", "waiting 2 s", "waiting 4 s", "waiting 8 s"]
    assert said[0].endswith("p2: ContainerCreating on node1; and 2 more")


# --- selectors ---


def test_selectors_go_to_the_server(lab: ScriptedClient) -> None:
    lab.objects = [POD]
    assert (
        rows(call("get", "pods", "-l", "app=web", "--field-selector", "status.phase=Running").stdout)[1][0] == "client"
    )
    assert ("list", "Pod", "app=web", "status.phase=Running") in lab.asked
    call("delete", "pods", "-l", "app=web")
    assert ("list", "Pod", "app=web", "") in lab.asked


def test_delete_of_many_has_to_be_asked_for(lab: ScriptedClient) -> None:
    lab.objects = [POD, SERVICE]
    assert "which one?" in str(refusal("delete", "pods"))
    assert "do not go together" in str(refusal("delete", "pod", "client", "-l", "a=b"))
    assert "do not go together" in str(refusal("delete", "pods", "--all", "-l", "a=b"))
    assert "do not go together" in str(refusal("get", "pod", "client", "-l", "a=b"))
    assert "no --all" in str(refusal("delete", "-f", "x.yaml", "--all"))
    assert call("delete", "pods", "--all").exit_code == 0
    assert call("delete", "deploy", "--all").stderr.strip() == "No resources found"


def test_status_tells_of_many_pods_with_one_trouble_in_short(lab: ScriptedClient) -> None:
    full = [f"pod default/p{number}: no free address in 10.244.1.0/29" for number in range(9)]
    lab.answers["status"] = {**STATUS, "problems": [*full, "node1: away"]}
    told = call("status").stdout.splitlines()
    at = told.index("problems:")
    assert told[at + 1 :] == [*(f"  {line}" for line in full[:3]), "  and 6 more like this", "  node1: away"]
