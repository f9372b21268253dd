"""rules and tables: what they ask of the lab, and how the answer looks."""

from __future__ import annotations

import pytest
from scripted import Json, ScriptedClient
from typer.testing import CliRunner

from k8snetlab.cli.main import app_of
from k8snetlab.errors import InputError
from k8snetlab.messages.rules import DifferenceQuestion, RulesQuestion
from k8snetlab.messages.tables import TablesQuestion


def rule(number: int, meaning: str, *rules: Json, chain: str = "", packets: int = 0, leads: str = "") -> Json:
    return {
        "number": number,
        "rule": f"-j RULE{number}",
        "meaning": meaning,
        "packets": packets,
        "bytes": 60 * packets,
        "leads": leads,
        "chain": chain,
        "rules": list(rules),
    }


TREE = {
    "node": "node1",
    "service": "default/web",
    "family": "ipv4",
    "variant": "nft",
    "chains": [
        {
            "table": "nat",
            "chain": "KUBE-SERVICES",
            "purpose": "the addresses of all Services",
            "rules": [
                rule(3, "First.", rule(1, "Within.", packets=1), leads="KUBE-SVC-A", packets=2),
                rule(5, "Second.", chain="above", leads="KUBE-SVC-A"),
                rule(6, "Third.", chain="empty", leads="KUBE-SVC-B"),
            ],
        }
    ],
}


def test_rules_are_a_tree_with_meaning_counters_and_text(lab: ScriptedClient) -> None:
    lab.answers["rules"] = TREE
    shown = CliRunner().invoke(app_of(), ["rules", "web", "--node", "node1"]).stdout
    assert shown.splitlines() == [
        "service default/web on node1, iptables (nft)",
        "",
        "nat KUBE-SERVICES  the addresses of all Services",
        "├─ 3. First.",
        "│  │  [2 packets, 120 bytes] -j RULE3",
        "│  └─ 1. Within.",
        "│        [1 packet, 60 bytes] -j RULE1",
        "├─ 5. Second. (above)",
        "│     [0 packets] -j RULE5",
        "└─ 6. Third. (it is empty)",
        "      [0 packets] -j RULE6",
    ]
    assert lab.asked[1:] == [("rules", RulesQuestion("node1", "web", "ipv4"))]


def test_a_namespace_goes_before_the_services_name(lab: ScriptedClient) -> None:
    lab.answers["rules"] = TREE
    CliRunner().invoke(app_of(), ["rules", "web", "-n", "shop", "--family", "ipv6", "-o", "json"])
    assert lab.asked[1:] == [("rules", RulesQuestion("", "shop/web", "ipv6"))]


def test_diff_shows_each_side_with_its_sign(lab: ScriptedClient) -> None:
    one = {"table": "nat", "chain": "C", "rule": "-j X", "meaning": "Means X."}
    lab.answers["rules --diff"] = {
        "node": "",
        "nodes": ["node1", "node2"],
        "service": "",
        "family": "ipv4",
        "variant": "legacy",
        "differences": [{**one, "first": True}, {**one, "first": False}],
    }
    shown = CliRunner().invoke(app_of(), ["rules", "--diff", "node1", "node2"]).stdout.splitlines()
    assert lab.asked[1:] == [("rules --diff", DifferenceQuestion("node1", "node2", "", "ipv4"))]
    assert shown[1:] == ["", "nat C", "- -j X", "    Means X.", "+ -j X", "    Means X."]


@pytest.mark.parametrize(
    "words",
    [
        ("rules", "web", "--watch", "-o", "json"),
        ("rules", "--watch", "--diff", "a", "b"),
        ("rules", "--diff", "a", "b", "--node", "c"),
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together(lab: ScriptedClient, words: tuple[str, ...]) -> None:
    assert isinstance(CliRunner().invoke(app_of(), words).exception, InputError)


def test_tables_stand_below_their_commands(lab: ScriptedClient) -> None:
    row = {"line": "default via 192.168.0.1", "owner": "k8snetlab", "meaning": "everything else"}
    tables = [
        {"table": "routes", "command": "ip -n l.node1 route show", "rows": [row]},
        {"table": "routes", "command": "ip -n l.node1 -6 route show", "rows": []},
    ]
    lab.answers["tables"] = {"place": "node1", "kind": "node", "netns": "l.node1", "tables": tables}
    shown = CliRunner().invoke(app_of(), ["tables", "node1", "routes"]).stdout.splitlines()
    assert lab.asked[1:] == [("tables", TablesQuestion("node1", "default", "routes"))]
    assert shown == [
        "# ip -n l.node1 route show",
        "default via 192.168.0.1",
        "  k8snetlab  everything else",
        "",
        "# ip -n l.node1 -6 route show",
        "  nothing",
    ]
