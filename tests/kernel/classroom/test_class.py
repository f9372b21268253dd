"""Two students on one machine: each has a lab, and can neither see nor touch what the other has."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from seated import Class

from k8snetlab.classroom import opening, seats
from k8snetlab.kernel import userns
from k8snetlab.testing.waiting import eventually

NAMES = "ada  Ada <b>Lovelace</b>\nbob, =1+1\n"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    if subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no user namespaces (/proc/sys/user/max_user_namespaces)")
    held = Class(tmp_path_factory.mktemp("class"))
    held.names.write_text(NAMES)
    try:
        held.start()
        yield held
    finally:
        held.stop()


def test_every_student_has_a_lab_and_status_says_where(two: Class) -> None:
    found = two.status()
    assert {name: (one["state"], one["labs"]) for name, one in found.items()} == {
        "ada": ("ready", ["ada"]),
        "bob": ("ready", ["bob"]),
    }
    assert (
        "--lab ada"
        not in subprocess.run(
            [sys.executable, "-m", "k8snetlab", "audit"], capture_output=True, text=True, check=False
        ).stdout
    ), "none of this machine's labs, and no stray"
    assert all(one["memory"] > 10 and one["processes"] >= 3 for one in found.values())
    address = "ip netns exec $(hostname).node1 ip -br address show cni0"
    assert "answered by web" in (said := two.sh("bob", f"{address}; sudo k8snetlab probe client web:8080"))
    assert said.startswith(two.sh("ada", address)), "the same addresses in every seat"


def test_a_seat_answers_names_and_takes_less_than_70_mb(two: Class) -> None:
    """Of its own: the pages of programs and libraries are in memory once for all seats. At rest: what `diagnose` and
    `dig` load stays, some MB."""
    assert 40e6 < sum(map(anonymous, lasting(two.bases()[1]))) < 68e6
    assert two.sh("ada", "k8snetlab dig client kube-dns.kube-system").count("10.96.0.10")
    two.sh("ada", "kill $(pgrep -f kubelet[.]main)")
    eventually(lambda: "10.96.0.10" in two.sh("ada", "k8snetlab dig client kube-dns.kube-system || true"))


def anonymous(pid: int) -> int:
    """Octets of a process's memory that no file is behind, its share of what it has with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def test_a_student_sees_no_namespaces_processes_or_files_of_another(two: Class) -> None:
    files = "find / -xdev -name class.json 2>/dev/null; echo none; mount; cat /proc/1/mountinfo /proc/self/mountinfo"
    labs = "ip netns; ls /run/k8snetlab /etc/netns /.etc/netns /home /root; ps -eo args; ps -e | wc -l"
    seen = two.sh("bob", f"{files}; {labs}")
    assert seen.startswith("none\n")
    assert "bob.node1" in seen
    assert "ada" not in seen
    assert str(two.directory) not in seen
    assert int(seen.split()[-1]) < 20


def lasting(base: int) -> list[int]:
    """A seat's processes without those that its daemon runs for a moment."""
    first = set(userns.members(base))
    time.sleep(1)
    return sorted(first.intersection(userns.members(base)))


def test_a_student_enters_signals_and_asks_nothing_of_another(two: Class) -> None:
    """By the numbers that they have out here, which somebody may have told."""
    known = set(map(int, two.sh("bob", "ps -eo pid=").split()))
    others = [pid for pid in lasting(two.bases()[0]) if pid not in known]  # a number that bob has, too, is no attack
    assert len(others) >= 2
    tries = "kill -9 $pid 2>&1; nsenter -t $pid -a true 2>&1; cat /proc/$pid/root/etc/hostname 2>&1"
    said = two.sh("bob", f"for pid in {' '.join(map(str, others[:4]))}; do {tries}; done; true")
    assert said.count("No such") == 3 * len(others[:4])
    two.sh("bob", "k8snetlab --lab ada status", code=1)
    assert "no lab 'ada' runs here" in two.said
    assert set(others) <= set(userns.members(two.bases()[0])), "all of them live on"


ESCAPES = {
    "the machine's disk": "mkdir -p /mnt/d; mount -t devtmpfs d /mnt/d; mknod /tmp/disk b 254 0 && cat /tmp/disk",
    "what was mounted beneath": "unshare -m sh -c 'umount -l /proc; umount -l /usr; umount -l /; ls /boot'",
    "its bounds": "for f in $(find /sys/fs/cgroup -name memory.max -o -name pids.max); do echo max > $f; done; ! :",
    "groups too deep to be taken away": "mkdir -p /sys/fs/cgroup/1/2/3/4/5/6/7/8/9",
    "programs of the machine": "mount -o remount,rw /usr; touch /usr/bin/x || echo '#' >> /usr/bin/env",
    "what the kernel starts": "echo '|/tmp/x' > /proc/sys/kernel/core_pattern || echo x > /proc/sys/kernel/modprobe",
    "the kernel's switches": "echo 1 > /proc/sys/vm/drop_caches || echo x > /proc/sysrq-trigger",
    "the kernel's modules": "modprobe dummy_hcd || insmod /tmp/none.ko || cat /proc/kcore",
    "secrets of the machine": "cat /.etc/shadow",
    "the machine's clock": "date -s 2000-01-01",
    "the seat's first process": "kill -9 1; kill -15 1; kill -0 1 && false",
    "the machine's network": "ip link add x type veth peer name y netns 0 || nsenter -t 1 -n ip link show eth0",
}


