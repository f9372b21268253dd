"""Hundreds of routes that nobody has checked, read by nginx itself."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from unchecked import PIECES

from k8snetlab.addons import nginx
from k8snetlab.addons.program import Place
from k8snetlab.api.gateway import Gateway, GatewayClass, HTTPRoute
from k8snetlab.api.lab import Lab
from k8snetlab.api.routes import StreamRoute, TCPRoute, TLSRoute
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.gateways import names
from k8snetlab.kernel import netns
from k8snetlab.render.gateway import collect, conf
from k8snetlab.render.ingress.conf import FILE
from k8snetlab.testing.services import endpoint, service, slice_of

COUNT = int(os.environ.get("K8SNETLAB_ROUTES", "400"))
EACH = 200
"""Routes of one Gateway."""


def route(number: int, chance: random.Random) -> HTTPRoute:
    """With anything in each text that the controller reads."""

    def text() -> str:
        return "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 4)))

    def header() -> dict[str, str]:
        return {"name": chance.choice((text(), "X-A", "X-B", "Host")), "value": text()}

    def path(field: str) -> dict[str, str]:
        return {"type": field[0].upper() + field[1:], field: "/" + chance.choice((text(), "a", ""))}

    def filters() -> list[dict[str, Any]]:
        modifier = path(chance.choice(("replaceFullPath", "replacePrefixMatch")))
        change = {"set": [header()], "add": [header()], "remove": [chance.choice((text(), "X-C"))]}
        return [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": change},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": change},
            {"type": "URLRewrite", "urlRewrite": {"hostname": "b.example", "path": modifier}},
            {"type": "RequestRedirect", "requestRedirect": {"hostname": "a.example", "path": modifier}},
        ]

    match = {
        "path": {"type": chance.choice(("Exact", "PathPrefix")), "value": "/" + text()},
        "headers": [header()],
        "queryParams": [{"name": text(), "value": text()}],
    }
    backends = [{"name": name, "port": 80, "weight": chance.randint(0, 3)} for name in ("web", "nix")]
    picked = chance.sample(filters(), chance.randint(0, 2))
    rules = [{"matches": [match], "filters": picked, "backendRefs": backends}]
    spec = {"parentRefs": [{"name": "g"}], "hostnames": [f"h{number % 9}.example", text()], "rules": rules}
    return msgspec.convert({"metadata": {"name": f"r{number}"}, "spec": spec}, HTTPRoute)


def stream(number: int, chance: random.Random) -> StreamRoute:
    """Names and hosts with anything in them."""
    name = f"s{number}" + "".join(chance.choice(PIECES) for _ in range(chance.randint(0, 2)))
    hosts = ["".join(chance.choice(PIECES) for _ in range(2)), f"h{number}.example"]
    hosts += chance.sample(("default", "hostnames", "include", "volatile", "a..b", "*.w.example", "*", ".x", "~x"), 3)
    led = [{"name": chance.choice(("web", "nix")), "port": 80, "weight": chance.randint(0, 3)} for _ in range(3)]
    said = {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": led}]}
    value = {"metadata": {"name": name}, "spec": said}
    if chance.random() < 0.3:
        return msgspec.convert(value, TCPRoute)
    return msgspec.convert({**value, "spec": {**said, "hostnames": hosts}}, TLSRoute)


def test_nginx_takes_whatever_stands_in_routes(namespace: Callable[[str], str], tmp_path: Path) -> None:
    where = namespace("nginx")
    web = (service("web"), slice_of("web", endpoint("10.244.1.5"), endpoint("10.244.2.5")))
    listeners: list[dict[str, Any]] = [
        {"name": "a", "port": 80, "protocol": "HTTP"},
        {"name": "b", "port": 443, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
        *({"name": f"c{number}", "port": 9000 + number, "protocol": "TCP"} for number in range(3)),
    ]
    known = (
        msgspec.convert({"metadata": {"name": "l"}, "spec": {"gateway": {"controller": "nginx"}}}, Lab),
        msgspec.convert({"metadata": {"name": "nginx"}, "spec": {"controllerName": names.CONTROLLER}}, GatewayClass),
        msgspec.convert(
            {"metadata": {"name": "g"}, "spec": {"gatewayClassName": "nginx", "listeners": listeners}}, Gateway
        ),
    )
    place = Place("n", where, netns.number(where) or 0, str(tmp_path / "nginx"))
    for seed in range(max(1, COUNT // EACH)):
        chance = random.Random(seed)
        routes = [route(number, chance) for number in range(min(EACH, COUNT))]
        streams = [stream(number, chance) for number in range(min(EACH, COUNT) // 2)]
        site = collect.site(known[2], Snapshot.of([*known, *web, *routes, *streams]))
        assert len(site.streams) == 4 and sum(len(one.choices) for one in site.streams) > EACH // 4
        module = nginx.stream_module()
        assert module is not None, "apt-get install libnginx-mod-stream"
        assert sum(len(one.candidates) for one in site.servers) > EACH // 4
        assert any(not one.trouble for one in site.actions)
        assert nginx.refusal(place, {FILE: conf.render(site, module).text}) == "", seed
