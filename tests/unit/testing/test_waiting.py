"""What is waited for in tests, and who is ended."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from k8snetlab.errors import NotFoundError
from k8snetlab.testing import eventually, kill

LISTENS = """
import socket, threading, time
threads = [threading.Thread(target=time.sleep, args=(1000,)) for _ in range(20)]
for thread in threads: thread.start()
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(1000)
"""


def test_what_a_killed_process_had_open_is_closed_when_kill_returns() -> None:
    command = [sys.executable, "-c", LISTENS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        kill(process.pid)
        with socket.create_server(("127.0.0.1", port)):
            pass
        assert process.wait() == -9


def test_of_a_process_that_there_is_not_kill_says_so() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        with pytest.raises(ProcessLookupError):
            kill(process.pid)


def test_what_fails_or_is_not_there_yet_is_waited_for_and_named_when_it_never_comes() -> None:
    found: dict[str, bool] = {}
    looks: list[object] = []

    def comes() -> bool:
        looks.append(None)
        if len(looks) == 3:
            found["here"] = True
        assert len(looks) > 1, "a command that fails"
        if len(looks) == 4:
            raise NotFoundError("an object between two of its lives")
        return found["here"] and len(looks) == 5

    eventually(comes)
    assert len(looks) == 5
    with pytest.raises(AssertionError, match="still not so") as raised:
        eventually(lambda: found["there"], seconds=0.1)
    assert isinstance(raised.value.__cause__, KeyError)
