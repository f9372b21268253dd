"""What the benchmarks measure by is real, and is gone afterwards."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.answering import all_answer
from benchmarks.floors import pods
from benchmarks.peers import cni, mininet
from benchmarks.run import CannotRunError, FailedError
from k8snetlab.kernel import netns


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    try:
        with pods.program() as compiled:
            yield compiled
    except CannotRunError as error:
        pytest.skip(str(error))


@pytest.fixture
def prefix() -> Iterator[str]:
    name = f"floor{secrets.token_hex(3)}"
    yield name
    machine.delete_all(name + ".")


def started(program: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def of(prefix: str) -> list[str]:
    return [name for name in netns.names() if name.startswith(prefix + ".")]


def test_the_c_programs_pods_reach_each_other_and_are_gone_afterwards(program: Path, prefix: str) -> None:
    with started(program, prefix, "3", "1000") as process:
        assert process.stdout and float(process.stdout.readline()) > 0
        assert of(prefix) == [f"{prefix}.bridge0", *(f"{prefix}.pod{n}" for n in range(3))]
        with netns.inside(f"{prefix}.pod0"), pytest.raises(ConnectionRefusedError):  # it is there, and nobody listens
            socket.create_connection(("10.100.0.4", 9), timeout=20)
        down, _ = process.communicate("\n", 30)
    assert (process.returncode, float(down) > 0, of(prefix)) == (0, True, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_c_program_interrupted_half_way_leaves_nothing(program: Path, prefix: str, number: signal.Signals) -> None:
    with started(program, prefix, "100000", "1000") as process:
        while len(of(prefix)) < 3:
            assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=200)
    assert (process.returncode, of(prefix)) == (130, [])


def test_a_floor_that_fails_is_said_with_its_words() -> None:
    with pytest.raises(FailedError, match="no such thing"):
        pods.stand(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_emptied_waits_until_the_links_of_a_deleted_namespace_are_gone() -> None:
    with machine.namespace() as kept:
        with machine.namespace() as gone:
            link = ["link", "add", "one", "type", "veth", "peer", "name", "other", "netns", gone]
            subprocess.run(["ip", "-n", kept, *link], check=True)
        machine.emptied()
        links = subprocess.run(["ip", "-n", kept, "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert "one" not in links


def test_limits_are_lifted_for_a_while_and_never_lowered() -> None:
    name = "net/core/somaxconn"
    file = Path("/proc/sys", name)
    with machine.namespace() as namespace, netns.inside(namespace):
        before = file.read_text()
        with machine.lifted({name: int(before) + 1, "no/such/limit": 1}):
            assert int(file.read_text()) == int(before) + 1
            with machine.lifted({name: 1}):
                assert int(file.read_text()) == int(before) + 1
        assert file.read_text() == before


def test_pods_of_the_cni_plugin_are_made_and_gone() -> None:
    if lacking := cni.missing():
        pytest.skip(f"the CNI plugin bridge: {lacking}")
    before = netns.names()
    up, down = cni.make(2)
    assert up > 0 and down > 0
    assert not {name for name in set(netns.names()) - set(before) if ".pod" in name and name.startswith("bench")}


def test_mininets_hosts_are_made_and_gone() -> None:
    if lacking := mininet.missing():
        pytest.skip(f"Mininet: {lacking}")
    made = mininet.make(2)
    assert made.up > 0 and made.down > 0
    assert not Path("/sys/class/net/s1").exists()


@pytest.mark.parametrize(("named", "said"), [("web", ""), ("other", "pod other answers for web")])
def test_a_pod_has_answered_when_it_has_said_its_own_name(named: str, said: str) -> None:
    with machine.namespace() as name:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        with netns.inside(name):
            server = socket.create_server(("127.0.0.1", 8080))
        with server:
            thread = threading.Thread(target=_answer, args=(server, named))
            thread.start()
            if said:
                with pytest.raises(FailedError, match=said):
                    all_answer(name, {"127.0.0.1": "web"}, timeout=20)
            else:
                assert all_answer(name, {"127.0.0.1": "web"}, timeout=20) > 0
            thread.join()


def _answer(server: socket.socket, name: str) -> None:
    """The first is cut off in the middle of its answer, the second gets one."""
    for text in ("HTTP/1.0 200 OK\r\n\r\n{", f'HTTP/1.0 200 OK\r\n\r\n{{"pod": "{name}"}}'):
        asking, _ = server.accept()
        with asking:
            asking.recv(4096)
            asking.sendall(text.encode())


def test_pods_that_do_not_answer_are_named() -> None:
    with machine.namespace() as name:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        with pytest.raises(FailedError, match="2 of 2 pods do not answer"):
            all_answer(name, {"127.0.0.1": "web", "127.0.0.2": "other"}, timeout=0.3)
