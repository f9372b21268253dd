"""`get subnet`: a subnet.env below a comment that says who holds it, and for how long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace
from scripted import ScriptedClient
from typer.testing import CliRunner, Result

from k8snetlab.api.core import Condition, Node, NodeStatus
from k8snetlab.api.machines import MACHINE
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.cli.main import app_of
from k8snetlab.cluster.deletion import refuse_deletion
from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.messages.store import LeasesQuestion

LEASE: dict[str, Any] = {
    "node": "node1",
    "subnets": ["10.5.34.0/24"],
    "key": "/coreos.com/network/subnets/10.5.34.0-24",
    "holder": "192.168.0.21",
    "left": 7200.4,
    "env": {"FLANNEL_NETWORK": "10.5.0.0/16", "FLANNEL_SUBNET": "10.5.34.1/24"},
}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app_of(), arguments)


@pytest.mark.parametrize("words", [("subnet", "node1"), ("subnets", "node1"), ("subnet/node1",)])
def test_a_lease_is_printed_as_its_subnet_env(lab: ScriptedClient, words: tuple[str, ...]) -> None:
    lab.answers["leases"] = {"items": [LEASE]}
    said = call("get", *words)
    comments, rest = said.stdout.splitlines()[:2], said.stdout.splitlines()[2:]
    assert rest == ["FLANNEL_NETWORK=10.5.0.0/16", "FLANNEL_SUBNET=10.5.34.1/24"]
    assert comments[0] == "# node1: /coreos.com/network/subnets/10.5.34.0-24"
    assert comments[1].startswith("# held by 192.168.0.21 for another 120m, until 20")
    assert lab.asked[-1] == ("leases", LeasesQuestion("node1"))
    assert json.loads(call("get", *words, "-o", "json").stdout) == LEASE
    assert call("get", *words, "-o", "name").stdout == "subnet/node1\n"


def test_get_subnet_without_a_node_shows_all(lab: ScriptedClient) -> None:
    lab.answers["leases"] = {"items": [LEASE, {**LEASE, "node": "node2", "holder": "", "left": None}]}
    said = call("get", "subnets").stdout
    assert "# nobody holds it" in said and said.count("FLANNEL_SUBNET") == 2
    assert lab.asked[-1] == ("leases", LeasesQuestion())
    assert [item["node"] for item in json.loads(call("get", "subnet", "-o", "json").stdout)["items"]] == [
        "node1",
        "node2",
    ]
    lab.answers["leases"] = {"items": [{**LEASE, "left": None}]}
    assert "the store does not say" in call("get", "subnet").stdout
    lab.answers["leases"] = {"items": []}
    assert "No resources found" in call("get", "subnet").stderr


def test_two_nodes_at_once_are_refused(lab: ScriptedClient) -> None:
    refused = call("get", "subnet", "node1", "node2").exception
    assert isinstance(refused, InputError) and "one node" in str(refused)


def test_only_a_machine_that_is_gone_can_be_deleted() -> None:
    machine = Node(metadata=ObjectMeta(name="node2", annotations={MACHINE: "host"}))
    with pytest.raises(InputError) as refused:
        refuse_deletion(machine)
    assert "node leave" in refused.value.hint
    refuse_deletion(replace(machine, status=NodeStatus(conditions=(Condition(type="Ready", status="Unknown"),))))
    with pytest.raises(InputError, match="comes and goes with the lab file"):
        refuse_deletion(Node(metadata=ObjectMeta(name="node1")))


def test_who_asks_for_a_lease_as_before_is_told_of_subnets(lab: ScriptedClient) -> None:
    assert "k8snetlab get subnet" in call("get", "lease").stderr
    refused = call("get", "lease", "node1").exception
    assert isinstance(refused, NotFoundError) and "k8snetlab get subnet" in refused.hint
