"""`policy matrix` of 500 pods and 200 policies, from a file.

The floor: python reads the same file as JSON and writes as many checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.rows import Goal, Row
from benchmarks.run import Run

PODS, POLICIES, SPACES = 500, 200, 10
LIMIT = 3.0
"""Seconds."""
_FLOOR = """
import json, sys
items = json.load(open(sys.argv[1]))["items"]
pods = [one["metadata"]["name"] for one in items if one["kind"] == "Pod"]
json.dump([{"from": a, "to": b, "protocol": "TCP", "port": 80, "ingress": True, "egress": True, "allowed": True}
           for a in pods for b in pods], open("/dev/null", "w"))
"""


def rows(run: Run) -> Iterator[Row]:
    ours, floor = [], []
    with tempfile.TemporaryDirectory(prefix="k8snetlab-bench-") as directory:
        file = Path(directory) / "world.json"
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(_items())}))
        for number in range(run.scale.rounds):
            run.say(f"round {number + 1}")
            floor.append(_timed(sys.executable, "-c", _FLOOR, str(file)))
            words = ("policy", "matrix", "-f", str(file), "--port", "80/TCP", "-o", "json")
            ours.append(_timed(sys.executable, "-m", "k8snetlab", *words))
    yield Row(f"policy matrix {PODS}x{POLICIES}", tuple(ours), tuple(floor), goals=(Goal(LIMIT, ""),))


def _timed(*words: str) -> float:
    begin = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def _items() -> Iterator[dict[str, Any]]:
    for n in range(SPACES):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ns{n}", "labels": {"team": f"t{n % 3}"}}}
    for n in range(PODS):
        labels = {"app": f"a{n % 25}", "version": f"v{n % 7}"}
        ports = [{"name": "web", "containerPort": 80}]
        yield {
            **_head("v1", "Pod", n, labels),
            "spec": {"containers": [{"name": "c", "ports": ports}]},
            "status": {"podIP": f"10.0.{n // 250}.{n % 250 + 1}"},
        }
    for n in range(POLICIES):
        peers = [
            {"podSelector": {"matchLabels": {"version": f"v{n % 7}"}}},
            {"namespaceSelector": {"matchLabels": {"team": f"t{n % 3}"}}},
            {"ipBlock": {"cidr": "10.0.1.0/24", "except": ["10.0.1.7/32"]}},
        ]
        spec = {
            "podSelector": {"matchLabels": {"app": f"a{n % 25}"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": peers, "ports": [{"port": "web"}, {"port": 8000, "endPort": 8010}]}],
            "egress": [{"to": [{"namespaceSelector": {}}], "ports": [{"port": 80}]}],
        }
        yield {**_head("networking.k8s.io/v1", "NetworkPolicy", n, {}), "spec": spec}


def _head(version: str, kind: str, number: int, labels: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": f"{kind.lower()}{number}", "namespace": f"ns{number % SPACES}", "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
