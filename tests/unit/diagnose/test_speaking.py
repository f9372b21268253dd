"""What OSPF's daemons say they go by, as FRR 8.4.4 and BIRD 2.0.12 print it, beside what a lab has told them."""

from __future__ import annotations

import pytest

from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.dataplane.view import View
from k8snetlab.diagnose import speaking
from k8snetlab.diagnose.speaking import Device, Told

LINKS = {"eth0": "192.168.0.0/24"}
PODS = "10.244.1.0/24"
WANTED = """hostname node1
log stdout
interface eth0
 ip ospf authentication message-digest
 ip ospf message-digest-key 1 md5 s3cret
 ip ospf network point-to-multipoint
 ip ospf dead-interval minimal hello-multiplier 4
router ospf
 ospf router-id 192.168.0.21
 passive-interface cni0
 network 192.168.0.0/24 area 0
 network 10.244.1.0/24 area 0
"""
RUNNING = """Building configuration...

Current configuration:
!
frr version 8.4.4
!
interface cni0
 ip ospf passive
exit
!
interface eth0
 ip ospf authentication message-digest
 ip ospf dead-interval minimal hello-multiplier 4
 ip ospf message-digest-key 1 md5 s3cret
 ip ospf network point-to-multipoint
exit
!
router ospf
 ospf router-id 192.168.0.21
 network 192.168.0.0/24 area 0
 network 10.244.1.0/24 area 0
exit
!
end
"""
BIRD = """BIRD 2.0.12 ready.
ospf_ipv4:
Interface eth0 (192.168.0.0/24)
\tType: broadcast
\tArea: 0.0.0.1 (1)
\tState: DROther
\tPriority: 1
\tCost: 10
\tHello timer: 1
\tWait timer: 2
\tDead timer: 3
\tRetransmit timer: 2
"""


def faults(running: str) -> list[tuple[str, str]]:
    told, wanted = speaking.frr(running, LINKS), speaking.frr(WANTED, LINKS)
    return [(one.fault, one.object) for one in speaking.findings("lab", "node1", PODS, told, wanted)]


def test_a_configuration_says_the_same_as_a_file_and_as_it_runs() -> None:
    same = Told({"eth0": Device("0.0.0.0", 0.25, 1.0, False, "s3cret")}, frozenset(("192.168.0.0/24", PODS)))
    assert speaking.frr(WANTED, LINKS) == speaking.frr(RUNNING, LINKS) == same
    assert faults(RUNNING) == []


@pytest.mark.parametrize(
    ("before", "after", "fault", "named"),
    [
        (" network 192.168.0.0/24 area 0\n", " network 192.168.0.0/24 area 1\n", "area", "eth0"),
        (" network 192.168.0.0/24 area 0\n", "", "unspoken", "eth0"),
        (" network 10.244.1.0/24 area 0\n", "", "unannounced", PODS),
        ("dead-interval minimal hello-multiplier 4", "dead-interval 60", "hello", "eth0"),
        ("dead-interval minimal hello-multiplier 4", "hello-interval 5", "hello", "eth0"),
        ("md5 s3cret", "md5 another", "password", "eth0"),
        (" ip ospf message-digest-key 1 md5 s3cret\n", "", "password", "eth0"),
        (" ip ospf authentication message-digest\n", "", "password", "eth0"),
        ("interface eth0\n", "interface eth0\n ip ospf passive\n", "passive", "eth0"),
    ],
)
def test_what_differs_is_named_and_no_password_said(before: str, after: str, fault: str, named: str) -> None:
    running = RUNNING.replace(before, after)
    assert faults(running) == [(fault, named)]
    [told] = speaking.findings("lab", "node1", PODS, speaking.frr(running, LINKS), speaking.frr(WANTED, LINKS))
    assert "s3cret" not in repr(told) and "another" not in told.message.replace("another password", "")


def test_bird_says_its_area_and_timers_and_no_password() -> None:
    told, wanted = speaking.bird(BIRD), Told({"eth0": Device("0.0.0.0", 1.0, 3.0, secret="s3cret")})
    assert told.devices == {"eth0": Device("0.0.0.1", 1.0, 3.0, secret=None)}
    [found] = speaking.findings("lab", "node1", PODS, told, wanted)
    assert found.message == "node1: eth0 is in OSPF's area 0.0.0.1, not in 0.0.0.0"


@pytest.mark.parametrize(
    ("chain", "rule", "drops"),
    [
        ("INPUT", "-p ospf -j DROP", True),
        ("INPUT", "-p 89 -j REJECT --reject-with icmp-port-unreachable", True),
        ("OUTPUT", "-p 89 -j DROP", True),
        ("OUTPUT", "-o eth1 -p 89 -j DROP", False),
        ("INPUT", "-s 192.168.0.22/32 -j DROP", True),
        ("INPUT", "-s 192.168.0.23/32 -j DROP", False),
        ("INPUT", "-p tcp -j DROP", False),
        ("INPUT", "-p 89 -j ACCEPT", False),
        ("FORWARD", "-p 89 -j DROP", False),
    ],
)
def test_a_rule_that_drops_hellos_is_found(chain: str, rule: str, drops: bool) -> None:
    key = ChainKey("filter", chain)
    view = View("lab.node1", "node1", "node", addresses={"eth0": ("192.168.0.21",)}, chains={key: (rule,)})
    found = speaking.dropped(view, "eth0", "192.168.0.22")
    assert (found is not None) == drops
    assert found is None or found.entry == f"-A {chain} {rule}"
