"""TCP from pod to pod across two nodes, over VXLAN and by a ClusterIP, beside the same path built by hand.

The floor is what a person would type after the reference: namespaces, veth pairs, bridges, VXLAN devices and their
entries by `ip` and `bridge`, kube-proxy's and flannel's rules for one Service by `iptables`. "bare" is the same with
one DNAT and one MASQUERADE rule and nothing else: what those rules cost. The rounds take turns, and the ratios are
medians of neighbouring rounds'.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k8snetlab.kernel import netns

ROUNDS = 41
SECONDS = 0.25
PORT = 5201
GOAL = 0.97
COMMAND = [sys.executable, "-m", "k8snetlab"]
MEGABYTE = memoryview(bytes(1 << 20))
LAB = f"""
{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {{nodes: 2}}}}
---
{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{nodeName: node1, containers: [{{name: c}}]}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: b, labels: {{app: b}}}}
spec: {{nodeName: node2, containers: [{{name: c, command: [sleep, infinity], ports: [{{containerPort: {PORT}}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: b}}
spec: {{clusterIP: 10.96.0.50, selector: {{app: b}}, ports: [{{port: 80, targetPort: {PORT}}}]}}
"""
BY_HAND = """
link add wire type bridge
link set wire up
"""
NODE = """
link set lo up
link add eth0 type veth peer name node{n} netns {wire}
address add 192.168.0.{n}/24 dev eth0
link set eth0 up
link add cni0 type bridge
address add 10.244.{n}.1/24 dev cni0
link set cni0 mtu 1450 up
link add flannel.1 type vxlan id 1 dstport 8472 local 192.168.0.{n} dev eth0 nolearning
link set flannel.1 address 02:00:00:00:00:0{n} mtu 1450 up
address add 10.244.{n}.0/32 dev flannel.1
route add 10.244.{o}.0/24 via 10.244.{o}.0 dev flannel.1 onlink
neigh add 10.244.{o}.0 lladdr 02:00:00:00:00:0{o} dev flannel.1 nud permanent
link add pod mtu 1450 type veth peer name eth0 netns {pod} mtu 1450
link set pod master cni0 up
"""
POD = """
link set lo up
address add 10.244.{n}.2/24 dev eth0
link set eth0 up
route add default via 10.244.{n}.1
"""
BARE = f"""*nat
-A PREROUTING -d 10.96.0.50/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.2.2:{PORT}
-A POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE
COMMIT
"""
RULES = f"""*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*filter
:FLANNEL-FWD - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:FLANNEL-POSTRTG - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SEP-B - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-B - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.0.0/16 -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SEP-B -s 10.244.2.2/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-B -p tcp -m tcp -j DNAT --to-destination 10.244.2.2:{PORT}
-A KUBE-SERVICES -d 10.96.0.50/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-B
-A KUBE-SVC-B ! -s 10.244.0.0/16 -d 10.96.0.50/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-B -j KUBE-SEP-B
COMMIT
"""


def main() -> None:
    with the_lab() as (ours, b), by_hand(RULES) as hand, by_hand(BARE) as bare:
        for what, address, port in (("over VXLAN", "", PORT), ("by a ClusterIP", "10.96.0.50", 80)):
            places = [(ours, address or b), (hand, address or "10.244.2.2"), (bare, address or "10.244.2.2")]
            rounds = []
            for number in range(ROUNDS):
                rates = {}
                for index in (number, number + 1, number + 2):
                    pods, target = places[index % 3]
                    rates[index % 3] = rate(*pods, target, port)
                rounds.append([rates[0], rates[1], rates[2]])
            print(line(f"pod to pod {what}", rounds), flush=True)


def line(what: str, rounds: list[list[float]]) -> str:
    """One row: megabits a second here and by hand, and the ratios to both floors."""
    ours, hand, bare = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio, to_bare = (statistics.median(rates[0] / rates[floor] for rates in rounds) for floor in (1, 2))
    met = "met" if ratio >= GOAL else "MISSED"
    text = f"{what:<58} {ours:9.0f} Mbit/s  by hand {hand:.0f}, n={len(rounds)}  x{ratio:.3f}  goal x{GOAL} {met}"
    return f"{text}  (bare {bare:.0f}, x{to_bare:.3f})"


def rate(client: str, server: str, address: str, port: int) -> float:
    """Megabits in a second that arrive in namespace `server`, sent from `client` to the address."""
    with netns.inside(server):
        listener = socket.create_server(("", PORT))
    with netns.inside(client):
        sender = socket.socket()
    with listener, sender:
        sender.settimeout(10)
        sender.connect((address, port))
        receiver, _ = listener.accept()
        sender.settimeout(None)
        child = os.fork()
        if not child:
            receiver.close()
            try:
                while True:
                    sender.send(MEGABYTE)
            except OSError:
                os._exit(0)
        sender.close()
        with receiver:
            buffer = bytearray(1 << 20)
            until = time.perf_counter() + 0.05  # its window opens
            while time.perf_counter() < until:
                receiver.recv_into(buffer)
            began, count = time.perf_counter(), 0
            while (now := time.perf_counter()) < began + SECONDS:
                count += receiver.recv_into(buffer)
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        os.waitpid(child, 0)
    return count * 8 / 1e6 / (now - began)


@contextmanager
def the_lab() -> Iterator[tuple[tuple[str, str], str]]:
    """The pods' namespaces and the address of the second one."""
    lab = f"b{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory() as directory:
        os.environ["K8SNETLAB_RUN"], os.environ["K8SNETLAB_LAB"] = f"{directory}/run", lab
        file = Path(directory, "lab.yaml")
        file.write_text(LAB)
        try:
            subprocess.run([*COMMAND, "up", str(file)], check=True, stdout=subprocess.DEVNULL)
            pod = json.loads(subprocess.check_output([*COMMAND, "get", "pod", "b", "-o", "json"]))
            yield (f"{lab}.default.a", f"{lab}.default.b"), pod["status"]["podIP"]
        finally:
            subprocess.run([*COMMAND, "down"], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def by_hand(rules: str) -> Iterator[tuple[str, str]]:
    """The pods' namespaces."""
    names = {place: f"hand{secrets.token_hex(3)}.{place}" for place in ("wire", "node1", "node2", "pod1", "pod2")}
    try:
        for name in names.values():
            netns.create(name)
        batch(names["wire"], BY_HAND)
        for n, o in ((1, 2), (2, 1)):
            node, pod = names[f"node{n}"], names[f"pod{n}"]
            batch(node, NODE.format(n=n, o=o, wire=names["wire"], pod=pod))
            batch(pod, POD.format(n=n))
            batch(names["wire"], f"link set node{n} master wire up")
            entry = f"fdb append 02:00:00:00:00:0{o} dev flannel.1 dst 192.168.0.{o}"
            subprocess.run(["bridge", "-n", node, *entry.split()], check=True)
            inside = ["ip", "netns", "exec", node]
            settings = ["net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"]
            subprocess.run([*inside, "sysctl", "-qw", *settings], check=True)
            subprocess.run([*inside, "iptables-restore"], input=rules, text=True, check=True)
        yield names["pod1"], names["pod2"]
    finally:
        for name in names.values():
            netns.delete(name)


def batch(name: str, lines: str) -> None:
    subprocess.run(["ip", "-n", name, "-batch", "-"], input=lines, text=True, check=True)


if __name__ == "__main__":
    main()
