"""Whether a rule is for a packet."""

from __future__ import annotations

import pytest

from k8snetlab.dataplane.packet import IPIP
from k8snetlab.iptables.matching import Host, Packet, chance
from k8snetlab.iptables.syntax import parse

NODE = Host(("192.168.18.3",))


@pytest.mark.parametrize("protocol", ["4", "ipencap"])  # by its number where the machine has no /etc/protocols
def test_a_packet_in_a_packet_is_ip_protocol_4_whichever_way_it_is_written(protocol: str) -> None:
    tunnelled = Packet("192.168.18.4", "192.168.18.3", IPIP)
    for rule, meant in ((f"-p {protocol} -j DROP", 1), (f"! -p {protocol} -j DROP", 0)):
        assert chance(parse(rule).matches, tunnelled, NODE, translated=False) == meant
        assert chance(parse(rule).matches, Packet("10.0.0.1", "10.0.0.2"), NODE, translated=False) == 1 - meant
