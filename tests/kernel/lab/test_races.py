"""Many at once: two `up`, fifty clients of which some are killed, and a person who deletes what the lab has made. All
of them end, `status` answers meanwhile, and afterwards the lab is whole and leaves nothing.

A machine with two busy cores answers late, whatever a daemon does. So what is asked for in seconds is asked of the
daemon alone: its longest turn of the event loop, in processor time; and each answer has as many times more as the
kernel says that the daemon's threads waited for a processor (/proc/PID/task/*/schedstat).
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.web import web

pytestmark = pytest.mark.timeout(900)
NODES, CLIENTS, KILLED = 3, 50, 8
ANSWER = 2.0
"""Seconds in which `status` is to be answered."""
API = "/apis/k8snetlab/v1alpha1"
LAB = f"apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {{dns: {{enabled: false}}, nodes: {NODES}}}\n"
POD = """---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec: {%scontainers: [{name: c, ports: [{containerPort: 80}]}]}
"""
FILE = LAB + web(3, 8080) + POD % ("one", "nodeName: node1, ") + POD % ("two", "nodeName: node2, ")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("races")
    lab = Lab(directory)
    (directory / "lab.yaml").write_text(FILE)
    lab.run("up", str(directory / "lab.yaml"))
    yield lab
    lab.run("down", code=None)


def file_of(lab: Lab) -> str:
    return str(lab.run_directory.parent / "lab.yaml")


class Connection(http.client.HTTPConnection):
    """To the daemon's socket."""

    def __init__(self, lab: Lab) -> None:
        super().__init__("localhost", timeout=90)
        self._path = str(lab.run_directory / lab.name / "api.sock")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def asked(lab: Lab, method: str, path: str, body: object = None) -> Any:
    connection = Connection(lab)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        return json.loads(connection.getresponse().read() or "null")
    finally:
        connection.close()


class Watch:
    """Asks for `status` all the while; `late` are the answers that took longer than they may."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.late, self.answers, self.slowest = lab, list[str](), 0, 0.0
        self._pid = lab.pids()["daemon"]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.5):
            (ran, waited), began = scheduled(self._pid), time.monotonic() - queued()
            try:
                assert asked(self.lab, "GET", f"{API}/status")["lab"] == self.lab.name
            except (OSError, ValueError, KeyError, AssertionError) as error:
                self.late.append(f"no answer: {error!r}")
                continue
            seconds = time.monotonic() - queued() - began
            self.answers, self.slowest = self.answers + 1, max(self.slowest, seconds)
            now_ran, now_waited = scheduled(self._pid)
            slower = 1 + (now_waited - waited) / max(now_ran - ran, 0.01)
            if seconds > ANSWER * slower:
                self.late.append(f"{seconds:.1f} s, on a machine that is {slower:.1f} times as slow as a quiet one")


def scheduled(pid: int) -> tuple[float, float]:
    """Seconds in which the threads of a process ran, and in which they could have but there was no processor."""
    ran = waited = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            numbers = file.read_text().split()
        except OSError:
            continue  # that thread has ended
        ran, waited = ran + int(numbers[0]), waited + int(numbers[1])
    return ran / 1e9, waited / 1e9


def queued() -> float:
    """Seconds in which this thread could have run but there was no processor: nobody's answer was late for that."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def by_command(lab: Lab, number: int) -> subprocess.Popen[str]:
    """The client of that number, on the command line."""
    node = f"node{number % NODES + 1}"
    words, text = [
        (["apply", "-f", "-"], web(number % 5 + 1, 8080)),
        (["scale", "deploy/web", "--replicas", str(number % 5)], ""),
        (["delete", "pod", "one", "two"][: 3 + number % 2], ""),
        (["pause", node], ""),
        (["apply", "-f", "-"], POD % (f"p{number}", f"nodeName: {node}, ")),
        (["resume", node], ""),
        (["up", file_of(lab), "--yes"], ""),
    ][number % 7]
    process = subprocess.Popen(
        lab.command(*words),
        env=lab.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    process.stdin.write(text)
    process.stdin.close()
    process.stdin = None
    return process


def by_rest(lab: Lab, number: int, failed: list[str]) -> None:
    """The client of that number, as a program that speaks to the API; every fourth one goes without its answer."""
    pods, name = "/api/v1/namespaces/default/pods", f"r{number}"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "c"}]}}
    steps: list[tuple[str, str, object]] = [
        ("POST", pods, pod),
        ("POST", f"{API}/nodes/node{number % NODES + 1}/{'pause' if number % 3 else 'resume'}", {}),
        ("GET", f"{pods}/{name}", None),
        ("DELETE", f"{pods}/{name}", None),
        ("POST", f"{API}/nodes/node{number % NODES + 1}/resume", {}),
    ]
    for method, path, body in steps:
        if number % 4 == 3:
            connection = Connection(lab)
            connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            connection.close()
            continue
        try:
            answer = asked(lab, method, path, body)
        except (OSError, ValueError) as error:
            failed.append(f"{method} {path}: {error!r}")
            continue
        if isinstance(answer, dict) and answer.get("code", 200) >= 500:
            failed.append(f"{method} {path}: {answer}")


