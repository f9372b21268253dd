"""What can be done by hand to the kernel of a lab, and what `diagnose` must say first of it (explain/test_diagnose.py).

Fields are formatted with the lab's names and addresses: {n1} is node1's namespace, {web2} the address of pod web2.
"""

from __future__ import annotations

from typing import NamedTuple


class Damage(NamedTuple):
    """What is done to a lab whose agents are paused, and the first finding then; `words` stand in its message."""

    command: str
    kind: str
    fault: str
    node: str
    object: str
    words: str


DAMAGE: dict[str, Damage] = {
    "route missing": Damage(
        command="ip -n {n1} route del 10.244.2.0/24",
        kind="route",
        fault="missing",
        node="node1",
        object="10.244.2.0/24",
        words="node1: route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink is missing",
    ),
    "route with a wrong next hop": Damage(
        command="ip -n {n1} route replace 10.244.2.0/24 via 192.168.0.1 dev eth0",
        kind="route",
        fault="wrong",
        node="node1",
        object="10.244.2.0/24",
        words="via 192.168.0.1 dev eth0, not via 10.244.2.0 dev flannel.1",
    ),
    "route a blackhole": Damage(
        command="ip -n {n1} route replace blackhole 10.244.2.0/24",
        kind="route",
        fault="wrong",
        node="node1",
        object="10.244.2.0/24",
        words="is a blackhole",
    ),
    "route to one pod astray": Damage(
        command="ip -n {n1} route add {web2}/32 via 192.168.0.1 dev eth0",
        kind="route",
        fault="foreign",
        node="node1",
        object="{web2}/32",
        words="should not be there",
    ),
    "IPv6 route missing": Damage(
        command="ip -n {n1} -6 route del fd00:10:244:2::/64",
        kind="route",
        fault="missing",
        node="node1",
        object="fd00:10:244:2::/64",
        words="is missing",
    ),
    "neighbour missing": Damage(
        command="ip -n {n1} neigh del 10.244.2.0 dev flannel.1",
        kind="neighbour",
        fault="missing",
        node="node1",
        object="10.244.2.0",
        words="neighbour 10.244.2.0 → {vtep_node2} is missing",
    ),
    "neighbour with a wrong MAC": Damage(
        command="ip -n {n1} neigh replace 10.244.2.0 lladdr 02:00:00:00:00:01 dev flannel.1 nud permanent",
        kind="neighbour",
        fault="wrong",
        node="node1",
        object="10.244.2.0",
        words="is at 02:00:00:00:00:01, not {vtep_node2}",
    ),
    "IPv6 neighbour missing": Damage(
        command="ip -n {n1} -6 neigh del fd00:10:244:2:: dev flannel-v6.1",
        kind="neighbour",
        fault="missing",
        node="node1",
        object="fd00:10:244:2::",
        words="is missing",
    ),
    "pod pinned to a wrong MAC": Damage(
        command="ip -n {n1} neigh replace {web1} lladdr 02:00:00:00:00:03 dev cni0 nud permanent",
        kind="neighbour",
        fault="foreign",
        node="node1",
        object="{web1}",
        words="02:00:00:00:00:03",
    ),
    "FDB entry missing": Damage(
        command="bridge -n {n1} fdb del {vtep_node2} dev flannel.1",
        kind="fdb",
        fault="missing",
        node="node1",
        object="{vtep_node2}",
        words="node1: FDB entry {vtep_node2} → 192.168.0.22 is missing",
    ),
    "FDB entry to a wrong VTEP": Damage(
        command="bridge -n {n1} fdb replace {vtep_node2} dev flannel.1 dst 192.168.0.99 self permanent",
        kind="fdb",
        fault="wrong",
        node="node1",
        object="{vtep_node2}",
        words="leads to 192.168.0.99, not 192.168.0.22",
    ),
    "IPv6 FDB entry missing": Damage(
        command="bridge -n {n1} fdb del {vtep6_node2} dev flannel-v6.1",
        kind="fdb",
        fault="missing",
        node="node1",
        object="{vtep6_node2}",
        words="is missing",
    ),
    "VNI mismatch": Damage(
        command=(
            "ip -n {n2} link del flannel.1"
            " && ip -n {n2} link add flannel.1 address {vtep_node2} mtu 1430 up type vxlan id 7"
            " local 192.168.0.22 dev eth0 dstport 8472 nolearning"
        ),
        kind="link",
        fault="wrong",
        node="node2",
        object="flannel.1",
        words="has VNI 7, not 1",
    ),
    "VXLAN port mismatch": Damage(
        command=(
            "ip -n {n2} link del flannel.1"
            " && ip -n {n2} link add flannel.1 address {vtep_node2} mtu 1430 up type vxlan id 1"
            " local 192.168.0.22 dev eth0 dstport 4789 nolearning"
        ),
        kind="link",
        fault="wrong",
        node="node2",
        object="flannel.1",
        words="has UDP port 4789, not 8472",
    ),
    "VTEP with a wrong MAC": Damage(
        command="ip -n {n2} link set flannel.1 address 02:00:00:00:00:02",
        kind="link",
        fault="wrong",
        node="node2",
        object="flannel.1",
        words="has MAC 02:00:00:00:00:02, not {vtep_node2}",
    ),
    "tunnel down": Damage(
        command="ip -n {n1} link set flannel.1 down",
        kind="link",
        fault="down",
        node="node1",
        object="flannel.1",
        words="is down",
    ),
    "tunnel gone": Damage(
        command="ip -n {n1} link del flannel.1",
        kind="link",
        fault="missing",
        node="node1",
        object="flannel.1",
        words="is missing",
    ),
    "MTU of the tunnel too big": Damage(
        command="ip -n {n1} link set flannel.1 mtu 1450",
        kind="link",
        fault="mtu",
        node="node1",
        object="flannel.1",
        words="has MTU 1450, not 1430",
    ),
    "MTU of a pod too big": Damage(
        command="ip -n {ns_client1} link set eth0 mtu 1500",
        kind="link",
        fault="mtu",
        node="node1",
        object="eth0",
        words="pod default/client1: eth0 has MTU 1500, not 1430",
    ),
    "MTU of the underlay too small": Damage(
        command="ip -n {n2} link set eth0 mtu 1400",
        kind="link",
        fault="mtu",
        node="node2",
        object="eth0",
        words="has MTU 1400, not 1500",
    ),
    "ip_forward off": Damage(
        command="{sysctl1} net.ipv4.ip_forward=0",
        kind="sysctl",
        fault="wrong",
        node="node1",
        object="net.ipv4.ip_forward",
        words="is 0, not 1",
    ),
    "IPv6 forwarding off": Damage(
        command="{sysctl1} net.ipv6.conf.all.forwarding=0",
        kind="sysctl",
        fault="wrong",
        node="node1",
        object="net.ipv6.conf.all.forwarding",
        words="is 0, not 1",
    ),
    "bridge-nf-call-iptables off": Damage(
        command="{sysctl1} net.bridge.bridge-nf-call-iptables=0",
        kind="sysctl",
        fault="wrong",
        node="node1",
        object="net.bridge.bridge-nf-call-iptables",
        words="is 0, not 1",
    ),
    "rp_filter strict": Damage(
        command="{sysctl1} net.ipv4.conf.all.rp_filter=1",
        kind="sysctl",
        fault="wrong",
        node="node1",
        object="net.ipv4.conf.all.rp_filter",
        words="is 1, not 0",
    ),
    "hairpin off": Damage(
        command="ip -n {n1} link set {veth_web1} type bridge_slave hairpin off",
        kind="link",
        fault="hairpin",
        node="node1",
        object="{veth_web1}",
        words="(to pod default/web1) has hairpin off",
    ),
    "veth down": Damage(
        command="ip -n {n1} link set {veth_web1} down",
        kind="link",
        fault="down",
        node="node1",
        object="{veth_web1}",
        words="(to pod default/web1) is down",
    ),
    "veth gone": Damage(
        command="ip -n {n1} link del {veth_web1}",
        kind="link",
        fault="missing",
        node="node1",
        object="{veth_web1}",
        words="(to pod default/web1) is missing",
    ),
    "veth in no bridge": Damage(
        command="ip -n {n1} link set {veth_web1} nomaster",
        kind="link",
        fault="wrong",
        node="node1",
        object="{veth_web1}",
        words="is no port of cni0",
    ),
    "cni0 down": Damage(
        command="ip -n {n1} link set cni0 down",
        kind="link",
        fault="down",
        node="node1",
        object="cni0",
        words="node1: cni0 is down",
    ),
    "cni0 without its address": Damage(
        command="ip -n {n1} addr del 10.244.1.1/24 dev cni0",
        kind="address",
        fault="missing",
        node="node1",
        object="10.244.1.1/24",
        words="address 10.244.1.1/24 on cni0 is missing",
    ),
    "uplink of a node down": Damage(
        command="ip -n {n1} link set eth0 down",
        kind="link",
        fault="down",
        node="node1",
        object="eth0",
        words="node1: eth0 is down",
    ),
    "pod without its address": Damage(
        command=(
            "ip -n {ns_web2} addr flush dev eth0 && ip -n {ns_web2} -6 addr add {web2v6}/64 dev eth0 nodad"
            " && ip -n {ns_web2} -6 route replace default via fd00:10:244:2::1 dev eth0"
            " && ip -n {ns_web2} -6 route replace fd00:10:244::/48 via fd00:10:244:2::1 dev eth0"
        ),
        kind="address",
        fault="missing",
        node="node2",
        object="{web2}/24",
        words="pod default/web2: address {web2}/24 on eth0 is missing",
    ),
    "pod without its default route": Damage(
        command="ip -n {ns_client1} route del default",
        kind="route",
        fault="missing",
        node="node1",
        object="default",
        words="pod default/client1: route default via 10.244.1.1 dev eth0 is missing",
    ),
    "eth0 of a pod down": Damage(
        command="ip -n {ns_web2} link set eth0 down",
        kind="link",
        fault="down",
        node="node2",
        object="eth0",
        words="eth0 is down",
    ),
    "address of a pod twice": Damage(
        command="ip -n {ns_client1} addr add {web1}/24 dev eth0",
        kind="address",
        fault="duplicate",
        node="node1",
        object="{web1}",
        words="pod default/client1: eth0 has {web1}, the one of pod default/web1",
    ),
    "FORWARD policy DROP": Damage(
        command="{ipt1} -P FORWARD DROP",
        kind="policy",
        fault="drop",
        node="node1",
        object="filter FORWARD",
        words="the policy of FORWARD (table filter) is DROP",
    ),
    "INPUT policy DROP": Damage(
        command="{ipt2} -P INPUT DROP",
        kind="policy",
        fault="drop",
        node="node2",
        object="filter INPUT",
        words="the policy of INPUT (table filter) is DROP",
    ),
    "masquerading of outgoing packets missing": Damage(
        command="{ipt1} -t nat -D FLANNEL-POSTRTG 5",
        kind="rule",
        fault="missing",
        node="node1",
        object="nat FLANNEL-POSTRTG 5",
        words="rule 5 of FLANNEL-POSTRTG is missing",
    ),
    "masquerading of Services missing": Damage(
        command="{ipt1} -t nat -F KUBE-POSTROUTING",
        kind="chain",
        fault="empty",
        node="node1",
        object="nat KUBE-POSTROUTING",
        words="chain KUBE-POSTROUTING of table nat is empty",
    ),
    "masquerading too wide": Damage(
        command="{ipt1} -t nat -I POSTROUTING -s 10.244.0.0/16 -j MASQUERADE",
        kind="rule",
        fault="foreign",
        node="node1",
        object="nat POSTROUTING 1",
        words="is nobody's: -s 10.244.0.0/16 -j MASQUERADE",
    ),
    "chain of a Service flushed": Damage(
        command="{ipt1} -t nat -F {svc}",
        kind="chain",
        fault="empty",
        node="node1",
        object="nat {svc}",
        words="chain {svc} of table nat is empty",
    ),
    "table nat flushed": Damage(
        command="{ipt1} -t nat -F",
        kind="table",
        fault="flushed",
        node="node1",
        object="nat",
        words="table nat has been flushed",
    ),
    "IPv6 table nat flushed": Damage(
        command="{ip6t1} -t nat -F",
        kind="table",
        fault="flushed",
        node="node1",
        object="nat",
        words="IPv6 table nat",
    ),
    "jump from PREROUTING missing": Damage(
        command="{ipt1} -t nat -D PREROUTING 1",
        kind="hook",
        fault="missing",
        node="node1",
        object="nat PREROUTING -> KUBE-SERVICES",
        words="the jump from PREROUTING to KUBE-SERVICES is missing",
    ),
    "probability altered": Damage(
        command="{ipt1} -t nat -R {svc} 2 -m statistic --mode random --probability 0.9 -j {sep}",
        kind="rule",
        fault="wrong",
        node="node1",
        object="nat {svc} 2",
        words="rule 2 of {svc} is",
    ),
    "endpoint altered": Damage(
        command="{ipt1} -t nat -R {sep} 2 -p tcp -j DNAT --to-destination 10.244.2.99:8080",
        kind="rule",
        fault="wrong",
        node="node1",
        object="nat {sep} 2",
        words="10.244.2.99:8080",
    ),
    "a stranger's translation ahead of KUBE-SERVICES": Damage(
        command="{ipt1} -t nat -I PREROUTING -d 10.96.0.11 -p tcp -j DNAT --to-destination {client2}:80",
        kind="rule",
        fault="foreign",
        node="node1",
        object="nat PREROUTING 1",
        words="is nobody's: -d 10.96.0.11/32 -p tcp -j DNAT",
    ),
    "a stranger's ACCEPT ahead of KUBE-SERVICES": Damage(
        command="{ipt1} -t nat -I PREROUTING -d 10.96.0.0/16 -j ACCEPT",
        kind="rule",
        fault="foreign",
        node="node1",
        object="nat PREROUTING 1",
        words="-d 10.96.0.0/16 -j ACCEPT",
    ),
    "VXLAN dropped on arrival": Damage(
        command="{ipt2} -I INPUT -p udp --dport 8472 -j DROP",
        kind="rule",
        fault="foreign",
        node="node2",
        object="filter INPUT 1",
        words="--dport 8472 -j DROP",
    ),
    "VXLAN dropped on leaving": Damage(
        command="{ipt1} -A OUTPUT -p udp --dport 8472 -j DROP",
        kind="rule",
        fault="foreign",
        node="node1",
        object="filter OUTPUT",
        words="--dport 8472 -j DROP",
    ),
    "forwarding refused": Damage(
        command="{ipt1} -I FORWARD -p tcp --dport 8080 -j REJECT",
        kind="rule",
        fault="foreign",
        node="node1",
        object="filter FORWARD 1",
        words="--dport 8080 -j REJECT",
    ),
    "IPv6 forwarding dropped": Damage(
        command="{ip6t1} -I FORWARD -j DROP",
        kind="rule",
        fault="foreign",
        node="node1",
        object="filter FORWARD 1",
        words="is nobody's: -j DROP",
    ),
    "answers dropped in a pod": Damage(
        command="ip netns exec {ns_web2} iptables-{variant} -w -I OUTPUT -p tcp --sport 8080 -j DROP",
        kind="rule",
        fault="foreign",
        node="node2",
        object="filter OUTPUT 1",
        words="pod default/web2: rule 1 of OUTPUT",
    ),
    "a stranger's rule of the other variant": Damage(
        command="ip netns exec {n2} iptables-{other} -w -I INPUT -p udp --dport 8472 -j DROP",
        kind="rule",
        fault="foreign",
        node="node2",
        object="filter ({other}) INPUT 1",
        words="--dport 8472 -j DROP",
    ),
    "both variants mixed": Damage(
        command="ip netns exec {n1} iptables-{other} -w -A INPUT -p tcp --dport 9 -j ACCEPT",
        kind="variant",
        fault="mixed",
        node="node1",
        object="iptables-{other}",
        words="both variants of iptables hold rules",
    ),
    "packets lost by tc": Damage(
        command="tc -n {n1} qdisc add dev flannel.1 root blackhole",
        kind="qdisc",
        fault="foreign",
        node="node1",
        object="blackhole flannel.1",
        words="qdisc `blackhole` on flannel.1 is nobody's",
    ),
    "a UDP connection to an endpoint that has gone": Damage(
        command=(
            "ip netns exec {n1} conntrack -I -p udp -s {client1} -d 10.96.0.11 --sport 5000 --dport 53 -r 10.244.2.99"
            " -q {client1} --reply-port-src 5353 --reply-port-dst 5000 -t 300 -u SEEN_REPLY"
        ),
        kind="conntrack",
        fault="stale",
        node="node1",
        object="udp 10.96.0.11:53 -> 10.244.2.99:5353",
        words="still leads UDP from a client of 10.96.0.11:53 to 10.244.2.99:5353",
    ),
    "a UDP connection of a NodePort to an endpoint that has gone": Damage(
        command=(
            "ip netns exec {n1} conntrack -I -p udp -s 203.0.113.10 -d 192.168.0.21 --sport 5001 --dport 30053"
            " -r 10.244.2.99 -q 192.168.0.21 --reply-port-src 5353 --reply-port-dst 5001 -t 300 -u SEEN_REPLY"
        ),
        kind="conntrack",
        fault="stale",
        node="node1",
        object="udp 192.168.0.21:30053 -> 10.244.2.99:5353",
        words="still leads UDP from a client of 192.168.0.21:30053 to 10.244.2.99:5353",
    ),
    "a table of nftables drops": Damage(
        command=(
            "ip netns exec {n1} nft 'add table inet mine;"
            " add chain inet mine c {{ type filter hook forward priority 10; }};"
            " add rule inet mine c tcp dport 8080 drop'"
        ),
        kind="table",
        fault="foreign",
        node="node1",
        object="inet mine",
        words="nftables `inet mine` is nobody's",
    ),
    "a policy rule is a blackhole": Damage(
        command="ip -n {n1} rule add to {web3} blackhole",
        kind="rule",
        fault="foreign",
        node="node1",
        object="32765",
        words="blackhole` is nobody's",
    ),
}
