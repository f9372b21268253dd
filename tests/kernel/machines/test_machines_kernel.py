"""A machine as a node: what its agent makes in the machine's own namespace, and that all of it, and nothing else, goes.

The machines are namespaces; the agent runs in a thread that is inside, so that the namespace is its own ("").
"""

from __future__ import annotations

import difflib
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from policypackets import passes
from strangers import VARIANTS, crowd, state

from k8snetlab.agent import namespaces, removal
from k8snetlab.agent.node import NodeAgent
from k8snetlab.agent.protocol import Surroundings
from k8snetlab.agent.report import Report
from k8snetlab.api.body import decode
from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import TEMPORARY_SET
from k8snetlab.dataplane.operations import Operation
from k8snetlab.dataplane.sets import IPSet
from k8snetlab.errors import AlreadyExistsError, K8sNetLabError
from k8snetlab.kernel import ipsets, netns
from k8snetlab.kernel.execute import By, attempt
from k8snetlab.kernel.read import cables
from k8snetlab.state.ledger import Ledger
from k8snetlab.testing.machines import Machine, Wire

Json = dict[str, Any]
BACKENDS = ({"backend": "vxlan"}, {"backend": "host-gw"}, {"backend": "vxlan", "directRouting": True})
DUAL = {
    "podCIDR": "10.244.0.0/16,fd00:10:244::/56",
    "serviceCIDR": "10.96.0.0/12,fd00:10:96::/112",
    "underlay": {"cidr": "192.168.56.0/24,fd00:56::/64"},
}


def same(before: list[str], after: list[str]) -> bool:
    difference = list(difflib.unified_diff(before, after, lineterm="", n=0))
    assert not difference, "\n".join(difference)
    return True


class World:
    """The lab as its store would have it: `machines` nodes, and a pod on each."""

    def __init__(self, name: str, nodes: int = 2, **spec: Any) -> None:
        self.name = name
        given: Json = {
            "machines": True,
            "dns": {"enabled": False},
            "nodes": [],
            "underlay": {"cidr": "192.168.56.0/24"},
        } | spec
        given["store"] = {"type": "etcd", "endpoints": ["http://192.168.56.11:2379"]}
        self._six = "," in given.get("podCIDR", "")
        lab = {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "metadata": {"name": name}, "spec": given}
        numbers = range(1, nodes + 1)
        self._bodies = [lab, *map(self.node, numbers), *map(self.pod, numbers)]

    def node(self, number: int) -> Json:
        subnets = [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"][: 1 + self._six]
        addresses = [f"192.168.56.{10 + number}", f"fd00:56::{number}"][: 1 + self._six]
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"node{number}",
                "annotations": {"k8snetlab/machine": f"host{number}", "k8snetlab/interface": "eth1"},
            },
            "spec": {"podCIDR": subnets[0], "podCIDRs": subnets},
            "status": {"addresses": [{"type": "InternalIP", "address": address} for address in addresses]},
        }

    def pod(self, number: int) -> Json:
        ips = [f"10.244.{number}.9", f"fd00:10:244:{number}::9"][: 1 + self._six]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"pod{number}", "namespace": "default", "uid": f"{self.name}-{number}"},
            "spec": {"nodeName": f"node{number}", "containers": [{"name": "c", "image": "x"}]},
            "status": {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips], "phase": "Running"},
        }

    @property
    def snapshot(self) -> Snapshot:
        objects = [decode(body) for body in self._bodies]
        return Snapshot().changed([(type(obj), obj.key, obj) for obj in objects], 1)


