"""Which match a request comes to: nginx' locations and maps, against the Gateway API's order, written down plainly."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest

from k8snetlab.api.gateway import Gateway, GatewayClass, HTTPRoute, HTTPRouteMatch
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.gateways import names
from k8snetlab.render.gateway import collect, matching

PATHS = ("/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b")
HEADERS, PARAMETERS = ("X", "Y"), ("p", "q")
HOSTS = ("a.example", "b.a.example", "*.a.example", "*.example", "c.test")
ASKED_HOSTS = ("a.example", "b.a.example", "x.b.a.example", "z.example", "c.test", "example", "other")


def match(chance: random.Random) -> dict[str, Any]:
    said: dict[str, Any] = {"path": {"type": chance.choice(("Exact", "PathPrefix")), "value": chance.choice(PATHS)}}
    if chance.random() < 0.4:
        picked = chance.sample(HEADERS, chance.randint(1, 2))
        said["headers"] = [{"name": name, "value": chance.choice("12")} for name in picked]
    if chance.random() < 0.3:
        picked = chance.sample(PARAMETERS, chance.randint(1, 2))
        said["queryParams"] = [{"name": name, "value": chance.choice("12")} for name in picked]
    if chance.random() < 0.3:
        said["method"] = chance.choice(("GET", "POST"))
    return said


def snapshot(chance: random.Random) -> Snapshot:
    listeners = [{"name": "all", "port": 80, "protocol": "HTTP"}]
    listeners += [
        {"name": f"l{number}", "port": 80, "protocol": "HTTP", "hostname": host}
        for number, host in enumerate(chance.sample(HOSTS, chance.randint(0, 2)))
    ]
    objects: list[Any] = [
        msgspec.convert({"metadata": {"name": "l"}, "spec": {"gateway": {"controller": "nginx"}}}, Lab),
        msgspec.convert({"metadata": {"name": "nginx"}, "spec": {"controllerName": names.CONTROLLER}}, GatewayClass),
        msgspec.convert(
            {"metadata": {"name": "g"}, "spec": {"gatewayClassName": "nginx", "listeners": listeners}}, Gateway
        ),
    ]
    for number in range(chance.randint(1, 4)):
        rules = [{"matches": [match(chance) for _ in range(chance.randint(1, 2))]} for _ in range(chance.randint(1, 3))]
        metadata = {"name": f"r{number}", "creationTimestamp": f"2026-01-0{chance.randint(1, 3)}T00:00:00Z"}
        spec = {"parentRefs": [{"name": "g"}], "rules": rules, "hostnames": chance.sample(HOSTS, chance.randint(0, 2))}
        objects.append(msgspec.convert({"metadata": metadata, "spec": spec}, HTTPRoute))
    return Snapshot.of(objects)


def stands_for(pattern: str, host: str) -> bool:
    return (
        not pattern
        or pattern == host
        or (pattern.startswith("*.") and host.endswith(pattern[1:]) and host != pattern[2:])
    )


def rank(pattern: str) -> tuple[int, int]:
    return (0 if not pattern else 1 if pattern.startswith("*") else 2, len(pattern))


def elements(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def fits(one: HTTPRouteMatch, method: str, path: str, query: str, headers: dict[str, str]) -> bool:
    exact = one.path.type == "Exact"
    wanted = elements(one.path.value)
    if exact and one.path.value != path:
        return False
    if not exact and elements(path)[: len(wanted)] != wanted:
        return False
    given = dict(reversed(parse_qsl(query)))
    return (
        one.method in (None, method)
        and all(headers.get(header.name) == header.value for header in one.headers)
        and all(given.get(parameter.name) == parameter.value for parameter in one.queryParams)
    )


def expected(now: Snapshot, host: str, asked: tuple[str, str, str, dict[str, str]]) -> tuple[str, int, int] | None:
    """The route, the rule and the match that the specification chooses."""
    (gateway,) = now.all(Gateway).values()
    listener = max(
        (one.hostname or "" for one in gateway.spec.listeners if stands_for(one.hostname or "", host)), key=rank
    )
    found = []
    for route in now.all(HTTPRoute).values():
        hosts = [one for one in route.spec.hostnames or ("",) if stands_for(one, host)]
        if not hosts:
            continue
        best = max([max(one, listener, key=rank) for one in hosts], key=rank)
        for number, rule in enumerate(route.spec.rules):
            for place, one in enumerate(rule.matches):
                if fits(one, *asked):
                    length = (
                        len(one.path.value) if one.path.type == "Exact" else len("/".join(elements(one.path.value)))
                    )
                    order = (
                        *(-part for part in rank(best)),
                        one.path.type != "Exact",
                        -length,
                        one.method is None,
                        -len(one.headers),
                        -len(one.queryParams),
                        route.metadata.creationTimestamp,
                        route.name,
                        number,
                        place,
                    )
                    found.append((order, (route.name, number, place)))
    return min(found)[1] if found else None


@pytest.mark.parametrize("seed", range(120))
def test_the_first_match_is_the_one_that_the_specification_chooses(seed: int) -> None:
    chance = random.Random(seed)
    now = snapshot(chance)
    (gateway,) = now.all(Gateway).values()
    site = collect.site(gateway, now)
    for _ in range(40):
        host, path = chance.choice(ASKED_HOSTS), chance.choice((*PATHS, "/a/b/", "/a/x", "/zz"))
        query = "&".join(f"{chance.choice(PARAMETERS)}={chance.choice('12')}" for _ in range(chance.randint(0, 2)))
        headers = {name: chance.choice("12") for name in HEADERS if chance.random() < 0.5}
        method = chance.choice(("GET", "POST"))
        server = matching.server(site, 80, host)
        assert server is not None
        found = matching.candidate(server, method, f"{path}?{query}", headers)[1]
        told = (found.origin.key[1], int(found.origin.path[2]), int(found.origin.path[4])) if found else None
        assert told == expected(now, host, (method, path, query, headers)), (host, method, path, query, headers)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (None, 0.0),
        ({"request": "10s"}, 10.0),
        ({"request": "10s", "backendRequest": "500ms"}, 0.5),
        ({"request": "0s", "backendRequest": "2s"}, 2.0),
        ({"request": "0s"}, collect.NONE),
    ],
)
def test_a_timeout_of_nothing_is_none_and_one_left_out_is_nginxs(said: Any, wanted: float) -> None:
    now = snapshot(random.Random(0))
    spec = {"parentRefs": [{"name": "g"}], "hostnames": ["t.test"], "rules": [{"timeouts": said}] if said else [{}]}
    route = msgspec.convert({"metadata": {"name": "timed"}, "spec": spec}, HTTPRoute)
    now = now.changed([(HTTPRoute, route.key, route)], 1)
    (gateway,) = now.all(Gateway).values()
    found = {one.timeout for one in collect.site(gateway, now).actions if one.origin.key == route.key}
    assert found == {wanted}
