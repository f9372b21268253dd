"""NetworkPolicies in kernels, 1,000 of them over 1,000 pods on 10 nodes, and what they cost packets.

The floor of a node's sync is `ipset restore` and `iptables-nft-restore`, fed once each with the same sets and rules. A
label's change is measured in the ten kernels one after the other, as one process would do it; where there is no policy
its floor is the same without a controller. Throughput is that of labs with policies beside others without, in turns
(`tcp.py`).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks import machine, tcp, throughput
from benchmarks.floors import path
from benchmarks.generate import address
from benchmarks.rows import Goal, Row
from benchmarks.run import CannotRunError, Run
from k8snetlab.agent.kube_router import KubeRouter
from k8snetlab.agent.protocol import Surroundings
from k8snetlab.agent.tables import Table
from k8snetlab.api.core import Container, ContainerPort, Node, NodeSpec, Pod, PodIP, PodSpec, PodStatus
from k8snetlab.api.lab import Lab as LabObject
from k8snetlab.api.lab import LabNetworkPolicy, LabSpec
from k8snetlab.api.meta import LabelSelector, Object, ObjectMeta
from k8snetlab.api.networking import (
    NetworkPolicy,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.dataplane.rules import restore_payload
from k8snetlab.kernel import iptables
from k8snetlab.render.netpol import node as netpol
from k8snetlab.state.ledger import Ledger

SPACES, NODES = 20, 10
CHANGE, SYNC, RATE, NO_COST = 0.1, 2.0, 0.95, 0.005
"""Goals: seconds, times the floor, of the rate without policies, and seconds where there is no policy."""
CHANGES, STACKED = 5, 20


def rows(run: Run) -> Iterator[Row]:
    if not all(map(shutil.which, ("ipset", "iptables-nft-restore"))):
        raise CannotRunError("no ipset or no iptables-nft-restore: apt-get install ipset iptables")
    many = run.scale.pods
    snapshot = cluster(many)
    free, idle = (cluster(many, 0, "kube-router"), cluster(many, 0, "none"))
    ours, floor, changes = [], [], list[float]()
    without, nothing = list[float](), list[float]()
    for number in range(run.scale.rounds):
        run.say(f"round {number + 1}")
        with nodes(snapshot) as found:
            floor.append(restored(netpol.render(snapshot, "node1")))
            ours.append(found[0].sync(snapshot))
            for one in found[1:]:
                one.sync(snapshot)
            changes += changed(found, snapshot)
        with nodes(free) as found:
            for one in found:
                one.sync(free)
            without += changed(found, free)
            nothing += changed(found, idle)
    yield Row(f"{many} policies of {many} pods: a node", tuple(ours), tuple(floor), goals=(Goal(SYNC),))
    yield Row(f"a pod's label in {NODES} kernels", tuple(changes), goals=(Goal(CHANGE, ""),))
    yield Row(
        f"a pod's label in {NODES} kernels, no policy", tuple(without), tuple(nothing), goals=(Goal(NO_COST, ""),)
    )
    yield from _rates(run)


Controller = Literal["kube-router", "none"]


def cluster(many: int, policies: int | None = None, controller: Controller = "kube-router") -> Snapshot:
    """As many `policies` as pods where it is not said how many, each for one of fifty apps of a namespace, from two
    others, by number and by name."""
    spec_of_lab = LabSpec(networkPolicy=LabNetworkPolicy(controller))
    objects: list[Object] = [LabObject(metadata=ObjectMeta(name="bench"), spec=spec_of_lab)]
    for number in range(1, NODES + 1):
        subnet = NodeSpec(podCIDRs=(f"10.244.{number}.0/24",))
        objects.append(Node(metadata=ObjectMeta(name=f"node{number}"), spec=subnet))
    for number in range(many):
        meta = _meta("pod", number, {"app": f"a{number % 50}", "role": f"r{number % 30}"})
        container = Container(name="c", ports=(ContainerPort(8080, name="web"),))
        ip = address(number + 256, 245)
        spec = PodSpec(nodeName=f"node{number % NODES + 1}", containers=(container,))
        objects.append(Pod(metadata=meta, spec=spec, status=PodStatus(podIP=ip, podIPs=(PodIP(ip),))))
    for number in range(many if policies is None else policies):
        peers = (
            NetworkPolicyPeer(podSelector=LabelSelector({"role": f"r{number % 30}"})),
            NetworkPolicyPeer(namespaceSelector=LabelSelector({"kubernetes.io/metadata.name": f"ns{number % 3}"})),
        )
        ports = (NetworkPolicyPort(protocol="TCP", port="web"), NetworkPolicyPort(protocol="TCP", port=9000))
        rule = NetworkPolicyIngressRule(from_=peers, ports=ports)
        spec_of = NetworkPolicySpec(
            podSelector=LabelSelector({"app": f"a{number % 50}"}), ingress=(rule,), policyTypes=("Ingress",)
        )
        objects.append(NetworkPolicy(metadata=_meta("policy", number, {}), spec=spec_of))
    return Snapshot.of(objects)


def _meta(kind: str, number: int, labels: dict[str, str]) -> ObjectMeta:
    return ObjectMeta(name=f"{kind}{number}", namespace=f"ns{number % SPACES}", labels=labels)


class OneNode:
    """kube-router of a node, in a namespace of its own."""

    def __init__(self, name: str, namespace: str, directory: Path) -> None:
        around = Surroundings(name, Ledger(directory / f"{name}.ledger"), directory)
        self._manager = KubeRouter("kube-router", netpol.render, around)
        table = iptables.open(namespace, "ipv4", "nft", directory / f"{name}.lock")
        self._part = self._manager.table_part(table)
        self._table = Table(table, [self._part])
        self._namespace = namespace

    def sync(self, snapshot: Snapshot, trusting: bool = False) -> float:
        began = time.perf_counter()
        wanted = self._manager.wanted(snapshot)
        self._part.want(snapshot, wanted.rules if wanted else ())
        self._table.sync(trusting)
        self._manager.settled(snapshot, self._namespace)
        assert self._part.failure is None, self._part.failure
        return time.perf_counter() - began

    def close(self) -> None:
        self._table.close()


@contextmanager
def nodes(snapshot: Snapshot) -> Iterator[list[OneNode]]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="k8snetlab-bench-")))
        made = []
        for node in snapshot.all(Node).values():
            one = OneNode(node.name, stack.enter_context(machine.namespace()), directory)
            stack.callback(one.close)
            made.append(one)
        yield made


def changed(found: list[OneNode], snapshot: Snapshot) -> Iterator[float]:
    """Seconds until every kernel knows that a pod has another label."""
    for number in range(CHANGES):
        key = (f"ns{number}", f"pod{number}")
        pod = snapshot.all(Pod)[key]
        labels = {**pod.metadata.labels, "role": f"r{number + 7}"}
        labelled = msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, labels=labels))
        snapshot = snapshot.changed([(Pod, key, labelled)], snapshot.revision + 1)
        began = time.perf_counter()
        for one in found:
            one.sync(snapshot, trusting=True)
        yield time.perf_counter() - began


def restored(plane: NodeDataplane) -> float:
    """Seconds that ipset and iptables take for the same sets and rules."""
    (rules,) = plane.rules
    sets = "".join(
        f"create {one.name} {one.type} family inet timeout 0\n" + "".join(f"add {one.name} {e}\n" for e in one.entries)
        for one in plane.sets
    )
    jumps = "".join(f"-A {hook.chain} {hook.rule}\n" for hook in rules.hooks)
    text = restore_payload(rules.chains).replace("COMMIT\n", f"{jumps}COMMIT\n")
    with machine.namespace() as name:
        inside = ["ip", "netns", "exec", name]
        began = time.perf_counter()
        subprocess.run([*inside, "ipset", "restore"], input=sets, text=True, check=True)
        subprocess.run([*inside, "iptables-nft-restore", "--noflush"], input=text, text=True, check=True)
        return time.perf_counter() - began


def _rates(run: Run) -> Iterator[Row]:
    together, alone = [], []
    for number in range(run.scale.rounds):
        run.say(f"throughput, round {number + 1}")
        with throughput.the_lab(*_policies()) as policed, throughput.the_lab() as free:
            together.append(tcp.rates([policed, free], throughput.PAIRS))
            alone.append(tcp.rates_of_a_core([policed, free], throughput.PAIRS))
    for what, found in (("", together), (", on one core", alone)):
        ours, floor = tcp.joined(found)
        yield Row(f"an allowed connection{what}", ours, floor, unit="Mbit/s", goals=(Goal(RATE),), more=True)


def _policies() -> Iterator[dict[str, Any]]:
    """What goes from a to b is allowed by the last of some for each end."""
    for number in range(STACKED):
        port = path.PORT if number == STACKED - 1 else 1000 + number
        ports = [{"protocol": "TCP", "port": port}]
        for name, peer, direction, field in (("b", "a", "ingress", "from"), ("a", "b", "egress", "to")):
            spec = {
                "podSelector": {"matchLabels": {"app": name}},
                "policyTypes": [direction.capitalize()],
                direction: [{field: [{"podSelector": {"matchLabels": {"app": peer}}}], "ports": ports}],
            }
            meta = {"name": f"{direction}{number}"}
            yield {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}
