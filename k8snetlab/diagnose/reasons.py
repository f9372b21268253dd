"""Why a routing daemon holds a route: BIRD's and FRR's own attributes of it, in a few words.

Source: BIRD 2.0's `show route all` (nest/rt-show.c, proto/*/), FRR 8.4's `show ip ospf route json`,
`show ip ospf database router json`, `show ip rip`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

import msgspec

_ROUTE = re.compile(r"^(?P<dst>[0-9a-f.:]+/\d+)?\s+(?P<kind>unicast|blackhole)\s.*\](?P<best> \*)? ")
_ATTRIBUTE = re.compile(r"^\t(?P<name>[A-Za-z]+\.[a-z_0-9]+): ?(?P<value>.*)$")


def bird(text: str) -> Mapping[str, str]:
    """Of `show route all`: of each network's best route."""
    found: dict[str, str] = {}
    dst, best, held = "", False, dict[str, str]()
    for line in [*text.splitlines(), "0.0.0.0/32 unicast [] * "]:
        if row := _ROUTE.match(line):
            if dst and best and (words := _words(held)):
                found[dst] = words
            dst, best, held = row["dst"] or dst, bool(row["best"]), {}
        elif attribute := _ATTRIBUTE.match(line):
            held[attribute["name"]] = attribute["value"].strip()
    return found


def _words(held: Mapping[str, str]) -> str:
    if "BGP.origin" in held:
        path = held.get("BGP.as_path", "")
        return f"AS path {path}" if path else "within its own AS"
    if "OSPF.metric1" in held:
        by = f", by an LSA of {held['OSPF.router_id']}" if "OSPF.router_id" in held else ""
        return f"OSPF's cost is {held['OSPF.metric1']}{by}"
    return f"RIP's metric is {held['RIP.metric']}" if "RIP.metric" in held else ""


def frr_ospf(routes: str, routers: str = "", external: str = "") -> Mapping[str, str]:
    """Of `show ip ospf route json`, with who told of each network: `show ip ospf database router json`, and the same of
    external ones."""
    tellers: dict[str, list[str]] = {}
    for network, teller in (*_stubs(_read(routers)), *_external(_read(external))):
        tellers.setdefault(network, []).append(teller)
    return {dst: f"{words}{_by(tellers.get(dst, ()))}" for dst, words in _costs(_read(routes))}


def _read(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _by(tellers: Sequence[str]) -> str:
    if not tellers:
        return ""
    return f", by {'an LSA' if len(tellers) == 1 else 'LSAs'} of {' and '.join(dict.fromkeys(tellers))}"


def _stubs(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Networks that routers' own LSAs name, each with the router's id."""
    for lsas in found.get("routerLinkStates", {}).get("areas", {}).values():
        for lsa in lsas:
            for link in lsa.get("routerLinks", {}).values():
                if link.get("linkType") == "Stub Network":
                    network = ip_network(f"{link['networkAddress']}/{link['networkMask']}", strict=False)
                    yield str(network), str(lsa.get("advertisingRouter", "?"))


def _external(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for lsa in found.get("asExternalLinkStates", ()):
        yield f"{lsa['linkStateId']}/{lsa['networkMask']}", str(lsa.get("advertisingRouter", "?"))


def _costs(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for dst, one in found.items():
        if isinstance(one, dict) and "cost" in one and "/" in dst:
            area = one.get("area", "")
            yield dst, f"OSPF's cost is {one['cost']}" + (f", in area {area}" if area else ", from outside OSPF")


def frr_rip(text: str) -> Mapping[str, str]:
    """Of `show ip rip`: code, network, next hop, metric, from."""
    rows = (line.split() for line in text.splitlines())
    return {row[1]: f"RIP's metric is {row[3]}" for row in rows if len(row) > 4 and row[0].startswith("R(")}
