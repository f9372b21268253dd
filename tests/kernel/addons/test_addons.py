"""Real programs as add-ons: nginx and BIRD in two nodes of a lab, from `up` to `down`."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from k8snetlab.addons.program import Program
from k8snetlab.kernel import inventory, netns, processes
from k8snetlab.testing import Lab, eventually

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not (shutil.which("nginx") and shutil.which("bird")), reason="nginx or bird is missing"),
]
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}}
"""
NODES = ("node1", "node2")
PORT = 8081
NGINX = """
user root;
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  server { listen %d; location / { return 200 "%s\\n"; } %s }
}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: quick}
spec: {nodeName: node1, containers: [{name: c, image: i}]}
"""
BIRD = """
log stderr all;
router id %(own)s;
protocol device {}
protocol static { ipv4; route 198.51.100.%(number)d/32 blackhole; }
protocol bgp peer {
  local %(own)s as 6500%(number)d;
  neighbor %(other)s as 6500%(peer)d;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 { import all; export all; };
}
"""


def nginx(text: str, more: str = "") -> Program:
    words = ("nginx", "-p", ".", "-e", "stderr", "-c", "conf/nginx.conf")
    return Program(
        "nginx",
        words,
        files={"nginx.conf": NGINX % (PORT, text, more)},
        check=(*words, "-t"),
        reload=signal.SIGHUP,
        ready=("sh", "-c", f"echo >>asked; test ! -e deaf && exec curl -sf http://127.0.0.1:{PORT}/"),
        ready_within=0.5,
    )


def bird(number: int, own: str, other: str) -> Program:
    """One that gives up being root before it reads its files."""
    values = {"own": own, "other": other, "number": number, "peer": 3 - number}
    return Program(
        "bird",
        ("bird", "-f", "-c", "conf/bird.conf", "-s", "bird.ctl", "-u", "nobody", "-g", "nogroup"),
        files={"bird.conf": BIRD % values},
        check=("bird", "-p", "-c", "conf/bird.conf"),
        reload=signal.SIGHUP,
        ready=("birdc", "-s", "bird.ctl", "show", "status"),
    )


class World:
    """A lab of two nodes, and what they are to run."""

    def __init__(self, directory: Path) -> None:
        self.lab = Lab(directory)
        self._file, self._manifest = directory / "addons.json", directory / "lab.yaml"
        self._manifest.write_text(LAB)
        self.lab.environment["K8SNETLAB_TEST_ADDONS"] = str(self._file)
        self.lab.environment["PYTHONPATH"] = str(Path(__file__).parent / "site")
        self.wanted: dict[str, tuple[Program, ...]] = {}
        self._write()
        self.up()
        self.addresses = {
            node["metadata"]["name"]: node["status"]["addresses"][0]["address"]
            for node in self.lab.json("get", "nodes")["items"]
        }

    def up(self) -> None:
        self.lab.run("up", str(self._manifest))

    def wish(self, node: str, *programs: Program) -> None:
        """For the next time that the node's agent looks."""
        self.wanted[node] = programs
        self._write()

    def want(self, node: str, *programs: Program) -> None:
        """As a change of an object would: the node's agent is woken."""
        self.wish(node, *programs)
        self.lab.run("pause", node)
        self.lab.run("resume", node)

    def directory(self, node: str, program: str) -> Path:
        return self.lab.run_directory / self.lab.name / "addons" / node / program

    def pids(self, node: str, program: str) -> list[int]:
        return [p for p in processes.pids_in(self.lab.netns(node)) if _comm(p) == program]

    def answer(self, node: str) -> str:
        with netns.inside(self.lab.netns(node)), socket.create_connection(("127.0.0.1", PORT), 5) as line:
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with line.makefile("rb") as lines:
                return lines.read().decode().rsplit("\r\n", 1)[1].strip()

    def answers(self, node: str, text: str) -> bool:
        try:
            return self.answer(node) == text
        except OSError:
            return False

    def routes(self, node: str) -> str:
        """What the node's BIRD knows."""
        where = self.directory(node, "bird")
        if not where.is_dir():
            return ""
        done = subprocess.run(
            ["birdc", "-s", "bird.ctl", "show", "route"], cwd=where, capture_output=True, text=True, check=False
        )
        return done.stdout

    def asked(self, node: str) -> int:
        """How often the node's nginx was asked whether it is ready."""
        file = self.directory(node, "nginx") / "asked"
        return len(file.read_text()) if file.exists() else 0

    def problems(self) -> str:
        return "\n".join(self.lab.json("status")["problems"])

    def failing(self, node: str) -> list[str]:
        """The managers of a node that fail."""
        (state,) = (one for one in self.lab.json("status")["nodes"] if one["name"] == node)
        return [manager["name"] for manager in state["agent"]["managers"] if manager["error"]]

    def _write(self) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(self.wanted))
        draft.replace(self._file)


