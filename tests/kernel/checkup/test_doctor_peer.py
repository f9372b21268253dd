"""`doctor --peer` between two namespaces on one cable, with real firewalls in its way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

HERE, THERE = "192.0.2.1", "192.0.2.2"
HERE6, THERE6 = "2001:db8::1", "2001:db8::2"
Rule = tuple[str, ...]
VXLAN = ("-p", "udp", "--dport", "8472")


class Side:
    """One of the two machines."""

    def __init__(self, netns: str) -> None:
        self.netns = netns

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = ["ip", "netns", "exec", self.netns, *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words: str, code: int = 0) -> str:
        with self.start(*words) as process:
            out, err = process.communicate(timeout=200)
        assert process.returncode == code, f"{words}: exit {process.returncode}\n{out}\n{err}"
        return out if not code or (words[0] == sys.executable and "-o" in words) else out + err

    def doctor(self, peer: str, *words: str) -> list[str]:
        return [sys.executable, "-m", "k8snetlab", "doctor", "--peer", peer, *words]

    def ask(self, peer: str, *words: str, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*self.doctor(peer, "-o", "json", *words), code=code))
        assert found["ok"] == (code == 0)
        return found


@pytest.fixture
def sides(namespace: Callable[[str], str]) -> tuple[Side, Side]:
    here, there = Side(namespace("here")), Side(namespace("there"))
    here.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", there.netns)
    for side, address, address6 in ((here, HERE, HERE6), (there, THERE, THERE6)):
        side.run("ip", "link", "set", "lo", "up")
        side.run("ip", "address", "add", f"{address}/24", "dev", "eth1")
        side.run("ip", "address", "add", f"{address6}/64", "dev", "eth1", "nodad")
        side.run("ip", "link", "set", "eth1", "up")
    return here, there


def tunnel(side: Side, local: str, vni: int = 1) -> None:
    side.run(*f"ip link add flannel.{vni} type vxlan id {vni} dstport 8472 local {local} dev eth1 nolearning".split())
    side.run("ip", "link", "set", f"flannel.{vni}", "up")


def test_a_peer_where_nobody_listens_yet_is_told_as_arrives(sides: tuple[Side, Side]) -> None:
    here, _ = sides
    found = here.ask(THERE, "--wait", "1")
    assert (found["there"]["state"], found["back"]["state"]) == ("arrives", "not shown")
    assert (found["source"], found["port"], found["vni"]) == (HERE, 8472, 1)
    assert f"doctor --peer {HERE}" in found["there"]["hint"]
    text = here.run(*here.doctor(THERE, "--wait", "1"))
    assert "there  arrives: UDP 8472 arrives at 192.0.2.2, where nothing listens yet" in text


@pytest.mark.parametrize(("here_address", "there_address"), [(HERE, THERE), (HERE6, THERE6)], ids=["IPv4", "IPv6"])
def test_both_ways_are_seen_when_both_sides_ask(
    sides: tuple[Side, Side], here_address: str, there_address: str
) -> None:
    here, there = sides
    with there.start(*there.doctor(here_address, "--wait", "30", "-o", "json")) as other:
        found = here.ask(there_address, "--wait", "30")
        theirs = json.loads(other.communicate(timeout=200)[0])
    for one in (found, theirs):
        assert (one["there"]["state"], one["back"]["state"]) == ("open", "open"), one


@pytest.mark.parametrize("peer", [THERE, THERE6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("ours", [False, True], ids=["we have none", "we have one too"])
def test_a_tunnel_of_the_peers_is_told_as_open(sides: tuple[Side, Side], peer: str, ours: bool) -> None:
    here, there = sides
    tunnel(there, peer)
    if ours:
        tunnel(here, HERE6 if ":" in peer else HERE)
    found = here.ask(peer)
    assert found["there"] == {"state": "open", "why": f"VXLAN 1 on {peer} answers on UDP 8472", "hint": "", "rule": ""}


def test_a_tunnel_of_another_network_is_told_as_blocked(sides: tuple[Side, Side]) -> None:
    here, there = sides
    tunnel(there, THERE, vni=42)
    assert here.ask(THERE, "--vni", "42")["there"]["state"] == "open"
    found = here.ask(THERE, "--wait", "1", code=1)
    assert found["there"]["state"] == "blocked" and "VNI" in found["there"]["hint"]


@pytest.mark.parametrize("listening", [False, True], ids=["nobody listens", "a tunnel listens"])
@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (("INPUT", *VXLAN, "-j", "DROP"), "answers a ping, but not on UDP 8472"),
        (("INPUT", *VXLAN, "-j", "REJECT"), "192.0.2.2 refuses UDP 8472 by a rule (REJECT)"),
        (("INPUT", *VXLAN, "-j", "REJECT", "--reject-with", "icmp-admin-prohibited"), "192.0.2.2's firewall refuses"),
        (("INPUT", *VXLAN, "-j", "REJECT", "--reject-with", "icmp-host-prohibited"), "192.0.2.2's firewall refuses"),
    ],
    ids=["DROP", "REJECT", "admin-prohibited", "host-prohibited"],
)
def test_a_firewall_of_the_peers_is_told_as_blocked_with_its_mending(
    sides: tuple[Side, Side], rule: Rule, why: str, listening: bool
) -> None:
    here, there = sides
    if listening:
        tunnel(there, THERE)
    there.run("iptables", "-A", *rule)
    found = here.ask(THERE, "--wait", "1", code=1)
    assert found["there"]["state"] == "blocked" and why in found["there"]["why"], found
    assert f"on {THERE}: iptables -I INPUT" in found["there"]["hint"]
    there.run("iptables", "-D", *rule)
    assert here.ask(THERE, "--wait", "1")["there"]["state"] == ("open" if listening else "arrives")


@pytest.mark.parametrize("target", ["DROP", "REJECT"])
@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_a_firewall_here_on_the_way_out_is_named_by_its_rule(
    sides: tuple[Side, Side], variant: str, target: str
) -> None:
    here, there = sides
    tunnel(there, THERE)
    rule = ("OUTPUT", *VXLAN, "-j", target)
    here.run(f"iptables-{variant}", "-A", *rule)
    found = here.ask(THERE, code=1)
    assert found["there"]["state"] == "blocked"
    assert found["there"]["rule"].startswith("-A OUTPUT -p udp -m udp --dport 8472 -j " + target), found
    assert found["there"]["rule"] in here.run(*here.doctor(THERE), code=1)
    here.run(f"iptables-{variant}", "-D", *rule)
    assert here.ask(THERE)["there"]["state"] == "open"


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_a_firewall_here_on_the_way_in_is_named_by_its_rule(sides: tuple[Side, Side], variant: str) -> None:
    here, there = sides
    tunnel(there, THERE)
    here.run(f"iptables-{variant}", "-N", "FIREWALL")
    here.run(f"iptables-{variant}", "-A", "INPUT", "-i", "eth1", "-j", "FIREWALL")
    here.run(f"iptables-{variant}", "-A", "FIREWALL", *VXLAN, "-j", "DROP")
    found = here.ask(THERE, code=1)
    assert found["there"]["state"] == "open"
    assert found["back"]["state"] == "blocked"
    assert found["back"]["rule"] == "-A FIREWALL -p udp -m udp --dport 8472 -j DROP (table filter)"
    here.run(f"iptables-{variant}", "-I", "FIREWALL", "-s", "192.0.2.0/24", "-j", "ACCEPT")
    assert here.ask(THERE)["back"]["state"] == "not shown"


def test_a_policy_that_drops_is_named_and_of_a_rule_that_cannot_be_read_nothing_is_claimed(
    sides: tuple[Side, Side],
) -> None:
    here, there = sides
    tunnel(there, THERE)
    for rule in (("-P", "INPUT", "DROP"), ("-A", "INPUT", "-p", "icmp", "-j", "ACCEPT")):
        here.run("iptables", *rule)
    found = here.ask(THERE, code=1)
    assert found["back"]["rule"] == "-P INPUT DROP (table filter)"
    here.run("iptables", "-I", "INPUT", "-p", "udp", "-m", "multiport", "--dports", "53,8472", "-j", "ACCEPT")
    assert here.ask(THERE)["back"]["state"] == "not shown", "it may be let in: nothing is claimed"


@pytest.mark.parametrize("target", ["DNAT --to-destination :8472", "DNAT --to-destination 192.0.2.2", "REDIRECT"])
def test_a_rule_that_translates_in_part_is_followed(sides: tuple[Side, Side], target: str) -> None:
    """What it does not name the packet keeps; the rules after it see the device that was chosen before it."""
    here, _ = sides
    here.run("iptables", "-t", "nat", "-A", "OUTPUT", *VXLAN, "-j", *target.split())
    here.run("iptables", "-A", "OUTPUT", "-p", "udp", "-o", "eth1", "--dport", "8472", "-j", "DROP")
    found = here.ask(THERE, "--wait", "1", code=1)
    assert found["there"]["state"] == "blocked"
    assert found["there"]["rule"] == "-A OUTPUT -o eth1 -p udp -m udp --dport 8472 -j DROP (table filter)"


def test_a_firewall_here_is_seen_by_the_peer_on_its_way_there(sides: tuple[Side, Side]) -> None:
    """Both ask; ours comes in there, theirs does not come in here."""
    here, there = sides
    here.run("iptables", "-A", "INPUT", *VXLAN, "-j", "DROP")
    with there.start(*there.doctor(HERE, "--wait", "10", "-o", "json")) as other:
        found = here.ask(THERE, "--wait", "10", code=1)
        theirs = json.loads(other.communicate(timeout=200)[0])
    assert found["back"]["state"] == "blocked" and found["back"]["rule"]
    assert theirs["back"]["state"] == "open", "what comes from here arrives"
    assert theirs["there"]["state"] == "blocked" and "answers a ping" in theirs["there"]["why"]


def test_a_machine_that_is_off_is_told_as_unreachable(sides: tuple[Side, Side]) -> None:
    here, there = sides
    there.run("ip", "link", "set", "eth1", "down")
    found = here.ask(THERE, "--wait", "20", code=1)
    assert found["there"]["state"] == "unreachable"
    here.run("ip", "link", "set", "eth1", "up")
    there.run("ip", "link", "set", "eth1", "up")
    here.run("ip", "neigh", "flush", "dev", "eth1")
    found = here.ask("192.0.2.77", "--wait", "20", code=1)
    assert found["there"]["state"] == "unreachable" and "does not answer on this link" in found["there"]["why"]
    assert here.ask("198.51.100.1", code=1)["there"]["why"].endswith("this machine has no route to it")


def test_a_machine_that_drops_everything_is_told_as_silent(sides: tuple[Side, Side]) -> None:
    here, there = sides
    there.run("iptables", "-P", "INPUT", "DROP")
    found = here.ask(THERE, "--wait", "1", code=1)
    assert found["there"]["state"] == "silent"


@pytest.mark.parametrize("address", [HERE, "127.0.0.1", "node2", "192.0.2.0/24"])
def test_a_peer_that_is_no_other_machine_is_refused(sides: tuple[Side, Side], address: str) -> None:
    here, _ = sides
    said = here.run(*here.doctor(address), code=2)
    assert said.startswith(f"error: --peer {address}") and "hint: " in said
