"""What a trace predicts is what a real packet does: for every pair of `probe --all`, and where something is broken."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from repository import MANIFESTS, SCENARIOS

from k8snetlab.client.client import Client
from k8snetlab.messages.trace import TRACE, TraceQuestion
from k8snetlab.testing import Lab, eventually

Json = dict[str, Any]


def start(directory: Path, scenario: str, variant: str) -> Lab:
    """The scenario with the iptables variant that is asked for."""
    lab = Lab(directory)
    copy = directory / scenario
    copy.mkdir()
    for file in (SCENARIOS / scenario).glob("*.yaml"):
        (copy / file.name).write_text(file.read_text())
    text = (copy / "lab.yaml").read_text()
    text = re.sub(r"^spec:$", f"spec:\n  proxy: {{iptables: {variant}}}", text, flags=re.M)
    text = re.sub(r"^spec: {", f"spec: {{proxy: {{iptables: {variant}}}, ", text, flags=re.M)
    (copy / "lab.yaml").write_text(text)
    lab.run("up", str(copy))
    assert lab.json("status")["iptables"] == variant
    return lab


def trace(lab: Lab, source: str, target: str, port: int | None, protocol: str = "tcp", **more: object) -> Json:
    question = msgspec.convert(
        {"from": source, "to": target, "port": port, "protocol": protocol, **more}, TraceQuestion
    )
    said: Json = json.loads(msgspec.json.encode(Client(lab.name).call(TRACE, question)))
    return said


def taken(answer: Json) -> Json:
    way: Json = answer["ways"][answer["chosen"]]
    return way


@pytest.fixture(scope="module", params=["nft", "legacy"])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def dual(variant: str, directory: Path, more: str = "") -> Iterator[Lab]:
    """A lab with both IP families."""
    text = (MANIFESTS / "dual.yaml").read_text().replace("VARIANT", variant) + more
    (directory / "dual.yaml").write_text(text)
    lab = Lab(directory)

    def settled() -> bool:
        """Duplicate address detection is over: until then a pod's first packets are lost."""
        shown = (["ip", "-n", name, "-6", "addr"] for name in lab.namespaces())
        return all("tentative" not in subprocess.run(c, capture_output=True, text=True).stdout for c in shown)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("K8SNETLAB_RUN", str(lab.run_directory))
        try:
            lab.run("up", str(directory / "dual.yaml"))
            eventually(settled)
            yield lab
        finally:
            lab.run("down")


# --- broken labs ------------------------------------------------------------------------------------------------------

IPTABLES = "ip netns exec {lab}.{node} iptables-{variant} -w {rule}"
SYSCTL = "ip netns exec {lab}.{node} sysctl -qw {setting}"


