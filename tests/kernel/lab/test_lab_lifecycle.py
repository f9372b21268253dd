"""Ups, downs and interruptions: what a lab leaves behind, and what it survives."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.client.client import Client
from k8snetlab.state.processes import ProcessId
from k8snetlab.state.scenarios import find
from k8snetlab.testing import Lab, eventually

SMALL = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}}
---
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: a}}
spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b}
spec: {nodeName: node2, containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {type: NodePort, selector: {app: a}, ports: [{port: 80, nodePort: 30080}]}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    if lab.run_directory.exists():
        subprocess.run(lab.command("down"), env=lab.environment, capture_output=True, timeout=200)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("shared"))
    yield lab
    lab.run("down")


@pytest.fixture
def running(shared: Lab, small: Path) -> Lab:
    """A lab of `small`, shared by the tests that change its files or break it, and leave it to `up` to mend."""
    shared.run("up", str(small), "--yes")
    return shared


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small" / "lab.yaml"
    file.parent.mkdir()
    file.write_text(SMALL)
    return file


def machine(lab: Lab) -> dict[str, str]:
    """What the machine holds: links, sysctls, rules; of namespaces and mounts those that could be this lab's."""

    def said(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def rules(tool: str) -> str:
        return "\n".join(line.partition(" [")[0] for line in said(tool).splitlines() if not line.startswith("#"))

    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    keys = r"^net\.(ipv4\.(ip_forward|conf\.all)|ipv6\.conf\.all|bridge)\.?"
    return {
        "links": said("ip", "-o", "link"),
        "namespaces": "\n".join(lab.namespaces()),
        "mounts": "\n".join(sorted(mount for mount in mounts if lab.name in mount or "netns/" not in mount)),
        "sysctls": said("sysctl", "-a", "-r", keys),
        "nft": rules("iptables-save"),
        "legacy": rules("iptables-legacy-save"),
    }


def test_down_leaves_the_machine_as_it_was(lab: Lab, small: Path) -> None:
    before = machine(lab)
    lab.run("up", str(small))
    pids = lab.pids()
    assert machine(lab)["links"] == before["links"], "a lab makes no device outside its namespaces"
    lab.run("down")
    after = machine(lab)
    assert after == before
    assert not lab.run_directory.exists()
    assert not any(ProcessId.of(pid) for pid in pids.values())


def test_a_lab_of_one_line_has_two_nodes_that_reach_each_other(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {nodes: 2, dns: {enabled: false}}}\n")
    lab.run("up", str(file))
    assert lab.probe("node1", "node2:1").error == "connection refused"
    assert [n["metadata"]["name"] for n in lab.json("get", "nodes")["items"]] == ["node1", "node2"]


def test_an_edit_changes_only_the_difference(running: Lab, small: Path) -> None:
    veth = running.shell("node1", "ip", "-o", "link", "show", "master", "cni0")
    small.write_text(SMALL.replace("nodes: 2", "nodes: 3").replace("nodePort: 30080", "nodePort: 30081"))
    done = running.json("up", str(small))
    assert (done["created"], sorted(done["updated"])) == ([], [f"lab/{running.name}", "service/a"])
    assert running.shell("node1", "ip", "-o", "link", "show", "master", "cni0") == veth
    assert running.probe("outside", "node3:30081").answeredBy == "a"
    assert running.probe("outside", "node1:30080").reached is False
    small.write_text(SMALL.replace("name: b", "name: b2"))
    done = running.json("up", str(small))
    assert done["created"] == ["pod/b2"] and done["deleted"] == ["pod/b"]
    assert (
        running.netns("default", "b") not in running.namespaces() and running.netns("node3") not in running.namespaces()
    )
    assert running.whole()


def test_a_refused_file_changes_nothing(running: Lab, small: Path, tmp_path: Path) -> None:
    before = running.shell("node1", "iptables", "-t", "nat", "-S"), running.namespaces()
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: good}\nspec: {containers: [{name: c}]}\n---\n"
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  type: NodePort\n  ports:\n"
        "  - {port: 80, nodePort: 30080}\n"
    )
    said = running.run("apply", "-f", str(bad), code=2)
    assert "30080" in said and "bad.yaml:6" in said
    assert (running.shell("node1", "iptables", "-t", "nat", "-S"), running.namespaces()) == before
    assert "not found" in running.run("get", "pod", "good", code=1)