class Agent:
    """The agent of a machine's node, and its ledger."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine, self._file = machine, directory / f"{machine.node}.ledger"
        self._locks = directory
        self.ledger = Ledger(self._file)
        self.agent = NodeAgent(Surroundings(machine.node, self.ledger, directory))

    def sync(self, snapshot: Snapshot) -> Report:
        with self._there():
            return self.agent.sync(snapshot)

    def looks(self) -> bool:
        """As the daemon does once a second: whether there is something to mend."""
        with self._there():
            return self.agent.noticed_change()

    def events(self) -> None:
        """As the daemon does when the kernel tells of a change."""
        for name, monitor in self.agent.monitors.items():
            if monitor.drain():
                self.agent.mark(name)

    def drift(self, snapshot: Snapshot) -> list[str]:
        with self._there():
            return self.agent.drift(snapshot)

    def restart(self) -> None:
        """Another daemon, which knows what the ledger says."""
        self.agent.close()
        self.ledger = Ledger(self._file)
        self.agent = NodeAgent(Surroundings(self.machine.node, self.ledger, self._locks))

    def leave(self) -> None:
        with self._there():
            self.agent.remove()

    def clean_up(self) -> None:
        """What `down` does where no daemon lives: the ledger alone is known."""
        self.agent.close()
        ledger = Ledger(self._file)
        with self._there():
            ends = cables(ledger.namespaces)
            for name in ledger.namespaces:
                netns.delete(name)
            removal.remove_cables(ends)
            removal.remove(ledger.additions)

    @contextmanager
    def _there(self) -> Iterator[None]:
        with netns.inside(self.machine.namespace):
            yield


@pytest.fixture
def agent(namespace: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[[], Agent]]:
    wire, made = Wire(namespace, tmp_path), []

    def make() -> Agent:
        made.append(Agent(wire.machine(), tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.agent.close()
        for name in Ledger(one._file).namespaces:
            netns.delete(name)


def lab_of(agent: Agent, variant: str = "nft", **spec: Any) -> World:
    return World(agent.machine.name, proxy={"iptables": variant}, **spec)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("network", BACKENDS, ids=["vxlan", "host-gw", "direct"])
def test_whoever_leaves_takes_along_what_is_his_and_nothing_of_others(
    agent: Callable[[], Agent], variant: str, network: Json
) -> None:
    one = agent()
    crowd(one.machine, variant)
    before = state(one.machine)
    lab = lab_of(one, variant, network=network)
    assert one.sync(lab.snapshot).failure is None
    during = state(one.machine)
    assert any("cni0" in line for line in during)
    assert [line for line in before if "sysctl" not in line and line not in during] == []
    assert one.sync(lab.snapshot).operations == 0
    one.leave()
    assert same(before, state(one.machine))
    assert Ledger(one._file).additions == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_machine_without_rules_has_none_afterwards(agent: Callable[[], Agent], variant: str) -> None:
    """A legacy table that was used stays, empty, until the machine restarts: the kernel has no way to take it out."""
    one = agent()
    before = state(one.machine)
    assert one.sync(lab_of(one, variant, **DUAL).snapshot).failure is None
    one.clean_up()
    left = [line for line in state(one.machine) if line not in before]
    assert all("legacy-save" in line for line in left), left
    assert not any("-A " in line or " - " in line for line in left)
    assert bool(left) == (variant == "legacy")


def test_ipv6_routes_from_advertisements_are_still_learnt(agent: Callable[[], Agent]) -> None:
    one = agent()
    machine = one.machine
    machine.here("ip", "address", "add", "fd00:56::1/64", "dev", "eth1", "nodad")
    before = state(machine)
    assert one.sync(lab_of(one, **DUAL).snapshot).failure is None
    keys = ("net.ipv6.conf.all.forwarding", "net.ipv6.conf.eth0.accept_ra", "net.ipv6.conf.all.disable_ipv6")
    assert machine.here("sysctl", "-n", *keys).split() == ["1", "2", "0"]
    one.leave()
    assert same(before, state(machine))


def test_the_others_interface_is_as_it_was_while_the_lab_stands(agent: Callable[[], Agent]) -> None:
    one = agent()
    asked = ("ip -d link show eth1", "ip -4 address show eth1", "ip route show dev eth1", "ip route show default")
    before = [one.machine.here(*line.split()) for line in asked]
    one.sync(lab_of(one).snapshot)
    assert [one.machine.here(*line.split()) for line in asked] == before
    values = one.machine.here("sysctl", "-n", "net.ipv6.conf.all.disable_ipv6", "net.ipv4.conf.eth1.rp_filter")
    assert values.split()[0] == "0"
    one.leave()


@pytest.mark.parametrize("network", BACKENDS, ids=["vxlan", "host-gw", "direct"])
def test_two_machines_reach_each_others_pods(agent: Callable[[], Agent], network: Json) -> None:
    """Docker on one of them lets nothing be forwarded but its own."""
    agents = [agent(), agent()]
    crowd(agents[0].machine, "nft")
    lab = lab_of(agents[0], network=network)
    for one in agents:
        assert one.sync(lab.snapshot).failure is None
    names = [f"{lab.name}.default.pod{number}" for number in (1, 2)]
    with netns.inside(names[1]):
        server = socket.create_server(("10.244.2.9", 80))
    with netns.inside(names[0]):
        client = socket.create_connection(("10.244.2.9", 80), timeout=60)
    accepted, (address, _) = server.accept()
    for one_end in (server, accepted, client):
        one_end.close()
    assert address == "10.244.1.9"
    for one in agents:
        one.leave()
    assert not [name for name in netns.names() if name.startswith(f"{lab.name}.")]


def test_a_machine_goes_from_backend_to_backend(agent: Callable[[], Agent]) -> None:
    """Its routes to the others then leave by the tunnel, by its own device, and by the tunnel again."""
    one = agent()
    before = state(one.machine)
    for network in (*BACKENDS, *reversed(BACKENDS)):
        assert one.sync(lab_of(one, network=network).snapshot).failure is None
        (route,) = one.machine.here("ip", "route", "show", "10.244.2.0/24").splitlines()
        assert ("flannel.1" in route) == (network == {"backend": "vxlan"})
    one.leave()
    assert same(before, state(one.machine))


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_daemon_adopts_what_the_ledger_has(agent: Callable[[], Agent], variant: str) -> None:
    one = agent()
    crowd(one.machine, variant)
    before = state(one.machine)
    lab = lab_of(one, variant, network={"backend": "host-gw"}, nodes=3)
    one.sync(lab.snapshot)
    during = state(one.machine)
    one.restart()
    assert one.sync(lab.snapshot).operations == 0
    assert same(during, state(one.machine))
    one.restart()
    fewer = lab.snapshot.changed([(Node, ("", "node3"), None)], 2)
    one.sync(fewer)
    routes = one.machine.here("ip", "route")
    assert "10.244.3.0/24" not in routes
    assert "10.244.77.0/24 via 172.17.0.9 dev docker0" in routes
    one.clean_up()
    assert same(before, state(one.machine))


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_somebody_breaks_is_mended_and_still_goes_in_the_end(agent: Callable[[], Agent], variant: str) -> None:
    one = agent()
    crowd(one.machine, variant)
    before = state(one.machine)
    lab = lab_of(one, variant)
    one.sync(lab.snapshot)
    during = state(one.machine)
    for line in (
        "sysctl -qw net.ipv4.ip_forward=0",
        "ip route del 10.244.2.0/24",
        "ip neigh del 10.244.2.0 dev flannel.1",
        f"iptables-{variant} -t nat -D PREROUTING 1",
        f"iptables-{variant} -t nat -F KUBE-POSTROUTING",
    ):
        one.machine.here(*line.split())
    one.events()
    assert one.looks()
    one.sync(lab.snapshot)
    assert [line for line in state(one.machine) if "sysctl" not in line] == [x for x in during if "sysctl" not in x]
    one.machine.here("ip", "link", "del", "cni0")
    one.machine.here("ip", "link", "del", "flannel.1")
    one.events()
    one.sync(lab.snapshot)
    assert one.drift(lab.snapshot) == []
    one.leave()
    assert same(before, state(one.machine))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_crash_between_any_two_steps_leaves_nothing_behind(
    agent: Callable[[], Agent], variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = agent()
    crowd(one.machine, variant)
    before = state(one.machine)
    lab = lab_of(one, variant, network={"backend": "vxlan", "directRouting": True})
    for steps in range(0, 60, 5):
        left = steps

        def some(plan: list[Operation], by: By) -> list[K8sNetLabError]:
            nonlocal left
            taken, left = plan[:left], max(0, left - len(plan))
            refused = attempt(taken, by)
            if len(taken) < len(plan):
                raise Crash
            return refused

        monkeypatch.setattr(namespaces, "attempt", some)
        try:
            one.sync(lab.snapshot)
        except Crash:
            one.clean_up()
            one.restart()
            assert same(before, state(one.machine))
        else:
            one.clean_up()
            assert same(before, state(one.machine))
            return
    pytest.fail("no sync came to its end")


class Crash(Exception):
    """As if the power had failed."""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ip link add cni0 type bridge", "cni0"),
        ("ip link add flannel.1 type vxlan id 9 dev eth1 dstport 9999", "flannel.1"),
        ("ip route add 10.244.2.0/24 via 192.168.56.99 dev eth1", "10.244.2.0/24"),
    ],
)
def test_what_is_not_the_labs_is_not_taken_over(agent: Callable[[], Agent], line: str, said: str) -> None:
    one = agent()
    one.machine.here(*line.split())
    before = state(one.machine)
    lab = lab_of(one, network={"backend": "vxlan", "directRouting": True})
    with pytest.raises(AlreadyExistsError, match=re.escape(said)):
        one.sync(lab.snapshot)
    one.leave()
    assert same(before, state(one.machine))


def test_a_sysctl_that_others_set_since_stays_theirs(agent: Callable[[], Agent]) -> None:
    one = agent()
    one.machine.here("sysctl", "-qw", "net.ipv4.ip_forward=0")  # a new namespace has what the machine's first one has
    one.sync(lab_of(one).snapshot)
    one.machine.here("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=0", "net.ipv4.conf.eth0.forwarding=0")
    one.machine.here("sysctl", "-qw", "net.ipv4.ip_forward=1")
    one.clean_up()
    keys = ("net.ipv4.conf.all.route_localnet", "net.ipv4.conf.eth0.forwarding", "net.ipv4.ip_forward")
    assert one.machine.here("sysctl", "-n", *keys).split() == ["0", "0", "0"]


def test_what_others_begin_meanwhile_stays(agent: Callable[[], Agent]) -> None:
    one = agent()
    one.sync(lab_of(one).snapshot)
    for line in (
        "iptables-nft -t mangle -A FORWARD -j ACCEPT",
        "iptables-nft -t filter -P INPUT DROP",
        "nft add table ip administrators",
        "nft add chain ip administrators empty { type filter hook input priority 0 ; }",
    ):
        one.machine.here(*line.split())
    one.clean_up()
    left = one.machine.here("nft", "list", "ruleset")
    assert "KUBE" not in left
    assert "table ip nat" not in left
    assert "table ip administrators {\n\tchain empty {" in left
    saved = one.machine.here("iptables-nft-save")
    assert "-A FORWARD -j ACCEPT" in saved
    assert ":INPUT DROP" in saved


def test_rules_that_others_write_all_the_time_make_no_loop(agent: Callable[[], Agent]) -> None:
    one = agent()
    lab = lab_of(one)
    one.sync(lab.snapshot)
    for number in range(5):
        one.machine.here("iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", str(8000 + number), "-j", "ACCEPT")
        assert one.looks()
        assert one.sync(lab.snapshot).operations == 0
    assert not one.looks()
    one.leave()
    assert one.machine.here("iptables-nft-save").count("-j ACCEPT") == 5


def test_the_other_variant_is_cleared_only_of_what_is_ours(agent: Callable[[], Agent]) -> None:
    """Another's KUBE- chains in the other variant (no lab would begin beside them) are nobody's to delete."""
    one = agent()
    crowd(one.machine, "legacy")
    one.sync(lab_of(one, "nft").snapshot)
    one.machine.here("iptables-legacy", "-t", "nat", "-N", "KUBE-STRANGER")
    one.restart()
    one.sync(lab_of(one, "nft").snapshot)
    assert ":KUBE-STRANGER" in one.machine.here("iptables-legacy-save", "-t", "nat")
    one.leave()
    assert ":KUBE-STRANGER" in one.machine.here("iptables-legacy-save", "-t", "nat")
    assert one.machine.here("iptables-nft-save") == ""


def test_a_change_of_variant_is_undone_as_well(agent: Callable[[], Agent]) -> None:
    one = agent()
    crowd(one.machine, "legacy")
    before = state(one.machine)
    one.sync(lab_of(one, "nft").snapshot)
    one.sync(lab_of(one, "legacy").snapshot)
    assert "KUBE-" in one.machine.here("iptables-legacy-save")
    assert "KUBE-" not in one.machine.here("iptables-nft-save")
    one.leave()
    assert same(before, state(one.machine))


def test_an_unreachable_next_hop_is_named(agent: Callable[[], Agent]) -> None:
    one = agent()
    lab = lab_of(one, network={"backend": "host-gw"})
    far = decode(lab.node(2) | {"status": {"addresses": [{"type": "InternalIP", "address": "198.51.100.7"}]}})
    failure = one.sync(lab.snapshot.changed([(Node, far.key, far)], 2)).failure
    assert failure is not None
    assert "198.51.100.7" in failure.message + failure.hint
    assert "eth1" in failure.message + failure.hint
    one.leave()


def test_connections_of_the_lab_are_forgotten_and_others_kept(agent: Callable[[], Agent]) -> None:
    one, other = agent(), agent()
    machine = one.machine
    one.sync(lab_of(one).snapshot)
    with netns.inside(machine.namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for address in ("10.244.1.9", "10.96.0.10", other.machine.address):
            client.sendto(b"x", (address, 9))
    assert "dst=10.244.1.9" in (known := machine.here("conntrack", "-L"))
    assert f"dst={other.machine.address}" in known
    one.leave()
    known = machine.here("conntrack", "-L")
    assert "10.244.1.9" not in known
    assert "10.96.0.10" not in known
    assert f"dst={other.machine.address}" in known


def test_a_file_of_the_labs_own_goes_with_its_directories(agent: Callable[[], Agent], tmp_path: Path) -> None:
    one, file = agent(), tmp_path / "run" / "flannel" / "subnet.env"
    one.ledger.own_file(file)
    file.parent.mkdir(parents=True)
    file.write_text("FLANNEL_MTU=1450\n")
    one.ledger.own_file(file)
    one.leave()
    assert not (tmp_path / "run").exists()
    file.parent.mkdir(parents=True)
    file.write_text("another's\n")
    with pytest.raises(AlreadyExistsError, match=r"subnet\.env"):
        one.ledger.own_file(file)
    one.leave()
    assert file.read_text() == "another's\n"


POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "only-pod1", "namespace": "default"},
    "spec": {
        "podSelector": {"matchLabels": {"number": "2"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"number": "1"}}}], "ports": [{"port": 80}]}],
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_policies_are_kept_between_machines_and_go_with_them(agent: Callable[[], Agent], variant: str) -> None:
    """Docker's rules stand as they were, and in front of them is what policies refuse; sets go with the machine."""
    agents = [agent(), agent(), agent()]
    crowd(agents[1].machine, variant)
    before = state(agents[1].machine)
    lab = lab_of(agents[0], variant, nodes=3)
    for body in lab._bodies:
        if body["kind"] == "Pod":
            body["metadata"]["labels"] = {"number": body["metadata"]["name"].removeprefix("pod")}
    lab._bodies.append(POLICY)
    for one in agents:
        report = one.sync(lab.snapshot)
        assert report.failure is None, report.failure
    place = f"{lab.name}.default.pod{{}}".format
    with netns.inside(place(2)):
        servers = [socket.create_server(("10.244.2.9", port)) for port in (80, 81)]
    asked = {(place(1), 80): True, (place(1), 81): False, (place(3), 80): False}
    asked |= {(agents[1].machine.namespace, 80): True, (agents[0].machine.namespace, 80): False}
    assert {one: passes(one[0], "10.244.2.9", "TCP", one[1]) for one in asked} == asked
    for server in servers:
        server.close()
    for one in agents:
        assert ipsets.held(one.machine.namespace, ("KUBE-",))
        half = IPSet(f"{TEMPORARY_SET}6", "hash:ip", "ipv6")  # as a crash leaves it, between two steps
        ipsets.bring(one.machine.namespace, [half], {})
        one.leave()
        assert ipsets.held(one.machine.namespace, ("",)) == {}
    assert same(before, state(agents[1].machine))
