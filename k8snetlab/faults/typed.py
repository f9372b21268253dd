"""The commands that damages are made of."""

from __future__ import annotations

from k8snetlab.dataplane.holds import Hold, of_item
from k8snetlab.dataplane.operations import Item
from k8snetlab.faults.fault import Command
from k8snetlab.faults.scene import Scene


def ip(netns: str, *words: str) -> Command:
    return Command(netns, ("ip", *words))


def bridge(netns: str, *words: str) -> Command:
    return Command(netns, ("bridge", *words))


def sysctl(netns: str, key: str, value: str) -> Command:
    return Command(netns, ("sysctl", "-w", f"{key}={value}"))


def iptables(scene: Scene, netns: str, line: str, variant: str = "") -> Command:
    """`line` is without blanks inside of words."""
    return Command(netns, (f"iptables-{variant or scene.variant}", "-w", *line.split()))


def inserted(scene: Scene, netns: str, table: str, chain: str, rule: str) -> tuple[Command, Command]:
    """A rule put first into a chain, and how it goes."""
    return (
        iptables(scene, netns, f"-t {table} -I {chain} {rule}"),
        iptables(scene, netns, f"-t {table} -D {chain} {rule}"),
    )


def hold(netns: str, *items: Item) -> tuple[Hold, ...]:
    return tuple(of_item(netns, item) for item in items)


def chain(netns: str, table: str, name: str) -> Hold:
    return Hold(netns, "chain", f"{table} {name}")
