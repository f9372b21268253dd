"""The path by hand is the lab's: the same rules, chains that packets enter, and settings; and TCP goes through it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from benchmarks.floors.path import BARE, CLUSTER_IP, RULES, path
from benchmarks.tcp import Way, rates, rates_of_a_core
from benchmarks.throughput import the_lab
from k8snetlab.kernel import netns

NODES = ("node1", "node2")
# What a person would call otherwise, what only counts, and what says nothing to the kernel.
OTHERWISE = (
    (r'-m comment --comment ("[^"]*"|\S+) ?', ""),
    (r"-m nfacct --nfacct-name +\S+ ?", ""),
    (r"\bKUBE-(SVC|SEP)-\w+", r"KUBE-\1"),
    (r"\b192\.168\.0\.\d+\b", "NODE"),
    (r" +", " "),
)


@pytest.fixture(scope="module")
def ways() -> Iterator[tuple[Way, Way]]:
    with the_lab() as ours, path(RULES) as by_hand:
        yield ours, by_hand


def of(way: Way, place: str) -> str:
    """The name of a namespace that belongs to a way."""
    return f"{way.client.partition('.')[0]}.{place}"


def inside(name: str, *words: str) -> str:
    return subprocess.run(["ip", "netns", "exec", name, *words], capture_output=True, text=True, check=True).stdout


def rules(name: str) -> dict[str, list[str]]:
    """By table and chain: in the built-in chains as they stand, elsewhere sorted."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in inside(name, "iptables-save").splitlines():
        if line.startswith("*"):
            table = line
        elif line.startswith(":"):
            found.setdefault(f"{table} {named(line[1:].split()[0])}", [])
        elif line.startswith("-A"):
            _, chain, rule = named(line).split(" ", 2)
            found.setdefault(f"{table} {chain}", []).append(rule)
    return {chain: sorted(held) if "KUBE-S" in chain else held for chain, held in found.items()}


def named(line: str) -> str:
    for pattern, other in OTHERWISE:
        line = re.sub(pattern, other, line)
    return line


@pytest.mark.parametrize("node", NODES)
def test_the_rules_are_the_labs(ways: tuple[Way, Way], node: str) -> None:
    ours, by_hand = (rules(of(way, node)) for way in ways)
    assert ours["*filter INPUT"], "nothing was compared"
    assert by_hand == ours


@pytest.mark.skipif(not shutil.which("nft"), reason="nft is missing: apt-get install nftables")
@pytest.mark.parametrize("node", NODES)
def test_packets_enter_the_same_chains(ways: tuple[Way, Way], node: str) -> None:
    ours, by_hand = (
        sorted(re.findall(r"type .* hook .*", inside(of(way, node), "nft", "list", "ruleset"))) for way in ways
    )
    assert by_hand == ours


@pytest.mark.parametrize(("node", "wire", "value"), [("node1", "node1", "1"), ("router", "wire", "0")])
def test_frames_meet_rules_in_the_same_places(ways: tuple[Way, Way], node: str, wire: str, value: str) -> None:
    for way, place in zip(ways, (node, wire), strict=True):
        assert inside(of(way, place), "sysctl", "-n", "net.bridge.bridge-nf-call-iptables").strip() == value


@pytest.mark.parametrize("what", [RULES, BARE])
def test_tcp_goes_through_it_by_the_cluster_ip_and_nothing_is_left(ways: tuple[Way, Way], what: str) -> None:
    with path(what) as plain:
        way = plain._replace(address=CLUSTER_IP, port=80)
        found = [rates([plain, way], 1), rates_of_a_core([plain, way], 1)]
        assert all(value > 0 for measured in found for one in measured for value in one)
    assert not [name for name in netns.names() if name.startswith(of(plain, ""))]
