"""Diagnosis without a kernel: what differs as findings, causes before effects, the faults of manifests, the words."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cli.diagnose import lines
from k8snetlab.dataplane.links import Device, Veth, Vxlan
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.rules import ChainKey, Rules, RuleSet
from k8snetlab.diagnose import objects, pods
from k8snetlab.diagnose.finding import Finding, Where, ordered
from k8snetlab.diagnose.links import Names
from k8snetlab.diagnose.paths import UsualPath
from k8snetlab.diagnose.rules import rules
from k8snetlab.diagnose.tables import drift, duplicates
from k8snetlab.diagnose.usual import MOST_PODS, SOME_PODS, untried, usual_paths
from k8snetlab.diagnose.verdict import idle, laid_to, processes, store
from k8snetlab.iptables.patch import CommandLine, commands
from k8snetlab.messages.diagnose import Diagnosis, PathCounts, ReportedFinding
from k8snetlab.render import node as render_node
from k8snetlab.render.proxy import ProxyRules
from k8snetlab.testing import fake_cluster
from k8snetlab.testing.services import assemble
from k8snetlab.trace.owners import Owners

NODE1 = Where("lab.node1", "node1", "node", "node1")


@dataclass
class Lab:
    snapshot: Snapshot
    node: Netns
    pods: tuple[Netns, ...]
    names: Names
    rulesets: tuple[RuleSet, ...]
    held: dict[ChainKey, Rules]


@pytest.fixture(scope="module")
def lab() -> Lab:
    text = fake_cluster.LAB % 2 + fake_cluster.deployment("web", 3) + fake_cluster.service("web", "type: NodePort")
    snapshot = fake_cluster.FakeCluster(text).run().snapshot
    plane = render_node.render(snapshot, "node1")
    rulesets = (*(r for r in plane.rules if r.family == "ipv4"), ProxyRules.build(snapshot, "node1", "ipv4").ruleset)
    places = {pod.name: f"pod {pod.name.partition('.')[2].replace('.', '/')}" for pod in plane.pods}
    names = Names(Owners(snapshot), places)
    return Lab(snapshot, plane.node, plane.pods, names, rulesets, assemble(*rulesets))


def found(lab: Lab, **changed: object) -> list[Finding]:
    """The findings where node1 is as desired but for `changed`."""
    return ordered(drift(NODE1, lab.node, replace(lab.node, **changed), lab.names))


def told(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(f.kind, f.fault, f.object) for f in findings]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_what_is_as_desired_is_no_finding(lab: Lab) -> None:
    assert found(lab) == []


def test_every_noun_is_missed(lab: Lab) -> None:
    for field in ("routes", "neighbours", "fdb", "addresses"):
        for item in getattr(lab.node, field):
            one = found(lab, **{field: tuple(i for i in getattr(lab.node, field) if i != item)})
            assert len(one) == 1 and one[0].fault == "missing" and one[0].mend and one[0].show, item
    for key in lab.node.sysctls:
        one = found(lab, sysctls=lab.node.sysctls | {key: "7"})
        assert told(one) == [("sysctl", "wrong", key)] and " is 7, not " in one[0].message


def test_what_the_kernel_sets_along_goes_with_it(lab: Lab) -> None:
    along = {key: "0" for key in lab.node.sysctls if key.endswith(".forwarding") and key.startswith("net.ipv4.conf.")}
    assert len(along) > 1
    (one,) = found(lab, sysctls=lab.node.sysctls | along | {"net.ipv4.ip_forward": "0"})
    assert one.object == "net.ipv4.ip_forward" and len(one.explains) == len(along)
    assert {f.object for f in found(lab, sysctls=lab.node.sysctls | along)} == set(along)


def test_the_sentence_of_the_issue(lab: Lab) -> None:
    entry = lab.node.fdb[0]
    (one,) = found(lab, fdb=())
    assert one.message == f"node1: FDB entry {entry.lladdr} → {entry.dst} is missing"
    assert one.consequence == "cross-node packets to 10.244.2.0/24 are dropped at flannel.1"
    assert one.show == "bridge -n lab.node1 fdb show dev flannel.1"
    assert one.mend == f"bridge -n lab.node1 fdb replace {entry.lladdr} dev flannel.1 dst {entry.dst} self permanent"


def test_what_stood_on_a_device_goes_with_it(lab: Lab) -> None:
    links = tuple(replace(k, up=False) if isinstance(k, Vxlan) else k for k in lab.node.links)
    kept = tuple(r for r in lab.node.routes if r.dev != "flannel.1")
    (one,) = found(lab, links=links, routes=kept, neighbours=())
    assert (one.kind, one.fault, one.object) == ("link", "down", "flannel.1")
    assert len(one.explains) == 2 and len(one.mend.splitlines()) == 3
    without = tuple(k for k in lab.node.links if not isinstance(k, Vxlan))
    address = tuple(a for a in lab.node.addresses if a.dev != "flannel.1")
    (one,) = found(lab, links=without, addresses=address, routes=kept, neighbours=(), fdb=())
    assert (one.kind, one.fault, one.object) == ("link", "missing", "flannel.1")
    other = tuple(replace(k, vni=9) if isinstance(k, Vxlan) else k for k in lab.node.links)
    (one,) = found(lab, links=other)
    assert "has VNI 9, not 1" in one.message and one.mend.startswith("ip -n lab.node1 link del flannel.1")


def test_a_pods_end_goes_with_the_nodes(lab: Lab) -> None:
    veth = next(k for k in lab.node.links if isinstance(k, Veth))
    pod = next(p for p in lab.pods if p.name == veth.peer_netns)
    bare = replace(pod, links=(Device("lo"),), addresses=(), routes=())
    where = Where(pod.name, f"pod {pod.name}", "pod", "node1")
    gone = [*drift(where, pod, bare, lab.names)]
    assert {f.kind for f in gone} == {"link", "address", "route"}
    node = drift(NODE1, lab.node, replace(lab.node, links=tuple(k for k in lab.node.links if k != veth)), lab.names)
    (one,) = ordered([*gone, *node])
    assert one.object == veth.name and f"(to {lab.names.places[pod.name]}) is missing" in one.message
    assert all(str(f.mend) in one.mend for f in gone), "one command after the other puts all of it back"


def test_an_address_that_two_have(lab: Lab) -> None:
    one, other = lab.pods[:2]
    places = {p.name: Where(p.name, p.name, "pod", "node1") for p in (one, other)}
    wanted = {one.name: one, other.name: other}
    assert [*duplicates(wanted, wanted, places)] == []
    both = replace(other, addresses=(*other.addresses, one.addresses[0]))
    (finding,) = duplicates({one.name: one, other.name: both}, wanted, places)
    assert finding.netns == other.name and one.name in finding.message and " addr del " in finding.mend


# --- rules ------------------------------------------------------------------------------------------------------------


def of_rules(lab: Lab, held: dict[ChainKey, Rules]) -> list[Finding]:
    return ordered(rules(NODE1, lab.rulesets, held, "nft", lab.names.owners))


def test_rules_as_they_should_be_are_no_finding(lab: Lab) -> None:
    assert of_rules(lab, lab.held) == []


def test_each_chain_is_missed_by_its_own_name(lab: Lab) -> None:
    for key, held in lab.held.items():
        if not held or not key.chain.startswith(("KUBE-", "FLANNEL-")):
            continue
        (one,) = of_rules(lab, lab.held | {key: ()})
        assert (one.kind, one.fault, one.object) == ("chain", "empty", f"{key.table} {key.chain}")
        (one,) = of_rules(lab, lab.held | {key: ("-s 192.0.2.1 -j DROP", *held)})
        assert (one.kind, one.fault, one.object) == ("rule", "foreign", f"{key.table} {key.chain} 1")
        (one,) = of_rules(lab, lab.held | {key: held[1:]} if len(held) > 1 else lab.held | {key: ()})
        assert one.fault in ("missing", "empty")


def test_rules_in_another_order_are_told_as_such(lab: Lab) -> None:
    key, own = next((k, r) for k, r in lab.held.items() if k.chain.startswith("KUBE-SVC-") and len(r) > 2)
    held = lab.held | {key: (own[0], own[-1], *own[1:-1])}
    [finding] = rules(NODE1, lab.rulesets, held, "nft", Owners(lab.snapshot))
    assert (finding.kind, finding.fault, finding.object) == ("rule", "order", f"nat {key.chain} 2")
    assert "stand in another order: rule 2 is" in finding.message


def test_each_jump_is_missed(lab: Lab) -> None:
    for ruleset in lab.rulesets:
        for hook in ruleset.hooks:
            key = ChainKey(hook.table, hook.chain)
            held = lab.held | {key: tuple(r for r in lab.held[key] if r != hook.rule)}
            (one,) = of_rules(lab, held)
            assert (one.kind, one.object.split()[:2]) == ("hook", [hook.table, hook.chain])


def test_a_flushed_table_is_one_finding(lab: Lab) -> None:
    held = {key: () if key.table == "nat" else r for key, r in lab.held.items()}
    (one,) = of_rules(lab, held)
    assert (one.kind, one.fault, one.object, one.mend) == ("table", "flushed", "nat", "k8snetlab resume node1")


@given(st.data())
def test_the_commands_lead_from_what_is_held_to_what_is_wanted(data: st.DataObject) -> None:
    """Whatever was done to a chain: -I, -D and -R, done one after the other, put it right."""
    rule = st.sampled_from([f"-s 10.0.0.{n} -j ACCEPT" for n in range(6)])
    wanted, held = data.draw(st.lists(rule, max_size=7)), data.draw(st.lists(rule, max_size=7))
    key = ChainKey("nat", "KUBE-X")
    ruleset = RuleSet("ipv4", {key: tuple(wanted)}, prefixes=("KUBE-",))
    findings = [*rules(NODE1, [ruleset], {key: tuple(held)}, "nft", Owners(Snapshot()))]
    assert bool(findings) == (wanted != held)
    for finding in findings:
        for line in finding.mend.splitlines():
            if line.startswith("k8snetlab"):
                return
            words = line.split()
            verb, number, text = words[7], int(words[9]), " ".join(words[10:])
            if verb == "-I":
                held.insert(number - 1, text)
            elif verb == "-R":
                held[number - 1] = text
            else:
                assert verb == "-D"
                del held[number - 1]
    assert held == wanted


def test_chains_that_should_not_be_there_are_emptied_before_they_are_deleted() -> None:
    """iptables deletes no chain that a rule jumps to."""
    ruleset = RuleSet("ipv4", {ChainKey("nat", "KUBE-SERVICES"): ()}, ("KUBE-",))
    stale = {ChainKey("nat", "KUBE-SEP-A"): ("-j ACCEPT",), ChainKey("nat", "KUBE-SVC-A"): ("-j KUBE-SEP-A",)}
    mended = commands(stale, ruleset.chains, stale, CommandLine("x", "ipv4", "nft"))
    words = [command.partition(" -t nat ")[2] for command in mended]
    assert words == ["-F KUBE-SEP-A", "-F KUBE-SVC-A", "-X KUBE-SEP-A", "-X KUBE-SVC-A"]


def test_endpoints_that_have_gone_or_come(lab: Lab) -> None:
    fewer = fake_cluster.FakeCluster(
        fake_cluster.LAB % 2 + fake_cluster.deployment("web", 2) + fake_cluster.service("web", "type: NodePort")
    ).run()
    older = ProxyRules.build(fewer.snapshot, "node1", "ipv4").ruleset
    held = assemble(lab.rulesets[0], older)
    (one,) = of_rules(lab, held)
    assert (one.kind, one.fault) == ("endpoint", "missing") and "an endpoint of Service default/web" in one.message
    assert one.source.startswith("f.yaml:")
    back = [*rules(NODE1, (lab.rulesets[0], older), lab.held, "nft", Owners(fewer.snapshot))]
    assert [(f.kind, f.fault) for f in ordered(back)] == [("endpoint", "stale")]


# --- objects ----------------------------------------------------------------------------------------------------------


def judged(text: str, nodes: int = 2) -> tuple[list[tuple[str, str]], list[str]]:
    snapshot = fake_cluster.FakeCluster(fake_cluster.LAB % nodes + text).run().snapshot
    findings = [*objects.services(snapshot), *pods.pods(snapshot)]
    assert all(f.source.startswith("f.yaml:") for f in findings)
    return [(f.fault, f.object) for f in findings], [*objects.lonely(snapshot)]


def test_a_service_that_leads_somewhere_is_no_finding() -> None:
    assert judged(fake_cluster.deployment("web") + fake_cluster.service("web")) == ([], [])
    assert judged(
        fake_cluster.deployment("web") + fake_cluster.service("web", ports="[{port: 80, targetPort: http}]")
    ) == ([], [])


def test_a_selector_that_meant_pods_is_a_finding_one_without_any_a_note() -> None:
    web = fake_cluster.deployment("web")
    assert judged(web + fake_cluster.service("wbe"))[0] == [("selector", "default/wbe")]
    assert judged(web + fake_cluster.service("web") + fake_cluster.service("wbe"))[0] == [("selector", "default/wbe")]
    found, notes = judged(web + fake_cluster.service("web") + fake_cluster.service("database"))
    assert found == [] and len(notes) == 1 and "no pod has the labels app=database" in notes[0]
    found, notes = judged(fake_cluster.deployment("web", 0) + fake_cluster.service("web"))
    assert found == [] and "Deployment default/web has no pods" in notes[0]


def test_a_port_name_that_nobody_has() -> None:
    ports = "[{port: 80, targetPort: htpp}]"
    assert judged(fake_cluster.deployment("web") + fake_cluster.service("web", ports=ports))[0] == [
        ("targetPort", "default/web:80")
    ]


def test_a_port_number_where_nobody_listens() -> None:
    text = (
        fake_cluster.LAB % 1
        + fake_cluster.deployment("web", 1)
        + fake_cluster.service("web", ports="[{port: 80, targetPort: 81}]")
    )
    snapshot = fake_cluster.FakeCluster(text).run().snapshot
    ip = fake_cluster.FakeCluster(text).run().pods()[0].ips[0]
    one = objects.no_listener(snapshot, "default/web", f"{ip}:81", "nobody listens")
    assert one and (one.kind, one.fault, one.object) == ("service", "targetPort", "default/web:80")
    other = objects.no_listener(snapshot, "default/web", f"{ip}:8080", "nobody listens")
    assert other and (other.kind, other.fault) == ("pod", "silent"), "the pod is to blame for what it declares"
    assert objects.no_listener(snapshot, "default/web", "192.0.2.1:81", "nobody listens") is None


def test_local_policy_and_nodes_without_an_endpoint() -> None:
    def told(more: str, nodes: int = 2) -> list[str]:
        text = fake_cluster.deployment("web", 1) + fake_cluster.service("web", more)
        snapshot = fake_cluster.FakeCluster(fake_cluster.LAB % nodes + text).run().snapshot
        assert [*objects.services(snapshot)] == [], "what a manifest closes is no fault"
        found = [*objects.closed(snapshot)]
        assert all((f.kind, f.fault, f.object) == ("service", "local", "default/web") for f in found)
        return [f.message for f in found]

    (one,) = told("type: NodePort, externalTrafficPolicy: Local")
    assert "is closed on node2: externalTrafficPolicy is Local, and none of its endpoints is there" in one
    (one,) = told("internalTrafficPolicy: Local", 3)
    assert one.startswith(
        "Service default/web is closed to node2, node3 and their pods: internalTrafficPolicy is Local"
    )
    assert len(told("type: NodePort, externalTrafficPolicy: Local, internalTrafficPolicy: Local")) == 2
    assert told("type: LoadBalancer, externalTrafficPolicy: Local") == []
    assert told("type: NodePort") == []
    assert told("type: NodePort, externalTrafficPolicy: Local", nodes=1) == []


def test_usual_paths_are_those_that_must_work() -> None:
    text = (
        fake_cluster.deployment("web", 4) + fake_cluster.service("web", "type: NodePort") + fake_cluster.service("none")
    )
    snapshot = fake_cluster.FakeCluster(fake_cluster.LAB % 2 + text).run().snapshot
    paths = usual_paths(snapshot, "ipv4")
    services = [p for p in paths if p.service]
    assert {p.service for p in services} == {"default/web"}
    assert {p.origin for p in services if p.origin == "lab.outside"} and all(len(p.endpoints) == 4 for p in services)
    (service,) = (s for s in snapshot.all(Service).values() if s.name == "web")
    ports = {p.flow.dport for p in services}
    assert ports == {80, service.spec.ports[0].nodePort}
    many = fake_cluster.FakeCluster(fake_cluster.LAB % 30 + text).run().snapshot
    assert len(many.all(Node)) == 30 and len(usual_paths(many, "ipv4")) < 300
    assert usual_paths(snapshot, "ipv6") == []


def test_of_a_large_lab_some_pods_are_tried_others_in_each_turn_and_it_is_said() -> None:
    def paths(turn: int) -> list[UsualPath]:
        return usual_paths(large, "ipv4", turn)

    large = (
        fake_cluster.FakeCluster(fake_cluster.LAB % 4 + fake_cluster.deployment("web", 3 * MOST_PODS)).run().snapshot
    )
    asked = [{path.flow.dst for path in paths(turn)} for turn in range(MOST_PODS)]
    assert all(SOME_PODS <= len(one) <= 2 * SOME_PODS for one in asked) and asked[0] != asked[1]
    ips = {ip for pod in large.all(Pod).values() for ip in pod.ips}
    assert ips <= {ip for one in asked for ip in one}
    unasked, pods = untried(large, paths(3))
    assert pods == len(ips) == 3 * MOST_PODS and unasked == len(ips - {path.flow.dst for path in paths(3)})
    few = fake_cluster.FakeCluster(fake_cluster.LAB % 2 + fake_cluster.deployment("web", MOST_PODS)).run().snapshot
    assert usual_paths(few, "ipv4", 0) == usual_paths(few, "ipv4", 5) and untried(few, []) == (0, 0)


# --- order and words --------------------------------------------------------------------------------------------------


def test_what_real_packets_lose_is_laid_to_rules_that_cannot_be_read_and_to_agents_that_do_not_answer() -> None:
    def of(kind: str, fault: str, node: str, message: str) -> Finding:
        return Finding(
            kind=kind, fault=fault, node=node, object=message, message=message, consequence="", show="", broken=("a b",)
        )

    lost, elsewhere = of("path", "lost", "node1", "lost at node1"), of("path", "lost", "node2", "lost at node2")
    unread = replace(of("rule", "foreign", "node1", "nobody's"), broken=())
    deaf = replace(of("agent", "misses", "node2", "deaf"), broken=())
    found = laid_to([deaf], [lost, elsewhere], [unread])
    assert [(f.message, f.explains, f.broken) for f in found] == [
        ("deaf", ("lost at node2",), ("a b",)),
        ("nobody's", ("lost at node1",), ("a b",)),
    ]
    assert laid_to([], [elsewhere], [unread]) == [elsewhere], "what lost nothing is not blamed"


def test_an_agent_that_hangs_or_does_not_answer_is_a_finding() -> None:
    assert [(f.kind, f.fault) for f in idle("node1", 5.0, True)] == [("agent", "stuck"), ("agent", "misses")]
    assert not [*idle("node1", 0.5, False)]


def test_what_breaks_paths_comes_before_what_does_not() -> None:
    dead = [*processes("dead", 0, "runs", "k8snetlab up x"), *store("it is gone", ("http://127.0.0.1:1",), {})]
    kubelet = [*processes("runs", 1, "dead", "k8snetlab up x")]
    route = Finding(
        kind="route",
        fault="missing",
        node="node1",
        object="r",
        message="m",
        consequence="c",
        show="s",
        broken=("a b: lost",),
    )
    mtu = Finding(kind="link", fault="mtu", node="node1", object="eth0", message="m", consequence="c", show="s")
    assert [f.kind for f in ordered([*dead, mtu, route])] == ["route", "link", "daemon", "store"]
    assert [f.kind for f in ordered([*dead, *kubelet])] == ["kubelet", "daemon", "store"]
    assert ordered([route, route]) == [route]


def test_a_diagnosis_is_told_with_cause_command_and_mend() -> None:
    finding = ReportedFinding(
        kind="route",
        fault="missing",
        node="node1",
        object="x",
        message="node1: route x is missing",
        consequence="packets go astray",
        show="ip route",
        mend="ip route add x\nip route add y",
        owner="Node node2, lab.yaml:3",
        source="lab.yaml:3",
        explains=tuple(f"thing {n}" for n in range(7)),
        paths=tuple(f"path {n}" for n in range(5)),
    )
    answer = Diagnosis((finding, finding), (), ("n",), PathCounts(walked=9, broken=5, tried=0), 0.1)
    text = [*lines(answer)]
    assert text[0] == "1. node1: route x is missing" and text.count("   mend: ip route add y") == 2
    assert "   with it: 2 things more" in text and "   broken: 2 paths more" in text and text[-2] == "note: n"
    assert [*lines(replace(answer, findings=(), notes=()))] == ["nothing is wrong: 9 usual paths walked in 0.1 s"]