def test_a_lab_whose_program_is_missing_is_refused_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in os.environ["PATH"].split(":"):
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if program.name != "haproxy" and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    lab.environment["PATH"] = str(programs)
    cloud = tmp_path / "lab.yaml"
    cloud.write_text(
        "apiVersion: k8snetlab/v1alpha1\nkind: Lab\n"
        "spec: {nodes: 1, loadBalancer: {mode: cloud, pool: [192.168.0.200-192.168.0.210]}}\n"
    )
    assert "apt-get install haproxy" in lab.run("up", str(cloud), code=2)
    assert not lab.run_directory.exists() and not lab.namespaces()


def test_not_yaml_is_one_clear_sentence(lab: Lab, tmp_path: Path) -> None:
    bad = tmp_path / "lab.yaml"
    bad.write_text("a: [\n")
    said = lab.run("up", str(bad), code=2)
    assert "lab.yaml:2" in said and "Traceback" not in said
    assert not lab.run_directory.exists()


def test_a_lab_is_named_by_a_label_and_not_by_a_path(lab: Lab, small: Path, tmp_path: Path) -> None:
    for name in ("../../evil", "a/b", "A", ".", "x" * 64):
        said = lab.run("--lab", name, "up", str(small), code=2)
        assert "Traceback" not in said
    assert not lab.run_directory.exists() and not (tmp_path.parent / "evil").exists()