def _master(pids: Iterable[int]) -> int:
    """The one that is no other's child: pids begin again at 1, so it need not be the least."""
    (found,) = (pid for pid in pids if inventory.parent(pid) not in {0, *pids})
    return found


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("addons"))
    for number, node in enumerate(NODES, 1):
        other = made.addresses[NODES[2 - number]]
        made.want(node, nginx(f"first {node}"), bird(number, made.addresses[node], other))
    yield made
    made.lab.run("down", code=None)


def test_each_program_serves_in_its_node(world: World) -> None:
    for node in NODES:
        eventually(lambda node=node: world.answers(node, f"first {node}"))  # type: ignore[misc]
    eventually(lambda: "198.51.100.2/32" in world.routes("node1"))
    eventually(lambda: "198.51.100.1/32" in world.routes("node2"))
    eventually(lambda: world.problems() == "")
    owners = {Path(f"/proc/{pid}").stat().st_uid for node in NODES for pid in world.pids(node, "bird")}
    assert owners == {pwd.getpwnam("nobody").pw_uid}


def test_other_files_are_taken_up_without_a_gap_and_asked_whether_they_serve(world: World) -> None:
    asked_before = world.asked("node1")
    before, ended, failures, asked = world.pids("node1", "nginx"), threading.Event(), list[str](), list[str]()

    def ask() -> None:
        while not ended.is_set():
            try:
                asked.append(world.answer("node1"))
            except OSError as error:
                failures.append(str(error))

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        world.want("node1", nginx("second node1"), world.wanted["node1"][1])
        eventually(lambda: world.answers("node1", "second node1"))
    finally:
        ended.set()
        asker.join()
    assert not failures and {"first node1"} <= {*asked} <= {"first node1", "second node1"}
    assert _master(before) in world.pids("node1", "nginx"), "the master is the same"
    eventually(lambda: world.asked("node1") > asked_before)


def test_other_files_are_read_by_who_is_not_root(world: World) -> None:
    web, routing = world.wanted["node1"]
    before = world.pids("node1", "bird")
    more = "protocol static more { ipv4; route 203.0.113.77/32 blackhole; }\n"
    files = {"bird.conf": routing.files["bird.conf"] + more}
    world.want("node1", web, msgspec.structs.replace(routing, files=files))
    eventually(lambda: "203.0.113.77/32" in world.routes("node1"))
    assert world.pids("node1", "bird") == before and world.problems() == ""


def test_a_program_that_does_not_serve_any_more_is_named_once_it_has_begun_again(world: World) -> None:
    deaf = world.directory("node2", "nginx") / "deaf"
    deaf.touch()
    os.kill(_master(world.pids("node2", "nginx")), signal.SIGKILL)
    eventually(lambda: "node2: add-ons: nginx is not ready" in world.problems())
    deaf.unlink()
    eventually(lambda: world.problems() == "" and world.answers("node2", "first node2"))


def test_a_program_that_takes_its_time_holds_up_no_pod_and_is_waited_for(world: World) -> None:
    hold = world.directory("node1", "nginx") / "hold"
    hold.touch()
    slow = ("sh", "-c", "while test -e ../hold; do sleep 0.1; done")
    world.want("node1", msgspec.structs.replace(nginx("slow node1"), check=slow), world.wanted["node1"][1])
    pod = world.lab.run_directory / "pod.yaml"
    pod.write_text(POD)
    said = world.lab.run("apply", "-f", str(pod), "--timeout", "2s", code=1)
    assert "still waiting for node1: waits for add-on nginx" in said
    eventually(lambda: world.lab.json("get", "pod", "quick")["status"]["phase"] == "Running")
    hold.unlink()
    world.lab.run("delete", "pod", "quick")
    eventually(lambda: world.answers("node1", "slow node1"))


def test_a_stray_file_among_the_programs_is_in_nobodys_way(world: World) -> None:
    home = world.directory("node1", "nginx").parent
    (home / "stray").write_text("stray")
    (home / "broken").symlink_to("nowhere")
    world.want("node1", nginx("strays node1"), world.wanted["node1"][1])
    eventually(lambda: world.answers("node1", "strays node1"))
    eventually(lambda: sorted(one.name for one in home.iterdir()) == ["bird", "nginx"])
    eventually(lambda: world.problems() == "")


