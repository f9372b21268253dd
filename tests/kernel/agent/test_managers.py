"""A node's managers: one that fails is named, keeps what it had, and stops none of the others."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from k8snetlab.agent import pace, steps
from k8snetlab.agent.managers import managers
from k8snetlab.agent.node import NodeAgent
from k8snetlab.agent.protocol import Manager, Surroundings
from k8snetlab.agent.report import RULES, Report
from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import Condition, Namespace, Pod
from k8snetlab.api.kubeproxy import KubeProxyConfiguration as KubeProxy
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import service_chain
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.routing import Route
from k8snetlab.dataplane.rules import ChainKey, Hook, RuleSet
from k8snetlab.errors import InputError, KernelError
from k8snetlab.kernel import iptables, netns, watch
from k8snetlab.kernel.read import read
from k8snetlab.state.ledger import Ledger
from k8snetlab.testing.services import POD1, endpoint, node, service, slice_of

pytestmark = pytest.mark.root
CHAIN = ChainKey("filter", "TEST-POLICY")
UNREACHABLE = Route("203.0.113.0/24", dev="cni0", via="192.0.2.9")


def policy(*rules: str, routes: tuple[Route, ...] = ()) -> NodeDataplane:
    """A part of a manager that there is not yet."""
    hook = Hook("filter", "FORWARD", f"-j {CHAIN.chain}")
    return NodeDataplane(Netns("", routes=routes), rules=(RuleSet("ipv4", {CHAIN: rules}, ("TEST-",), (hook,)),))


class Node:
    """node1 of a lab of its own, with a manager more than the list has."""

    def __init__(self, directory: Path) -> None:
        self.lab = f"kt{os.getpid()}{secrets.token_hex(2)}"
        self.part: NodeDataplane | Exception = policy("-j ACCEPT")
        around = Surroundings("node1", Ledger(directory / "ledger"), directory)
        self.agent = NodeAgent(around, self._managers)
        spec = {"metadata": {"name": self.lab}, "spec": {"network": {"backend": "host-gw"}}}
        objects = [
            msgspec.convert(spec, Lab),
            node("node1", "192.168.0.21", podCIDRs=("10.244.1.0/24",)),
            service("web", clusterIPs=["10.96.0.1"]),
            slice_of("web", endpoint(POD1, "node1")),
        ]
        self.snapshot = Snapshot().changed([(type(obj), obj.key, obj) for obj in objects], 1)

    def _managers(self, around: Surroundings) -> list[Manager]:
        return [*managers(around), Manager("policy", lambda snapshot, _: self._part(snapshot), around)]

    def _part(self, snapshot: Snapshot) -> NodeDataplane:
        snapshot.all(Namespace), snapshot.all(ConfigMap)
        if isinstance(self.part, Exception):
            raise self.part
        return self.part

    def sync(self) -> Report:
        """After a change that concerns the manager."""
        change = (Namespace, ("", "policies"), Namespace())
        self.snapshot = self.snapshot.changed([change], self.snapshot.revision + 1)
        return self.agent.sync(self.snapshot)

    def hear(self) -> None:
        """As the daemon does when the monitors have something to tell, which may be noise: that a bridge without ports
        has no carrier the kernel tells up to a second after it was made."""
        for name in self.agent.monitors.changed():
            self.agent.mark(name)

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        table = iptables.open(f"{self.lab}.node1", "ipv4", "nft", Path("/dev/null"))
        return {key.chain: tuple(rules) for key, rules in table.save().items()}

    def inside(self, *argv: str) -> None:
        """Runs a command of a stranger's in the node."""
        subprocess.run(["ip", "netns", "exec", f"{self.lab}.node1", *argv], check=True)

    @property
    def others_stand(self) -> bool:
        links = {link.name for link in read(f"{self.lab}.node1").links}
        return "cni0" in links and {"KUBE-SERVICES", "FLANNEL-FWD"} <= self.chains.keys()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.agent.remove()
    made.agent.close()


