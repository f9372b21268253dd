"""nginx' groups of endpoints, and the variables that choose among them: by cookie, by canary; and zones of limits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from k8snetlab.render.ingress.model import Location, Origin, Site, Upstream
from k8snetlab.render.ingress.syntax import Writer, regex, value, word


def upstream(out: Writer, one: Upstream) -> None:
    if not one.addresses:
        return
    out.comes_from(Origin("Service", one.service))
    _group(out, one.name, one.addresses)
    if one.affinity is None:
        return
    for number, address in enumerate(one.addresses):
        others = [other for other in one.addresses if other != address]
        _group(out, f"{one.name}.{number}", (address,), others)
    cookie, mark = one.affinity, variable(one.name)
    out.open(f"map $cookie_{cookie.cookie} $sticky_{mark}")
    out.put(f'default "{one.name}";')
    out.put(*(f'"{sticky(each)}" "{one.name}.{n}";' for n, each in enumerate(one.addresses)))
    out.close()
    age = "" if cookie.max_age is None else f"; Max-Age={cookie.max_age}"
    out.open(f'map "$cookie_{cookie.cookie} $upstream_addr" $stuck_{mark}')
    out.put('default "";')
    for each in one.addresses:
        head = regex(sticky(each))
        out.put(f"{word(f'~^(?!{head} ).* {regex(each)}$')} {value(_cookie(cookie.cookie, each, cookie.path, age))};")
    out.close()


def _cookie(name: str, address: str, path: str, age: str) -> str:
    return f"{name}={sticky(address)}{age}; Path={path}; HttpOnly"


def _group(out: Writer, name: str, members: Iterable[str], backups: Iterable[str] = ()) -> None:
    out.open(f"upstream {name}")
    out.put(*(f"server {address} max_fails=0;" for address in members))
    out.put(*(f"server {address} max_fails=0 backup;" for address in backups))
    out.put("keepalive 320;", "keepalive_timeout 60s;", "keepalive_requests 10000;")
    out.close()
    out.put("")


def sticky(address: str) -> str:
    """What a cookie says of an endpoint."""
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()


def variable(name: str) -> str:
    """Of a name of DNS labels, one that can stand in a variable's; two never become one."""
    return name.replace("_", "_u").replace("-", "_").replace(".", "_d")


# --- who goes where -------------------------------------------------------------------------------------------------


def choices(out: Writer, locations: Iterable[Location], site: Site) -> None:
    """The variables that choose between a location's upstream and its canary's, each once. Which of the two comes
    first, then its name: split_clients reads no variables, and one with affinity is one."""
    known: set[str] = set()
    for location in locations:
        canary = location.canary
        if canary is None or not addresses(site, canary.upstream) or not addresses(site, location.upstream):
            continue
        mark = choice(location)
        if mark in known:
            continue
        known.add(mark)
        out.comes_from(location.origin)
        share = 100 * canary.weight / canary.total
        out.open(f'split_clients "$request_id" $weighed_{mark}')
        if share >= 100:
            out.put("* canary;")
        else:
            out.put(*([f"{share:.2f}% canary;"] if share >= 0.01 else []), "* main;")
        out.close()
        asked = "$weighed_" + mark
        if canary.cookie:
            out.open(f"map $cookie_{canary.cookie} $by_cookie_{mark}")
            out.put(f"default {asked};", "always canary;", "never main;")
            out.close()
            asked = "$by_cookie_" + mark
        if canary.header:
            header = canary.header.lower().replace("-", "_")
            out.open(f"map $http_{header} $by_header_{mark}")
            out.put(f"default {asked};")
            if canary.value:
                out.put(f"{word('~^' + regex(canary.value) + '$')} canary;")
            elif canary.pattern:
                out.put(f"{word('~' + canary.pattern)} canary;")
            else:
                out.put("always canary;", "never main;")
            out.close()
            asked = "$by_header_" + mark
        out.open(f"map {asked} $chosen_{mark}")
        out.put(f"default {entry(site, location.upstream)};", f"canary {entry(site, canary.upstream)};")
        out.close()
        out.put("")


def choice(location: Location) -> str:
    text = repr((location.upstream, location.canary))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def addresses(site: Site, upstream: str) -> tuple[str, ...]:
    return site.upstreams[upstream].addresses if upstream in site.upstreams else ()


def entry(site: Site, name: str) -> str:
    """What proxy_pass says of an upstream: its name, or the variable that the client's cookie chooses by."""
    upstream = site.upstreams[name]
    return f"$sticky_{variable(name)}" if upstream.affinity and upstream.addresses else name


def zones(out: Writer, locations: Iterable[Location]) -> None:
    """Where requests of each client are counted."""
    known = {one.origin.key: one for one in locations if one.options.rps or one.options.rpm}
    for location in known.values():
        out.comes_from(location.origin)
        for unit, rate in (("s", location.options.rps), ("m", location.options.rpm)):
            if rate:
                out.put(f"limit_req_zone $binary_remote_addr zone={zone(location, unit)}:5m rate={rate}r/{unit};")


def zone(location: Location, unit: str) -> str:
    return f"{location.namespace}_{location.ingress}_rp{unit}"
