"""A machine that others use as well: Docker, a VPN, an administrator; and all that its tools tell of its network."""

from __future__ import annotations

from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Machine

VARIANTS = ("nft", "legacy")
STRANGERS = (
    "ip link add docker0 type bridge",
    "ip address add 172.17.0.1/16 dev docker0",
    "ip link set docker0 up",
    "ip link add lan type veth peer name lan0",
    "ip link set lan master docker0 up",
    "ip link set lan0 up",
    "ip link add vpn type vxlan id 77 dev eth1 dstport 4789",
    "ip link set vpn up",
    "ip address add fd00:77::1/64 dev vpn nodad",
    "ip route add 10.9.0.0/16 via 192.168.56.99 dev eth1",
    "ip route add 10.244.77.0/24 via 172.17.0.9 dev docker0",
    "ip route add fd00:99::/64 via fd00:77::9 dev vpn",
    "ip neigh add 192.168.56.99 lladdr 02:00:00:00:00:99 dev eth1 nud permanent",
    "bridge fdb add 02:00:00:00:00:77 dev vpn dst 192.168.56.99",
    "sysctl -qw net.ipv4.conf.all.accept_redirects=0",
    "sysctl -qw net.ipv4.conf.docker0.forwarding=1",
    "sysctl -qw net.ipv4.conf.all.rp_filter=2",
    "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
    "nft add table inet firewalld",
    "nft add chain inet firewalld input { type filter hook input priority 10 ; policy accept ; }",
    "nft add rule inet firewalld input tcp dport 22 accept",
)
RULES = (
    "-t nat -N DOCKER",
    "-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    "-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
    "-t filter -N DOCKER-USER",
    "-t filter -A FORWARD -j DOCKER-USER",
    "-t filter -A DOCKER-USER -j RETURN",
    "-t filter -P FORWARD DROP",
    "-t mangle -A POSTROUTING -o vpn -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
)
"""What Docker and a VPN leave on a machine."""


def state(machine: Machine) -> list[str]:
    """Everything that this machine's tools tell of its network, less what only counts or ages."""
    commands = (
        "ip link",
        "ip address",
        "ip route show table all",
        "ip -6 route show table all",
        "ip rule",
        "ip neigh show nud permanent",
        "bridge fdb",
        *(f"{tool}-{variant}-save" for tool in ("iptables", "ip6tables") for variant in VARIANTS),
        "nft -s list ruleset",
        "sysctl -a --pattern ^net\\.",
    )
    eventually(lambda: "tentative" not in machine.here("ip", "-6", "address"))
    lines: list[str] = []
    for command in commands:
        for line in machine.here(*command.split()).splitlines():
            if not line.startswith("#") and "nf_conntrack_count" not in line and "random" not in line:
                lines.append(f"{command}: {_without_age(line)}")
    return lines


def _without_age(line: str) -> str:
    return line.partition(" [")[0] if line.startswith(":") else line.partition(" expires ")[0]


def crowd(machine: Machine, variant: str) -> None:
    """Docker, a VPN and an administrator were here."""
    for line in STRANGERS:
        machine.here(*line.split())
    machine.settle()
    for line in RULES:
        machine.here(f"iptables-{variant}", *line.split())
        if "172.17" not in line:
            machine.here(f"ip6tables-{variant}", *line.split())
