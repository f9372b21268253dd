from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from k8snetlab.errors import AlreadyExistsError, InputError, NotFoundError
from k8snetlab.kernel import launch, netns, processes, syscalls, sysctl

pytestmark = pytest.mark.root
Make = Callable[..., str]


def own() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def test_iproute2_knows_the_namespaces_we_make(namespace: Make) -> None:
    name = namespace()
    assert name in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    shown = subprocess.run(
        ["ip", "netns", "exec", name, "readlink", "/proc/self/ns/net"], capture_output=True, text=True
    )
    assert shown.stdout.strip() == f"net:[{netns.inode(name)}]"
    assert name in netns.names()


def test_we_know_the_namespaces_iproute2_makes(name: Make) -> None:
    made = name()
    subprocess.run(["ip", "netns", "add", made], check=True)
    assert netns.exists(made)
    with netns.inside(made):
        assert own() == f"net:[{netns.inode(made)}]"
    netns.delete(made)
    assert not netns.exists(made)


def test_create_refuses_a_taken_name_and_delete_is_idempotent(namespace: Make) -> None:
    name = namespace()
    before = netns.inode(name)
    with pytest.raises(AlreadyExistsError, match=name):
        netns.create(name)
    assert netns.inode(name) == before
    netns.delete(name)
    netns.delete(name)
    assert not netns.exists(name)


def test_what_somebody_is_just_deleting_is_not_taken_from_his_hands(namespace: Make) -> None:
    """`ip netns del` unmounts it, and unlinks the file a moment later, which must not hold another by then."""
    name = namespace()
    syscalls.umount(str(netns.path(name)))
    unlinking = threading.Timer(0.005, netns.path(name).unlink)
    unlinking.start()
    netns.create(name)
    unlinking.join()
    assert netns.exists(name)


def test_a_killed_create_leaves_a_bare_file_that_the_next_one_takes_over(name: Make) -> None:
    half = name()
    netns.path(half).touch()
    assert not netns.exists(half)
    netns.create(half)
    assert netns.exists(half)


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "x" * 256, "a\0b"])
def test_names_that_no_file_can_have_are_refused(bad: str) -> None:
    with pytest.raises(InputError):
        netns.create(bad)


def test_inside_comes_back_whatever_happens(namespace: Make) -> None:
    outer, inner = namespace("outer"), namespace("inner")
    home = own()
    with pytest.raises(ZeroDivisionError), netns.inside(outer), netns.inside(inner):
        assert own() == f"net:[{netns.inode(inner)}]"
        raise ZeroDivisionError
    assert own() == home
    with pytest.raises(NotFoundError), netns.inside(f"{outer}.nothing"):
        pass
    with netns.inside(""):
        assert own() == home


def test_inside_moves_only_the_calling_thread(namespace: Make) -> None:
    names = [namespace(f"t{i}") for i in range(8)]
    wrong: list[str] = []

    def work(name: str) -> None:
        home = own()
        for _ in range(200):
            with netns.inside(name):
                if own() != f"net:[{netns.inode(name)}]":
                    wrong.append(name)
            if own() != home:
                wrong.append(f"{name} stayed")

    home = own()
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert own() == home
    assert not wrong


def test_a_socket_stays_where_it_was_opened(namespace: Make) -> None:
    name = namespace()
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    with netns.inside(name):
        server = socket.create_server(("127.0.0.1", 0))
    with server:
        port = server.getsockname()[1]
        with netns.inside(name):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_sysctls_are_those_of_the_namespace(namespace: Make) -> None:
    name = namespace()
    outside = sysctl.read("", ["net.ipv4.ip_forward"])
    flipped = "0" if outside["net.ipv4.ip_forward"] == "1" else "1"
    sysctl.write(name, {"net.ipv4.ip_forward": flipped})
    assert sysctl.read(name, ["net.ipv4.ip_forward", "net.ipv4.none.such"]) == {"net.ipv4.ip_forward": flipped}
    assert sysctl.read("", ["net.ipv4.ip_forward"]) == outside


def test_a_launched_command_runs_in_its_own_namespaces(namespace: Make, tmp_path: Path) -> None:
    name, log = namespace(), tmp_path / "log"
    script = (
        'readlink /proc/self/ns/net; hostname; ls /sys/class/net; echo "$GREETING"; pwd; ps -o sid= -p $$ | tr -d " "'
    )
    environment = {"PATH": os.environ["PATH"], "GREETING": "hello; $(world)"}
    with log.open("wb") as out:
        process = launch.popen(name, "pod-a", ["sh", "-c", script], environment, out.fileno(), str(tmp_path))
    assert process.wait(timeout=20) == 0
    assert log.read_text().splitlines() == [
        f"net:[{netns.inode(name)}]",
        "pod-a",
        "lo",
        "hello; $(world)",
        str(tmp_path),
        str(process.pid),
    ]
    assert socket.gethostname() != "pod-a"


def test_a_launched_command_ends_when_nobody_reads_it(namespace: Make, tmp_path: Path) -> None:
    """As any other does, and unlike Python, which ignores SIGPIPE."""
    log = tmp_path / "log"
    with log.open("wb") as out:
        command = ["sh", "-c", "yes | head -n 1"]
        process = launch.popen(namespace(), "pod-a", command, {"PATH": os.environ["PATH"]}, out.fileno())
    assert process.wait(timeout=20) == 0
    assert log.read_text() == "y\n"


def test_a_command_that_does_not_exist_says_so_in_the_log(namespace: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = launch.popen(namespace(), "pod-a", ["no-such-command"], {"PATH": "/bin"}, out.fileno())
    assert process.wait(timeout=20) == 127
    assert "no-such-command: command not found" in log.read_text()


def test_files_of_etc_netns_replace_those_of_etc(namespace: Make, tmp_path: Path) -> None:
    name, log = namespace(), tmp_path / "log"
    directory = Path("/etc/netns", name)
    created = [parent for parent in (directory.parent, directory) if not parent.exists()]
    directory.mkdir(parents=True)
    try:
        (directory / "hosts").write_text("10.0.0.1 only-in-the-pod\n")
        with log.open("wb") as out:
            process = launch.popen(name, "pod-a", ["cat", "/etc/hosts"], {"PATH": "/bin"}, out.fileno())
        assert process.wait(timeout=20) == 0
        assert log.read_text() == "10.0.0.1 only-in-the-pod\n"
        assert "only-in-the-pod" not in Path("/etc/hosts").read_text()
    finally:
        (directory / "hosts").unlink()
        for parent in reversed(created):
            parent.rmdir()


def test_processes_of_a_namespace_are_found_and_ended(namespace: Make, tmp_path: Path) -> None:
    name = namespace()
    obedient = subprocess.Popen(["ip", "netns", "exec", name, "sleep", "600"])
    stubborn = subprocess.Popen(
        ["ip", "netns", "exec", name, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"],
        stdout=subprocess.PIPE,
    )
    assert stubborn.stdout is not None
    with stubborn.stdout:
        assert stubborn.stdout.readline() == b"ready\n"
    while obedient.pid not in processes.pids_in(name):
        assert obedient.poll() is None
    assert {obedient.pid, stubborn.pid} <= set(processes.pids_in(name))
    assert processes.terminate([obedient.pid, stubborn.pid], 0.3) == [stubborn.pid]
    assert (obedient.wait(), stubborn.wait()) == (-15, -9)
    processes.terminate(processes.pids_in(name), 0.3)
    assert processes.pids_in(name) == []
    assert os.getpid() not in processes.pids_in(name)
