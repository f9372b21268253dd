"""Pods by a C program (pods.c), compiled with gcc into a directory that is gone afterwards."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import machine
from benchmarks.run import CannotRunError, FailedError

SOURCE = Path(__file__).with_suffix(".c")
PORTS = 1000
"""Pods of one bridge, which takes 1,023."""


class Made(NamedTuple):
    """Seconds that making and removing pods took, and what stood in between cost."""

    up: float
    down: float
    memory: float
    """Megabytes of the machine."""


@contextmanager
def program() -> Iterator[Path]:
    """The compiled program. Raises CannotRunError where there is no compiler."""
    if shutil.which("gcc") is None:
        raise CannotRunError("the floor is a C program: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory(prefix="k8snetlab-bench-") as directory:
        compiled = Path(directory, "pods")
        command = ["gcc", "-O2", "-o", str(compiled), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise CannotRunError(f"gcc cannot compile {SOURCE.name} (libc6-dev?): {done.stderr.strip()}")
        yield compiled


def make(compiled: Path, pods: int) -> Made:
    """Makes pods and removes them, and waits until the kernel is done with both."""
    prefix = f"floor{secrets.token_hex(3)}"
    try:
        return stand([str(compiled), prefix, str(pods), str(PORTS)])
    finally:
        machine.delete_all(prefix + ".")
        machine.emptied()


def stand(command: list[str], timeout: float = 1800.0) -> Made:
    """Runs what makes a network, prints the seconds of that, waits for a line, removes it, and prints those seconds.

    A program that is late, or whose caller is interrupted, is killed.
    """
    memory = machine.used_memory()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        try:
            up = process.stdout.readline()
            if up:
                time.sleep(0.2)
                memory = machine.used_memory() - memory
            down, said = process.communicate("\n", timeout)
        except BaseException:
            process.kill()
            raise
    if process.returncode or not up:
        raise FailedError(f"{Path(command[0]).name}: " + "; ".join(said.strip().splitlines()[-3:]))
    return Made(float(up), float(down), memory)
