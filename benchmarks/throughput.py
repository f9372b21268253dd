"""TCP from pod to pod across two nodes, over VXLAN and by a ClusterIP, beside the same path built by hand.

The floor is what a person would type after the reference: namespaces, veth pairs, bridges, VXLAN devices and their
entries by `ip` and `bridge`, kube-proxy's and flannel's rules for one Service by `iptables`. "bare" is the same with
one DNAT and one MASQUERADE rule and nothing else: what those rules cost. The rounds take turns, and the ratios are
medians of neighbouring rounds'.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.labs import lab, lab_object
from benchmarks.rows import Goal, Row
from benchmarks.run import Run
from k8snetlab.kernel import netns

SECONDS = 0.25
PORT = 5201
MEGABYTE = memoryview(bytes(1 << 20))
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


def rows(run: Run) -> Iterator[Row]:
    with the_lab() as (ours, b), by_hand(RULES) as hand, by_hand(BARE) as bare:
        for what, address, port in (("over VXLAN", "", PORT), ("by a ClusterIP", "10.96.0.50", 80)):
            places = [(ours, address or b), (hand, address or "10.244.2.2"), (bare, address or "10.244.2.2")]
            rates: list[list[float]] = [[], [], []]
            for number in range(run.scale.rounds * 5):
                run.say(f"{what}, round {number + 1}")
                for index in (number, number + 1, number + 2):
                    pods, target = places[index % 3]
                    rates[index % 3].append(rate(*pods, target, port))
            here, by_ip, alone = map(tuple, rates)
            note = "the floor is the same path by hand; bare is that with two rules only"
            yield Row(f"pod to pod {what}", here, by_ip, unit="Mbit/s", goals=(Goal(0.97),), more=True, note=note)
            yield Row(f"pod to pod {what}, bare", here, alone, unit="Mbit/s", more=True)


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
def the_lab(*more: dict[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """The pods' namespaces and the address of the second one. `more` objects are in the lab too."""
    with lab() as one:
        containers = [{"name": "c", "command": ["sleep", "infinity"], "ports": [{"containerPort": PORT}]}]
        spec = {"clusterIP": "10.96.0.50", "selector": {"app": "b"}, "ports": [{"port": 80, "targetPort": PORT}]}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": spec}
        one.up(
            [lab_object(nodes=2), _pod("a", "node1", [{"name": "c"}]), _pod("b", "node2", containers), service, *more]
        )
        address = one.json("get", "pod", "b")["status"]["podIP"]
        yield (one.netns("default", "a"), one.netns("default", "b")), address


def _pod(name: str, node: str, containers: list[dict[str, Any]]) -> dict[str, Any]:
    meta = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": node, "containers": containers}}


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
