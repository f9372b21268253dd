"""Three students on one machine: each has a lab, and can neither see nor touch what the others have."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from seated import Class

from k8snetlab.kernel import userns
from k8snetlab.testing.waiting import eventually

NAMES = "ada  Ada <b>Lovelace</b>\nbob\ncyd, =1+1\n"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    if subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no user namespaces (/proc/sys/user/max_user_namespaces)")
    held = Class(tmp_path_factory.mktemp("class"))
    held.names.write_text(NAMES)
    try:
        held.start()
        yield held
    finally:
        held.stop()


def test_every_student_has_a_lab_and_status_says_where(three: Class) -> None:
    found = three.status()
    assert {name: (one["state"], one["labs"]) for name, one in found.items()} == {
        "ada": ("ready", ["ada"]),
        "bob": ("ready", ["bob"]),
        "cyd": ("ready", ["cyd"]),
    }
    assert (
        "--lab ada"
        not in subprocess.run(
            [sys.executable, "-m", "k8snetlab", "audit"], capture_output=True, text=True, check=False
        ).stdout
    ), "none of this machine's labs, and no stray"
    assert all(one["memory"] > 10 and one["processes"] >= 3 for one in found.values())
    assert "answered by web" in three.sh("bob", "sudo k8snetlab probe client web:8080")
    addresses = {three.sh(name, "ip netns exec $(hostname).node1 ip -br address show cni0") for name in found}
    assert len(addresses) == 1, "the same addresses in every seat"


def test_a_student_sees_no_namespaces_processes_or_files_of_another(three: Class) -> None:
    seen = three.sh("bob", "ip netns; ls /run/k8snetlab /etc/netns /.etc/netns; ps -eo args; mount; ls /home /root")
    assert "bob.node1" in seen
    assert "ada" not in seen
    assert "cyd" not in seen
    assert int(three.sh("bob", "ps -eo pid= | wc -l")) < 20
    assert str(three.directory) not in three.sh("bob", "cat /proc/1/mountinfo /proc/self/mountinfo")
    assert three.sh("bob", "find / -xdev -name class.json 2>/dev/null") == ""


def test_a_student_enters_signals_and_asks_nothing_of_another(three: Class) -> None:
    """By the numbers that they have out here, which somebody may have told."""
    others = userns.members(three.bases()[0])
    assert len(others) >= 3
    known = set(map(int, three.sh("bob", "ps -eo pid=").split()))
    assert not known & set(others), "a number that bob has, too: no attack"
    for pid in others[:4]:
        said = three.sh(
            "bob", f"kill -9 {pid} 2>&1; nsenter -t {pid} -a true 2>&1; cat /proc/{pid}/root/etc/hostname 2>&1; true"
        )
        assert said.count("No such") == 3
    assert three.sh("bob", "curl -sS --max-time 3 --unix-socket /run/k8snetlab/ada/api.sock http://x/ 2>&1; true")
    three.sh("bob", "k8snetlab --lab ada status", code=1)
    assert "no lab 'ada' runs here" in three.said
    assert three.status()["ada"]["state"] == "ready"


ESCAPES = {
    "the machine's disk": "mkdir -p /mnt/d; mount -t devtmpfs d /mnt/d; mknod /tmp/disk b 254 0 && cat /tmp/disk",
    "what was mounted beneath": "unshare -m sh -c 'umount -l /proc; umount -l /usr; umount -l /; ls /boot'",
    "its bounds": "for f in $(find /sys/fs/cgroup -name memory.max -o -name pids.max); do echo max > $f; done; ! :",
    "programs of the machine": "mount -o remount,rw /usr; touch /usr/bin/x || echo '#' >> /usr/bin/env",
    "what the kernel starts": "echo '|/tmp/x' > /proc/sys/kernel/core_pattern || echo x > /proc/sys/kernel/modprobe",
    "the kernel's switches": "echo 1 > /proc/sys/vm/drop_caches || echo x > /proc/sysrq-trigger",
    "the kernel's modules": "modprobe dummy_hcd || insmod /tmp/none.ko || cat /proc/kcore",
    "secrets of the machine": "cat /.etc/shadow",
    "the machine's clock": "date -s 2000-01-01",
    "the seat's first process": "kill -9 1; kill -15 1; kill -0 1 && false",
    "the machine's network": "ip link add x type veth peer name y netns 0 || nsenter -t 1 -n ip link show eth0",
}


@pytest.mark.parametrize("script", ESCAPES.values(), ids=ESCAPES)
def test_root_in_a_seat_is_nobody_on_the_machine(script: str, three: Class) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    assert "let in" not in three.sh("bob", f"{{ {script}; }} && echo let in; true")
    assert before == Path("/proc/sys/kernel/core_pattern").read_text()
    assert not Path("/usr/bin/x").exists()


def test_more_memory_or_processes_than_allowed_ends_in_the_seat_alone(three: Class) -> None:
    unlimited = three.run("status", "-o", "json")
    if '"memory"' in unlimited.partition('"unlimited"')[2]:
        pytest.skip("this machine's control groups do not bound memory")
    eat = "python3 -c 'x = [bytearray(1 << 20) for _ in range(4096)]; print(len(x))'"
    assert three.sh("cyd", f"{eat} 2>/dev/null || echo ended") == "ended\n"
    fork = "for i in $(seq 3000); do sleep 60 & done 2>&1 | grep -m1 -c -i 'fork'; kill $(jobs -p) 2>/dev/null; true"
    three.sh("cyd", f"timeout 60 sh -c '{fork}'")
    assert three.status()["ada"]["state"] == "ready"
    assert "answered by web" in three.sh("ada", "k8snetlab probe client web:8080")


def test_a_lab_that_fails_is_told_others_go_on_and_start_again_continues(three: Class) -> None:
    three.sh("bob", "k8snetlab down; mv /run/bin/k8snetlab /run/bin/kept; ln -s /bin/false /run/bin/k8snetlab")
    assert three.status()["bob"]["state"] == "no lab"
    three.run("start", code=1)
    assert "1 lab did not start: bob" in three.said
    assert three.status()["ada"]["state"] == "ready"
    three.sh("bob", "mv /run/bin/kept /run/bin/k8snetlab")
    three.run("start")
    assert three.status()["bob"]["state"] == "ready"


def test_what_was_typed_is_shown_and_moves_no_cursor(three: Class) -> None:
    three.sh("cyd", r"printf 'ip route\nprintf \033[2J x\n' > ~/.bash_history")
    assert three.status()["cyd"]["command"] == "printf ·[2J x"
    three.sh("cyd", "rm ~/.bash_history; mkfifo ~/.bash_history")
    assert three.status()["cyd"]["command"] == ""
    three.sh("cyd", "rm ~/.bash_history")


def test_a_terminal_in_a_seat_is_the_seats_own(three: Class) -> None:
    """What runs there cannot type into the instructor's: it has another one, of the same size."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (30, 100))
    words = ["shell", "ada", "--", "sh", "-c", "tty; stty size; ls /dev/pts; exec 3<>/dev/tty && echo has one; exit 3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "k8snetlab", "class", *words],
        env=three.environment,
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


def test_nothing_of_the_instructors_is_open_in_a_seat(three: Class) -> None:
    """Whoever had the terminal's file could read what is typed at it, also after the command has ended."""
    ours, theirs = os.openpty()
    held = "ls -l /proc/$$/fd > /tmp/open; sleep 60 &"
    command = [sys.executable, "-m", "k8snetlab", "class", "shell", "ada", "--", "sh", "-c", held]
    ended = subprocess.run(
        command, env=three.environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, check=False, timeout=50
    )
    assert ended.returncode == 0, "and what goes on in the seat keeps nobody waiting"
    os.close(ours)
    os.close(theirs)
    opened = re.findall(r"\d+ -> ([^:\s]+)", three.sh("ada", "cat /tmp/open; rm /tmp/open"))
    assert set(opened) == {"/dev/null", "pipe", "/tmp/open"}


def test_lessons_and_drills_are_reported_and_outlive_seats(three: Class) -> None:
    drill = "k8snetlab drill start --seed a --level 1 && k8snetlab drill give-up"
    three.sh("ada", f"{drill} && k8snetlab lesson start 1 --lab lesson")
    found = three.status()["ada"]
    assert (found["lesson"]["lesson"], found["lesson"]["step"]) == ("lessons/01-pod", 1)
    assert found["drill"]["fault"]["name"]
    three.run("reset", "ada")
    assert three.status()["ada"]["labs"] == ["ada"], "a new seat"
    assert "step 1 of" in three.sh("ada", "k8snetlab lesson status"), "and the old progress"
    three.run("stop")
    assert {one["state"] for one in three.status().values()} == {"closed"}
    [titles, ada, *others] = csv.reader(io.StringIO(three.run("report")))
    assert ada[:2] == ["ada", "Ada <b>Lovelace</b>"]
    assert ada[titles.index("drills")] == "1"
    assert [row[1] for row in others] == ["", "'=1+1"]
    page = three.directory.parent / "report.html"
    three.run("report", "-o", str(page))
    assert "Ada &lt;b&gt;Lovelace&lt;/b&gt;" in page.read_text()
    assert found["drill"]["fault"]["name"] in page.read_text()


def test_ctrl_c_leaves_a_class_that_stop_clears(tmp_path: Path) -> None:
    held = Class(tmp_path)
    bases = held.bases()
    try:
        process = held.begun("start", "--students", "3", "--scenario", str(held.scenario))
        eventually(lambda: bases[0] in userns.first_processes() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=100)
        assert process.returncode == 130
        assert len(held.status()) == 3
    finally:
        held.stop()
    assert not any(map(userns.members, bases))
