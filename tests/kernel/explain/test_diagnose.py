"""`diagnose` names the true cause first, for every kind of damage in a table, and its commands mend it."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.testing import Lab, eventually

Json = dict[str, Any]
MANIFEST = Path(__file__).parent / "diagnosed.yaml"

pytestmark = pytest.mark.timeout(900)


def settled(lab: Lab) -> bool:
    """Duplicate address detection is over: until then a pod's first packets are lost."""
    shown = (["ip", "-n", name, "-6", "addr"] for name in lab.namespaces())
    return all("tentative" not in subprocess.run(c, capture_output=True, text=True).stdout for c in shown)


def start(directory: Path, variant: str) -> Lab:
    lab = Lab(directory)
    (directory / "lab.yaml").write_text(MANIFEST.read_text().replace("VARIANT", variant))
    binary = directory / "bin" / "k8snetlab"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nexec {sys.executable} -m k8snetlab "$@"\n')
    binary.chmod(0o755)
    lab.environment["PATH"] = f"{binary.parent}:{os.environ['PATH']}"
    lab.run("up", str(directory / "lab.yaml"))
    eventually(lambda: settled(lab))
    return lab


@pytest.fixture(scope="module", params=["nft", "legacy"])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def working(variant: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose agents work."""
    lab = start(tmp_path_factory.mktemp("working"), variant)
    yield lab
    lab.run("down")


@pytest.fixture(scope="module")
def paused(variant: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose agents mend nothing."""
    lab = start(tmp_path_factory.mktemp("paused"), variant)
    pause(lab)
    yield lab
    lab.run("down")


def pause(lab: Lab) -> None:
    for node in ("node1", "node2"):
        lab.run("pause", node)


def mended_by_agents(lab: Lab) -> None:
    for node in ("node1", "node2"):
        lab.run("resume", node)
    eventually(lambda: not any(n["agent"]["drift"] for n in lab.json("status")["nodes"]))
    pause(lab)


def sh(lab: Lab, line: str) -> None:
    done = subprocess.run(["sh", "-c", line], env=lab.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def healthy(lab: Lab, *words: str) -> Json:
    answer: Json = lab.json("diagnose", *words)
    assert answer["findings"] == []
    return answer


@functools.cache
def pods_of(lab: Lab) -> list[Json]:
    """As `up` made them; no test changes them before it asks for facts."""
    items: list[Json] = lab.json("get", "pods")["items"]
    return items


def facts(lab: Lab, variant: str) -> dict[str, str]:
    """Names and addresses to break things with."""
    found = {"lab": lab.name, "n1": f"{lab.name}.node1", "n2": f"{lab.name}.node2", "router": f"{lab.name}.router"}
    for pod in pods_of(lab):
        name, ips = pod["metadata"]["name"], [ip["ip"] for ip in pod["status"]["podIPs"]]
        found |= {name: ips[0], f"{name}v6": ips[1], f"ns_{name}": f"{lab.name}.default.{name}"}
        node = f"{lab.name}.{pod['spec']['nodeName']}"
        own = json.loads(subprocess.check_output(["ip", "-n", found[f"ns_{name}"], "-j", "link", "show", "eth0"]))[0]
        found[f"mac_{name}"] = own["address"]
        links = json.loads(subprocess.check_output(["ip", "-n", node, "-j", "link"]))
        found[f"veth_{name}"] = next(link["ifname"] for link in links if link["ifindex"] == own["link_index"])
    for node in ("node1", "node2"):
        for device, name in (("flannel.1", "vtep"), ("flannel-v6.1", "vtep6")):
            found[f"{name}_{node}"] = json.loads(lab.shell(node, "ip", "-j", "link", "show", device))[0]["address"]
    rules = lab.shell("node1", f"iptables-{variant}-save", "-t", "nat")
    found["svc"] = next(iter(re.findall(r"default/web:tcp cluster IP.* -j (KUBE-SVC-\w+)", rules)))
    found["sep"] = next(iter(re.findall(rf"-A (KUBE-SEP-\w+) .*--to-destination {found['web2']}:8080", rules)))
    tools = {"ipt1": ("n1", "iptables"), "ipt2": ("n2", "iptables"), "ip6t1": ("n1", "ip6tables")}
    found |= {name: f"ip netns exec {found[ns]} {tool}-{variant} -w" for name, (ns, tool) in tools.items()}
    found["other"] = "legacy" if variant == "nft" else "nft"
    found["sysctl1"] = f"ip netns exec {found['n1']} sysctl -qw"
    return found


# What is done; the kind, fault, node and object of the first finding; words of its message.
DAMAGE: dict[str, tuple[str, tuple[str, str, str, str], str]] = {
    "route missing": (
        "ip -n {n1} route del 10.244.2.0/24",
        ("route", "missing", "node1", "10.244.2.0/24"),
        "node1: route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink is missing",
    ),
    "route with a wrong next hop": (
        "ip -n {n1} route replace 10.244.2.0/24 via 192.168.0.1 dev eth0",
        ("route", "wrong", "node1", "10.244.2.0/24"),
        "via 192.168.0.1 dev eth0, not via 10.244.2.0 dev flannel.1",
    ),
    "route a blackhole": (
        "ip -n {n1} route replace blackhole 10.244.2.0/24",
        ("route", "wrong", "node1", "10.244.2.0/24"),
        "is a blackhole",
    ),
    "route to one pod astray": (
        "ip -n {n1} route add {web2}/32 via 192.168.0.1 dev eth0",
        ("route", "foreign", "node1", "{web2}/32"),
        "should not be there",
    ),
    "IPv6 route missing": (
        "ip -n {n1} -6 route del fd00:10:244:2::/64",
        ("route", "missing", "node1", "fd00:10:244:2::/64"),
        "is missing",
    ),
    "neighbour missing": (
        "ip -n {n1} neigh del 10.244.2.0 dev flannel.1",
        ("neighbour", "missing", "node1", "10.244.2.0"),
        "neighbour 10.244.2.0 → {vtep_node2} is missing",
    ),
    "neighbour with a wrong MAC": (
        "ip -n {n1} neigh replace 10.244.2.0 lladdr 02:00:00:00:00:01 dev flannel.1 nud permanent",
        ("neighbour", "wrong", "node1", "10.244.2.0"),
        "is at 02:00:00:00:00:01, not {vtep_node2}",
    ),
    "IPv6 neighbour missing": (
        "ip -n {n1} -6 neigh del fd00:10:244:2:: dev flannel-v6.1",
        ("neighbour", "missing", "node1", "fd00:10:244:2::"),
        "is missing",
    ),
    "pod pinned to a wrong MAC": (
        "ip -n {n1} neigh replace {web1} lladdr 02:00:00:00:00:03 dev cni0 nud permanent",
        ("neighbour", "foreign", "node1", "{web1}"),
        "02:00:00:00:00:03",
    ),
    "FDB entry missing": (
        "bridge -n {n1} fdb del {vtep_node2} dev flannel.1",
        ("fdb", "missing", "node1", "{vtep_node2}"),
        "node1: FDB entry {vtep_node2} → 192.168.0.22 is missing",
    ),
    "FDB entry to a wrong VTEP": (
        "bridge -n {n1} fdb replace {vtep_node2} dev flannel.1 dst 192.168.0.99 self permanent",
        ("fdb", "wrong", "node1", "{vtep_node2}"),
        "leads to 192.168.0.99, not 192.168.0.22",
    ),
    "IPv6 FDB entry missing": (
        "bridge -n {n1} fdb del {vtep6_node2} dev flannel-v6.1",
        ("fdb", "missing", "node1", "{vtep6_node2}"),
        "is missing",
    ),
    "VNI mismatch": (
        "ip -n {n2} link del flannel.1"
        " && ip -n {n2} link add flannel.1 address {vtep_node2} mtu 1430 up type vxlan id 7"
        " local 192.168.0.22 dev eth0 dstport 8472 nolearning",
        ("link", "wrong", "node2", "flannel.1"),
        "has VNI 7, not 1",
    ),
    "VXLAN port mismatch": (
        "ip -n {n2} link del flannel.1"
        " && ip -n {n2} link add flannel.1 address {vtep_node2} mtu 1430 up type vxlan id 1"
        " local 192.168.0.22 dev eth0 dstport 4789 nolearning",
        ("link", "wrong", "node2", "flannel.1"),
        "has UDP port 4789, not 8472",
    ),
    "VTEP with a wrong MAC": (
        "ip -n {n2} link set flannel.1 address 02:00:00:00:00:02",
        ("link", "wrong", "node2", "flannel.1"),
        "has MAC 02:00:00:00:00:02, not {vtep_node2}",
    ),
    "tunnel down": ("ip -n {n1} link set flannel.1 down", ("link", "down", "node1", "flannel.1"), "is down"),
    "tunnel gone": ("ip -n {n1} link del flannel.1", ("link", "missing", "node1", "flannel.1"), "is missing"),
    "MTU of the tunnel too big": (
        "ip -n {n1} link set flannel.1 mtu 1450",
        ("link", "mtu", "node1", "flannel.1"),
        "has MTU 1450, not 1430",
    ),
    "MTU of a pod too big": (
        "ip -n {ns_client1} link set eth0 mtu 1500",
        ("link", "mtu", "node1", "eth0"),
        "pod default/client1: eth0 has MTU 1500, not 1430",
    ),
    "MTU of the underlay too small": (
        "ip -n {n2} link set eth0 mtu 1400",
        ("link", "mtu", "node2", "eth0"),
        "has MTU 1400, not 1500",
    ),
    "ip_forward off": (
        "{sysctl1} net.ipv4.ip_forward=0",
        ("sysctl", "wrong", "node1", "net.ipv4.ip_forward"),
        "is 0, not 1",
    ),
    "IPv6 forwarding off": (
        "{sysctl1} net.ipv6.conf.all.forwarding=0",
        ("sysctl", "wrong", "node1", "net.ipv6.conf.all.forwarding"),
        "is 0, not 1",
    ),
    "bridge-nf-call-iptables off": (
        "{sysctl1} net.bridge.bridge-nf-call-iptables=0",
        ("sysctl", "wrong", "node1", "net.bridge.bridge-nf-call-iptables"),
        "is 0, not 1",
    ),
    "rp_filter strict": (
        "{sysctl1} net.ipv4.conf.all.rp_filter=1",
        ("sysctl", "wrong", "node1", "net.ipv4.conf.all.rp_filter"),
        "is 1, not 0",
    ),
    "hairpin off": (
        "ip -n {n1} link set {veth_web1} type bridge_slave hairpin off",
        ("link", "hairpin", "node1", "{veth_web1}"),
        "(to pod default/web1) has hairpin off",
    ),
    "veth down": (
        "ip -n {n1} link set {veth_web1} down",
        ("link", "down", "node1", "{veth_web1}"),
        "(to pod default/web1) is down",
    ),
    "veth gone": (
        "ip -n {n1} link del {veth_web1}",
        ("link", "missing", "node1", "{veth_web1}"),
        "(to pod default/web1) is missing",
    ),
    "veth in no bridge": (
        "ip -n {n1} link set {veth_web1} nomaster",
        ("link", "wrong", "node1", "{veth_web1}"),
        "is no port of cni0",
    ),
    "cni0 down": ("ip -n {n1} link set cni0 down", ("link", "down", "node1", "cni0"), "node1: cni0 is down"),
    "cni0 without its address": (
        "ip -n {n1} addr del 10.244.1.1/24 dev cni0",
        ("address", "missing", "node1", "10.244.1.1/24"),
        "address 10.244.1.1/24 on cni0 is missing",
    ),
    "uplink of a node down": (
        "ip -n {n1} link set eth0 down",
        ("link", "down", "node1", "eth0"),
        "node1: eth0 is down",
    ),
    "pod without its address": (
        "ip -n {ns_web2} addr flush dev eth0 && ip -n {ns_web2} -6 addr add {web2v6}/64 dev eth0 nodad"
        " && ip -n {ns_web2} -6 route replace default via fd00:10:244:2::1 dev eth0"
        " && ip -n {ns_web2} -6 route replace fd00:10:244::/48 via fd00:10:244:2::1 dev eth0",
        ("address", "missing", "node2", "{web2}/24"),
        "pod default/web2: address {web2}/24 on eth0 is missing",
    ),
    "pod without its default route": (
        "ip -n {ns_client1} route del default",
        ("route", "missing", "node1", "default"),
        "pod default/client1: route default via 10.244.1.1 dev eth0 is missing",
    ),
    "eth0 of a pod down": ("ip -n {ns_web2} link set eth0 down", ("link", "down", "node2", "eth0"), "eth0 is down"),
    "address of a pod twice": (
        "ip -n {ns_client1} addr add {web1}/24 dev eth0",
        ("address", "duplicate", "node1", "{web1}"),
        "pod default/client1: eth0 has {web1}, the one of pod default/web1",
    ),
    "FORWARD policy DROP": (
        "{ipt1} -P FORWARD DROP",
        ("policy", "drop", "node1", "filter FORWARD"),
        "the policy of FORWARD (table filter) is DROP",
    ),
    "INPUT policy DROP": (
        "{ipt2} -P INPUT DROP",
        ("policy", "drop", "node2", "filter INPUT"),
        "the policy of INPUT (table filter) is DROP",
    ),
    "masquerading of outgoing packets missing": (
        "{ipt1} -t nat -D FLANNEL-POSTRTG 5",
        ("rule", "missing", "node1", "nat FLANNEL-POSTRTG 5"),
        "rule 5 of FLANNEL-POSTRTG is missing",
    ),
    "masquerading of Services missing": (
        "{ipt1} -t nat -F KUBE-POSTROUTING",
        ("chain", "empty", "node1", "nat KUBE-POSTROUTING"),
        "chain KUBE-POSTROUTING of table nat is empty",
    ),
    "masquerading too wide": (
        "{ipt1} -t nat -I POSTROUTING -s 10.244.0.0/16 -j MASQUERADE",
        ("rule", "foreign", "node1", "nat POSTROUTING 1"),
        "is nobody's: -s 10.244.0.0/16 -j MASQUERADE",
    ),
    "chain of a Service flushed": (
        "{ipt1} -t nat -F {svc}",
        ("chain", "empty", "node1", "nat {svc}"),
        "chain {svc} of table nat is empty",
    ),
    "table nat flushed": ("{ipt1} -t nat -F", ("table", "flushed", "node1", "nat"), "table nat has been flushed"),
    "IPv6 table nat flushed": ("{ip6t1} -t nat -F", ("table", "flushed", "node1", "nat"), "IPv6 table nat"),
    "jump from PREROUTING missing": (
        "{ipt1} -t nat -D PREROUTING 1",
        ("hook", "missing", "node1", "nat PREROUTING -> KUBE-SERVICES"),
        "the jump from PREROUTING to KUBE-SERVICES is missing",
    ),
    "probability altered": (
        "{ipt1} -t nat -R {svc} 2 -m statistic --mode random --probability 0.9 -j {sep}",
        ("rule", "wrong", "node1", "nat {svc} 2"),
        "rule 2 of {svc} is",
    ),
    "endpoint altered": (
        "{ipt1} -t nat -R {sep} 2 -p tcp -j DNAT --to-destination 10.244.2.99:8080",
        ("rule", "wrong", "node1", "nat {sep} 2"),
        "10.244.2.99:8080",
    ),
    "a stranger's translation ahead of KUBE-SERVICES": (
        "{ipt1} -t nat -I PREROUTING -d 10.96.0.11 -p tcp -j DNAT --to-destination {client2}:80",
        ("rule", "foreign", "node1", "nat PREROUTING 1"),
        "is nobody's: -d 10.96.0.11/32 -p tcp -j DNAT",
    ),
    "a stranger's ACCEPT ahead of KUBE-SERVICES": (
        "{ipt1} -t nat -I PREROUTING -d 10.96.0.0/16 -j ACCEPT",
        ("rule", "foreign", "node1", "nat PREROUTING 1"),
        "-d 10.96.0.0/16 -j ACCEPT",
    ),
    "VXLAN dropped on arrival": (
        "{ipt2} -I INPUT -p udp --dport 8472 -j DROP",
        ("rule", "foreign", "node2", "filter INPUT 1"),
        "--dport 8472 -j DROP",
    ),
    "VXLAN dropped on leaving": (
        "{ipt1} -A OUTPUT -p udp --dport 8472 -j DROP",
        ("rule", "foreign", "node1", "filter OUTPUT"),
        "--dport 8472 -j DROP",
    ),
    "forwarding refused": (
        "{ipt1} -I FORWARD -p tcp --dport 8080 -j REJECT",
        ("rule", "foreign", "node1", "filter FORWARD 1"),
        "--dport 8080 -j REJECT",
    ),
    "IPv6 forwarding dropped": (
        "{ip6t1} -I FORWARD -j DROP",
        ("rule", "foreign", "node1", "filter FORWARD 1"),
        "is nobody's: -j DROP",
    ),
    "answers dropped in a pod": (
        "ip netns exec {ns_web2} iptables-{variant} -w -I OUTPUT -p tcp --sport 8080 -j DROP",
        ("rule", "foreign", "node2", "filter OUTPUT 1"),
        "pod default/web2: rule 1 of OUTPUT",
    ),
    "a stranger's rule of the other variant": (
        "ip netns exec {n2} iptables-{other} -w -I INPUT -p udp --dport 8472 -j DROP",
        ("rule", "foreign", "node2", "filter ({other}) INPUT 1"),
        "--dport 8472 -j DROP",
    ),
    "both variants mixed": (
        "ip netns exec {n1} iptables-{other} -w -A INPUT -p tcp --dport 9 -j ACCEPT",
        ("variant", "mixed", "node1", "iptables-{other}"),
        "both variants of iptables hold rules",
    ),
    "packets lost by tc": (
        "tc -n {n1} qdisc add dev flannel.1 root blackhole",
        ("qdisc", "foreign", "node1", "blackhole flannel.1"),
        "qdisc `blackhole` on flannel.1 is nobody's",
    ),
    "a UDP connection to an endpoint that has gone": (
        "ip netns exec {n1} conntrack -I -p udp -s {client1} -d 10.96.0.11 --sport 5000 --dport 53 -r 10.244.2.99"
        " -q {client1} --reply-port-src 5353 --reply-port-dst 5000 -t 300 -u SEEN_REPLY",
        ("conntrack", "stale", "node1", "udp 10.96.0.11:53 -> 10.244.2.99:5353"),
        "still leads UDP from a client of 10.96.0.11:53 to 10.244.2.99:5353",
    ),
    "a UDP connection of a NodePort to an endpoint that has gone": (
        "ip netns exec {n1} conntrack -I -p udp -s 203.0.113.10 -d 192.168.0.21 --sport 5001 --dport 30053"
        " -r 10.244.2.99 -q 192.168.0.21 --reply-port-src 5353 --reply-port-dst 5001 -t 300 -u SEEN_REPLY",
        ("conntrack", "stale", "node1", "udp 192.168.0.21:30053 -> 10.244.2.99:5353"),
        "still leads UDP from a client of 192.168.0.21:30053 to 10.244.2.99:5353",
    ),
    "a table of nftables drops": (
        "ip netns exec {n1} nft 'add table inet mine;"
        " add chain inet mine c {{ type filter hook forward priority 10; }}; add rule inet mine c tcp dport 8080 drop'",
        ("table", "foreign", "node1", "inet mine"),
        "nftables `inet mine` is nobody's",
    ),
    "a policy rule is a blackhole": (
        "ip -n {n1} rule add to {web3} blackhole",
        ("rule", "foreign", "node1", "32765"),
        "blackhole` is nobody's",
    ),
}


IN_RULES = [name for name, (command, *_) in DAMAGE.items() if "{ip" in command or "{other}" in command]
"""What is done to iptables' rules is another thing with each variant; the rest is the same with both."""
CASES = [("nft", name) for name in DAMAGE] + [("legacy", name) for name in IN_RULES]


@pytest.mark.parametrize(("variant", "damage"), CASES, indirect=["variant"], scope="module")
def test_the_cause_is_named_first_and_its_command_mends_it(paused: Lab, variant: str, damage: str) -> None:
    known = facts(paused, variant) | {"variant": variant}
    command, (kind, fault, node, obj), words = DAMAGE[damage]
    sh(paused, command.format(**known))
    try:
        answer = paused.json("diagnose", code=1)
        first = answer["findings"][0]
        named = (first["kind"], first["fault"], first["node"])
        shown = json.dumps(answer["findings"], indent=1, ensure_ascii=False)
        assert (named, obj.format(**known) in first["object"]) == ((kind, fault, node), True), shown
        assert words.format(**known) in first["message"], shown
        assert first["consequence"] and first["show"], shown
        looked = subprocess.run(["sh", "-c", first["show"]], env=paused.environment, capture_output=True, text=True)
        assert looked.stdout or "does not exist" in looked.stderr or not looked.stderr, looked
        for line in first["mend"].splitlines():
            sh(paused, line)
        if "k8snetlab" in first["mend"]:
            pause(paused)
        eventually(lambda: settled(paused))
        assert paused.json("diagnose", code=None)["findings"] == [], f"not mended by {first['mend']}"
    except BaseException:
        mended_by_agents(paused)
        raise
    rest = [f["kind"] for f in answer["findings"][1:]]
    assert rest == (["variant"] if "(" in obj else []), shown


# --- what is written in manifests, and what no agent does ----------------------------------------------------------

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  clusterIPs: [10.96.0.11, "fd00:10:96::11"]
"""
WRITTEN: dict[str, tuple[str, tuple[str, str, str, str], str]] = {
    "targetPort wrong": (
        SERVICE + "  selector: {app: web}\n  ports: [{name: tcp, port: 80, targetPort: 9999, nodePort: 30080}]",
        ("service", "targetPort", "", "default/web:80"),
        "sends port 80 to port 9999, where nobody listens; its pods do on 8080, 5353",
    ),
    "name of the targetPort wrong": (
        SERVICE + "  selector: {app: web}\n  ports: [{name: tcp, port: 80, targetPort: htpp, nodePort: 30080}]",
        ("service", "targetPort", "", "default/web:80"),
        "sends port 80 to the port named htpp, which no pod of it has (names: http)",
    ),
    "selector wrong": (
        SERVICE + "  selector: {app: wbe}\n  ports: [{name: tcp, port: 80, targetPort: 8080, nodePort: 30080}]",
        ("service", "selector", "", "default/web"),
        "Service default/web selects app=wbe, which no pod has; web1 has app=web",
    ),
    "an endpoint that nobody is": (
        """
apiVersion: v1
kind: Service
metadata: {name: byhand}
spec: {clusterIP: 10.96.0.12, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: byhand-1, labels: {kubernetes.io/service-name: byhand}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.1.77]}]
""",
        ("endpoint", "stale", "", "10.244.1.77"),
        "Service default/byhand has the endpoint 10.244.1.77, an address that no pod has",
    ),
    "a command that does not exist": (
        """
