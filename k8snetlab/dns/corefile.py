"""A Corefile: CoreDNS' configuration, as kubeadm keeps it in the ConfigMap kube-system/coredns.

Source: CoreDNS, "Corefile explained" and the pages of its plugins; what is not served is refused by name and line.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import msgspec

from k8snetlab.api.dns import PORT, server
from k8snetlab.dns import caching
from k8snetlab.dns.caching import NONE, Cache, within
from k8snetlab.dns.lines import CorefileError, Word, Words, dotted, is_number, seconds
from k8snetlab.dns.zones import Pods, Zones

QUIET = frozenset(("errors", "health", "ready", "prometheus", "reload", "log", "bufsize"))
"""Plugins that change no answer here: what they are for is always on, or has no meaning in a lab."""


Policy = Literal["random", "round_robin", "sequential"]
"""Which of several servers is asked first."""


class Forward(msgspec.Struct, frozen=True):
    """Names in `zone` (with its dot) are asked of the servers `to`: (address, port), or the pod's own resolv.conf where
    there are none. Those in `exclude` are not."""

    zone: str
    to: tuple[tuple[str, int], ...] = ()
    exclude: tuple[str, ...] = ()
    own: bool = False
    """Whether the servers of /etc/resolv.conf are asked, too."""
    tcp: bool = False
    """Whether they are asked by TCP only."""
    policy: Policy = "random"
    at_once: int = 0
    """So many questions may wait for them; more are refused. 0: as many as come."""


class Hosts(msgspec.Struct, frozen=True):
    """`addresses` by name (lower case, with its dot). Where a name of it is not there, what follows is asked only with
    `fallthrough`. `reverse`: the names of its addresses are answered, too."""

    addresses: Mapping[str, tuple[str, ...]] = {}
    ttl: int = 3600
    fallthrough: bool = False
    reverse: bool = True


class Block(msgspec.Struct, frozen=True):
    """One server block: what is done with names in `zones` (with their dots, "." for all).

    `fallthrough` are the zones in which a name that the cluster has not goes on to `forwards`. `bind` are the addresses
    that are listened at, none for all.
    """

    zones: tuple[str, ...]
    cluster: Zones | None = None
    fallthrough: tuple[str, ...] = ()
    hosts: Hosts | None = None
    forwards: tuple[Forward, ...] = ()
    cache: Cache = NONE
    loop: bool = False
    loadbalance: bool = False
    bind: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    """Names, in the file's order."""


def parse(text: str) -> tuple[Block, ...]:
    """The server blocks. Raises CorefileError for the first wrong place."""
    words = Words(text)
    blocks = []
    while words.more:
        blocks.append(_block(words))
    if not blocks:
        raise CorefileError(1, "has no server block, as `.:53 { … }`")
    seen: dict[str, int] = {}
    for number, block in enumerate(blocks):
        for zone in block.zones:
            if seen.setdefault(zone, number) != number:
                raise CorefileError(1, f"has two server blocks for {zone}")
    if len({block.bind for block in blocks}) > 1:
        raise CorefileError(1, "bind: all server blocks listen at the same addresses here")
    return tuple(blocks)


def block_of(blocks: Sequence[Block], name: str) -> Block | None:
    """The block that a name (lower case) belongs to: the one with the longest zone."""
    found = [(len(zone), block) for block in blocks for zone in block.zones if within(name, zone)]
    return max(found, key=lambda one: one[0])[1] if found else None


def _block(words: Words) -> Block:
    head = words.line()
    number = head[0][1]
    if head[-1][0] != "{":
        raise CorefileError(number, f"{head[-1][0]}: a server block begins with its zones and a {{ in one line")
    block = Block(tuple(_zone(word) for word in head[:-1]) or (".",))
    for line in words.body(head):
        name, where = line[0]
        plugin = _PLUGINS.get(name)
        if plugin is None and name not in QUIET:
            raise CorefileError(where, f"the plugin {name} is not served here; these are: {', '.join(_KNOWN)}")
        inner = list(words.body(line))
        block = msgspec.structs.replace(block, plugins=(*block.plugins, name))
        if plugin is not None:
            block = plugin(block, line[1:], inner, where)
    return block


def _zone(word: Word) -> str:
    """Of `zone`, `zone:port` or `dns://zone:port`."""
    text, number = word
    zone, _, port = text.removeprefix("dns://").partition(":")
    if "://" in zone or port not in ("", str(PORT)):
        raise CorefileError(number, f"{text}: only plain DNS on port {PORT} is served here")
    return dotted(zone.rstrip(","))