def test_root_in_a_seat_is_nobody_on_the_machine(two: Class) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    tries = "\n".join(f"( {script} ) && echo '@let in:' {shlex.quote(what)}" for what, script in ESCAPES.items())
    said = two.sh("bob", f"{tries}\n( id -u ) && echo @tried")
    assert [line for line in said.splitlines() if line.startswith("@")] == ["@tried"]
    assert before == Path("/proc/sys/kernel/core_pattern").read_text()
    assert not Path("/usr/bin/x").exists()


def test_more_memory_or_processes_than_allowed_ends_in_the_seat_alone(two: Class) -> None:
    unlimited = two.run("status", "-o", "json")
    if '"memory"' in unlimited.partition('"unlimited"')[2]:
        pytest.skip("this machine's control groups do not bound memory")
    eat = "python3 -c 'x = [bytearray(1 << 20) for _ in range(4096)]; print(len(x))'"
    assert two.sh("bob", f"{eat} 2>/dev/null || echo ended") == "ended\n"
    fork = "for i in $(seq 3000); do sleep 61 & done 2>&1 | grep -m1 -c -i fork; exec pkill -f ^sleep.61"
    assert two.sh("bob", f"timeout 60 sh -c '{fork}'") == "1\n"
    assert "answered by web" in two.sh("ada", "k8snetlab probe client web:8080")