@pytest.fixture(scope="module")
def paused(variant: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A business-manager whose agents mend nothing."""
    lab = start(tmp_path_factory.mktemp("paused"), "business-manager", variant)
    for node in ("node1", "node2"):
        lab.run("pause", node)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("K8SNETLAB_RUN", str(lab.run_directory))
        yield lab
    lab.run("down")


def facts(lab: Lab) -> dict[str, str]:
    """Names and addresses to break things with: of pods on node1 (`one`, `two`) and node2 (`far`)."""
    pods = [p for p in lab.json("get", "pods")["items"] if p["metadata"]["name"].startswith("business-manager")]
    near = [p for p in pods if p["spec"]["nodeName"] == "node1"]
    far = next(p for p in pods if p["spec"]["nodeName"] == "node2")
    ports = json.loads(lab.shell("node1", "bridge", "-j", "link"))
    fdb = json.loads(lab.shell("node1", "bridge", "-j", "fdb", "show", "dev", "flannel.1"))
    port = json.loads(lab.shell("node1", "ip", "-j", "route", "get", near[1]["status"]["podIP"]))
    assert port[0]["dev"] == "cni0"
    veths = [p["ifname"] for p in ports if p.get("master") == "cni0"]
    return {
        "lab": lab.name,
        "one": near[0]["metadata"]["name"],
        "two": near[1]["metadata"]["name"],
        "twoIP": near[1]["status"]["podIP"],
        "far": far["metadata"]["name"],
        "farIP": far["status"]["podIP"],
        "farMAC": next(e["mac"] for e in fdb if e.get("dst") == "192.168.0.22"),
        "nearMAC": json.loads(lab.shell("node1", "ip", "-j", "link", "show", "flannel.1"))[0]["address"],
        "veths": " ".join(veths),
        "service": "10.254.80.22",
    }


class Broken(NamedTuple):
    """What breaks a lab whose agents are paused and what mends it, a packet, and what becomes of it meanwhile."""

    breaks: str
    mends: str
    source: str
    target: str
    port: int
    fate: str
    reason: str


BROKEN: dict[str, Broken] = {
    "route missing": Broken(
        breaks="ip -n {lab}.node1 route del 172.30.9.0/24",
        mends="ip -n {lab}.node1 route add 172.30.9.0/24 via 172.30.9.0 dev flannel.1 onlink",
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="no route to {farIP} in router",
    ),
    "route a blackhole": Broken(
        breaks="ip -n {lab}.node1 route replace blackhole 172.30.9.0/24",
        mends="ip -n {lab}.node1 route replace 172.30.9.0/24 via 172.30.9.0 dev flannel.1 onlink",
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="blackhole in node1",
    ),
    "neighbour missing": Broken(
        breaks="ip -n {lab}.node1 neigh del 172.30.9.0 dev flannel.1",
        mends="ip -n {lab}.node1 neigh replace 172.30.9.0 lladdr {farMAC} dev flannel.1 nud permanent",
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="no neighbour entry for 172.30.9.0",
    ),
    "neighbour wrong": Broken(
        breaks="ip -n {lab}.node1 neigh replace 172.30.9.0 lladdr 02:00:00:00:00:01 dev flannel.1 nud permanent",
        mends="ip -n {lab}.node1 neigh replace 172.30.9.0 lladdr {farMAC} dev flannel.1 nud permanent",
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="no FDB entry for 02:00:00:00:00:01",
    ),
    "FDB entry missing": Broken(
        breaks="bridge -n {lab}.node1 fdb del {farMAC} dev flannel.1",
        mends="bridge -n {lab}.node1 fdb replace {farMAC} dev flannel.1 dst 192.168.0.22 self permanent",
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="no FDB entry for {farMAC}",
    ),
    "FDB entry wrong": Broken(
        breaks="bridge -n {lab}.node1 fdb replace {farMAC} dev flannel.1 dst 192.168.0.99 self permanent",
        mends="bridge -n {lab}.node1 fdb replace {farMAC} dev flannel.1 dst 192.168.0.22 self permanent",
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="answers for 192.168.0.99",
    ),
    "VTEP has another MAC": Broken(
        breaks=(
            "bridge -n {lab}.node1 fdb append 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.22 self permanent && "
            "ip -n {lab}.node1 neigh replace 172.30.9.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud permanent"
        ),
        mends=(
            "ip -n {lab}.node1 neigh replace 172.30.9.0 lladdr {farMAC} dev flannel.1 nud permanent && "
            "bridge -n {lab}.node1 fdb del 02:00:00:00:00:02 dev flannel.1"
        ),
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="the inner frame is for 02:00:00:00:00:02, and flannel.1 is {farMAC}",
    ),
    "tunnel down there": Broken(
        breaks="ip -n {lab}.node2 link set flannel.1 down",
        mends=(
            "ip -n {lab}.node2 link set flannel.1 up && "
            "ip -n {lab}.node2 route replace 172.30.76.0/24 via 172.30.76.0 dev flannel.1 onlink && "
            "ip -n {lab}.node2 neigh replace 172.30.76.0 lladdr {nearMAC} dev flannel.1 nud permanent"
        ),
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="node2 has no tunnel for UDP port 8472: flannel.1 is down",
    ),
    "forwarding off here": Broken(
        breaks=SYSCTL.format(lab="{lab}", node="node1", setting="net.ipv4.ip_forward=0"),
        mends=SYSCTL.format(lab="{lab}", node="node1", setting="net.ipv4.ip_forward=1"),
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="forwarding is off in node1",
    ),
    "forwarding off there": Broken(
        breaks=SYSCTL.format(lab="{lab}", node="node2", setting="net.ipv4.ip_forward=0"),
        mends=SYSCTL.format(lab="{lab}", node="node2", setting="net.ipv4.ip_forward=1"),
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="forwarding is off in node2",
    ),
    "rp_filter strict": Broken(
        breaks=(
            "ip -n {lab}.node2 route replace 172.30.76.0/24 via 192.168.0.1 dev eth0 && "
            + SYSCTL.format(lab="{lab}", node="node2", setting="net.ipv4.conf.all.rp_filter=1")
        ),
        mends=(
            "ip -n {lab}.node2 route replace 172.30.76.0/24 via 172.30.76.0 dev flannel.1 onlink && "
            + SYSCTL.format(lab="{lab}", node="node2", setting="net.ipv4.conf.all.rp_filter=0")
        ),
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="rp_filter=1 in node2",
    ),
    "VXLAN dropped": Broken(
        breaks=IPTABLES.format(
            lab="{lab}", node="node2", variant="{variant}", rule="-I INPUT -p udp --dport 8472 -j DROP"
        ),
        mends=IPTABLES.format(
            lab="{lab}", node="node2", variant="{variant}", rule="-D INPUT -p udp --dport 8472 -j DROP"
        ),
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="node2: DROP: filter INPUT, rule 1 (nobody owns it)",
    ),
    "answers dropped": Broken(
        breaks=IPTABLES.format(
            lab="{lab}", node="node2", variant="{variant}", rule="-I FORWARD -p tcp --sport 8080 -j DROP"
        ),
        mends=IPTABLES.format(
            lab="{lab}", node="node2", variant="{variant}", rule="-D FORWARD -p tcp --sport 8080 -j DROP"
        ),
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="on the way back: node2: DROP: filter FORWARD, rule 1",
    ),
    "FORWARD policy DROP": Broken(
        breaks=(
            IPTABLES.format(lab="{lab}", node="node1", variant="{variant}", rule="-P FORWARD DROP")
            + " && "
            + IPTABLES.format(lab="{lab}", node="node1", variant="{variant}", rule="-N KEPT")
            + " && "
            + IPTABLES.format(lab="{lab}", node="node1", variant="{variant}", rule="-I FORWARD -g KEPT")
        ),
        mends=(
            IPTABLES.format(lab="{lab}", node="node1", variant="{variant}", rule="-P FORWARD ACCEPT")
            + " && "
            + IPTABLES.format(lab="{lab}", node="node1", variant="{variant}", rule="-D FORWARD -g KEPT")
            + " && "
            + IPTABLES.format(lab="{lab}", node="node1", variant="{variant}", rule="-X KEPT")
        ),
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="lost",
        reason="DROP by the policy of FORWARD",
    ),
    "rejected": Broken(
        breaks=IPTABLES.format(lab="{lab}", node="node1", variant="{variant}", rule="-I FORWARD -p tcp -j REJECT"),
        mends=IPTABLES.format(lab="{lab}", node="node1", variant="{variant}", rule="-D FORWARD -p tcp -j REJECT"),
        source="{one}",
        target="{farIP}",
        port=8080,
        fate="refused",
        reason="node1: REJECT: filter FORWARD, rule 1 (nobody owns it)",
    ),
    "bridge-nf-call off": Broken(
        breaks=(
            SYSCTL.format(lab="{lab}", node="node1", setting="net.bridge.bridge-nf-call-iptables=0")
            + " && "
            + IPTABLES.format(
                lab="{lab}",
                node="node1",
                variant="{variant}",
                rule="-t nat -I PREROUTING -d 10.254.80.22 -p tcp -j DNAT --to-destination {twoIP}:8080",
            )
        ),
        mends=(
            SYSCTL.format(lab="{lab}", node="node1", setting="net.bridge.bridge-nf-call-iptables=1")
            + " && "
            + IPTABLES.format(
                lab="{lab}",
                node="node1",
                variant="{variant}",
                rule="-t nat -D PREROUTING -d 10.254.80.22 -p tcp -j DNAT --to-destination {twoIP}:8080",
            )
        ),
        source="{one}",
        target="{service}",
        port=80,
        fate="lost",
        reason="the answer comes from {twoIP}:8080, and 10.254.80.22:80 was asked",
    ),
    "hairpin off": Broken(
        breaks=(
            "for port in {veths}; do ip -n {lab}.node1 link set $port type bridge_slave hairpin off; done && "
            + IPTABLES.format(
                lab="{lab}",
                node="node1",
                variant="{variant}",
                rule="-t nat -I PREROUTING -d 10.254.80.22 -p tcp -j DNAT --to-destination {twoIP}:8080",
            )
        ),
        mends=(
            "for port in {veths}; do ip -n {lab}.node1 link set $port type bridge_slave hairpin on; done && "
            + IPTABLES.format(
                lab="{lab}",
                node="node1",
                variant="{variant}",
                rule="-t nat -D PREROUTING -d 10.254.80.22 -p tcp -j DNAT --to-destination {twoIP}:8080",
            )
        ),
        source="{two}",
        target="{service}",
        port=80,
        fate="lost",
        reason="hairpin is off",
    ),
    "Services flushed": Broken(
        breaks=IPTABLES.format(
            lab="{lab}", node="node1", variant="{variant}", rule="-t nat -I KUBE-SERVICES -j RETURN"
        ),
        mends=IPTABLES.format(lab="{lab}", node="node1", variant="{variant}", rule="-t nat -D KUBE-SERVICES -j RETURN"),
        source="{one}",
        target="{service}",
        port=80,
        fate="unreachable",
        reason="no route to 10.254.80.22 in router",
    ),
    "another variant's DNAT": Broken(
        breaks=(
            IPTABLES.format(
                lab="{lab}",
                node="node1",
                variant="{other}",
                rule="-t nat -A PREROUTING -d 10.254.80.22 -p tcp --dport 80 -j DNAT --to-destination {farIP}:9",
            )
        ),
        mends=(
            IPTABLES.format(
                lab="{lab}",
                node="node1",
                variant="{other}",
                rule="-t nat -D PREROUTING -d 10.254.80.22 -p tcp --dport 80 -j DNAT --to-destination {farIP}:9",
            )
        ),
        source="{one}",
        target="{service}",
        port=80,
        fate="refused",
        reason="nobody listens on tcp {farIP}:9",
    ),
    "another variant's DROP": Broken(
        breaks=IPTABLES.format(
            lab="{lab}", node="node1", variant="{other}", rule="-A FORWARD -p tcp --dport 8080 -j DROP"
        ),
        mends=IPTABLES.format(
            lab="{lab}", node="node1", variant="{other}", rule="-D FORWARD -p tcp --dport 8080 -j DROP"
        ),
        source="{one}",
        target="{service}",
        port=80,
        fate="lost",
        reason="node1: DROP: filter ({other}) FORWARD, rule 1 (nobody owns it)",
    ),
    "nobody listens": Broken(
        breaks="true",
        mends="true",
        source="{one}",
        target="{farIP}",
        port=9,
        fate="refused",
        reason="nobody listens on tcp {farIP}:9",
    ),
}


def shell(lab: Lab, line: str) -> None:
    lab_shell = lab.shell("router", "sh", "-c", line)
    assert not lab_shell.strip(), lab_shell


IN_RULES = [name for name, one in BROKEN.items() if "iptables-" in one.breaks]
"""What is done to iptables' rules is another thing with each variant; the rest is the same with both."""


@pytest.mark.parametrize("variant", ["nft"], indirect=True, scope="module")
@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_lab_is_predicted_as_it_behaves(paused: Lab, variant: str, damage: str) -> None:
    compare(paused, variant, damage)


@pytest.mark.parametrize("variant", ["legacy"], indirect=True, scope="module")
@pytest.mark.parametrize("damage", IN_RULES)
def test_a_broken_lab_is_predicted_in_the_other_variant(paused: Lab, variant: str, damage: str) -> None:
    compare(paused, variant, damage)


def compare(paused: Lab, variant: str, damage: str) -> None:
    known = facts(paused) | {"variant": variant, "other": "legacy" if variant == "nft" else "nft"}
    case = BROKEN[damage]
    shell(paused, case.breaks.format(**known))
    try:
        answer = trace(paused, case.source.format(**known), case.target.format(**known), case.port)
    finally:
        shell(paused, case.mends.format(**known))
    way = taken(answer)
    assert (way["fate"], case.reason.format(**known) in way["reason"]) == (case.fate, True), way["reason"]
    assert answer["observed"]["differences"] == []
    after = trace(paused, known["one"], known["farIP"], 8080)
    assert (taken(after)["fate"], after["observed"]["differences"]) == ("answered", [])


def test_what_the_prediction_does_not_read_shows_as_a_difference(paused: Lab) -> None:
    known = facts(paused)
    rule = f"ip -n {paused.name}.node1 rule"
    shell(paused, f"{rule} add to {known['farIP']} blackhole")
    try:
        answer = trace(paused, known["one"], known["farIP"], 8080)
    finally:
        shell(paused, f"{rule} del to {known['farIP']} blackhole")
    assert answer["observed"]["agrees"] is False
    assert taken(answer)["fate"] == "answered" and answer["observed"]["fate"] == "lost"
    unseen = [h for h in taken(answer)["there"] if h["seen"] is False]
    assert (unseen[0]["place"], unseen[0]["interface"]) == ("node1", "flannel.1")
    assert unseen[0]["remark"] and answer["observed"]["differences"]


def test_a_trace_to_a_service_tells_each_way_and_who_owns_its_rules(paused: Lab) -> None:
    known = facts(paused)
    answer = trace(paused, known["far"], known["service"], 80, predictOnly=True, endpoint=known["twoIP"])
    assert answer["observed"] is None
    assert [way["probability"] for way in answer["ways"]] == pytest.approx([1 / 3] * 3)
    way = taken(answer)
    assert way["endpoint"] == f"{known['twoIP']}:8080"
    assert {hop["place"] for hop in way["there"]} == {known["far"], "node2", "router", "node1", known["two"]}
    outer = [hop["outer"] for hop in way["there"] if hop["outer"]]
    assert {(o["src"], o["dst"], o["dport"]) for o in outer} == {("192.168.0.22", "192.168.0.21", 8472)}
    decisions = [d for hop in way["there"] for d in hop["decisions"]]
    dnat = next(d for d in decisions if d["text"].startswith("DNAT"))
    assert re.fullmatch(r"Service default/business-manager, port 80, \S*30-business-manager\.yaml:\d+", dnat["owner"])
    assert dnat["entry"].startswith("-A KUBE-SEP-") and dnat["counters"]
    route = next(d for d in decisions if d["what"] == "route" and d["entry"].startswith("172.30.76.0/24"))
    assert route["lost"] == ["0.0.0.0/0 via 192.168.0.1 dev eth0"]
    assert route["owner"].startswith("Node node1")


def test_a_trace_by_icmp_udp_or_from_outside_agrees_with_the_kernels(paused: Lab) -> None:
    known = facts(paused)
    echo = trace(paused, known["one"], known["farIP"], None, "icmp")
    assert (taken(echo)["fate"], echo["observed"]["differences"]) == ("answered", [])
    datagram = trace(paused, known["one"], known["farIP"], 9, "udp")
    assert (taken(datagram)["fate"], datagram["observed"]["differences"]) == ("refused", [])
    out = trace(paused, known["one"], "outside", 80)
    assert (taken(out)["fate"], out["observed"]["differences"]) == ("refused", [])
    assert taken(out)["there"][-1]["packet"]["src"] == "192.168.0.21", "masqueraded"
    enter = trace(paused, "outside", "business-manager", None, node="node2")
    assert (taken(enter)["fate"], enter["observed"]["differences"]) == ("answered", [])
    times = [hop["microseconds"] for hop in taken(enter)["there"] if hop["interface"]]
    assert None not in times and times[0] == 0


def test_sctp_is_predicted_and_asked_for_real(variant: str, tmp_path: Path) -> None:
    """Without SCTP in the kernel an INIT is what can be sent, and that there is no SCTP is the true answer."""
    services = (SCTP.format(family=4, address="10.96.0.40"), SCTP.format(family=6, address="fd00:10:96::40"))
    with dual(variant, tmp_path, "".join(services)) as lab:
        for family in (4, 6):
            answer = trace(lab, "client1", f"assoc{family}", 7, "sctp")
            pod = answer["ways"][0]["endpoint"].rpartition(":")[0].strip("[]")
            direct = trace(lab, "client1", pod, 8080, "sctp")
            assert [w["probability"] for w in answer["ways"]] == pytest.approx([0.5, 0.5])
            assert answer["observed"]["connections"][0]["original"][2:] == [answer["address"], 7]
            assert (":" in answer["address"]) == (family == 6)
            expected = ("answered", "refused") if Path("/proc/net/sctp").exists() else ("unreachable",)
            for found in (answer, direct):
                assert (taken(found)["fate"], found["observed"]["differences"]) == (found["observed"]["fate"], [])
                assert found["observed"]["fate"] in expected


SCTP = """
---
apiVersion: v1
kind: Service
metadata: {{name: assoc{family}}}
spec:
  clusterIP: "{address}"
  ipFamilies: [IPv{family}]
  selector: {{app: web}}
  ports: [{{port: 7, targetPort: 8080, protocol: SCTP}}]
"""


def test_trace_tells_its_story_and_draws_it(paused: Lab, tmp_path: Path) -> None:
    told = paused.run("trace", "client", "business-manager:80", "--svg", str(tmp_path / "way.svg"))
    assert "prediction and observation agree" in told and "DNAT" in told and " ✓ " in told
    assert ElementTree.parse(tmp_path / "way.svg").getroot().tag.endswith("svg")
    drawn = paused.run("trace", "client", "business-manager:80", "--predict-only", "--mermaid")
    assert drawn.startswith("sequenceDiagram\n") and "participant p0 as client" in drawn
    answer = paused.json("trace", "client", "business-manager:80", "--predict-only")
    assert taken(answer)["fate"] == "answered"
    said = paused.run("trace", "client", "172.30.9.2:9", code=1)
    assert "refused" in said
    assert "hint:" in paused.run("trace", "client", "nobody:80", code=1)
    assert "no way leads to endpoint" in paused.run(
        "trace", "client", "business-manager:80", "--predict-only", "--endpoint", "1.2.3.4", code=2
    )
