"""What `misses` prints."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted import ScriptedClient
from typer.testing import CliRunner

from k8snetlab.cli.main import app_of
from k8snetlab.messages.nodes import MissesQuestion

MISS = {
    "type": "miss",
    "time": 1_800_000_000.25,
    "node": "node1",
    "device": "flannel.1",
    "miss": "L3",
    "address": "172.30.9.0",
    "state": "INCOMPLETE",
    "lladdr": "96:8f:2d:49:c5:31",
    "dst": "192.168.0.22",
    "key": "/registry/minions/node2",
    "microseconds": 54.3,
    "error": "",
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            "L3 miss, who has 172.30.9.0? 96:8f:2d:49:c5:31, which is at 192.168.0.22 (/registry/minions/node2, 54 µs)",
        ),
        (
            {"state": "PROBE"},
            "L3 miss, who has 172.30.9.0 again? 96:8f:2d:49:c5:31, which is at 192.168.0.22"
            " (/registry/minions/node2, 54 µs)",
        ),
        (
            {"miss": "L2", "address": "96:8f:2d:49:c5:31", "state": ""},
            "L2 miss, where is 96:8f:2d:49:c5:31? at 192.168.0.22 (/registry/minions/node2, 54 µs)",
        ),
        (
            {"lladdr": "", "dst": "", "key": "", "microseconds": 0.0},
            "L3 miss, who has 172.30.9.0? nobody knows, no answer",
        ),
        (
            {"error": "No such device"},
            "L3 miss, who has 172.30.9.0? 96:8f:2d:49:c5:31, which is at 192.168.0.22,"
            " but the kernel refuses it: No such device",
        ),
    ],
    ids=["L3", "again", "L2", "unknown", "refused"],
)
def test_a_miss_is_a_line(lab: ScriptedClient, changes: dict[str, Any], said: str) -> None:
    lab.events = [{"type": "listening", "nodes": ["node1", "node2"]}, {**MISS, **changes}]
    result = CliRunner().invoke(app_of(), ["misses"])
    assert result.stderr == "listening on node1, node2; Ctrl-C ends it\n"
    clock, _, rest = result.stdout.rstrip("\n").partition(" ")
    assert clock.endswith(".250") and rest == f"node1 flannel.1: {said}"
    assert lab.asked[-1] == ("misses", MissesQuestion())


def test_for_machines_it_is_a_json_object_a_line(lab: ScriptedClient) -> None:
    lab.events = [{"type": "listening", "nodes": ["node1"]}, MISS, MISS]
    result = CliRunner().invoke(app_of(), ["misses", "--node", "node1", "-o", "json"])
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {k: v for k, v in MISS.items() if k != "type"}
    ] * 2
    assert lab.asked[-1] == ("misses", MissesQuestion("node1"))
