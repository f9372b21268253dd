from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k8snetlab.errors import AlreadyExistsError, InputError, NotFoundError
from k8snetlab.kernel import cgroups, etc, launch, netns, processes, syscalls, sysctl
from k8snetlab.testing import eventually

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


def test_what_is_deleted_while_it_is_looked_at_is_there_still_or_missing(
    namespace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, look = namespace(), Path.stat
    before = netns.inode(name)

    def looked(file: Path) -> os.stat_result:
        found = look(file)
        if file == netns.path(name):
            subprocess.run(["ip", "netns", "del", name], check=True)
        return found

    monkeypatch.setattr(Path, "stat", looked)
    assert netns.inode(name) == before
    with pytest.raises(NotFoundError):
        netns.inode(name)


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


def test_a_block_within_a_block_is_where_it_says(namespace: Make, name: Make) -> None:
    """Also where it is entered already, or where another one has been made or entered in between."""
    outer, inner, made, home = namespace("outer"), namespace("inner"), name("made"), own()
    with netns.inside(outer):
        with netns.inside(outer):
            assert own() == f"net:[{netns.inode(outer)}]"
        assert own() == f"net:[{netns.inode(outer)}]"
        with netns.created(made):
            assert own() == f"net:[{netns.inode(made)}]"
            with netns.inside(outer):
                assert own() == f"net:[{netns.inode(outer)}]"
                with netns.inside(inner), netns.inside(outer), netns.inside(made), netns.inside(made):
                    assert own() == f"net:[{netns.inode(made)}]"
            with netns.inside(made):
                assert own() == f"net:[{netns.inode(made)}]"
        assert own() == f"net:[{netns.inode(outer)}]"
    assert own() == home
    with netns.inside(outer):
        assert own() == f"net:[{netns.inode(outer)}]"


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


def launched(
    name: str, argv: list[str], log: Path, path: str = os.environ["PATH"], group: str = "", **more: str
) -> tuple[int, launch.Hindrance | None, int]:
    """The exit code, what hindered the command, and the pid of what was started."""
    setting = launch.Setting(name, "pod-a", more.pop("directory", "/"), cgroup=group)
    with log.open("wb") as out:
        process, report = launch.popen(setting, argv, {"PATH": path, **more}, out.fileno())
    with os.fdopen(report, "rb") as said:
        hindrance = launch.hindrance(said.read())
    return process.wait(timeout=120), hindrance, process.pid


@pytest.fixture(params=["cgroup2", "cgroup", "pid namespace"])
def group(request: pytest.FixtureRequest) -> Iterator[str]:
    """A control group for a command, of either version, or none: the ways to hold what it starts."""
    if request.param == "pid namespace":
        yield ""
        return
    mount = cgroups.hierarchies().get(request.param)
    if mount is None:
        pytest.skip(f"this machine lets nobody make groups of {request.param}")
    path = mount / f"k8snetlab-test-{os.getpid()}" / "pod"
    yield str(path)
    assert cgroups.end(path.parent)


def test_a_launched_command_runs_in_its_own_namespaces(namespace: Make, tmp_path: Path, group: str) -> None:
    name, log = namespace(), tmp_path / "log"
    script = (
        'readlink /proc/self/ns/net; hostname; ls /sys/class/net; echo "$GREETING"; pwd; umask; '
        'ps -o sid= -p $$ | tr -d " "'
    )
    code, hindrance, pid = launched(
        name, ["sh", "-c", script], log, group=group, GREETING="hello; $(world)", directory=str(tmp_path)
    )
    assert (code, hindrance) == (0, None)
    assert log.read_text().splitlines() == [
        f"net:[{netns.inode(name)}]",
        "pod-a",
        "lo",
        "hello; $(world)",
        str(tmp_path),
        "0022",
        str(pid) if group else "0",
    ]
    assert socket.gethostname() != "pod-a"


def test_a_launched_command_ends_when_nobody_reads_it(namespace: Make, tmp_path: Path, group: str) -> None:
    """As any other does, and unlike Python, which ignores SIGPIPE."""
    assert launched(namespace(), ["sh", "-c", "yes | head -n 1"], tmp_path / "log", group=group)[:2] == (0, None)
    assert (tmp_path / "log").read_text() == "y\n"


def test_what_hinders_a_command_is_told_in_runcs_words(namespace: Make, tmp_path: Path, group: str) -> None:
    name, log = namespace(), tmp_path / "log"
    for file, text, mode in (("text", "x", 0o644), ("binary", "\x7fELF", 0o755), ("script", "#!/no/such\n", 0o755)):
        (tmp_path / file).write_text(text)
        (tmp_path / file).chmod(mode)
    for argv, more, said, missing in (
        (["no-such-command"], {}, 'exec: "no-such-command": executable file not found in $PATH: unknown', True),
        (["/app"], {}, 'exec: "/app": stat /app: no such file or directory: unknown', True),
        ([str(tmp_path / "text")], {}, f'exec: "{tmp_path}/text": permission denied: unknown', False),
        ([str(tmp_path / "binary")], {}, f'exec: "{tmp_path}/binary": exec format error: unknown', False),
        ([str(tmp_path / "script")], {}, f'exec: "{tmp_path}/script": no such file or directory: unknown', True),
        (["true"], {"directory": "/none"}, 'chdir to cwd ("/none") failed: no such file or directory', False),
    ):
        code, hindrance, _ = launched(name, argv, log, group=group, **more)
        assert code in (126, 127)
        assert hindrance == launch.Hindrance(said, missing)


def test_nothing_that_a_command_starts_outlives_its_hold(namespace: Make, tmp_path: Path, group: str) -> None:
    """Not what left its session, its parent, its environment and its network namespace."""
    mark = tmp_path / "alive"
    away = f"exec setsid env -i PATH=/usr/bin:/bin unshare -n sh -c 'while :; do date +%N > {mark}; sleep 0.05; done'"
    script = f"({away}) & ({away}) & while [ ! -s {mark} ]; do sleep 0.02; done"
    assert launched(namespace(), ["sh", "-c", script], tmp_path / "log", group=group)[:2] == (0, None)
    if group:
        assert cgroups.members(Path(group))
        assert cgroups.end(Path(group))
        assert not Path(group).exists()
    before = mark.read_text()
    with contextlib.suppress(AssertionError):
        eventually(lambda: mark.read_text() != before, seconds=0.5)
    assert mark.read_text() == before


def test_files_of_etc_netns_replace_those_of_etc(namespace: Make, tmp_path: Path) -> None:
    name, log = namespace(), tmp_path / "log"
    directory = Path("/etc/netns", name)
    directory.mkdir(parents=True)
    try:
        (directory / "hosts").write_text("10.0.0.1 only-in-the-pod\n")
        assert launched(name, ["cat", "/etc/hosts"], log, "/bin")[:2] == (0, None)
        assert log.read_text() == "10.0.0.1 only-in-the-pod\n"
        assert "only-in-the-pod" not in Path("/etc/hosts").read_text()
    finally:
        etc.remove(name)
    assert not directory.exists()


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