def _kubernetes(block: Block, words: list[Word], inner: list[list[Word]], number: int) -> Block:
    zones = [dotted(word) for word, _ in words] or list(block.zones)
    own = [zone for zone in zones if not zone.endswith(".arpa.")]
    if len(own) != 1:
        raise CorefileError(number, "kubernetes: takes one zone that is none of addresses, as cluster.local")
    reverse = tuple(zone for zone in zones if zone.endswith(".arpa."))
    cluster, fall = Zones(domain=own[0].rstrip("."), reverse=reverse), tuple[str, ...]()
    for (option, where), *arguments in inner:
        values = [value for value, _ in arguments]
        match option, values:
            case "pods", ["disabled" | "insecure" | "verified" as pods]:
                cluster = msgspec.structs.replace(cluster, pods=_pods(pods))
            case "ttl", [ttl]:
                cluster = msgspec.structs.replace(cluster, ttl=seconds(ttl, where, "kubernetes: ttl"))
            case "endpoint_pod_names", []:
                cluster = msgspec.structs.replace(cluster, endpoint_pod_names=True)
            case "fallthrough", _:
                fall = tuple(dotted(value) for value in values) or (".",)
            case _:
                raise CorefileError(where, f"kubernetes: {' '.join([option, *values])} is not served here")
    return msgspec.structs.replace(block, cluster=cluster, fallthrough=fall)


def _pods(text: str) -> Pods:
    return "verified" if text == "verified" else "insecure" if text == "insecure" else "disabled"


def _forward(block: Block, words: list[Word], inner: list[list[Word]], number: int) -> Block:
    if len(words) < 2:
        raise CorefileError(number, "forward: needs a zone and the servers for it, as `forward . 192.0.2.53`")
    zone, *servers = words
    own = any(text == "/etc/resolv.conf" for text, _ in servers)
    to = tuple(_server(text, where) for text, where in servers if text != "/etc/resolv.conf")
    forward = Forward(dotted(zone[0]), to, own=own)
    for (option, where), *arguments in inner:
        values = [value for value, _ in arguments]
        match option, values:
            case "except", [_, *_]:
                forward = msgspec.structs.replace(forward, exclude=tuple(map(dotted, values)))
            case "force_tcp", []:
                forward = msgspec.structs.replace(forward, tcp=True)
            case "policy", [policy] if policy in get_args(Policy):
                forward = msgspec.structs.replace(forward, policy=policy)
            case "max_concurrent", [most] if is_number(most):
                forward = msgspec.structs.replace(forward, at_once=int(most))
            case ("prefer_udp", []) | ("health_check" | "max_fails" | "expire", [_, *_]):
                pass  # how a server that fails is found out is the same here, whatever these say
            case _:
                raise CorefileError(where, f"forward: {' '.join([option, *values])} is not served here")
    return msgspec.structs.replace(block, forwards=(*block.forwards, forward))


def _server(text: str, line: int) -> tuple[str, int]:
    try:
        return server(text.removeprefix("dns://"))
    except ValueError:
        raise CorefileError(line, f"{text}: is no name server, as 192.0.2.53 or 192.0.2.53:5353") from None


def _hosts(block: Block, words: list[Word], inner: list[list[Word]], number: int) -> Block:
    if words:
        raise CorefileError(number, f"hosts: a file ({words[0][0]}) is not read here; write its lines into the block")
    found: dict[str, tuple[str, ...]] = {}
    hosts = Hosts()
    for (first, where), *arguments in inner:
        values = [value for value, _ in arguments]
        if first == "fallthrough" and values:
            raise CorefileError(where, f"hosts: fallthrough {' '.join(values)} is not served here; it is for all zones")
        if first == "fallthrough":
            hosts = msgspec.structs.replace(hosts, fallthrough=True)
        elif first == "ttl" and len(values) == 1:
            hosts = msgspec.structs.replace(hosts, ttl=seconds(values[0], where, "hosts: ttl"))
        elif first == "no_reverse":
            hosts = msgspec.structs.replace(hosts, reverse=False)
        elif first != "reload":
            address = _address(first, where)
            for value in values:
                name = dotted(value)
                found[name] = (*found.get(name, ()), address)
    return msgspec.structs.replace(block, hosts=msgspec.structs.replace(hosts, addresses=found))


def _address(text: str, line: int) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise CorefileError(line, f"hosts: {text} is neither an address nor an option") from None


def _cached(block: Block, words: list[Word], inner: list[list[Word]], number: int) -> Block:
    return msgspec.structs.replace(block, cache=caching.read(words, inner))


def _bind(block: Block, words: list[Word], inner: list[list[Word]], number: int) -> Block:
    for text, where in words:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise CorefileError(where, f"bind: {text} is no address; a device's name is not served here") from None
    return msgspec.structs.replace(block, bind=(*block.bind, *(text for text, _ in words)))


def _loop(block: Block, words: list[Word], inner: list[list[Word]], number: int) -> Block:
    return msgspec.structs.replace(block, loop=True)


def _loadbalance(block: Block, words: list[Word], inner: list[list[Word]], number: int) -> Block:
    if words and words[0][0] != "round_robin":
        raise CorefileError(number, f"loadbalance: {words[0][0]} is not served here; round_robin is")
    return msgspec.structs.replace(block, loadbalance=True)


_PLUGINS: Mapping[str, Callable[[Block, list[Word], list[list[Word]], int], Block]] = {
    "kubernetes": _kubernetes,
    "forward": _forward,
    "hosts": _hosts,
    "cache": _cached,
    "bind": _bind,
    "loop": _loop,
    "loadbalance": _loadbalance,
}
_KNOWN = sorted((*_PLUGINS, *QUIET))
