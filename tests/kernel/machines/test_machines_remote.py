"""Every verb from any of a lab's machines: two machines on one wire, a real etcd, the real command line on each."""

from __future__ import annotations

import functools
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Machine, commands_of, conversations, pair
from k8snetlab.testing.web import web

pytestmark = pytest.mark.etcd

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {machines: true, dns: {enabled: false}, network: {resolve: on-miss}}
---
apiVersion: v1
kind: Pod
metadata: {name: near}
spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: far}
spec: {nodeName: node2, containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: clock}
spec:
  nodeName: node2
  containers: [{name: c, command: [sh, -c, "n=0; while true; do n=$((n+1)); echo tick $n; sleep 0.1; done"]}]
""" + web(2, type_="NodePort")

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: %s}
spec: {clusterIP: 10.96.77.%d, selector: {app: web}, ports: [{port: 80}]}
"""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    with pair(LAB, tmp_path_factory.mktemp("remote")) as both:
        eventually(lambda: both[0].whole())
        yield both


def test_status_shows_all_machines_on_each(machines: tuple[Machine, Machine]) -> None:
    pids = set()
    for machine in machines:
        status = settled_status(machine)
        assert [(n["name"], n["answers"], n["ready"]) for n in status["nodes"]] == [
            ("node1", True, True),
            ("node2", True, True),
        ]
        assert set(status["machines"]) == {"node1", "node2"} and status["problems"] == []
        pids.add(tuple(status["machines"][node]["daemon"]["pid"] for node in ("node1", "node2")))
        (other,) = {"node1", "node2"} - {machine.node}
        assert f"{other}: daemon {status['machines'][other]['daemon']['pid']} " in machine.run("status")
    assert len(pids) == 1 and len(set(pids.pop())) == 2


def settled_status(machine: Machine) -> Any:
    """`status -o json` of a moment in which no agent has something to do: one that is asked later may be another's."""
    status: Any = {}

    def settled() -> bool:
        nonlocal status
        status = machine.json("status")
        return all(node["agent"]["synced"] for node in status["nodes"])

    eventually(settled)
    return status


def test_controlplane_status_shows_all_machines_on_each(machines: tuple[Machine, Machine]) -> None:
    def shown(machine: Machine) -> dict[str, tuple[str, bool, str]]:
        found = machine.json("controlplane", "status", "-o", "json")
        return {one["node"]: (one["address"], one["leads"], one["problem"]) for one in found["machines"]}

    eventually(lambda: sum(leads for _, leads, _ in shown(machines[0]).values()) == 1)
    assert shown(machines[0]) == shown(machines[1]) and len(shown(machines[0])) == 2
    assert all(address and not problem for address, _, problem in shown(machines[0]).values())
    assert "standby" in machines[1].run("controlplane", "status")


def test_probe_all_is_the_same_from_each(machines: tuple[Machine, Machine]) -> None:
    def is_the_same() -> bool:
        one, two = (machine.json("probe", "--all", code=None)["results"] for machine in machines)
        asked = [[(r["from"], r["address"], r["port"], r["protocol"]) for r in each] for each in (one, two)]
        assert {r["fromNode"] for r in one} == {"node1", "node2"} and all(r["ok"] for r in (*one, *two))
        return asked[0] == asked[1]

    eventually(is_the_same)  # a pod that is ready is known to both a moment later