def test_an_empty_file_is_no_lab(running: Lab, small: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n")
    assert "no object" in running.run("up", str(empty), code=2)
    assert running.whole()


def test_a_pause_outlives_the_daemon(running: Lab, small: Path) -> None:
    running.run("pause", "node1")
    try:
        running.kill("daemon")
        running.shell("node1", "ip", "link", "set", "cni0", "down")
        running.run("up", str(small))
        eventually(lambda: (node1 := running.json("status")["nodes"][0])["paused"] and node1["agent"]["drift"])
    finally:
        running.run("resume", "node1")
    eventually(running.whole)


def test_a_flushed_routing_table_is_repaired_and_stops_nothing_else(running: Lab, small: Path) -> None:
    """The kernel's own routes to its networks go too, without which no other route can be put back."""
    for place in (("node2",), ("default", "a")):
        subprocess.run(["ip", "-n", running.netns(*place), "route", "flush", "table", "main"], check=True)
        subprocess.run(["ip", "netns", "del", running.netns("default", "b")], check=True)
        eventually(running.whole)


def processes_of(lab: Lab, pod: str) -> set[str]:
    told = subprocess.run(["ip", "netns", "pids", lab.netns("default", pod)], capture_output=True, text=True)
    return set(told.stdout.split())


def begun_in(lab: Lab, pod: str, seconds: str) -> set[str]:
    """The processes in a pod once its shell has begun `sleep SECONDS`."""
    found = set[str]()

    def sleeps() -> bool:
        found.clear()
        found.update(processes_of(lab, pod))
        return any(_text(Path("/proc", pid, "cmdline")) == f"sleep {seconds} " for pid in found)

    eventually(sleeps)
    return found


def test_a_killed_kubelet_leaves_no_command_running_twice(lab: Lab, small: Path) -> None:
    small.write_text(
        SMALL.replace("name: b}", "name: b}").replace(
            "[{name: c, ports: [{containerPort: 80}]}]}\n---\napiVersion: v1\nkind: Service",
            "[{name: c, command: [sh, -c, 'sleep 4321; true']}]}\n---\napiVersion: v1\nkind: Service",
        )
    )
    lab.run("up", str(small))
    before = begun_in(lab, "b", "4321")
    lab.kill("kubelet")
    eventually(lambda: processes_of(lab, "b").isdisjoint(before))
    eventually(lambda: len(begun_in(lab, "b", "4321")) == len(before))


def test_up_with_a_pod_that_cannot_run_does_all_else_and_ends_with_1(lab: Lab, small: Path) -> None:
    broken = "{apiVersion: v1, kind: Pod, metadata: {name: c}, spec: {containers: [{name: c, command: [/none/such]}]}}"
    small.write_text(f"{SMALL}---\n{broken}\n")
    said = lab.run("up", str(small), code=1)
    waits = "(RunContainerError|CrashLoopBackOff)"  # after the first and the second try
    assert re.search(rf'warning: pod default/c: {waits}: exec: "/none/such": stat /none/such: no such file', said)
    assert "/none/such is not on this machine, where a container's command runs" in said
    # Between two tries the log of the next one is empty.
    eventually(lambda: "stat /none/such: no such file or directory" in lab.run("logs", "c"))
    assert "is up: 2 nodes, 2 of 3 pods running" in said
    assert said.endswith("error: 1 pod does not run\nhint: k8snetlab logs c\n")
    assert lab.probe("b", "a:80").answeredBy == "a"
    more = small.with_name("more.yaml")
    more.write_text(broken.replace("name: c}", "name: d}"))
    lab.run("apply", "-f", str(more))  # as kubectl: it is stored, and status says the rest
    assert "default/d" in lab.run("status")
    small.write_text(SMALL)
    lab.run("delete", "-f", str(more))
    lab.run("up", str(small))


def test_a_pod_deleted_by_force_is_stopped(lab: Lab, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(lab.run_directory))
    waiting = "[{name: c, command: [sh, -c, 'trap \"\" TERM; sleep 4322; true']}], terminationGracePeriodSeconds: 1}"
    pods = [
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: {waiting}}}" for name in "cd"
    ]
    small.write_text("\n---\n".join([SMALL, *pods]))
    lab.run("up", str(small))
    doomed, kept = begun_in(lab, "c", "4322"), begun_in(lab, "d", "4322")
    Client(lab.name).delete_object("pods", "c", force=True)
    eventually(lambda: not any(Path("/proc", pid).exists() for pid in doomed))
    assert processes_of(lab, "d") == kept and lab.whole()


