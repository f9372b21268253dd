"""What damages are made of: commands, holds, what is seen."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from k8snetlab.api.core import Service
from k8snetlab.api.scheme import BY_NAME, to_dict
from k8snetlab.dataplane.holds import Hold, of_item
from k8snetlab.dataplane.operations import Item
from k8snetlab.faults.fault import Command, Edit, Seen, Symptom, content
from k8snetlab.faults.scene import LacksError, Scene, named, tcp_port


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


def across(scene: Scene, what: Symptom = "fails") -> Seen:
    """From a pod of the node to one of its peer."""
    return Seen(named(scene.client), named(scene.far), what=what)


def back(scene: Scene, what: Symptom = "fails") -> Seen:
    """From a pod of the peer to one of the node."""
    return Seen(named(scene.far_client), named(scene.pod), what=what)


def to_service(scene: Scene, service: Service, what: Symptom = "fails") -> Seen:
    """From a pod of the node to its first TCP port."""
    return Seen(named(scene.client), f"{named(service)}:{tcp_port(service).port}", what=what)


def created(scene: Scene, body: dict[str, Any]) -> Edit:
    """A new object. Raises LacksError where there is one of its name."""
    kind, name, namespace = body["kind"], body["metadata"]["name"], body["metadata"]["namespace"]
    if scene.snapshot.get(BY_NAME[kind.lower()].type, name, namespace) is not None:
        raise LacksError(f"there is a {kind} {namespace}/{name} already")
    return Edit(kind, namespace, name, None, body)


def changed(service: Service, **fields: Any) -> Edit:
    """The edit of a Service that gives its spec these fields. Raises LacksError where they are so already."""
    after = replace(service, spec=replace(service.spec, **fields))
    if after == service:
        raise LacksError(f"Service {service.namespace}/{service.name} is so already")
    return Edit("Service", service.namespace, service.name, content(to_dict(service)), content(to_dict(after)))