def test_a_probe_begins_in_a_pod_of_the_other_machine(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    assert one.probe("far", "near:80").client.startswith(one.json("get", "pod", "far")["status"]["podIP"])
    assert two.probe("near", "far:80").answeredNode == "node2"
    assert one.probe("node2", "web:80").sourceNode == "node2"
    refused = one.run("probe", "far", "10.96.200.1:80", code=1)
    assert "far → 10.96.200.1" in refused


def test_logs_of_a_pod_elsewhere_are_the_same_and_are_followed(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    assert one.run("logs", "clock").splitlines()[:2] == ["tick 1", "tick 2"]
    assert one.run("logs", "clock").splitlines()[:9] == two.run("logs", "clock").splitlines()[:9]
    follower = one.start("logs", "clock", "-f")
    assert follower.stdout
    lines = [follower.stdout.readline() for _ in range(30)]
    assert lines == [f"tick {n}\n" for n in range(1, 31)]
    assert conversations(one)
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=120)
    eventually(lambda: not conversations(one))
    assert "no container" in one.run("logs", "clock", "-c", "other", code=1)


def test_exec_on_the_other_machine_gives_its_output_and_exit_code(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    address = one.json("get", "pod", "far")["status"]["podIP"]
    assert address in one.run("exec", "far", "--", "ip", "-4", "addr")
    assert two.address in one.run("exec", "node2", "--", "ip", "-4", "addr")
    assert one.address in two.run("exec", "node1", "--", "ip", "-4", "addr")
    argv = one.command("exec", "far", "--", "sh", "-c", "echo out; echo err >&2; hostname; exit 7")
    done = subprocess.run(argv, env=one.environment, capture_output=True, text=True, timeout=200)
    assert (done.stdout, done.stderr, done.returncode) == ("out\nfar\n", "err\n", 7)
    assert "executable file not found in $PATH" in one.run("exec", "far", "--", "no-such-command", code=127)
    assert one.run("exec", "far", "--", "sh", "-c", "kill -TERM $$", code=143) == ""
    assert one.run("exec", "far", "--", "printf", "%s|", "a b", "", "$HOME;", "'") == "a b||$HOME;|'|"


def test_what_is_piped_into_exec_arrives(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    text = "".join(f"line {n} é\n" for n in range(50_000))
    assert one.run("exec", "far", "--", "cat", stdin=text) == text
    assert one.run("exec", "far", "--", "head", "-n", "1", stdin=text) == "line 0 é\n"
    assert one.run("exec", "far", "--", "cat", stdin="") == ""
    eventually(lambda: not conversations(one))


def test_a_command_elsewhere_ends_with_its_asker(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    mark = f"86{secrets.randbelow(10**6)}"
    asker = one.start("exec", "far", "--", "sh", "-c", f"sleep {mark} & echo begun; sleep {mark}")
    assert asker.stdout and asker.stdout.readline() == "begun\n"
    eventually(lambda: len(commands_of(f"sleep\0{mark}")) == 2)
    asker.send_signal(signal.SIGINT)
    asker.communicate(timeout=120)
    eventually(lambda: not commands_of(f"sleep\0{mark}"))
    eventually(lambda: not conversations(one))


def test_capture_elsewhere_is_refused_and_says_where_to_go(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    said = one.run("capture", "node2:eth1", code=2)
    assert "another machine" in said and two.address in said and "k8snetlab exec node2 -- tcpdump" in said


def test_a_pod_goes_when_no_machine_leads_to_it_any_more(machines: tuple[Machine, Machine]) -> None:
    """Connections through the Service never fail while its pods are replaced, one machine's after the other's."""
    one, two = machines
    before = one.json("get", "deployment", "web")["spec"]["replicas"]
    address = one.json("get", "service", "web")["spec"]["clusterIP"]
    askers = [machine.start("exec", machine.node, "--", "python3", "-c", ASK, address, "4") for machine in machines]
    for number in (before + 3, 1, before):
        two.run("scale", "deployment/web", "--replicas", str(number))
        eventually(functools.partial(_has_pods, one, number))
    for asker in askers:
        tried, *failed = asker.communicate(timeout=120)[0].splitlines()
        assert int(tried) > 10 and not failed


def _has_pods(machine: Machine, number: int) -> bool:
    pods = machine.json("get", "pods")["items"]
    return sum(p["metadata"]["name"].startswith("web-") for p in pods) == number


ASK = """
import socket, sys, time
end, tried, failed = time.time() + float(sys.argv[2]), 0, []
while time.time() < end:
    time.sleep(0.005)
    tried += 1
    try:
        socket.create_connection((sys.argv[1], 80), 30).close()
    except OSError as error:
        failed.append(error)
print(tried, *failed, sep="\\n")
"""


def test_a_node_paused_from_the_other_machine_is_not_mended_until_resumed(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    one.run("pause", "node2")
    try:
        two.here("ip", "route", "del", one.json("get", "node", "node1")["spec"]["podCIDR"])

        def drifts() -> bool:
            state = next(n for n in one.json("status")["nodes"] if n["name"] == "node2")
            assert state["paused"]
            return any("route" in step for step in state["agent"]["drift"])

        eventually(drifts)
        assert not one.probe("far", "near:80").reached
    finally:
        one.run("resume", "node2")
    eventually(lambda: one.json("probe", "far", "near:80", code=None)["results"][0]["reached"])
    said = one.run("pause", "node3", code=1)
    assert "node 'node3' not found" in said
    assert "node1, node2" in said


def test_rules_and_tables_of_the_other_machine_are_its_own(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    for machine in machines:
        assert machine.json("rules", "web", "--node", "node2")["node"] == "node2"
        assert machine.json("rules", "web")["node"] == machine.node
        differing = machine.json("rules", "--diff", "node1", "node2")["differences"]
        assert {d["chain"] for d in differing} == {"FLANNEL-POSTRTG"}
        routes = machine.json("tables", "node2", "routes")["tables"][0]["rows"]
        assert any(two.address in row["line"] for row in routes)
        assert machine.json("tables", "far", "links")["place"] == "far"
    two.here("iptables", "-t", "nat", "-N", "STRANGE")
    try:
        assert "STRANGE" in json.dumps(one.json("rules", "--node", "node2"))
        assert "STRANGE" not in json.dumps(one.json("rules", "--node", "node1"))
    finally:
        two.here("iptables", "-t", "nat", "-X", "STRANGE")


def test_misses_of_all_machines_come_in_one_stream(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    listener = one.start("misses", "-o", "json")
    assert listener.stderr and listener.stdout
    assert "listening on node1, node2" in listener.stderr.readline()
    for machine in machines:
        machine.here("ip", "neigh", "flush", "dev", "flannel.1")
        machine.here("ip", "neigh", "flush", "dev", "flannel.1", "nud", "permanent")
    assert one.probe("near", "far:80").reached
    asked: set[str] = set()
    while asked != {"node1", "node2"}:  # a kernel may ask more than once
        asked.add(json.loads(listener.stdout.readline())["node"])
    listener.send_signal(signal.SIGINT)
    listener.communicate(timeout=120)
    alone = one.start("misses", "--node", "node2", "-o", "json")
    assert alone.stderr and "listening on node2;" in alone.stderr.readline()
    alone.send_signal(signal.SIGINT)
    alone.communicate(timeout=120)
    eventually(lambda: not conversations(one))


def test_a_trace_goes_through_both_machines(machines: tuple[Machine, Machine]) -> None:
    """Predicted from both kernels and seen on both, in the order of the way."""
    one, two = machines
    for asker in machines:
        for words in (
            ("near", "far:80"),
            ("far", "near:80"),
            ("node2", "far:80"),
            ("near", "node2", "--proto", "icmp"),
        ):
            answer = asker.json("trace", *words)
            way, observed = answer["ways"][answer["chosen"]], answer["observed"]
            assert observed["fate"] == "answered" and observed["agrees"], (asker.node, words, observed)
            hops = [hop for hop in (*way["there"], *way["back"]) if hop["interface"]]
            assert hops and all(hop["seen"] for hop in hops) and observed["unwatched"] == []
            times = [hop["microseconds"] for hop in hops]
            assert times == sorted(times)
    passed = [(hop["place"], hop["interface"]) for hop in one.json("trace", "near", "far:80")["ways"][0]["there"]]
    wire = passed.index(("node1", "eth1"))
    assert passed[wire + 1] == ("node2", "eth1") and passed[-1][0] == "far"
    service = two.json("trace", "near", "web:80")
    assert service["observed"]["agrees"] and service["fromNode"] == "node1"
    assert {c["place"] for c in service["observed"]["connections"]} >= {"node1"}


def test_a_trace_names_what_is_wrong_on_the_other_machine(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    two.here("iptables", "-I", "FORWARD", "-p", "tcp", "--dport", "80", "-j", "DROP")
    try:
        answer = one.json("trace", "near", "far:80", code=1)
    finally:
        two.here("iptables", "-D", "FORWARD", "-p", "tcp", "--dport", "80", "-j", "DROP")
    way, observed = answer["ways"][answer["chosen"]], answer["observed"]
    assert observed["fate"] == way["fate"] == "lost" and observed["agrees"]
    assert "node2" in way["reason"] and "DROP" in way["reason"]


def test_diagnose_finds_the_same_from_each(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    for machine in machines:
        well = machine.json("diagnose")
        assert well["findings"] == [] and well["paths"]["walked"] > 4 and well["paths"]["tried"] > 1
    subnet = one.json("get", "node", "node1")["spec"]["podCIDR"]
    one.run("pause", "node2")
    two.here("ip", "route", "del", subnet)
    try:
        for machine in machines:
            (found,) = machine.json("diagnose", code=1)["findings"]
            assert (found["kind"], found["fault"], found["node"]) == ("route", "missing", "node2")
            assert found["paths"] and f"ip route show {subnet}" == found["show"]
            assert "node2: its agent is paused" in machine.run("diagnose", code=1)
        two.here(*found["mend"].split())
        assert one.json("diagnose")["findings"] == []
    finally:
        one.run("resume", "node2")


def test_what_was_applied_is_in_every_kernel_when_apply_returns(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    one, two = machines
    for number, (here, there) in enumerate([(one, two), (two, one)] * 3):
        file = tmp_path / f"service{number}.yaml"
        file.write_text(SERVICE % (f"extra{number}", number + 1))
        here.run("apply", "-f", str(file))
        assert f"10.96.77.{number + 1}/32" in there.here("iptables-save", "-t", "nat")
        assert f"10.96.77.{number + 1}/32" in here.here("iptables-save", "-t", "nat")
        here.run("delete", "service", f"extra{number}")
        assert f"10.96.77.{number + 1}/32" not in there.here("iptables-save", "-t", "nat")


@pytest.mark.parametrize("number", [0, 1])
def test_a_deployment_scaled_from_either_machine_becomes_ready_on_both(
    machines: tuple[Machine, Machine], number: int
) -> None:
    """One of them runs the controllers, the other does not."""
    machines[number].run("scale", "deployment/web", "--replicas", str(4 + number))

    def ready() -> list[int]:
        return [m.json("get", "deployment", "web")["status"].get("readyReplicas") for m in machines]

    eventually(lambda: ready() == [4 + number] * 2)


def test_a_machine_that_does_not_answer_holds_up_nobody(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    one, two = machines
    daemon = two.json("status")["daemon"]["pid"]
    os.kill(daemon, signal.SIGSTOP)
    try:
        status = one.json("status")
        state = next(n for n in status["nodes"] if n["name"] == "node2")
        assert not state["answers"] and state["address"] == two.address and state["pods"] >= 2
        assert any("node2: its daemon does not answer (no answer within 3 s)" in p for p in status["problems"])
        said = one.run("exec", "far", "--", "true", code=1)
        assert "error: node2: its daemon does not answer (no answer within 5 s)" in said and "hint:" in said
        results = one.json("probe", "--all", code=1)["results"]
        tried = {r["fromNode"]: "not tried" in r["error"] for r in results}
        assert tried == {"node1": False, "node2": True}
        said = one.run("trace", "near", "far:80", code=1)
        assert "node2: its daemon does not answer" in said
        found = one.json("diagnose", "--predict-only", code=1)["findings"]
        assert ("daemon", "silent", "node2") in {(f["kind"], f["fault"], f["node"]) for f in found}
        file = tmp_path / "service.yaml"
        file.write_text(SERVICE % ("late", 99))
        argv = one.command("apply", "-f", str(file))
        done = subprocess.run(argv, env=one.environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0 and "warning: node2" in done.stderr and "not waited for" in done.stderr
        assert "10.96.77.99/32" in one.here("iptables-save", "-t", "nat")
    finally:
        os.kill(daemon, signal.SIGCONT)
    eventually(lambda: "10.96.77.99/32" in two.here("iptables-save", "-t", "nat"))
    eventually(lambda: one.json("status")["nodes"][1]["answers"])
    one.run("delete", "service", "late")
    eventually(lambda: one.whole())
    eventually(lambda: not conversations(one))
