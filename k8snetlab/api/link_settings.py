"""What `k8snetlab link` sets of devices: an annotation for each of them, of the Node, or of the Lab for a router's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from k8snetlab.api import topology
from k8snetlab.api.core import Node
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import shorten
from k8snetlab.dataplane.shaping import Shape, parsed
from k8snetlab.errors import InputError

T = TypeVar("T", bound=Object)
PREFIX = "k8snetlab/link."
"""Of the annotation's name; the device's follows, or a router's and the device's: "leaf1.up1"."""
DOWN = "down"
_DEVICE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,13}[A-Za-z0-9])?")


class LinkSetting(msgspec.Struct, frozen=True):
    """Of one device: how it sends, and whether it is down."""

    shape: Shape = Shape()
    down: bool = False

    def words(self) -> str:
        """ "down", "delay 50ms loss 1%", "down, rate 10mbit"; "" for nothing."""
        return ", ".join(filter(None, (DOWN if self.down else "", self.shape.words())))


def kept_in(snapshot: Snapshot, name: str) -> tuple[Object, str] | None:
    """The object that has what is set of the devices of a node or a router, and how those annotations begin."""
    if node := snapshot.get(Node, name):
        return node, PREFIX
    routers = topology.routers(snapshot.lab.spec.underlay) if snapshot.lab.spec.underlay.links else ()
    return (snapshot.lab, f"{PREFIX}{name}.") if name in routers else None


def settings_of(snapshot: Snapshot, name: str) -> dict[str, LinkSetting]:
    """By device, of a node or a router."""
    found = kept_in(snapshot, name)
    return link_settings(*found) if found else {}


def link_settings(node: Object, prefix: str = PREFIX) -> dict[str, LinkSetting]:
    """By device. An annotation that somebody wrote by hand and that says nothing of a device is passed over:
    `unread` names it."""
    found = {key.removeprefix(prefix): _read(key, text, prefix) for key, text in _own(node, prefix).items()}
    return {device: setting for device, setting in found.items() if isinstance(setting, LinkSetting)}


def unread(node: Object, prefix: str = PREFIX) -> list[str]:
    """Why an annotation is passed over, a sentence each."""
    found = [(key, _read(key, text, prefix)) for key, text in _own(node, prefix).items()]
    return [f"annotation {shorten(key)}: {why}" for key, why in found if isinstance(why, str)]


def with_setting(node: T, device: str, setting: LinkSetting, prefix: str = PREFIX) -> T:
    """The object with what is set of one device; an empty one is taken away."""
    others = {key: text for key, text in node.metadata.annotations.items() if key != prefix + device}
    own = {prefix + device: setting.words()} if setting != LinkSetting() else {}
    return replace(node, metadata=replace(node.metadata, annotations={**others, **own}))


def _own(node: Object, prefix: str) -> Mapping[str, str]:
    return {key: text for key, text in node.metadata.annotations.items() if key.startswith(prefix)}


def _read(key: str, text: str, prefix: str) -> LinkSetting | str:
    if not _DEVICE.fullmatch(key.removeprefix(prefix)):
        return "no device can be called so"
    first, _, rest = text.partition(",")
    down = first.strip() == DOWN
    try:
        found = LinkSetting(parsed(rest if down else text), down)
    except InputError as error:
        return error.message
    return found if found != LinkSetting() else "it says nothing"
