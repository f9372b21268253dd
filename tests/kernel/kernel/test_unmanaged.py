"""What stands beside a lab's own is told, and where there is nothing no tool is started to say so."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from k8snetlab.kernel import listing, netns, unmanaged

Make = Callable[..., str]
PLANTED = {
    "qdisc": "tc -n {ns} qdisc add dev end root tbf rate 1mbit burst 4k latency 50ms",
    "ingress": "tc -n {ns} qdisc add dev end ingress",
    "inet": "ip netns exec {ns} nft add table inet stranger",
    "same name": "ip netns exec {ns} nft add table inet filter",
    "rule": "ip -n {ns} rule add from 10.9.9.0/24 table 99 priority 77",
    "rule of IPv6": "ip -n {ns} -6 rule add from fd00::/64 table 99 priority 78",
    "first rule": "ip -n {ns} rule add from 10.9.9.0/24 blackhole priority 1",
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tools that are started to tell."""
    real, words = listing.objects, list[str]()

    def watched(namespace: str, argv: Sequence[str]) -> list[dict[str, Any]]:
        words.append(" ".join(argv))
        return real(namespace, argv)

    monkeypatch.setattr(listing, "objects", watched)
    return words


def prepared(namespace: Make) -> str:
    """A namespace as one of a lab is: with iptables' own tables in both families, and a device with a queue."""
    made = namespace("node")
    subprocess.run(f"ip -n {made} link add end type veth peer name other".split(), check=True)
    subprocess.run(f"ip -n {made} link set end up".split(), check=True)
    for tool in ("iptables-nft", "ip6tables-nft"):
        for table in ("nat", "filter", "mangle"):
            rule = [tool, "-t", table, "-A", "OUTPUT", "-j", "ACCEPT"]
            with netns.inside(made):
                subprocess.run(rule, check=True)
    return made


def told(namespace: str) -> list[str]:
    return [one.text for one in (*unmanaged.qdiscs(namespace), *unmanaged.others(namespace))]


def test_where_nothing_is_no_tool_is_started(namespace: Make, started: list[str]) -> None:
    assert told(prepared(namespace)) == [] and started == []


@pytest.mark.parametrize("command", PLANTED.values(), ids=PLANTED)
def test_what_somebody_put_there_is_told(namespace: Make, started: list[str], command: str) -> None:
    made = prepared(namespace)
    subprocess.run(command.format(ns=made).split(), check=True)
    assert len(told(made)) == 1 and len(started) == 1
