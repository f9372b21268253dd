"""nginx.conf of a Gateway: for each host of each port a server, for each path a location.

A location is for all requests of a path; which of the matches that have that path, or a prefix of it, is the first that
fits, is known beforehand where they ask for nothing else. Else a `map` says so: each test of a method, a header or a
parameter is a variable of 0 or 1, and the line of them names the rule, a location of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.render.gateway import actions, streams
from k8snetlab.render.gateway.actions import Actions
from k8snetlab.render.gateway.model import Candidate, Server, Site, Test
from k8snetlab.render.gateway.places import places
from k8snetlab.render.ingress import conf as shared
from k8snetlab.render.ingress import upstreams
from k8snetlab.render.ingress.syntax import Writer, word

NOWHERE = "@nowhere"
DISPATCH = 418
"""The answer that a location gives itself, to go on at the rule that a map names."""


_LOGGED = ('set $proxy_upstream_name "-";', 'set $proxy_alternative_upstream_name "";')
"""What the line of the access log reads."""


def render(site: Site, module: str = "") -> Writer:
    """The whole file, but for its first line; `conf.with_checksum` of Ingresses puts that before it. `module` is the
    file of nginx' stream module, "" where that is built in."""
    out = Writer()
    if site.streams and module:
        out.put(f"load_module {word(module)};")
    shared.head(out)
    out.open("http")
    out.put(*shared.HTTP_LINES, "")
    actions.common(out)
    shared.maps(out)
    for upstream in site.upstreams.values():
        upstreams.upstream(out, upstream)
    rules = Actions(out, site)
    rules.variables()
    maps = _Maps(out)
    for server in site.servers:
        maps.of(server)
    for port in sorted({one.port for one in site.servers}):
        those = [one for one in site.servers if one.port == port]
        if all(one.host for one in those):
            _nobody(out, those[0], site)
        for server in those:
            _server(out, server, site, maps, rules)
    shared.own_servers(out)
    out.close()
    streams.block(out, site)
    return out


class _Maps:
    """The variables by which a location finds its rule."""

    def __init__(self, out: Writer) -> None:
        self._out = out
        self._tests: dict[tuple[str, str], str] = {}
        self._routes: dict[tuple[Candidate, ...], str] = {}

    def of(self, server: Server) -> None:
        for candidates in places(server).values():
            if any(one.tests for one in candidates) and candidates not in self._routes:
                self._routes[candidates] = f"$rule_{len(self._routes)}"
                self._write(self._routes[candidates], candidates)

    def name(self, candidates: tuple[Candidate, ...]) -> str:
        return self._routes[candidates]

    def _write(self, name: str, candidates: tuple[Candidate, ...]) -> None:
        tests = list(dict.fromkeys(test for one in candidates for test in one.tests))
        variables = [self._test(test, one) for one in candidates for test in one.tests if test in tests]
        variables = list(dict.fromkeys(variables))
        marks = [self._tests[test.variable, test.pattern] for test in tests]
        self._out.comes_from(candidates[0].origin)
        self._out.open(f'map "{"".join(marks)}" {name}')
        last = NOWHERE
        for one in candidates:
            if not one.tests:
                last = f"@{one.action.name}"
                break
            self._out.comes_from(one.origin)
            line = "".join("1" if test in one.tests else "." for test in tests)
            self._out.put(f'"~^{line}$" "@{one.action.name}";')
        self._out.put(f'default "{last}";')
        self._out.close()
        self._out.put("")

    def _test(self, test: Test, candidate: Candidate) -> str:
        mark = test.variable, test.pattern
        if mark not in self._tests:
            self._tests[mark] = name = f"$test_{len(self._tests)}"
            self._out.comes_from(candidate.origin)
            self._out.open(f"map ${test.variable} {name}")
            self._out.put(f"{word('~' + test.pattern)} 1;", "default 0;")
            self._out.close()
        return self._tests[mark]


# --- servers --------------------------------------------------------------------------------------------------------


def _listen(out: Writer, server: Server, site: Site, first: bool) -> None:
    options = f"{' default_server backlog=4096' if first else ''}{' ssl http2' if server.secure else ''}"
    out.put(f"listen {server.port}{options};")
    if site.ipv6:
        out.put(f"listen [::]:{server.port}{options.replace('backlog', 'ipv6only=on backlog')};")


def _nobody(out: Writer, server: Server, site: Site) -> None:
    """Hosts that no listener of the port is for."""
    out.comes_from(server.origin)
    out.open("server")
    _listen(out, server, site, first=True)
    out.put("server_name _;", *(["ssl_reject_handshake on;"] if server.secure else []))
    out.open("location /")
    out.put(*_LOGGED, "return 404;")
    out.close()
    out.close()
    out.put("")


def title(server: Server) -> str:
    """By which the block of a server is found."""
    return f"listener {server.listener}, host {server.host or 'any'}"


def _server(out: Writer, server: Server, site: Site, maps: _Maps, rules: Actions) -> None:
    out.comes_from(server.origin)
    out.put(f"## start {title(server)}")
    out.open("server")
    _listen(out, server, site, first=not server.host)
    out.put(f"server_name {server.host or '_'};", *_LOGGED)
    if server.certificate:
        out.put(f"ssl_certificate     {server.certificate};", f"ssl_certificate_key {server.certificate};")
    out.put("")
    found = places(server)
    for (kind, path), candidates in found.items():
        out.comes_from(candidates[0].origin)
        out.open(f"location {'= ' if kind == 'exact' else ''}{word(path)}")
        if candidates[0].tests:
            out.put(f"error_page {DISPATCH} = {maps.name(candidates)};", f"return {DISPATCH};")
        else:
            rules.put(candidates[0].action, server)
        out.close()
        out.put("")
    _dispatched(out, server, found.values(), rules)
    if ("prefix", "/") not in found:
        out.comes_from(server.origin)
        out.open("location /")
        out.put("return 404;")
        out.close()
    out.close()
    out.put(f"## end {title(server)}", "")


def _dispatched(out: Writer, server: Server, found: Iterable[tuple[Candidate, ...]], rules: Actions) -> None:
    """The locations that maps name."""
    chosen = [candidates for candidates in found if candidates[0].tests]
    actions = {one.action.name: one.action for candidates in chosen for one in candidates}
    for name, action in actions.items():
        out.comes_from(action.origin)
        out.open(f"location @{name}")
        rules.put(action, server)
        out.close()
        out.put("")
    if any(candidates[-1].tests for candidates in chosen):
        out.comes_from(server.origin)
        out.open(f"location {NOWHERE}")
        out.put("return 404;")
        out.close()
        out.put("")