def person(lab: Lab, chance: random.Random, end: threading.Event) -> None:
    """Deletes links, chains, addresses and namespaces until `end`."""
    while not end.wait(0.3):
        node = lab.netns(f"node{chance.randint(1, NODES)}")
        made = [name for name in lab.namespaces() if name.startswith(lab.netns("default") + ".")]
        pod = chance.choice(made or [node])
        command = chance.choice(
            [
                f"ip -n {pod} link del eth0",
                f"ip -n {node} link del flannel.1",
                f"ip -n {node} link set cni0 down",
                f"ip -n {node} route flush table main",
                f"ip -n {node} neigh flush all nud permanent",
                f"ip netns exec {node} iptables -t nat -F KUBE-SERVICES",
                f"ip netns exec {node} iptables -t nat -F",
                f"ip netns del {pod}",
                f"ip netns del {node}",
            ]
        )
        subprocess.run(command.split(), capture_output=True, timeout=60)


def whole(lab: Lab) -> None:
    """Nothing is wrong, nothing differs from what is desired, and everybody reaches whom they should."""
    said: list[object] = []

    def settled() -> bool:
        status = lab.json("status")
        said[:] = [status["problems"], [n["name"] for n in status["nodes"] if not n["agent"]["synced"]]]
        return not any(said)

    try:
        eventually(settled, 120)
    except AssertionError as error:
        raise AssertionError(f"{said}\n{lab.logs()}") from error
    results = lab.json("probe", "--all", code=None)["results"]
    assert results and not [one for one in results if not one["ok"]]


def test_three_up_at_once_all_end_with_a_whole_lab(lab: Lab) -> None:
    for process in [lab.start("up", file_of(lab)) for _ in range(3)]:
        said = "".join(process.communicate(timeout=200))
        assert process.returncode == 0, said
    whole(lab)


def test_fifty_clients_and_a_person_at_once_leave_a_whole_lab(lab: Lab) -> None:
    chance, end, failed = random.Random(11), threading.Event(), list[str]()
    deleting = threading.Thread(target=person, args=(lab, chance, end))
    talking = [threading.Thread(target=by_rest, args=(lab, n, failed)) for n in range(CLIENTS // 2)]
    with Watch(lab) as watch:
        deleting.start()
        commands = []
        for number in range(CLIENTS // 2):
            talking[number].start()
            commands.append(by_command(lab, number))
        for process in commands[::3][:KILLED]:
            time.sleep(0.2)
            process.kill()
        for thread in talking:
            thread.join()
        end.set()
        deleting.join()
        for node in range(1, NODES + 1):  # whoever waits for what somebody has paused
            lab.run("resume", f"node{node}")
        said = {process: "".join(process.communicate(timeout=200)) for process in commands}
    for process in commands:
        assert process.returncode in (0, 1, -9), said[process]
        assert "Traceback" not in said[process] and "bug" not in said[process], said[process]
        assert "still waiting for" not in said[process], said[process]
    assert not failed, failed
    assert watch.answers and not watch.late, watch.late
    assert lab.json("status")["daemon"]["longestTurn"] < ANSWER
    for node in range(1, NODES + 1):
        lab.run("resume", f"node{node}")
    lab.run("up", file_of(lab), "--yes")
    whole(lab)
    mine: Callable[[Any], bool] = lambda thing: lab.name in json.dumps(thing)  # noqa: E731
    assert not [one for one in lab.json("audit", code=None)["findings"] if mine(one) and one["stray"]]
    lab.run("down")
    assert not [one for one in lab.json("audit", code=None)["findings"] if mine(one)]
    assert lab.namespaces() == [] and not (lab.run_directory / lab.name).exists()
