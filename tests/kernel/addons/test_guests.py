"""Guests: programs of the user's own in a node and in a pod, from `guest start` to `down`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.kernel import netns, processes
from k8snetlab.testing import Lab, eventually

pytestmark = pytest.mark.root
MANIFEST = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: node2, containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("guests")
    one = Lab(directory)
    (directory / "lab.yaml").write_text(MANIFEST)
    try:
        one.up(directory / "lab.yaml")
        yield one
    finally:
        one.down()


def start(lab: Lab, name: str, *words: str, code: int = 0) -> str:
    return lab.run("guest", "start", name, *words, code=code)


def stop(lab: Lab, *names: str) -> None:
    lab.run("guest", "stop", *names)


def state(lab: Lab, name: str) -> dict[str, object]:
    return next(one for one in lab.json("guest", "list")["guests"] if one["name"] == name)


def pids(lab: Lab, *place: str, marked: str) -> list[int]:
    """The processes in a namespace whose command line has a word."""
    there = processes.pids_in(lab.netns(*place))
    return [pid for pid in there if marked.encode() in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


def test_a_guest_runs_in_the_nodes_namespace_until_it_is_stopped(lab: Lab) -> None:
    start(lab, "hello", "--node", "node1", "-e", "WORD=a b", "--", "sh", "-c", 'echo "$WORD"; pwd; exec sleep 4711')
    try:
        assert state(lab, "hello")["state"] == "Running"
        assert lab.run("guest", "logs", "hello").splitlines() == ["a b", str(Path.cwd())]
        [pid] = pids(lab, "node1", marked="4711")
        assert Path(f"/proc/{pid}/ns/net").stat().st_ino == netns.inode(lab.netns("node1"))
        assert "is there already" in start(lab, "hello", "--node", "node2", "--", "true", code=1)
    finally:
        stop(lab, "hello")
    assert not pids(lab, "node1", marked="4711")
    assert not (lab.run_directory / lab.name / "addons" / "node1").exists()


def test_a_guest_of_a_pod_runs_in_that_pods_namespace_and_follows_it(lab: Lab) -> None:
    start(lab, "inside", "--pod", "web", "--", "sh", "-c", "hostname; ip -4 -br a show eth0; exec sleep 4712")
    try:
        hostname, address = lab.run("guest", "logs", "inside").splitlines()
        assert hostname == "web" and address.split()[2].partition("/")[0] == lab.address_of("pod/web")
        [pid] = pids(lab, "default", "web", marked="4712")
        lab.run("delete", "pod", "web")
        assert state(lab, "inside")["message"] == "there is no pod default/web"
        eventually(lambda: not Path(f"/proc/{pid}").exists())
        lab.apply(MANIFEST.split("---")[1])
        eventually(lambda: state(lab, "inside")["state"] == "Running")
        assert pids(lab, "default", "web", marked="4712")
    finally:
        stop(lab, "inside")


def test_a_guest_that_ends_is_begun_again_and_stops_nothing_else(lab: Lab, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    said = start(lab, "bad", "--node", "node1", "--", "sh", "-c", f"echo run; test -e {flag} && sleep 4713", code=1)
    try:
        assert "guest bad in node1 does not run: it ended with 1; it is begun again" in said
        status = lab.json("status")
        assert any("guest bad" in problem for problem in status["problems"])
        assert all(node["agent"]["synced"] for node in status["nodes"])
        [finding] = lab.diagnose().findings
        assert (finding.kind, finding.object, finding.node) == ("guest", "bad", "node1")
        lab.apply("{apiVersion: v1, kind: Service, metadata: {name: more}, spec: {ports: [{port: 80}]}}")
        flag.touch()
        eventually(lambda: state(lab, "bad")["state"] == "Running")
        assert state(lab, "bad")["restarts"] and not lab.diagnose().findings
        assert lab.run("guest", "logs", "bad", "--previous") == "run\n"
    finally:
        stop(lab, "bad")


def test_guests_go_on_while_the_daemon_is_gone_and_are_adopted(lab: Lab) -> None:
    start(lab, "steady", "--node", "node1", "--", "sleep", "4714")
    try:
        before = pids(lab, "node1", marked="4714")
        lab.kill("daemon")
        assert pids(lab, "node1", marked="4714") == before
        lab.up(next(lab.run_directory.parent.glob("lab.yaml")))
        assert state(lab, "steady")["state"] == "Running" and pids(lab, "node1", marked="4714") == before
    finally:
        stop(lab, "steady")


def test_the_log_is_followed_through_restarts_until_the_guest_is_stopped(lab: Lab) -> None:
    start(lab, "tick", "--node", "node2", "--", "sh", "-c", "echo $$; sleep 1", code=0)
    following = lab.start("guest", "logs", "tick", "-f")
    try:
        assert following.stdout
        first, second = following.stdout.readline(), following.stdout.readline()
        assert first.strip().isdecimal() and second.strip().isdecimal()
        stop(lab, "tick")
        following.communicate(timeout=120)
        assert following.returncode == 0
    finally:
        following.kill()
        following.communicate()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("x", "--", "true"), "where is it to run?"),
        (("x", "--node", "nosuch", "--", "true"), 'the lab has no node "nosuch"'),
        (("x", "--pod", "nosuch", "--", "true"), "nosuch"),
        (("x", "--pod", "web", "--node", "node1", "--", "true"), "pod web is on node2, not on node1"),
        (("X/..", "--node", "node1", "--", "true"), "is no DNS label"),
        (("x", "--node", "node1", "-e", "A", "--", "true"), "-e A: no variable"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_stored(lab: Lab, words: tuple[str, ...], said: str) -> None:
    shown = lab.run("guest", "start", *words, code=1 if "--pod" in words and "nosuch" in words else 2)
    assert said in shown and "Traceback" not in shown
    assert not lab.json("guest", "list")["guests"]


def test_the_end_of_the_lab_ends_its_guests(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    (tmp_path / "lab.yaml").write_text(MANIFEST)
    try:
        lab.up(tmp_path / "lab.yaml")
        start(lab, "last", "--node", "node1", "--", "sh", "-c", "trap '' TERM; sleep 4715 & wait; sleep 4715")
        left = pids(lab, "node1", marked="4715")
        assert left
    finally:
        lab.down()
    eventually(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in left))