apiVersion: v1
kind: Pod
metadata: {name: broken}
spec: {nodeName: node1, containers: [{name: c, command: [/no/such/program]}]}
""",
        ("pod", "waiting", "node1", "default/broken"),
        "pod default/broken:",
    ),
}


@pytest.mark.parametrize("fault", WRITTEN)
def test_a_fault_in_a_manifest_is_named_with_its_line(working: Lab, tmp_path: Path, fault: str) -> None:
    text, (kind, what, node, obj), words = WRITTEN[fault]
    file = tmp_path / "fault.yaml"
    file.write_text(text.lstrip())
    healthy(working)
    try:
        working.run("apply", "-f", str(file))
        answer = working.json("diagnose", code=1)
        first = answer["findings"][0]
        shown = json.dumps(answer["findings"], indent=1, ensure_ascii=False)
        assert (first["kind"], first["fault"], first["node"], first["object"]) == (kind, what, node, obj), shown
        assert words in first["message"], shown
        assert re.fullmatch(rf"{re.escape(str(file))}:\d+", first["source"]), shown
        assert len(answer["findings"]) == 1, shown
    finally:
        working.run("delete", "-f", str(file), code=None)
        working.run("up", str(working.run_directory.parent / "lab.yaml"))
        eventually(lambda: settled(working))
    healthy(working)


def test_rules_that_lead_to_a_pod_that_has_gone(working: Lab, variant: str) -> None:
    known = facts(working, variant)
    working.run("pause", "node1")
    try:
        working.run("delete", "pod", "web3")
        answer = working.json("diagnose", code=1)
        first = answer["findings"][0]
        assert (first["kind"], first["fault"], first["node"]) == ("endpoint", "stale", "node1")
        assert first["object"] == f"{known['web3']}:5353" and f"{known['web3']}:8080" in first["message"]
        assert "no endpoint of Service default/web" in first["message"]
        assert first["paths"]
        assert {f["kind"] for f in answer["findings"]} == {"endpoint"}
        assert {f["node"] for f in answer["findings"]} == {"node1"}
        for line in first["mend"].splitlines():
            sh(working, line)
    finally:
        working.run("resume", "node1")
    eventually(lambda: not any(n["agent"]["drift"] for n in working.json("status")["nodes"]))
    working.run("up", str(working.run_directory.parent / "lab.yaml"))
    eventually(lambda: settled(working))
    healthy(working)


def test_two_causes_are_both_named_and_node_narrows(paused: Lab, variant: str) -> None:
    known = facts(paused, variant)
    sh(paused, "bridge -n {n1} fdb del {vtep_node2} dev flannel.1".format(**known))
    sh(paused, "ip -n {n2} link set {veth_web2} down".format(**known))
    try:
        found = paused.json("diagnose", code=1)["findings"]
        assert {(f["kind"], f["node"], f["object"]) for f in found} == {
            ("fdb", "node1", known["vtep_node2"]),
            ("link", "node2", known["veth_web2"]),
        }
        only = paused.json("diagnose", "--node", "node1", "--predict-only", code=1)
        assert [f["kind"] for f in only["findings"]] == ["fdb"] and only["paths"]["tried"] == 0
        told = paused.run("diagnose", "--node", "node1", code=1)
        assert told.startswith("1. node1: FDB entry") and "   mend: bridge -n" in told and "   see:  bridge -n" in told
        assert "hint: nodes: node1, node2" in paused.run("diagnose", "--node", "node9", code=1)
    finally:
        mended_by_agents(paused)
    healthy(paused)
