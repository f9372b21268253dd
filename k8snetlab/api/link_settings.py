"""What `k8snetlab link` sets of a node's devices, kept in the Node: an annotation for each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import Node
from k8snetlab.api.words import shorten
from k8snetlab.dataplane.shaping import Shape, parsed
from k8snetlab.errors import InputError

PREFIX = "k8snetlab/link."
"""Of the annotation's name; the device's follows."""
DOWN = "down"
_DEVICE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,13}[A-Za-z0-9])?")


class LinkSetting(msgspec.Struct, frozen=True):
    """Of one device: how it sends, and whether it is down."""

    shape: Shape = Shape()
    down: bool = False

    def words(self) -> str:
        """ "down", "delay 50ms loss 1%", "down, rate 10mbit"; "" for nothing."""
        return ", ".join(filter(None, (DOWN if self.down else "", self.shape.words())))


def link_settings(node: Node) -> dict[str, LinkSetting]:
    """By device. An annotation that somebody wrote by hand and that says nothing of a device is passed over:
    `unread` names it."""
    found = {key.removeprefix(PREFIX): _read(key, text) for key, text in _own(node).items()}
    return {device: setting for device, setting in found.items() if isinstance(setting, LinkSetting)}


def unread(node: Node) -> list[str]:
    """Why an annotation is passed over, a sentence each."""
    found = [(key, _read(key, text)) for key, text in _own(node).items()]
    return [f"annotation {shorten(key)}: {why}" for key, why in found if isinstance(why, str)]


def with_setting(node: Node, device: str, setting: LinkSetting) -> Node:
    """The node with what is set of one device; an empty one is taken away."""
    others = {key: text for key, text in node.metadata.annotations.items() if key != PREFIX + device}
    own = {PREFIX + device: setting.words()} if setting != LinkSetting() else {}
    return replace(node, metadata=replace(node.metadata, annotations={**others, **own}))


def _own(node: Node) -> Mapping[str, str]:
    return {key: text for key, text in node.metadata.annotations.items() if key.startswith(PREFIX)}


def _read(key: str, text: str) -> LinkSetting | str:
    if not _DEVICE.fullmatch(key.removeprefix(PREFIX)):
        return "no device can be called so"
    first, _, rest = text.partition(",")
    down = first.strip() == DOWN
    try:
        found = LinkSetting(parsed(rest if down else text), down)
    except InputError as error:
        return error.message
    return found if found != LinkSetting() else "it says nothing"
