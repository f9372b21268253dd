"""The kubelet process: responders and commands in real namespaces, over its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8snetlab.api.core import ContainerState, ContainerStateRunning, ContainerStatus
from k8snetlab.api.workload import ContainerWork, Happening, KubeletRequest, KubeletResponse, PodState, PodWork
from k8snetlab.dataplane.links import Device
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.kernel import cgroups, netns
from k8snetlab.kernel.execute import execute
from k8snetlab.running import logs
from k8snetlab.testing import eventually


class Kubelet:
    """A connection to a kubelet process."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(120)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rwb")
        self._id = 0
        self.happened: list[tuple[str, Happening]] = []
        self.ask("list")  # who asks is told what happens

    def ask(self, op: str, *pods: PodWork, uids: tuple[str, ...] = (), keep: bool = False) -> tuple[PodState, ...]:
        self._id += 1
        self._file.write(msgspec.json.encode(KubeletRequest(self._id, op, pods, uids, keep)) + b"\n")  # type: ignore[arg-type]
        self._file.flush()
        while True:
            response = msgspec.json.decode(self._file.readline(), type=KubeletResponse)
            self.happened += [(state.uid, one) for state in response.states for one in state.happened]
            if response.id == self._id:
                return response.states

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def kubelet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubelet]:
    """Its socket is not in the test's directory: that goes with the logs of a pod, and with its socket a kubelet."""
    path = tmp_path_factory.mktemp("kubelet") / "kubelet.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "k8snetlab.kubelet.main", "--socket", str(path)], stdin=subprocess.PIPE
    )
    process.stdin.write(b"\n")
    process.stdin.close()
    eventually(path.exists)
    connection = None
    with contextlib.suppress(FileNotFoundError):
        eventually(lambda: path.stat().st_mode & 0o777 == 0o600)
        connection = Kubelet(path)
    assert connection is not None
    yield connection
    connection.close()
    process.terminate()
    assert process.wait(120) == 0


@pytest.fixture
def sandbox(namespace: Callable[[str], str]) -> str:
    """A namespace whose loopback is up."""
    name = namespace("pod")
    execute([ItemOperation("set", name, Device("lo"))])
    return name


@pytest.fixture(params=["cgroup", "pid namespace"])
def group(request: pytest.FixtureRequest) -> Iterator[str]:
    """The control group of a pod, or none: both ways in which a pod's processes are held."""
    mount = cgroups.hierarchy()
    if request.param != "cgroup":
        yield ""
        return
    if mount is None:
        pytest.skip("this machine lets nobody make control groups")
    path = mount / f"k8snetlab-test-{os.getpid()}"
    yield str(path / "pod")
    assert not (path / "pod").exists()
    assert cgroups.end(path)


def work(sandbox: str, logs: Path, *containers: ContainerWork, **more: object) -> PodWork:
    pod = PodWork("uid-1", "default", "web", "node1", sandbox, "web", ("127.0.0.1",), containers, str(logs), 5.0)
    return msgspec.structs.replace(pod, **more)


def shell(script: str, name: str = "c", **more: object) -> ContainerWork:
    return msgspec.structs.replace(ContainerWork(name, command=("sh", "-c", script)), **more)


def only(states: tuple[PodState, ...]) -> ContainerStatus:
    ((status,),) = [state.containers for state in states]
    return status


