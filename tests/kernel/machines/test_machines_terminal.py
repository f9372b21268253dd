"""shell and exec at a terminal, in a place of another machine: a real pty types into the real command line."""

from __future__ import annotations

import contextlib
import os
import pty
import secrets
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.kernel import launch
from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Machine, commands_of, conversations, pair

pytestmark = pytest.mark.etcd
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {machines: true, dns: {enabled: false}}
---
apiVersion: v1
kind: Pod
metadata: {name: far}
spec: {nodeName: node2, containers: [{name: c, ports: [{containerPort: 80}]}]}
"""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    with pair(LAB, tmp_path_factory.mktemp("terminal")) as both:
        eventually(lambda: both[0].whole())
        yield both


class Person:
    """Someone at a terminal of 24 lines and 80 columns who has begun a verb there."""

    def __init__(self, machine: Machine, *words: str, **streams: Any) -> None:
        self._screen, self._keys = pty.openpty()
        self.resize(24, 80)
        self.before = self.attributes()
        self.process = subprocess.Popen(
            launch.command(
                launch.Setting("", directory=str(Path.cwd()), held=False), machine.command(*words), terminal=True
            ),
            **{"stdin": self._keys, "stdout": self._keys, "stderr": self._keys, **streams},
            env={**machine.environment, "TERM": "vt100"},
            start_new_session=True,
        )
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def sees(self, text: str) -> None:
        """Waits for the text on the screen, after all that was waited for before."""
        deadline = time.monotonic() + 120
        while text not in self.seen:
            ready = select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"{text!r} does not come, but {self.seen!r}"
            self.seen += os.read(self._screen, 65536).decode()
        self.seen = self.seen.partition(text)[2]

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self._keys, (rows, columns))

    def attributes(self) -> Any:
        return termios.tcgetattr(self._keys)

    def ends(self) -> int:
        """The exit code."""
        deadline = time.monotonic() + 120
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"does not end: {self.seen!r}"
            if select.select([self._screen], [], [], 0.05)[0]:
                self.seen += os.read(self._screen, 65536).decode()
        while select.select([self._screen], [], [], 0)[0]:
            self.seen += os.read(self._screen, 65536).decode()
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)
        os.close(self._keys)


@pytest.fixture
def sits_at(machines: tuple[Machine, Machine]) -> Iterator[Callable[..., Person]]:
    people: list[Person] = []

    def sit(machine: Machine, *words: str, **streams: Any) -> Person:
        people.append(Person(machine, *words, **streams))
        return people[-1]

    yield sit
    for person in people:
        person.close()
    eventually(lambda: not conversations(machines[0]))


def test_a_shell_on_the_other_machine_has_this_terminals_size_and_keys(
    machines: tuple[Machine, Machine], sits_at: Callable[..., Person]
) -> None:
    one, _ = machines
    person = sits_at(one, "shell", "far")
    person.type("echo be''gun $(hostname) $TERM; tty\n")
    person.sees("echo be''gun")
    person.sees("begun far vt100")
    person.sees("/dev/pts/")
    assert person.attributes() != person.before
    person.type("stty size\n")
    person.sees("24 80")
    person.resize(50, 132)
    person.type("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; echo re''sized\n")
    person.sees("resized")
    mark = f"87{secrets.randbelow(10**6)}"
    person.type(f"sleep {mark}\n")
    eventually(lambda: commands_of(f"sleep\0{mark}"))
    person.type("\x03")
    eventually(lambda: not commands_of(f"sleep\0{mark}"))
    person.type("echo af''ter $?\n")
    person.sees("after 130")
    person.type("exit 7\n")
    assert person.ends() == 7
    assert person.attributes() == person.before


def test_a_shell_is_roots_there_and_reads_a_script(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    said = one.run("shell", "node2", stdin="ip -4 addr\nexit 5\n", code=5)
    assert two.address in said


def test_exec_at_a_terminal_reads_writes_and_ends_as_here(
    machines: tuple[Machine, Machine], sits_at: Callable[..., Person]
) -> None:
    one, _ = machines
    asks = sits_at(one, "exec", "far", "--", "sh", "-c", "printf 'name? '; read name; echo hello $name; exit 3")
    asks.sees("name? ")
    asks.type("you\n")
    asks.sees("hello you")
    assert asks.ends() == 3
    counts = sits_at(one, "exec", "far", "--", "seq", "20000")
    assert counts.ends() == 0
    assert counts.seen.split() == [str(number) for number in range(1, 20001)]
    mark = f"88{secrets.randbelow(10**6)}"
    waits = sits_at(one, "exec", "far", "--", "sleep", mark)
    eventually(lambda: commands_of(f"sleep\0{mark}"))
    waits.type("\x03")
    assert waits.ends() == 130
    missing = sits_at(one, "exec", "far", "--", "no-such-command")
    assert missing.ends() == 127 and "executable file not found in $PATH" in missing.seen
    assert all(person.attributes() == person.before for person in (asks, counts, waits, missing))


def test_what_goes_to_a_file_is_as_it_was(machines: tuple[Machine, Machine], sits_at: Callable[..., Person]) -> None:
    """A terminal would make two bytes of each line's end."""
    one, _ = machines
    person = sits_at(one, "exec", "far", "--", "printf", r"one\ntwo\n", stdout=subprocess.PIPE)
    assert person.process.stdout
    with person.process.stdout as file:
        assert file.read() == b"one\ntwo\n"
    assert person.ends() == 0


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_of_a_shell_whose_asker_ends(
    machines: tuple[Machine, Machine], sits_at: Callable[..., Person], ending: signal.Signals
) -> None:
    one, _ = machines
    person = sits_at(one, "shell", "far")
    mark = f"89{secrets.randbelow(10**6)}"
    person.type(f"sleep {mark} & nohup sleep {mark} & sleep {mark}\n")
    eventually(lambda: len(commands_of(f"sleep\0{mark}")) == 3)
    person.process.send_signal(ending)
    if ending == signal.SIGKILL:
        assert person.ends() == -ending
    else:
        assert person.ends() == 128 + ending
        assert person.attributes() == person.before
    eventually(lambda: not commands_of(f"sleep\0{mark}"))


def test_the_terminal_is_as_before_when_nobody_answers(
    machines: tuple[Machine, Machine], sits_at: Callable[..., Person]
) -> None:
    one, two = machines
    daemon = two.json("status")["daemon"]["pid"]
    os.kill(daemon, signal.SIGSTOP)
    try:
        person = sits_at(one, "shell", "far")
        assert person.ends() == 1
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert "error: node2: its daemon does not answer" in person.seen and "hint:" in person.seen
    assert person.attributes() == person.before


def test_a_daemon_gives_back_the_terminals_it_opened(machines: tuple[Machine, Machine]) -> None:
    daemon = machines[1].json("status")["daemon"]["pid"]

    def held() -> list[str]:
        found = []
        for file in Path(f"/proc/{daemon}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += [file.name] if "ptmx" in str(file.readlink()) else []
        return found

    eventually(lambda: not held())
