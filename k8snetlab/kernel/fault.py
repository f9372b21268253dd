"""Where a crash can be tried: a process is killed (SIGKILL) before its Nth effect on the machine.

An effect is a step of a plan, a namespace made or deleted, a transaction of rules, an object stored, a container begun
or ended, a line of the ledger, a file or mount that others would see. Each process counts its own.

`K8SNETLAB_FAULT=N` is inherited: a command line's daemon is killed at its own Nth. `K8SNETLAB_FAULT=FILE` names a file
that is read before each effect, so that processes which run already can be chosen: "SERIAL ROLE N" for the Nth effect
of the ROLE (cli, daemon, kubelet) since the file has this SERIAL. Who is killed removes it, FILE.seen is told each
effect.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from pathlib import Path

ROLES = {
    "bin/k8snetlab": "cli",
    "k8snetlab/__main__.py": "cli",
    "k8snetlab/lab/main.py": "daemon",
    "k8snetlab/kubelet/main.py": "kubelet",
}
"""By how the program's path (argv[0]) ends."""
_count = itertools.count(1)
_serial = ""


def point() -> None:
    """To be called before an effect."""
    if not (wanted := os.environ.get("K8SNETLAB_FAULT")):
        return
    if wanted.isdecimal():
        number, last = str(next(_count)), wanted
    else:
        number, last = _read(Path(wanted))
    if number == last:
        os.kill(os.getpid(), signal.SIGKILL)


def armed() -> bool:
    """Whether effects are to come one by one, and not in batches."""
    return "K8SNETLAB_FAULT" in os.environ


def _read(file: Path) -> tuple[str, str]:
    """The number of this effect, and that of the one not to have; "" where another process is meant."""
    global _count, _serial
    role = next((role for program, role in ROLES.items() if sys.argv[0].endswith(program)), "")
    try:
        serial, meant, last = file.read_text().split()
    except (OSError, ValueError):
        return "-", ""
    if serial != _serial:
        _serial, _count = serial, itertools.count(1)
    code = sys._getframe(2).f_code
    with contextlib.suppress(OSError), file.with_suffix(".seen").open("a") as seen:
        seen.write(f"{role} {Path(code.co_filename).stem}.{code.co_name}\n")
    if role != meant:
        return "-", ""
    number = str(next(_count))
    if number == last:
        file.unlink(missing_ok=True)
    return number, last