def test_a_lab_that_fails_is_told_others_go_on_and_start_again_continues(
    two: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "printf '#!/bin/sh\\nexec sleep 1000\\n' > /run/bin/k8snetlab; chmod 755 /run/bin/k8snetlab"
    two.sh("bob", f"k8snetlab down; mv /run/bin/k8snetlab /run/bin/kept; {endless}")
    monkeypatch.setattr(opening, "PATIENCE", 0.5)
    for name, value in two.environment.items():
        monkeypatch.setenv(name, value)
    [tried] = opening.open_(["bob"])
    assert not tried.ok
    assert "ended after" in tried.said
    two.sh("bob", "ln -sf /bin/false /run/bin/k8snetlab")
    two.run("start", code=1)
    assert "1 lab did not start: bob" in two.said
    assert {name: one["state"] for name, one in two.status().items()} == {"ada": "ready", "bob": "no lab"}
    two.sh("bob", "mv /run/bin/kept /run/bin/k8snetlab")
    assert "2 of 2 labs stand" in two.run("start")


def test_what_was_typed_is_shown_and_moves_no_cursor(two: Class) -> None:
    two.sh("ada", r"printf 'ip route\nprintf \033[2J x\n' > ~/.bash_history")
    two.sh("bob", "mkfifo ~/.bash_history")
    found = two.status()
    assert found["ada"]["command"] == "printf ·[2J x"
    assert found["bob"]["command"] == ""
    two.sh("bob", "rm ~/.bash_history; mv /root /moved")
    assert two.sh("bob", "mv /moved /root; pwd") == "/\n", "who has no home is visited, too"


def test_whoever_asks_and_is_interrupted_leaves_no_process_in_a_seat(two: Class) -> None:
    base = two.bases()[0]
    seat = seats.Seat("ada", base, userns.first_processes()[base])
    children = asking()

    def look() -> bytes:
        time.sleep(1000)
        return b""

    def press() -> None:
        eventually(lambda: asking() & set(userns.members(base)))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        seats.asked([seat], look, 100, 100)
    assert not asking() - children


def test_who_is_interrupted_as_a_question_begins_ends_it_too(two: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    base, fork = two.bases()[0], os.fork
    seat = seats.Seat("ada", base, userns.first_processes()[base])
    children = asking()

    def forked() -> int:
        if pid := fork():
            signal.raise_signal(signal.SIGINT)
        return pid

    monkeypatch.setattr(os, "fork", forked)
    with pytest.raises(KeyboardInterrupt):
        seats.asked([seat], lambda: b"here", 100, 100)
    assert not asking() - children
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_seat_that_never_answers_is_silent_and_keeps_nobody_waiting(two: Class) -> None:
    """It is not waited for as long as all may take together: this test would not end."""
    first = userns.first_processes()
    placed = [seats.Seat(name, base, first[base]) for name, base in zip(("ada", "bob"), two.bases()[:2], strict=True)]
    hostile = Path(f"/proc/{placed[1].pid}/root/hostile")
    hostile.touch()

    def look() -> bytes:
        while Path("/hostile").exists():
            time.sleep(1000)
        return b"here"

    assert seats.asked(placed, look, 10_000, 0.5) == {"ada": b"here", "bob": b""}
    hostile.unlink()


def asking() -> set[int]:
    """This process's own children."""
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_a_first_process_that_has_changed_its_user_is_found_and_ends(two: Class) -> None:
    """Root of a seat may trace it, and have it do what it may."""
    if not shutil.which("gdb"):
        pytest.skip("no gdb, with which a student changes another process")
    base = two.bases()[1]
    first = userns.first_processes()[base]
    two.sh("bob", "gdb -batch -p 1 -ex 'call (int)setuid(7)'")
    assert Path(f"/proc/{first}").stat().st_uid == base + 7, "it was changed"
    assert userns.first_processes()[base] == first


def test_a_terminal_in_a_seat_is_the_seats_own(two: Class) -> None:
    """What runs there cannot type into the instructor's: it has another one, of the same size."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (30, 100))
    words = ["shell", "ada", "--", "sh", "-c", "tty; stty size; ls /dev/pts; exec 3<>/dev/tty && echo has one; exit 3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "k8snetlab", "class", *words],
        env=two.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal's output
        while data := os.read(ours, 4096):
            said += data
    assert process.wait(timeout=100) == 3
    os.close(ours)
    assert said.decode().split() == ["/dev/pts/0", "30", "100", "0", "ptmx", "has", "one"]


def test_nothing_of_the_instructors_is_open_in_a_seat(two: Class) -> None:
    """Whoever had the terminal's file could read what is typed at it, also after the command has ended."""
    ours, theirs = os.openpty()
    held = "ls -l /proc/$$/fd > /tmp/open; sleep 60 &"
    command = [sys.executable, "-m", "k8snetlab", "class", "shell", "ada", "--", "sh", "-c", held]
    root = os.open("/", os.O_RDONLY)  # a shell's `exec 3</` is there in all that it starts
    ended = subprocess.run(
        command,
        env=two.environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        pass_fds=(root,),
        check=False,
        timeout=50,
    )
    os.close(root)
    assert ended.returncode == 0, "and what goes on in the seat keeps nobody waiting"
    os.close(ours)
    os.close(theirs)
    opened = re.findall(r"\d+ -> ([^:\s]+)", two.sh("ada", "cat /tmp/open; rm /tmp/open"))
    assert set(opened) == {"/dev/null", "pipe", "/tmp/open"}


def test_lessons_and_drills_are_reported_and_outlive_seats(two: Class) -> None:
    drill = "k8snetlab drill start --seed a --level 1 && k8snetlab drill give-up"
    begun = "from k8snetlab.workshop import progress as p; p.write('lesson', p.Progress('lessons/01-pod', 'en'))"
    two.sh("ada", f"{drill} && {sys.executable} -c {shlex.quote(begun)}")
    found = two.status()["ada"]
    assert (found["lesson"]["lesson"], found["lesson"]["step"]) == ("lessons/01-pod", 1)
    assert found["drill"]["fault"]["name"]
    base = two.bases()[0]
    before = userns.first_processes()[base]
    two.run("reset", "ada")
    assert userns.first_processes()[base] != before, "a new seat"
    said = two.sh("ada", "ls /run/k8snetlab; k8snetlab lesson status")
    assert said.startswith("ada\n"), "with its lab"
    assert "step 1 of" in said, "and the old progress"
    two.run("stop")
    assert {one["state"] for one in two.status().values()} == {"closed"}
    [titles, ada, bob] = csv.reader(io.StringIO(two.run("report")))
    assert ada[:2] == ["ada", "Ada <b>Lovelace</b>"]
    assert ada[titles.index("drills")] == "1"
    assert bob[1] == "'=1+1"
    page = two.directory.parent / "report.html"
    two.run("report", "-o", str(page))
    assert "Ada &lt;b&gt;Lovelace&lt;/b&gt;" in page.read_text()
    assert found["drill"]["fault"]["name"] in page.read_text()


def test_ctrl_c_leaves_a_class_that_stop_clears(tmp_path: Path) -> None:
    held = Class(tmp_path)
    bases = held.bases()
    try:
        process = held.begun("start", "--students", "2", "--scenario", str(held.scenario))
        eventually(lambda: bases[0] in userns.first_processes() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=100)
        assert process.returncode == 130
        assert len(held.status()) == 2
    finally:
        held.stop()