def test_files_that_a_program_refuses_are_named_and_the_old_ones_go_on(world: World) -> None:
    good = world.wanted["node1"]
    before, text = _master(world.pids("node1", "nginx")), "strays node1"
    world.want("node1", nginx("third node1", "bogus;"), good[1])
    eventually(lambda: "node1: add-ons: nginx refuses its configuration" in world.problems())
    assert 'unknown directive "bogus"' in world.problems()
    assert world.failing("node1") == ["add-ons"] and not world.failing("node2")
    assert 'unknown directive "bogus"' in world.lab.run("diagnose", "--predict-only", code=None)
    assert world.answer("node1") == text and before in world.pids("node1", "nginx")
    # The others of the node go on, and so do the other managers.
    world.want("node2", nginx("second node2"), world.wanted["node2"][1])
    eventually(lambda: world.answers("node2", "second node2"))
    world.want("node1", *good)
    eventually(lambda: world.problems() == "")
    assert world.answer("node1") == text


def test_a_killed_program_comes_back_with_a_back_off(world: World) -> None:
    before = min(world.pids("node2", "bird"))
    os.kill(before, signal.SIGKILL)
    eventually(lambda: [pid for pid in world.pids("node2", "bird") if pid != before])
    again = min(world.pids("node2", "bird"))
    os.kill(again, signal.SIGKILL)
    eventually(lambda: "back-off 10s restarting failed container=bird" in world.problems())
    eventually(lambda: [pid for pid in world.pids("node2", "bird") if pid not in (before, again)])
    eventually(lambda: "198.51.100.1/32" in world.routes("node2") and world.problems() == "")


def test_a_daemon_that_is_killed_finds_the_same_programs(world: World) -> None:
    before = {(node, name): world.pids(node, name) for node in NODES for name in ("nginx", "bird")}
    assert all(before.values())
    asked, master = world.asked("node1"), _master(before["node1", "nginx"])
    world.lab.kill("daemon")
    world.up()
    eventually(lambda: world.problems() == "" and world.asked("node1") > asked)
    assert {key: world.pids(*key) for key in before} == before
    world.want("node1", nginx("fourth node1"), world.wanted["node1"][1])
    eventually(lambda: world.answers("node1", "fourth node1"))
    assert _master(world.pids("node1", "nginx")) == master


def test_programs_of_a_kubelet_that_is_killed_are_begun_anew(world: World) -> None:
    before = {(node, name): world.pids(node, name) for node in NODES for name in ("nginx", "bird")}
    world.lab.kill("kubelet")
    for key, pids in before.items():
        eventually(lambda key=key, pids=pids: (n := world.pids(*key)) and not {*n} & {*pids})  # type: ignore[misc]
    eventually(lambda: world.answers("node1", "fourth node1") and world.problems() == "")


def test_another_command_line_is_another_process(world: World) -> None:
    before, program = world.pids("node1", "bird"), world.wanted["node1"][1]
    world.want("node1", world.wanted["node1"][0], msgspec.structs.replace(program, argv=(*program.argv, "-l")))
    eventually(lambda: (now := world.pids("node1", "bird")) and not {*now} & {*before})


def test_what_a_killed_kubelet_leaves_ends_where_another_command_line_or_none_is_wanted(world: World) -> None:
    """Nobody knows its uid any more: neither the new kubelet, nor who wants another one."""
    kept = world.wanted["node2"][1]
    before = {(node, name): world.pids(node, name) for node in NODES for name in ("nginx", "bird")}
    for node in NODES:
        world.lab.run("pause", node)
    other = msgspec.structs.replace(world.wanted["node1"][0], argv=(*world.wanted["node1"][0].argv, "-q"))
    world.wish("node1", other, world.wanted["node1"][1])
    world.wish("node2", kept)
    world.lab.kill("kubelet")
    for node in NODES:
        world.lab.run("resume", node)
    for key, pids in before.items():
        eventually(lambda key=key, pids=pids: not {*world.pids(*key)} & {*pids})  # type: ignore[misc]
    eventually(lambda: world.answers("node1", "fourth node1") and world.pids("node2", "bird"))
    eventually(lambda: world.problems() == "" and not world.pids("node2", "nginx"))
    world.want("node2", nginx("fifth node2"), kept)
    eventually(lambda: world.answers("node2", "fifth node2"))


def test_a_program_that_nobody_wants_ends_with_its_files(world: World) -> None:
    world.want("node2", world.wanted["node2"][1])
    eventually(lambda: not world.pids("node2", "nginx") and not world.directory("node2", "nginx").exists())
    assert world.pids("node2", "bird")


def test_after_down_nothing_is_left(world: World) -> None:
    assert world.pids("node1", "nginx") and world.pids("node1", "bird") and world.pids("node2", "bird")
    pids = [pid for node in NODES for name in ("nginx", "bird") for pid in world.pids(node, name)]
    world.lab.run("down")
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists() and _comm(pid) in ("nginx", "bird")]
    assert not world.lab.namespaces() and not (world.lab.run_directory / world.lab.name).exists()
    assert world.lab.name not in world.lab.run("audit", code=None)
