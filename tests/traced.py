"""An answer of `trace` as the daemon gives it, for what tells and draws it."""

from __future__ import annotations

from typing import Any


def hop(place: str, device: str, direction: str, dst: str, **more: Any) -> dict[str, Any]:
    packet = {"src": "10.0.0.1", "dst": dst, "protocol": "tcp", "sport": 1, "dport": 80, "inner": None}
    base = {"netns": place, "place": place, "interface": device, "direction": direction, "packet": packet}
    rest = {"decisions": [], "outer": None, "vni": 0, "mtu": 0, "seen": None, "microseconds": None, "remark": ""}
    return base | rest | more


def answer() -> dict[str, Any]:
    rule = {
        "what": "rule",
        "text": "DNAT 10.0.0.9:80: nat PREROUTING > KUBE-SERVICES, rule 1",
        "owner": "Service default/web, port 80, web.yaml:3",
        "lost": [],
        "counters": [5, 300],
    }
    outer = {"src": "192.168.0.1", "dst": "192.168.0.2", "sport": 0, "dport": 8472}
    there = [
        hop("a", "eth0", "out", "10.9.0.1", seen=True, microseconds=0.0),
        hop("node1", "eth0", "out", "10.0.0.9", decisions=[rule], outer=outer, vni=1, seen=True, microseconds=8.25),
        hop("b <b>", "eth0", "in", "10.0.0.9", seen=False, remark="not seen here: the cable"),
    ]
    way = {
        "probability": 0.5,
        "fate": "answered",
        "there": there,
        "back": [],
        "endpoint": "10.0.0.9:80",
        "reason": "",
        "flooded": [],
    }
    observed = {
        "fate": "lost",
        "agrees": False,
        "differences": ["b eth0 in: not seen here: the cable"],
        "remark": "",
        "milliseconds": 500.0,
        "error": "",
        "connections": [],
    }
    return {
        "from": "a",
        "fromNode": "node1",
        "to": "web",
        "address": "10.9.0.1",
        "port": 80,
        "protocol": "tcp",
        "ways": [way, way | {"probability": 0.5, "endpoint": "10.0.0.8:80"}],
        "chosen": 0,
        "observed": observed,
    }
