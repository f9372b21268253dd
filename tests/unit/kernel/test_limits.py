"""What a large lab takes of the kernel's limits, and what is said of one that is too low."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from k8snetlab.kernel import limits as module
from k8snetlab.kernel.limits import Limit, Size, limits

FILES = {
    "/proc/sys/fs/nr_open": "1048576",
    "/proc/self/mountinfo": "a mount\n" * 40,
    "/proc/sys/fs/mount-max": "100000",
    "/proc/sys/user/max_net_namespaces": "50000",
    "/proc/sys/kernel/pid_max": "32768",
    "/proc/loadavg": "0.1 0.2 0.3 2/300 4711",
    "/sys/fs/cgroup/pids.max": "max",
    "/proc/sys/fs/inotify/max_user_watches": "8192",
    "/proc/sys/net/ipv4/neigh/default/gc_thresh3": "1024",
    "/proc/sys/net/ipv6/neigh/default/gc_thresh3": "1024",
    "/proc/sys/net/netfilter/nf_conntrack_max": "65536",
    "/proc/meminfo": "MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable:  4194304 kB\n",
}
SIZE = Size(pods=500, nodes=5, commands=100, listeners=400, crowd=100)


def reading(**changed: str) -> Callable[[str], str]:
    """The files, some of which hold something else; "" stands for one that is not there."""
    files = FILES | {f"/{key.replace('__', '/')}": text for key, text in changed.items()}

    def read(file: str) -> str:
        if not files[file]:
            raise FileNotFoundError(file)
        return files[file]

    return read


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.resource, "getrlimit", lambda _: (1024, 20000))
    monkeypatch.setattr(module.netns, "names", lambda: ["other1", "other2"])


def test_500_pods_have_room_on_a_usual_machine() -> None:
    found = limits(SIZE, reading())
    assert [limit.name for limit in found if not limit.enough] == []
    assert [limit.name for limit in found if limit.refuses] == [
        "open files of a process",
        "mounts",
        "network namespaces",
        "processes",
    ]


TOO_LITTLE = {
    "mounts": ({"proc__sys__fs__mount-max": "500"}, "sysctl -w fs.mount-max=1090"),
    "network namespaces": ({"proc__sys__user__max_net_namespaces": "506"}, "sysctl -w user.max_net_namespaces=1014"),
    "processes": ({"proc__sys__kernel__pid_max": "499"}, "sysctl -w kernel.pid_max=1000"),
    "inotify watches": (
        {"proc__sys__fs__inotify__max_user_watches": "99"},
        "sysctl -w fs.inotify.max_user_watches=200",
    ),
    "ipv4 neighbours": (
        {"proc__sys__net__ipv4__neigh__default__gc_thresh3": "999"},
        "sysctl -w net.ipv4.neigh.default.gc_thresh1=500 net.ipv4.neigh.default.gc_thresh2=1000"
        " net.ipv4.neigh.default.gc_thresh3=2000",
    ),
    "connections of a node": (
        {"proc__sys__net__netfilter__nf_conntrack_max": "6000"},
        "sysctl -w net.netfilter.nf_conntrack_max=12800",
    ),
    "memory in MiB": (
        {"proc__meminfo": "MemTotal: 8388608 kB\nMemAvailable: 102400 kB\n"},
        "fewer pods, or a machine with more memory",
    ),
}


@pytest.mark.parametrize("name", TOO_LITTLE)
def test_one_that_is_too_low_is_named_with_what_lifts_it(name: str) -> None:
    changed, lift = TOO_LITTLE[name]
    found = limits(SIZE, reading(**changed))
    assert [(limit.name, limit.lift) for limit in found if not limit.enough] == [(name, lift)]


def test_a_lab_of_two_families_has_a_neighbour_table_for_each() -> None:
    both = {"proc__sys__net__ipv6__neigh__default__gc_thresh3": "500"}
    found = limits(msgspec.structs.replace(SIZE, families=("ipv4", "ipv6")), reading(**both))
    assert [(one.name, one.enough) for one in found if one.name.endswith("neighbours")] == [
        ("ipv4 neighbours", True),
        ("ipv6 neighbours", False),
    ]


def test_a_container_with_few_processes_is_told_apart_from_the_machine() -> None:
    cgroup = {"sys__fs__cgroup__pids.max": "150", "sys__fs__cgroup__pids.current": "10"}
    (short,) = [limit for limit in limits(SIZE, reading(**cgroup)) if not limit.enough]
    assert (short.name, short.taken, short.wanted, short.most) == ("processes of this container", 10, 200, 150)
    assert short.lift == "give the container --pids-limit 420"


@pytest.mark.parametrize(("pods", "lift"), [(30_000, "ulimit -n 30200"), (2_000_000, "sysctl -w fs.nr_open=2000200")])
def test_open_files_are_lifted_as_far_as_the_kernel_lets_them(pods: int, lift: str) -> None:
    (files,) = [limit for limit in limits(Size(pods, nodes=5), reading()) if limit.name == "open files of a process"]
    assert not files.enough and files.lift.startswith(lift)


def test_what_this_kernel_does_not_tell_is_left_out() -> None:
    found = limits(SIZE, reading(proc__sys__net__netfilter__nf_conntrack_max="", proc__meminfo="odd"))
    assert {limit.name for limit in found}.isdisjoint({"connections of a node", "memory in MiB"})
    assert len(found) == 6


def test_the_limits_of_this_very_machine_are_read() -> None:
    found = {limit.name: limit for limit in limits(SIZE)}
    assert isinstance(found["mounts"], Limit) and found["mounts"].most > 0
