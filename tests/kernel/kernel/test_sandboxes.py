"""Sandboxes made in one go are what the same values come to by reading and executing; a process may make them."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from k8snetlab.dataplane.delta import diff
from k8snetlab.dataplane.links import Address, Bridge, Device, Veth
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.dataplane.routing import Route
from k8snetlab.errors import AlreadyExistsError, KernelError
from k8snetlab.kernel import maker as module
from k8snetlab.kernel import netns, sandboxes
from k8snetlab.kernel.execute import execute
from k8snetlab.kernel.maker import MANY, Maker
from k8snetlab.kernel.netlink import Netlink
from k8snetlab.kernel.read import read, reading
from k8snetlab.kernel.sandboxes import Begun, Sandbox
from k8snetlab.kernel.watch import Monitor, Watch

IPV4_ONLY = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}
NO_DAD = {"net.ipv6.conf.default.accept_dad": "0", "net.ipv6.conf.eth0.accept_dad": "0"}
OF_ONE_DEVICE = {"net.ipv4.conf.eth0.rp_filter": "2", "net.ipv4.ip_forward": "1"}
Make = Callable[..., str]


def begin(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with process.stdin as permission:
        permission.write(b"\n")


@pytest.fixture
def maker() -> Iterator[Maker]:
    maker = Maker(begin)
    yield maker
    maker.close()


@pytest.fixture
def node(namespace: Make) -> Iterator[Netlink]:
    name = namespace("node")
    addresses = (Address("cni0", "10.244.0.1/16", True), Address("cni0", "fd00::1/64"))
    execute(diff(Netns(name, links=(Bridge("cni0", mtu=1450),), addresses=addresses), read(name)))
    with Netlink(name) as netlink:
        yield netlink


def sandbox(name: str, number: int, sysctls: dict[str, str] = IPV4_ONLY) -> Sandbox:
    mac, six = f"02:00:0a:f4:00:{number:02x}", "net.ipv6.conf.all.disable_ipv6" not in sysctls
    return Sandbox(
        Netns(
            name,
            role="pod",
            sysctls=sysctls,
            links=(Device("lo"), Device("eth0", mtu=1450, mac=mac)),
            addresses=(
                Address("eth0", f"10.244.0.{number}/16", True),
                *([Address("eth0", f"fd00::{number:x}/64")] if six else []),
            ),
            routes=(
                Route("default", "eth0", "10.244.0.1"),
                Route("10.96.0.0/12", "eth0", "10.244.0.1"),
                *([Route("default", "eth0", "fd00::1")] if six else []),
            ),
        ),
        Veth(f"veth{number:08x}", "eth0", name, peer_mac=mac, mtu=1450, master="cni0", hairpin=True),
    )


def left(wanted: Sandbox) -> list[str]:
    """What a sync would still execute."""
    state = wanted.state
    return [str(step) for step in diff(state, read(state.name, tuple(state.sysctls)), state)]


def monitor(made: Begun, wanted: Sandbox) -> Monitor:
    assert isinstance(made, Watch)
    return Monitor(wanted.state.name, made)


@pytest.mark.parametrize("sysctls", [IPV4_ONLY, NO_DAD, OF_ONE_DEVICE], ids=["IPv4", "dual", "of one device"])
def test_a_sandbox_made_in_one_go_is_as_desired_at_both_ends(
    node: Netlink, name: Make, sysctls: dict[str, str]
) -> None:
    wanted = sandbox(name("pod"), 2, sysctls)
    (made,) = sandboxes.make(node, [wanted])
    assert isinstance(made, Watch)
    made.socket.close()
    assert left(wanted) == []
    (cable,) = [link for link in read(node.namespace).links if link.name == wanted.cable.name]
    assert isinstance(cable, Veth) and cable.up
    assert (cable.master, cable.hairpin, cable.mtu) == ("cni0", True, 1450)
    reached = subprocess.run(
        ["ip", "netns", "exec", wanted.state.name, "ping", "-c", "1", "-W", "5", "10.244.0.1"], stdout=subprocess.PIPE
    )
    assert reached.returncode == 0, reached.stdout


def test_the_watch_tells_what_others_change_and_not_that_the_carrier_came(node: Netlink, name: Make) -> None:
    wanted = sandbox(name("pod"), 2)
    (made,) = sandboxes.make(node, [wanted])
    watching = monitor(made, wanted)
    subprocess.run(["ip", "netns", "exec", wanted.state.name, "ping", "-c", "1", "10.244.0.1"], stdout=-3, check=True)
    assert watching.drain() == frozenset()
    assert watching.number == netns.number(wanted.state.name)
    for command, kind in (
        ("link set eth0 mtu 1400", "link"),
        ("link set lo down", "link"),
        ("addr add 10.9.9.9/32 dev eth0", "address"),
        ("route add 10.9.0.0/16 via 10.244.0.1", "route"),
        ("neigh add 10.244.0.77 lladdr 02:00:00:00:00:77 dev eth0", "neighbour"),
    ):
        subprocess.run(["ip", "-n", wanted.state.name, *command.split()], check=True)
        assert kind in watching.drain(), command
    watching.close()


def test_what_the_kernel_gives_an_ipv6_device_by_itself_is_no_change(node: Netlink, name: Make) -> None:
    wanted = sandbox(name("pod"), 2, NO_DAD)
    (made,) = sandboxes.make(node, [wanted])
    watching, pod = monitor(made, wanted), wanted.state.name
    show = ["ip", "-n", pod, "-6", "addr", "show", "dev", "eth0", "scope", "link"]
    while b"fe80:" not in subprocess.run(show, stdout=subprocess.PIPE, check=True).stdout:
        time.sleep(0.02)
    subprocess.run(["ip", "netns", "exec", pod, "ping", "-c", "1", "-W", "5", "fd00::1"], stdout=-3, check=True)
    assert watching.drain() == frozenset()
    for command, kind in (
        ("-6 addr add fd00::99/64 dev eth0", "address"),
        ("-6 addr del fd00::99/64 dev eth0", "address"),
        ("-6 route add fd77::/64 via fd00::1", "route"),
        ("-6 route del default", "route"),
        ("-4 route del 10.244.0.0/16", "route"),
    ):
        subprocess.run(["ip", "-n", pod, *command.split()], check=True)
        assert kind in watching.drain(), command
    watching.close()


def test_one_that_is_refused_stops_none_of_the_others(node: Netlink, name: Make) -> None:
    names = [name(f"pod{number}") for number in range(3)]
    wanted = [sandbox(one, number + 2) for number, one in enumerate(names)]
    execute([ItemOperation("add", node.namespace, Bridge(wanted[1].cable.name))])  # its name is taken
    first, refused, last = sandboxes.make(node, wanted)
    assert refused is None and isinstance(first, Watch) and isinstance(last, Watch)
    assert (left(wanted[0]), left(wanted[2])) == ([], [])
    for made in (first, last):
        made.socket.close()


def test_one_whose_name_another_has_is_told_of_and_left_alone(
    node: Netlink, name: Make, namespace: Make, maker: Maker
) -> None:
    wanted = [sandbox(name(f"pod{number}"), number + 2) for number in range(MANY - 1)]
    strange = sandbox(namespace("strange"), MANY + 2)
    (here,) = sandboxes.make(node, [strange])
    *made, there = maker.make(node, [*wanted, strange])
    assert isinstance(here, AlreadyExistsError) and isinstance(there, AlreadyExistsError)
    assert strange.cable.name not in {link.name for link in read(node.namespace).links}
    for one in made:
        assert isinstance(one, Watch)
        one.socket.close()


def test_many_are_made_by_a_process_few_are_not(node: Netlink, name: Make, maker: Maker) -> None:
    few, *many = [sandbox(name(f"pod{number}"), number + 2) for number in range(MANY + 1)]
    watches = [monitor(made, one) for one, made in zip([few], maker.make(node, [few]), strict=True)]
    assert maker.pid is None
    watches += [monitor(made, one) for one, made in zip(many, maker.make(node, many), strict=True)]
    assert maker.pid is not None
    assert [one.state.name for one in many if left(one)] == []
    subprocess.run(["ip", "-n", many[7].state.name, "link", "set", "eth0", "down"], check=True)
    assert "link" in watches[8].drain() and not watches[9].drain()
    for one in watches:
        one.close()


def test_a_few_of_many_nodes_are_made_by_the_process_too(
    node: Netlink, name: Make, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", 6)
    wanted = [sandbox(name(f"pod{number}"), number + 2) for number in range(9)]
    for start, runs in ((0, False), (2, False), (4, True), (6, True)):
        for made in maker.make(node, wanted[start : start + 2]):
            assert isinstance(made, Watch)
            made.socket.close()
        assert (maker.pid is not None) == runs, start
    (last,) = maker.make(node, wanted[8:])
    assert isinstance(last, Watch) and [one.state.name for one in wanted if left(one)] == []
    last.socket.close()


def test_of_one_among_many_nothing_is_heard_before_it_is_asked_for(
    node: Netlink, name: Make, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY", 1)
    for make, number in ((sandboxes.make, 2), (maker.make, 3)):
        one = replace(sandbox(name("pod"), number), heard=False)
        (made,) = make(node, [one])
        watch, eth0 = monitor(made, one), ["ip", "-n", one.state.name, "link", "set", "eth0"]
        assert left(one) == [] and not watch.hears
        subprocess.run([*eth0, "mtu", "1400"], check=True)
        assert not watch.drain()
        watch.begin()
        assert watch.hears and not watch.drain(), "what was changed before is to be read"
        watch.learn(reading(one.state.name)[2])
        subprocess.run([*eth0, "mtu", "1400"], check=True)
        assert not watch.drain()
        subprocess.run([*eth0, "down"], check=True)
        assert "link" in watch.drain()
        watch.close()


def test_what_the_process_had_in_hand_when_it_was_killed_is_not_said_to_be_made(
    node: Netlink, name: Make, maker: Maker
) -> None:
    wanted = [sandbox(name(f"pod{number}"), number + 2) for number in range(3 * MANY)]
    for made in maker.make(node, wanted[:MANY]):
        assert isinstance(made, Watch)
        made.socket.close()
    assert maker.pid is not None
    os.kill(maker.pid, signal.SIGSTOP)
    os.kill(maker.pid, signal.SIGKILL)
    again = list(maker.make(node, wanted[MANY:]))
    assert len(again) == 2 * MANY
    for one, made in zip(wanted[MANY:], again, strict=True):
        assert isinstance(made, Watch) == (netns.exists(one.state.name) and not left(one))
        if isinstance(made, Watch):
            made.socket.close()


def test_a_process_that_hangs_is_ended_and_no_other_is_asked(
    node: Netlink, name: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.3)
    monkeypatch.setattr(module, "_GRACE", 0.1)
    started: list[int] = []

    def hang(process: subprocess.Popen[bytes]) -> None:
        started.append(process.pid)
        os.kill(process.pid, signal.SIGSTOP)

    maker = Maker(hang)
    wanted = [sandbox(name(f"pod{number}"), number + 2) for number in range(MANY)]
    assert list(maker.make(node, wanted)) == [None] * MANY
    assert len(started) == 1 and not Path(f"/proc/{started[0]}").exists()


def test_a_process_that_is_not_let_begin_is_ended(node: Netlink, name: Make) -> None:
    started: list[int] = []

    def refuse(process: subprocess.Popen[bytes]) -> None:
        started.append(process.pid)
        raise KernelError("it cannot be written down")

    maker = Maker(refuse)
    with pytest.raises(KernelError):
        list(maker.make(node, [sandbox(name(f"pod{number}"), number + 2) for number in range(MANY)]))
    assert maker.pid is None and not Path(f"/proc/{started[0]}").exists()


def test_watches_for_which_no_descriptor_is_left_are_not_said_to_be_there(
    node: Netlink, name: Make, maker: Maker
) -> None:
    wanted = [sandbox(name(f"pod{number}"), number + 2) for number in range(2 * MANY)]
    first = list(maker.make(node, wanted[:MANY]))
    taken, most = (
        {int(each.name) for each in Path("/proc/self/fd").iterdir()},
        resource.getrlimit(resource.RLIMIT_NOFILE),
    )
    free = [number for number in range(max(taken) + 10) if number not in taken]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[5], most[1]))
    try:
        second = list(maker.make(node, wanted[MANY:]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert len(second) == MANY and None in second and any(second)
    for made in (*first, *second):
        if isinstance(made, Watch):
            assert not made.socket.get_inheritable()
            made.socket.close()


DAEMON = """
import sys, time
from k8snetlab.kernel.maker import Maker
from k8snetlab.kernel.netlink import Netlink
from tests.kernel.kernel.test_sandboxes import begin, sandbox
maker = Maker(begin)
names = sys.argv[2:]
list(maker.make(Netlink(sys.argv[1]), [sandbox(name, number + 2) for number, name in enumerate(names)]))
print(maker.pid, flush=True)
time.sleep(60)
"""


def test_the_process_ends_when_the_daemon_is_killed(node: Netlink, name: Make) -> None:
    names = [name(f"pod{number}") for number in range(MANY)]
    command = [sys.executable, "-c", DAEMON, node.namespace, *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as daemon:
        assert daemon.stdout is not None
        pid = os.pidfd_open(int(daemon.stdout.readline()))
        assert [one for one in names if not netns.exists(one)] == []
        daemon.kill()
        assert select.select([pid], [], [], 30)[0], "the process outlives the daemon"
        os.close(pid)
