"""`python -m k8snetlab.lab.main`: the process of a lab's daemon, from its first step to its end.

What a daemon is made of takes a third of a second to load: some of it while whoever started the process reads the lab's
files. The kubelet starts as soon as it may: while it loads, so does the rest of the daemon, on another core.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import resource
import select
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from k8snetlab.api.meta import Object
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import capabilities, cgroups
from k8snetlab.lab.ahead import HANDED, WITH_NAMES
from k8snetlab.running import kubelet_link, turning
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths

GARBAGE = 10_000
"""Objects more than there were before Python looks for those that hold each other: with 700, of the time in which a
large request is read four fifths are such looks."""


def main() -> None:
    """Begins when a byte comes on standard input: by then the ledger knows of this process."""
    parser = argparse.ArgumentParser(prog="k8snetlab-daemon")
    parser.add_argument("--lab", required=True)
    parser.add_argument("--objects", type=int)
    arguments = parser.parse_args()
    gc.disable()  # of what is loaded nothing goes: looks for garbage would take a seventh of the time
    said, handed = _load(), list[Object]()
    if said == HANDED:
        from k8snetlab.lab import handing

        handed, said = handing.read(arguments.objects), _load()
    if not said:
        return  # whoever started this process died before the ledger knew of it
    if arguments.objects is not None:
        os.close(arguments.objects)
    os.umask(0o077)
    paths = LabPaths(arguments.lab)
    paths.create()
    _log_to(paths.daemon_log)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    groups = cgroups.hierarchy()
    capabilities.keep_only(capabilities.BITS)
    with _only_daemon(paths):
        try:
            _run(arguments.lab, paths, groups, handed, arguments.lab if said == WITH_NAMES else "")
        except K8sNetLabError as error:
            sys.exit(f"{error.message}\t{error.hint}")


def _load() -> bytes:
    """Loads what the daemon is made of, part after part, until something is said on standard input, and that; b"" where
    it ends."""
    for part in ("api.scheme", "cluster.cluster", "running.lifecycle", "apiserver.application", "lab.daemon"):
        if select.select([sys.stdin], [], [], 0)[0]:
            break
        import_module(f"k8snetlab.{part}")
    return os.read(sys.stdin.fileno(), 1)


def _run(lab: str, paths: LabPaths, groups: Path | None, handed: list[Object], names: str) -> None:
    kubelet = kubelet_link.started(paths, Ledger(paths.ledger), names)
    from k8snetlab.lab.daemon import Daemon

    gc.freeze()  # and stays: each later look would go through all of it, for 9 ms
    gc.enable()
    gc.set_threshold(GARBAGE)
    with asyncio.Runner(loop_factory=turning.loop) as runner:
        runner.run(Daemon(lab, paths, groups, kubelet, handed).run())


def _log_to(file: Path) -> None:
    """What it says from now on goes there: one that was started ahead has said it to nobody."""
    with file.open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())


@contextlib.contextmanager
def _only_daemon(paths: LabPaths) -> Iterator[None]:
    with paths.lock.open("ab") as lock:
        for _ in range(500):  # the former one may be ending
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
                return
            time.sleep(0.01)
    sys.exit("the lab's daemon runs already")


if __name__ == "__main__":
    main()