def connect(sandbox: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    with netns.inside(sandbox):
        client = socket.socket(socket.AF_INET, kind)
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    return client


def test_responders_tell_who_they_are_and_whom_they_see(kubelet: Kubelet, sandbox: str, tmp_path: Path) -> None:
    pod = work(sandbox, tmp_path, ContainerWork("c", ports=((8080, "TCP"), (53, "UDP"))))
    (state,) = kubelet.ask("run", pod)
    assert state.ready
    with connect(sandbox, 8080) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel")
        client.sendall(b"loGET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answers = b"".join(iter(lambda: client.recv(4096), b""))
        bodies = [json.loads(part.splitlines()[0]) for part in answers.split(b"\r\n\r\n")[1:]]
        assert len(bodies) == 2
        assert bodies[1]["pod"] == "web" and bodies[1]["node"] == "node1" and bodies[1]["client"] == "127.0.0.1"
        assert bodies[1]["clientPort"] == client.getsockname()[1]
    with connect(sandbox, 8080) as client:
        client.sendall(b"hello\n")
        assert json.loads(client.recv(4096))["port"] == 8080
    with connect(sandbox, 53, socket.SOCK_DGRAM) as client:
        client.send(b"question")
        line, echo = client.recv(4096).split(b"\n", 1)
        assert json.loads(line)["pod"] == "web" and echo == b"question"


def test_garbage_does_not_hurt_a_responder(kubelet: Kubelet, sandbox: str, tmp_path: Path) -> None:
    kubelet.ask("run", work(sandbox, tmp_path, ContainerWork("c", ports=((8080, "TCP"),))))
    for garbage in (b"\x00\xff" * 50, b"GET " + b"a" * 100_000, b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"G"):
        with connect(sandbox, 8080) as client, contextlib.suppress(ConnectionError):
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            client.recv(4096)
    with connect(sandbox, 8080) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_command_runs_in_the_namespace_is_restarted_and_stopped(
    kubelet: Kubelet, sandbox: str, tmp_path: Path, group: str
) -> None:
    script = 'echo "$HOSTNAME $(hostname) $GREETING" $(ls /sys/class/net); exec sleep 1000'
    pod = work(sandbox, tmp_path, shell(script, env={"GREETING": "hi"}), cgroup=group)
    assert kubelet.ask("run", pod)[0].ready
    log = tmp_path / "c" / "0.log"
    eventually(lambda: log.exists() and log.read_text() == "web web hi lo\n")
    (pid,) = _pids(sandbox)
    os.kill(pid, signal.SIGKILL)
    again = log.with_name("1.log")
    eventually(lambda: again.exists() and again.read_text() == "web web hi lo\n")
    status = only(kubelet.ask("list"))
    assert (status.restartCount, status.ready) == (1, True)
    assert status.lastState.terminated and status.lastState.terminated.exitCode == 137
    assert log.read_text() == "web web hi lo\n"
    assert [s.uid for s in kubelet.ask("stop", uids=("uid-1",))] == ["uid-1"]
    assert _pids(sandbox) == []
    assert kubelet.ask("list") == ()
    assert not tmp_path.exists() or not (tmp_path / "c").exists()


def test_a_pods_end_is_the_end_of_all_that_it_started(
    kubelet: Kubelet, sandbox: str, tmp_path: Path, group: str
) -> None:
    mark = tmp_path.with_name("alive")
    away = f"exec setsid env -i PATH=/usr/bin:/bin unshare -n sh -c 'while :; do date +%N > {mark}; sleep 0.05; done'"
    kubelet.ask("run", work(sandbox, tmp_path, shell(f"({away}) & exec sleep 1000"), cgroup=group))
    eventually(lambda: mark.exists() and mark.read_text())
    kubelet.ask("stop", uids=("uid-1",))
    before = mark.read_text()
    with contextlib.suppress(AssertionError):
        eventually(lambda: mark.read_text() != before, seconds=0.5)
    assert mark.read_text() == before


@pytest.mark.parametrize(
    ("policy", "script", "reason", "runs"),
    [
        ("Never", "echo once >> $OUT; exit 0", "Completed", 1),
        ("Never", "echo once >> $OUT; exit 3", "Error", 1),
        ("OnFailure", "echo once >> $OUT; exit 0", "Completed", 1),
        ("OnFailure", "echo once >> $OUT; [ $(wc -l < $OUT) = 2 ]", "Completed", 2),
    ],
)
def test_what_has_ended_for_good_is_not_run_again(
    kubelet: Kubelet, sandbox: str, tmp_path: Path, policy: str, script: str, reason: str, runs: int
) -> None:
    out = tmp_path / "out"
    pod = work(sandbox, tmp_path / "logs", shell(script, env={"OUT": str(out)}), restart=policy)
    kubelet.ask("run", pod)
    eventually(lambda: (t := only(kubelet.ask("list")).state.terminated) and t.reason == reason)
    ended = only(kubelet.ask("list"))
    assert ended.restartCount == runs - 1
    # Neither by a kubelet that was asked again, nor by one that only has the file of the one before it.
    kubelet.ask("stop", uids=("uid-1",), keep=True)
    assert only(kubelet.ask("run", pod)).state == ended.state
    assert out.read_text() == "once\n" * runs


def test_an_init_container_that_has_ended_well_is_ready_for_the_next_kubelet_too(
    kubelet: Kubelet, sandbox: str, tmp_path: Path
) -> None:
    """As kubelet says it, and not run again."""
    out = tmp_path / "out"
    init = shell(f"echo once >> {out}", "i", init=True)
    pod = work(sandbox, tmp_path / "logs", init, shell("exec sleep 1000"))
    kubelet.ask("run", pod)
    eventually(lambda: all(status.ready for state in kubelet.ask("list") for status in state.containers))
    kubelet.ask("stop", uids=("uid-1",), keep=True)
    kubelet.ask("run", pod)
    eventually(lambda: all(status.ready for state in kubelet.ask("list") for status in state.containers))
    assert out.read_text() == "once\n"


def test_a_command_whose_kubelet_died_is_not_run_twice_where_it_must_not(
    kubelet: Kubelet, sandbox: str, tmp_path: Path
) -> None:
    running = ContainerStatus(name="c", state=ContainerState(running=ContainerStateRunning(startedAt="x")))
    mark = tmp_path / "mark"
    never = work(sandbox, tmp_path / "a", shell(f"echo > {mark}"), restart="Never", statuses=(running,))
    ended = only(kubelet.ask("run", never)).state.terminated
    assert ended and (ended.exitCode, ended.reason) == (137, "ContainerStatusUnknown")
    assert not mark.exists()
    kubelet.ask("stop", uids=("uid-1",))
    always = work(sandbox, tmp_path / "b", shell("exec sleep 1000"), statuses=(running,))
    assert only(kubelet.ask("run", always)).restartCount == 1


def test_what_cannot_run_says_why(kubelet: Kubelet, sandbox: str, tmp_path: Path) -> None:
    (state,) = kubelet.ask("run", work(sandbox, tmp_path, ContainerWork("c", command=("/app", "-x"))))
    (status,) = state.containers
    assert status.state.waiting and status.state.waiting.reason == "RunContainerError"
    assert 'exec: "/app": stat /app: no such file or directory' in status.state.waiting.message
    assert "/app is not on this machine" in status.state.waiting.message
    assert [(h.reason, h.warning) for _, h in kubelet.happened] == [("Failed", True)]
    eventually(lambda: (w := only(kubelet.ask("list")).state.waiting) and w.reason == "CrashLoopBackOff")
    status = only(kubelet.ask("list"))
    assert status.state.waiting and "back-off 10s restarting failed container=c" in status.state.waiting.message
    assert status.lastState.terminated and status.lastState.terminated.exitCode == 128
    assert "/app is not on this machine" in (tmp_path / "c" / "0.log").read_text()


def test_two_containers_on_one_port_the_second_fails(kubelet: Kubelet, sandbox: str, tmp_path: Path) -> None:
    twice = (ContainerWork("a", ports=((80, "TCP"),)), ContainerWork("b", ports=((80, "TCP"),)))
    (state,) = kubelet.ask("run", work(sandbox, tmp_path, *twice))
    first, second = state.containers
    assert first.ready and not second.ready
    assert second.lastState.terminated or second.state.terminated
    assert "cannot listen on TCP port 80: Address already in use" in str(second)
    with connect(sandbox, 80) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_sidecars_start_first_and_end_last_the_first_of_them_at_the_very_last(
    kubelet: Kubelet, sandbox: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said = "trap 'sleep 0.2; echo {0} ends >> {1}; exit 0' TERM; echo {0} >> {1}; while :; do sleep 0.05; done"
    sides = [shell(said.format(name, out), name, sidecar=True) for name in ("one", "two")]
    begun = f"grep -q one {out} && grep -q two {out}"
    main = shell(f"until {begun}; do sleep 0.05; done; echo main >> {out}; echo main ends >> {out}", "main")
    kubelet.ask("run", work(sandbox, tmp_path / "logs", *sides, main, restart="Never"))
    eventually(lambda: all(c.state.terminated for c in kubelet.ask("list")[0].containers))
    lines = out.read_text().split("\n")[:-1]
    assert sorted(lines[:2]) == ["one", "two"] and lines[2:] == ["main", "main ends", "two ends", "one ends"]
    assert [one.container for _, one in kubelet.happened if one.reason == "Started"] == ["one", "two", "main"]


ODD: list[dict[str, object]] = [
    {"env": {"A=B": "x"}},
    {"env": {"": "x"}},
    {"env": {"A": "x\0y"}},
    {"env": {"A": "x" * 200_000}},
    {"command": ("true\0",)},
    {"command": ("",)},
    {"command": ("true", "x" * 200_000)},
    {"command": ("/",)},
    {"command": ("/etc/passwd",)},
    {"command": ("x" * 5000,)},
    {"workingDir": "/none"},
    {"workingDir": "/etc/passwd"},
    {"workingDir": "a\0b"},
    {"workingDir": "x" * 5000},
    {"name": "x" * 300},
    {"command": (), "ports": ((70000, "TCP"),)},
    {"command": (), "ports": ((80, "SCTP"), (80, "nonsense"))},
]


def test_one_pods_trouble_is_that_pods(kubelet: Kubelet, sandbox: str, tmp_path: Path) -> None:
    """Each of these made the kubelet answer for no pod of any node, or might."""
    good = work(sandbox, tmp_path / "good", ContainerWork("c", ports=((8080, "TCP"),)), uid="good")
    plain = ContainerWork("c", command=("true",))
    odd = [
        work(sandbox, tmp_path / str(n), msgspec.structs.replace(plain, **one), uid=str(n)) for n, one in enumerate(ODD)
    ]
    odd.append(work("no-such-namespace", tmp_path / "none", plain, uid="none"))
    odd.append(work("../..", tmp_path / "path", plain, uid="path"))
    odd.append(work(sandbox, Path("/proc/none"), plain, uid="nowhere"))
    states = kubelet.ask("run", *odd, good)
    assert len(states) == len(odd) + 1
    assert states[-1].ready
    for state in states[:-1]:
        (status,) = state.containers
        assert not status.ready, state
        assert status.state.waiting or status.state.terminated, state
    with connect(sandbox, 8080) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert len(kubelet.ask("stop", uids=tuple(state.uid for state in states))) == len(states)


WORDS = st.text(st.characters(codec="utf-8"), max_size=40)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.builds(
        ContainerWork,
        name=WORDS.map(lambda word: "c" + word.replace("/", "")),
        command=st.lists(WORDS, max_size=3).map(lambda words: tuple(f"/none/{word}" for word in words)),
        ports=st.lists(st.tuples(st.integers(-1, 70000), st.sampled_from(["TCP", "UDP", "SCTP", "x"])), max_size=3).map(
            tuple
        ),
        env=st.dictionaries(WORDS, WORDS, max_size=3),
        workingDir=WORDS,
        sidecar=st.booleans(),
    ),
    st.sampled_from(["Always", "OnFailure", "Never"]),
)
def test_no_value_stops_the_kubelet(
    kubelet: Kubelet, sandbox: str, tmp_path: Path, container: ContainerWork, policy: str
) -> None:
    """Also where neither the API server nor validation would let it through: the store is open to others."""
    pod = work(sandbox, tmp_path / "odd", container, uid=secrets.token_hex(4), restart=policy)
    (state,) = kubelet.ask("run", pod)
    assert len(state.containers) == 1
    assert state.ready == bool(state.containers[0].state.running)
    assert [one.uid for one in kubelet.ask("stop", uids=(pod.uid,))] == [pod.uid]
    assert kubelet.ask("list") == ()


def test_a_log_is_kept_to_its_size_while_it_is_written(kubelet: Kubelet, sandbox: str, tmp_path: Path) -> None:
    """`yes` filled /run. What is read is one row of lines, none lost from where it begins, and none twice."""
    count = 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo "line $i"; done; exec sleep 1000'
    size = 1 << 16
    kubelet.ask("run", work(sandbox, tmp_path, shell(count), log_size=size, log_files=3))
    path = tmp_path / "c" / "0.log"
    read: list[bytes] = []

    async def follow() -> None:
        async for data in logs.read(path, follow=True, ended=lambda: b"line 60000\n" in b"".join(read[-2:])):
            read.append(data)

    asyncio.run(asyncio.wait_for(follow(), 60))
    lines = b"".join(read).split(b"\n")[1:-1]
    assert lines[-1] == b"line 60000"
    eventually(lambda: _room(path.parent) <= 4 * size)
    kept = asyncio.run(_all(path))
    lines = kept.split(b"\n")[:-1]
    first = int(lines[1].split()[1])
    assert lines[1:] == [b"line %d" % n for n in range(first, 60001)]
    assert 2 * size <= len(kept) <= 4 * size
    assert asyncio.run(_all(path, 3)) == b"line 59998\nline 59999\nline 60000\n"


def test_a_flood_does_not_fill_the_disk(kubelet: Kubelet, sandbox: str, tmp_path: Path) -> None:
    kubelet.ask("run", work(sandbox, tmp_path, shell("exec yes"), log_size=1 << 20, log_files=3))
    path = tmp_path / "c" / "0.log"
    eventually(lambda: path.stat().st_size > 400 << 20)
    assert _room(path.parent) < 400 << 20
    kubelet.ask("stop", uids=("uid-1",), keep=True)
    assert _room(path.parent) <= 4 << 20


async def _all(path: Path, last: int = -1) -> bytes:
    return b"".join([data async for data in logs.read(path, wanted=logs.Wanted(last))])


def _room(directory: Path) -> int:
    """Bytes that files take, holes not counted."""
    room = 0
    for file in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a part that gets its name just now
            room += file.stat().st_blocks * 512
    return room


def _pids(sandbox: str) -> list[int]:
    from k8snetlab.kernel import processes

    return processes.pids_in(sandbox)


def test_containers_are_told_of_whether_they_have_a_command_or_not(
    kubelet: Kubelet, sandbox: str, tmp_path: Path
) -> None:
    kubelet.ask(
        "run", work(sandbox, tmp_path, shell("exec sleep 1000", "own"), ContainerWork("ours", ports=((80, "TCP"),)))
    )
    told = sorted((h.container, h.reason, h.message, h.warning) for _, h in kubelet.happened)
    assert told == [
        (name, reason, f"Container {reason.lower()}", False)
        for name in ("ours", "own")
        for reason in ("Created", "Started")
    ]
