"""The machine that is measured: what processes use, when the kernel is done, limits that a large lab needs lifted."""

from __future__ import annotations

import compileall
import os
import secrets
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import k8snetlab
from k8snetlab.kernel import netns

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
LARGE: Mapping[str, int] = {
    # One table for all namespaces: every pod that is asked takes two entries, its own and its gateway's.
    "net/ipv4/neigh/default/gc_thresh1": 65_536,
    "net/ipv4/neigh/default/gc_thresh2": 98_304,
    "net/ipv4/neigh/default/gc_thresh3": 131_072,
    "fs/inotify/max_user_instances": 65_536,
    "kernel/pty/max": 20_000,
}


def compile_all() -> None:
    """What labs run as bytecode, as it is where k8snetlab is installed. Where Python is told not to write any
    (PYTHONDONTWRITEBYTECODE, a checkout without `make`), each daemon would compile all of it anew: 1 to 3 s."""
    for place in (Path(k8snetlab.__file__).parent, sysconfig.get_path("purelib")):
        compileall.compile_dir(place, quiet=2, workers=0)


def cpu(*pids: int) -> float:
    """Seconds of a core that these processes have used, and those of theirs that have ended."""
    used = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += sum(map(int, fields[11:15]))
    return used / TICKS


def worked() -> tuple[float, float]:
    """Seconds that all cores together have worked since the machine began: for programs, and for the kernel."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split(None, 8)[1:8])
    return (user + nice) / TICKS, (system + irq + softirq) / TICKS


def resident(pid: int) -> float:
    """Megabytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def share(pid: int) -> float:
    """Megabytes that the machine has less by a process: what it shares with others counts by its share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:"))


def used_memory() -> float:
    """Megabytes that nobody else could have: the kernel's and all processes'."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(fields[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    return (total - free) * 1024 / 1e6


@contextmanager
def namespaces_directory() -> Iterator[None]:
    """/run/netns, which is taken away again where it was not there before."""
    made = netns.make_directory()
    try:
        yield
    finally:
        if made:
            netns.remove_directory()


@contextmanager
def namespace() -> Iterator[str]:
    """A network namespace of our own."""
    name = f"bench{secrets.token_hex(3)}"
    netns.create(name)
    try:
        yield name
    finally:
        netns.delete(name)


def delete_all(prefix: str) -> None:
    """Every namespace whose name begins so: for what the one who made them could not remove himself."""
    for name in netns.names():
        if name.startswith(prefix):
            netns.delete(name)


def emptied(timeout: float = 120.0) -> float:
    """Seconds until the kernel has taken apart every namespace that nobody has any more.

    It does so one batch after another. So one more that is given up now is taken apart last; its veth's other end, in
    a namespace that stays, vanishes with it.
    """
    began = time.perf_counter()
    with namespace() as kept, ExitStack() as stack:
        with namespace() as last:
            link = ["link", "add", "gone", "type", "veth", "peer", "name", "last", "netns", last]
            subprocess.run(["ip", "-n", kept, *link], check=True)
            with netns.inside(kept):  # the file is that of the namespace it was opened in
                watched = stack.enter_context(Path("/proc/thread-self/net/dev").open())
        while time.perf_counter() - began < timeout:
            watched.seek(0)
            if "gone:" not in watched.read():
                return time.perf_counter() - began
            time.sleep(0.005)
    raise TimeoutError(f"the kernel still takes namespaces apart after {timeout:.0f} s")


@contextmanager
def lifted(limits: Mapping[str, int] = LARGE) -> Iterator[None]:
    """The sysctls are at least that high, and afterwards what they were; what cannot be set stays as it is."""
    before: list[tuple[Path, str]] = []
    try:
        for name, least in limits.items():
            file = Path("/proc/sys", name)
            with suppress(OSError):
                held = file.read_text()
                if int(held) < least:
                    file.write_text(str(least))
                    before.append((file, held))
        yield
    finally:
        for file, held in reversed(before):
            file.write_text(held)