def test_the_same_manifest_from_another_place_is_unchanged(running: Lab, small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_text("---\n".join(SMALL.split("---\n")[1:]))
    assert set(running.run("apply", "-f", str(copy)).split()[1::2]) == {"unchanged"}
    assert running.json("get", "pod", "a")["metadata"]["annotations"]["k8snetlab/up"] == "true"
    assert "lab file" in running.run("delete", "node", "node1", code=2)
    assert "forbidden" in running.run("delete", "ns", "default", code=1)


def test_two_labs_with_the_same_addresses_run_side_by_side(tmp_path: Path, small: Path) -> None:
    labs = [Lab(tmp_path / "one"), Lab(tmp_path / "two")]
    try:
        for lab in labs:
            lab.run("up", str(small))
        for lab in labs:
            assert lab.probe("b", "a:80").answeredBy == "a"
    finally:
        for lab in labs:
            lab.run("down")


def begun(lab: Lab, *words: str) -> subprocess.Popen[str]:
    """The command line when Python has come as far as to run it: what it says of Ctrl-C before is its own."""
    here, there = os.pipe()
    script = (
        f"import os, sys; from k8snetlab.__main__ import main; sys.argv[0] = 'k8snetlab'; os.close({there}); main()"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        env=lab.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(there,),
    )
    os.close(there)
    assert os.read(here, 1) == b""
    os.close(here)
    return command


@pytest.mark.parametrize("seed", range(6))
def test_up_interrupted_at_any_moment_can_be_repeated_or_taken_down(lab: Lab, small: Path, seed: int) -> None:
    """Ctrl-C or SIGKILL to the command line or SIGKILL to the daemon, after a random part of a second."""
    chance = random.Random(seed)
    before = machine(lab)
    command = begun(lab, "up", str(small))
    time.sleep(chance.uniform(0.05, 0.9))
    victim = chance.choice(["ctrl-c", "cli", "daemon"])
    if victim == "daemon":
        ledger = lab.run_directory / lab.name / "ledger"
        for line in ledger.read_text().splitlines() if ledger.exists() else ():
            if '"role":"daemon"' in line:
                os.kill(int(line.partition('"pid":')[2].partition(",")[0]), signal.SIGKILL)
    else:
        command.send_signal(signal.SIGINT if victim == "ctrl-c" else signal.SIGKILL)
    _, said = command.communicate(timeout=200)
    assert "Traceback" not in said
    if chance.random() < 0.7:
        lab.run("up", str(small))
        assert lab.whole()
    ledger = lab.run_directory / lab.name / "ledger"
    if ledger.exists():
        lab.run("down")
    eventually(lambda: machine(lab) == before)
    time.sleep(0.5)
    assert not ledger.exists(), "nothing was still on its way up"


def test_a_stranger_with_our_names_is_left_alone(lab: Lab, small: Path) -> None:
    name = lab.netns("node1")
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        said = lab.run("up", str(small), code=1)
        assert name in said and "not this lab's" in said
        lab.run("down")
        assert lab.namespaces() == [name]
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.mark.parametrize("verb", ["up", "down", "status"])
def test_not_root_is_told_so(small: Path, tmp_path: Path, verb: str) -> None:
    """In a user namespace without mappings this process is nobody, and still reads the checkout."""
    done = subprocess.run(
        ["unshare", "--user", *Lab(tmp_path).command(verb, *([str(small)] if verb == "up" else []))],
        env={**os.environ, "K8SNETLAB_RUN": str(tmp_path / "run")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (1 if verb == "status" else 2) and "Traceback" not in done.stderr
    assert verb == "status" or "root" in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_small_scenario_works(lab: Lab) -> None:
    lab.run("up", "two-nodes")
    assert lab.whole()
    lines = [line for _, text in find("two-nodes") for line in text.splitlines()]
    assert sum(not line.lstrip().startswith("#") for line in lines) < 40


def test_down_leaves_no_process_of_a_lab_whose_daemon_was_killed(lab: Lab, small: Path) -> None:
    """The ledger then names the kubelet before the daemon that watches over it."""
    lab.run("up", str(small))
    lab.kill("daemon")
    lab.run("up", str(small))
    lab.run("down")
    eventually(lambda: not [x for x in Path("/proc").glob("[0-9]*/cmdline") if str(lab.run_directory) in _text(x)])


def _text(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def test_up_makes_a_pod_anew_that_is_being_deleted(lab: Lab, tmp_path: Path) -> None:
    file, command = tmp_path / "lab.yaml", "[sh, -c, 'trap : TERM; while :; do sleep 0.1; done']"
    spec = f"terminationGracePeriodSeconds: 2, containers: [{{name: c, command: {command}}}]"
    head = "{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {nodes: 1, dns: {enabled: false}}}"
    file.write_text(f"{head}\n---\n{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{{spec}}}}}\n")
    lab.run("up", str(file))
    before = lab.json("get", "pod", "a")["metadata"]["uid"]
    lab.run("delete", "pod", "a", "--wait=false")
    lab.run("up", str(file))
    pod = lab.json("get", "pod", "a")
    assert pod["metadata"]["uid"] != before and "deletionTimestamp" not in pod["metadata"]
    assert pod["status"]["phase"] == "Running"
    assert lab.namespaces().count(lab.netns("default", "a")) == 1
