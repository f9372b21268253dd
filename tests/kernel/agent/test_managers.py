"""A node's managers: one that fails is named, keeps what it had, and stops none of the others."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from k8snetlab.agent.managers import managers
from k8snetlab.agent.node import NodeAgent
from k8snetlab.agent.protocol import Manager, Surroundings
from k8snetlab.agent.report import Report
from k8snetlab.api.kubeproxy import KubeProxyConfiguration as KubeProxy
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.routing import Route
from k8snetlab.dataplane.rules import ChainKey, Hook, RuleSet
from k8snetlab.errors import InputError, KernelError
from k8snetlab.kernel import iptables
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
        return [*managers(around), Manager("policy", lambda *_: self._part(), around)]

    def _part(self) -> NodeDataplane:
        if isinstance(self.part, Exception):
            raise self.part
        return self.part

    def sync(self) -> Report:
        return self.agent.sync(self.snapshot)

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        table = iptables.open(f"{self.lab}.node1", "ipv4", "nft", Path("/dev/null"))
        return {key.chain: tuple(rules) for key, rules in table.save().items()}

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


def _stumbles(*_: object) -> None:
    raise TypeError("no such thing")


def _refuses(*_: object) -> None:
    raise KernelError("no socket")