@pytest.fixture
def calm(one: Node) -> Iterator[Node]:
    """Whose agent has nothing to do: its cable is plugged in."""
    one.sync()
    other = f"{one.lab}.other"
    subprocess.run(["ip", "netns", "add", other], check=True)
    try:
        one.inside("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "node1", "netns", other)
        for _ in range(100):
            one.hear()
            if not one.agent.concerned(one.snapshot):
                break
            one.agent.sync(one.snapshot, trusting=True)
            time.sleep(0.02)
        yield one
    finally:
        subprocess.run(["ip", "netns", "delete", other], check=True)


Fault = NodeDataplane | Exception
FAULTS: dict[str, tuple[Fault, str]] = {
    "a part that makes no sense": (InputError("no policy is called x"), "no policy is called x"),
    "a bug": (ValueError("too short"), "ValueError: too short"),
    "a rule that no kernel takes": (policy("-j NOWHERE"), "NOWHERE"),
    "a route that leads nowhere": (policy("-j ACCEPT", routes=(UNREACHABLE,)), "203.0.113.0/24"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_manager_that_fails_is_named_and_the_others_do_their_work(one: Node, fault: str) -> None:
    one.part, said = FAULTS[fault]
    report = one.sync()
    assert one.others_stand
    failing = {status.name: status.error for status in report.managers if status.error}
    assert failing.keys() == {"policy"} and said in failing["policy"]
    assert report.failure is not None and report.failure.message.startswith("policy: ")
    one.part = policy("-j ACCEPT")
    report = one.sync()
    assert report.failure is None and not any(status.error for status in report.managers)
    assert one.chains[CHAIN.chain] == ("-j ACCEPT",)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_manager_that_fails_keeps_the_rules_it_had(one: Node, fault: str) -> None:
    assert one.sync().failure is None
    one.part = FAULTS[fault][0]
    assert one.sync().failure is not None
    assert one.chains[CHAIN.chain] == ("-j ACCEPT",) and one.others_stand


def test_what_drift_has_looked_at_first_concerns_the_agent_still(calm: Node) -> None:
    calm.part = policy("-j DROP")
    calm.sync()
    calm.part = policy("-j RETURN")
    change = (ConfigMap, ("", "more"), ConfigMap())
    calm.snapshot = calm.snapshot.changed([change], calm.snapshot.revision + 1)
    assert calm.agent.concerned(calm.snapshot)
    calm.agent.drift(calm.snapshot)
    assert calm.agent.concerned(calm.snapshot)
    calm.agent.sync(calm.snapshot, trusting=True)
    assert calm.chains[CHAIN.chain] == ("-j RETURN",)
    calm.hear()
    assert not calm.agent.concerned(calm.snapshot)


def test_a_pod_that_was_not_to_be_plugged_in_is_when_its_rules_stand(
    calm: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Manager, "guards", True)
    monkeypatch.setattr(Manager, "lets_none_in", True)
    status = {"podIP": POD1, "podIPs": [{"ip": POD1}]}
    made = msgspec.convert(
        {"metadata": {"name": "p", "uid": "p"}, "spec": {"nodeName": "node1"}, "status": status}, Pod
    )
    calm.snapshot = calm.snapshot.changed([(Pod, made.key, made)], calm.snapshot.revision + 1)
    for _ in range(2):
        calm.agent.sync(calm.snapshot, trusting=True)
    assert not netns.exists(f"{calm.lab}.default.p") and calm.agent.noticed_change()
    monkeypatch.setattr(Manager, "lets_none_in", False)
    calm.agent.sync(calm.snapshot, trusting=True)
    assert netns.exists(f"{calm.lab}.default.p") and calm.agent.drift(calm.snapshot) == []


def test_a_pod_among_many_is_heard_of_once_pods_have_come(calm: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "CROWD", crowd := watch._hearing + 1)
    monkeypatch.setattr(steps, "QUIET", 0.0)
    status = {"podIP": POD1, "podIPs": [{"ip": POD1}]}
    made = msgspec.convert(
        {"metadata": {"name": "p", "uid": "p"}, "spec": {"nodeName": "node1"}, "status": status}, Pod
    )
    stands = {"conditions": [{"type": "Ready", "status": "True"}]}
    far = [msgspec.convert({"metadata": {"name": f"p{n}"}, "status": stands}, Pod) for n in range(crowd)]
    there = [(Pod, one.key, one) for one in (made, *far)]  # there is room for it, but not for all that are to be heard
    calm.snapshot = calm.snapshot.changed(there, calm.snapshot.revision + 1)
    calm.agent.sync(calm.snapshot, trusting=True)
    pod, known = f"{calm.lab}.default.p", calm.agent._keeper.known
    assert known.monitors.silent == [pod] and pod not in calm.agent.untouched()
    assert not calm.agent.noticed_change(), "it is to become ready, and others may come"
    subprocess.run(["ip", "-n", pod, "route", "del", "default"], check=True)
    assert calm.agent.drift(calm.snapshot), "who asks is told"
    ready = (Condition(type="Ready", status="True"),)
    made = msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, conditions=ready))
    calm.snapshot = calm.snapshot.changed([(Pod, made.key, made)], calm.snapshot.revision + 1)
    assert calm.agent.concerned(calm.snapshot) and calm.agent.noticed_change()
    calm.agent.sync(calm.snapshot)
    assert not known.monitors.silent and calm.agent.drift(calm.snapshot) == []
    assert not known.monitors.changed(), "what mended it"
    assert pod in calm.agent.untouched() and not calm.agent.noticed_change()
    subprocess.run(["ip", "-n", pod, "route", "del", "default"], check=True)
    assert [*known.monitors.changed()] == [pod]


def test_of_several_that_fail_each_is_told(one: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    one.part = policy("-j NOWHERE")
    broken: Callable[..., None] = _refuses
    monkeypatch.setattr("k8snetlab.agent.flannel.Flannel.prepared", broken)
    report = one.sync()
    assert {status.name for status in report.managers if status.error} == {"flannel", "policy"}
    assert report.failure is not None and report.failure.message == "flannel: no socket"
    assert any(warning.startswith("policy: ") for warning in report.warnings)


def test_a_bug_in_how_a_manager_says_its_rules_is_its_own(one: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one.sync().failure is None
    broken: Callable[..., None] = _stumbles
    monkeypatch.setattr("k8snetlab.agent.proxy.ProxyPart.want", broken)
    one.part = policy("-j DROP")
    report = one.sync()
    assert {status.name for status in report.managers if status.error} == {"kube-proxy"}
    assert one.chains[CHAIN.chain] == ("-j DROP",) and one.others_stand


def test_a_kube_proxy_that_cannot_be_configured_leaves_the_rules_of_all_others(one: Node) -> None:
    wrong = msgspec.convert({"metadata": {"name": "kube-proxy"}, "nodePortAddresses": ["nowhere"]}, KubeProxy)
    right = one.snapshot
    one.snapshot = right.changed([(KubeProxy, wrong.key, wrong)], 2)
    report = one.sync()
    assert [status.name for status in report.managers if status.error] == ["kube-proxy"]
    assert {CHAIN.chain, "FLANNEL-FWD"} <= one.chains.keys() and "KUBE-SERVICES" not in one.chains
    one.snapshot = right
    assert one.sync().failure is None and one.others_stand
    one.snapshot = right.changed([(KubeProxy, wrong.key, wrong)], 2)
    assert one.sync().failure is not None and one.others_stand


def in_the_way(one: Node, chain: str) -> list[str]:
    """The commands by which a stranger puts a chain with a hook in the place of one of ours, which no rule may then
    jump to, and takes it away again."""
    jump = ["iptables", "-D", "FORWARD", "-j", chain]
    for words in (jump, ["iptables", "-F", chain], ["iptables", "-X", chain]):
        one.inside(*words)
    one.inside("nft", f"add chain ip filter {chain} {{ type filter hook input priority 7; }}")
    return ["nft", f"delete chain ip filter {chain}"]


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_old_rules_that_are_refused_all_at_once_leave_the_others_in_force_and_current(one: Node) -> None:
    """The policy's rules were taken, and are not any more; kube-proxy has a new Service meanwhile."""
    assert one.sync().failure is None
    away = in_the_way(one, CHAIN.chain)
    db = service("db", clusterIPs=["10.96.0.2"])
    ends = slice_of("db", endpoint(POD1, "node1"))
    one.snapshot = one.snapshot.changed([(type(obj), obj.key, obj) for obj in (db, ends)], 2)
    report = one.sync()
    assert {status.name for status in report.managers if status.error} == {"policy"}
    assert service_chain("default/db:http", "tcp") in one.chains and one.others_stand
    one.inside("iptables", "-t", "nat", "-F", "KUBE-SERVICES")
    assert {status.name for status in one.sync().managers if status.error} == {"policy"}
    assert one.chains["KUBE-SERVICES"], "others' rules are mended while it fails"
    one.inside(*away)
    assert one.sync().failure is None and one.chains[CHAIN.chain] == ("-j ACCEPT",)


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_a_service_that_is_refused_all_at_once_leaves_the_rules_of_all_others(one: Node) -> None:
    db = service("db", clusterIPs=["10.96.0.2"])
    ends = slice_of("db", endpoint(POD1, "node1"))
    one.snapshot = one.snapshot.changed([(type(obj), obj.key, obj) for obj in (db, ends)], 2)
    assert one.sync().failure is None
    chain = service_chain("default/db:http", "tcp")
    one.inside("iptables", "-t", "nat", "-F", "KUBE-SERVICES")
    one.inside("iptables", "-t", "nat", "-F", chain)
    one.inside("iptables", "-t", "nat", "-X", chain)
    one.inside("nft", f"add chain ip nat {chain} {{ type nat hook output priority 7; }}")
    one.part = policy("-j DROP")
    report = one.sync()
    failing = {status.name: status.error for status in report.managers if status.error}
    assert failing.keys() == {"kube-proxy"} and "default/db" in failing["kube-proxy"]
    assert one.chains[CHAIN.chain] == ("-j DROP",)
    assert any("default/web:http cluster IP" in rule for rule in one.chains["KUBE-SERVICES"])
    one.inside("nft", f"delete chain ip nat {chain}")
    assert one.sync().failure is None
    assert any("default/db:http cluster IP" in rule for rule in one.chains["KUBE-SERVICES"])


def test_rules_that_a_manager_cannot_begin_with_are_its_own_failure(one: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        broken: Callable[..., None] = _refuses
        patch.setattr("k8snetlab.agent.proxy.KubeProxy._has_counters", broken)
        report = one.sync()
    assert [status.name for status in report.managers if status.error] == ["kube-proxy"]
    assert {CHAIN.chain, "FLANNEL-FWD"} <= one.chains.keys() and "KUBE-SERVICES" not in one.chains
    assert one.sync().failure is None and one.others_stand


ALL_OF_THEM = ("suspect", "pause", "resume", "close", "remove")


@pytest.mark.parametrize("verb", ALL_OF_THEM)
def test_one_that_stumbles_stops_none_of_the_others(one: Node, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one.sync().failure is None
    broken, reached = _stumbles, list[str]()
    with monkeypatch.context() as patch:
        patch.setattr(f"k8snetlab.agent.flannel.Flannel.{verb}", broken, raising=False)
        patch.setattr(f"k8snetlab.agent.addons.AddOns.{verb}", lambda *_: reached.append(verb), raising=False)
        if verb == "remove":
            with pytest.raises(KernelError, match="flannel: TypeError"):
                one.agent.remove()
            assert not netns.exists(f"{one.lab}.node1"), "what can be done is done"
        else:
            getattr(one.agent, verb)()
    assert reached == [verb]


def test_one_that_cannot_look_has_the_agent_sync_and_is_named(one: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one.sync().failure is None
    with monkeypatch.context() as patch:
        broken: Callable[..., None] = _refuses
        patch.setattr("k8snetlab.agent.flannel.Flannel.noticed_change", broken, raising=False)
        assert one.agent.noticed_change()
        assert [status.name for status in one.sync().managers if status.error] == ["flannel"]
    one.agent.noticed_change()
    assert one.sync().failure is None


def test_managers_are_shown_where_the_whole_sync_is_refused(one: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    one.part = FAULTS["a part that makes no sense"][0]
    with monkeypatch.context() as patch:
        broken: Callable[..., None] = _refuses
        patch.setattr("k8snetlab.kernel.iptables.nft.NftIptables.generation", broken)
        with pytest.raises(KernelError, match="no socket"):
            one.sync()
    assert [status.name for status in one.agent.statuses if status.error] == ["policy"]


def _stumbles(*_: object) -> None:
    raise TypeError("no such thing")


def _refuses(*_: object) -> None:
    raise KernelError("no socket")


def test_many_rules_are_not_written_again_and_again(one: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third write of many waits, the agent says so meanwhile, and all else of a sync is done."""
    monkeypatch.setattr(pace, "MANY", 1)
    monkeypatch.setattr(pace, "TIMES", 1e9)
    monkeypatch.setattr(pace, "LONGEST", 600.0)  # it is not over by itself, however slow the machine is
    for rule in ("-j ACCEPT", "-j DROP"):
        one.part = policy(rule)
        report = one.sync()
        assert report.again == 0 and not report.pending
        assert one.chains[CHAIN.chain] == (rule,)
    one.part = policy("-j RETURN", routes=(Route("203.0.113.0/24", dev="cni0"),))
    report = one.sync()
    assert 0 < report.again <= 600 and report.pending == (RULES,) and report.failure is None
    assert one.chains[CHAIN.chain] == ("-j DROP",)
    assert any(route.dst == "203.0.113.0/24" for route in read(f"{one.lab}.node1").routes)
    monkeypatch.setattr(pace.Pace, "rest", 0.0)
    report = one.sync()
    assert report.again == 0 and not report.pending
    assert one.chains[CHAIN.chain] == ("-j RETURN",)
