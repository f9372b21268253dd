"""The way from pod to pod across two nodes by hand: `ip`, `bridge` and `iptables`, after the reference; no lab at all.

It is what a person has once the CNI plugins, flannel and kube-proxy have done their work. RULES has each chain and jump
that kube-proxy 1.36 makes in a node, those of INPUT and OUTPUT too: every packet of flannel.1 passes these, and is
always new to conntrack, since what comes back goes to port 8472 as well and is no answer. Only the counter of nfacct
is missing, which is asked of invalid packets alone. Rules are added to empty tables: the text of `iptables-save` names
built-in chains that nobody made, such as mangle's INPUT, and restoring it makes them, for each packet to walk through.
BARE is one DNAT and one MASQUERADE.

The wire is a switch: br_netfilter, on in each new namespace once it is loaded, is off there as in a lab's router.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.tcp import Way
from k8snetlab.kernel import netns

PORT = 5201
CLUSTER_IP = "10.96.0.50"
_WIRE = """
link add wire type bridge
link set wire up
"""
_NODE = """
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
link set pod type bridge_slave hairpin on
"""
_POD = """
link set lo up
address add 10.244.{n}.2/24 dev eth0
link set eth0 up
route add default via 10.244.{n}.1
route add 10.244.0.0/16 via 10.244.{n}.1
"""
_NODE_SYSCTLS = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.route_localnet=1", "net.bridge.bridge-nf-call-iptables=1")
BARE = f"""*nat
-A PREROUTING -d {CLUSTER_IP}/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.2.2:{PORT}
-A POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE
COMMIT
"""
RULES = f"""*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*filter
:FLANNEL-FWD - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" \
-j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" \
-j KUBE-EXTERNAL-SERVICES
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A OUTPUT -j KUBE-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" \
-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED \
-j ACCEPT
COMMIT
*nat
:FLANNEL-POSTRTG - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SEP-API - [0:0]
:KUBE-SEP-B - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-API - [0:0]
:KUBE-SVC-B - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.{{n}}.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.{{n}}.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.{{n}}.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SEP-API -s 192.168.0.1/32 -m comment --comment "default/kubernetes:https" -j KUBE-MARK-MASQ
-A KUBE-SEP-API -p tcp -m comment --comment "default/kubernetes:https" -m tcp -j DNAT --to-destination 192.168.0.1:6443
-A KUBE-SEP-B -s 10.244.2.2/32 -m comment --comment "default/b" -j KUBE-MARK-MASQ
-A KUBE-SEP-B -p tcp -m comment --comment "default/b" -m tcp -j DNAT --to-destination 10.244.2.2:{PORT}
-A KUBE-SERVICES -d {CLUSTER_IP}/32 -p tcp -m comment --comment "default/b cluster IP" -m tcp --dport 80 -j KUBE-SVC-B
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 \
-j KUBE-SVC-API
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-API ! -s 10.244.0.0/16 -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-MARK-MASQ
-A KUBE-SVC-API -m comment --comment "default/kubernetes:https -> 192.168.0.1:6443" -j KUBE-SEP-API
-A KUBE-SVC-B ! -s 10.244.0.0/16 -d {CLUSTER_IP}/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-B -m comment --comment "default/b -> 10.244.2.2:{PORT}" -j KUBE-SEP-B
COMMIT
"""


@contextmanager
def path(rules: str) -> Iterator[Way]:
    """From pod 10.244.1.2 to 10.244.2.2, in nodes with these rules.

    br_netfilter is loaded by whatever lab stands beside it.
    """
    token = secrets.token_hex(3)
    names = {place: f"hand{token}.{place}" for place in ("wire", "node1", "node2", "pod1", "pod2")}
    try:
        for name in names.values():
            netns.create(name)
        wire = names["wire"]
        _batch(wire, _WIRE)
        _set(wire, "net.bridge.bridge-nf-call-iptables=0")
        for n, o in ((1, 2), (2, 1)):
            node, pod = names[f"node{n}"], names[f"pod{n}"]
            _batch(node, _NODE.format(n=n, o=o, wire=wire, pod=pod))
            _batch(pod, _POD.format(n=n))
            _batch(wire, f"link set node{n} master wire up")
            entry = f"fdb append 02:00:00:00:00:0{o} dev flannel.1 dst 192.168.0.{o}"
            subprocess.run(["bridge", "-n", node, *entry.split()], check=True)
            _set(node, *_NODE_SYSCTLS)
            restore = ["ip", "netns", "exec", node, "iptables-restore", "--noflush"]
            subprocess.run(restore, input=rules.format(n=n), text=True, check=True)
        yield Way(names["pod1"], names["pod2"], "10.244.2.2", PORT, PORT)
    finally:
        for name in names.values():
            netns.delete(name)


def _batch(name: str, lines: str) -> None:
    subprocess.run(["ip", "-n", name, "-batch", "-"], input=lines, text=True, check=True)


def _set(name: str, *sysctls: str) -> None:
    subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", *sysctls], check=True)
