"""Our rules against real kube-proxy's, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from golden import CASES, NODE, by_service, chains, snapshot, without_counters

from k8snetlab.render.proxy import ProxyRules, render_payload

OF_SERVICE = re.compile(r":KUBE-(SVC|SVL|EXT|FW|SEP)-")
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@cases
@pytest.mark.parametrize("counters", [True, False], ids=["nfacct", "plain"])
def test_rules_are_kube_proxys(case: Path, counters: bool) -> None:
    ours = render_payload(ProxyRules.build(snapshot(case), NODE, "ipv4", counters).ruleset)
    theirs = (case / "iptables-restore.in").read_text()
    if not counters:
        theirs = without_counters(theirs)
    assert by_service(chains(ours)) == by_service(chains(theirs))


@cases
def test_tables_and_fixed_chains_come_in_kube_proxys_order(case: Path) -> None:
    def heads(text: str) -> list[str]:
        return [line for line in text.splitlines() if line[0] in "*:" and not OF_SERVICE.match(line)]

    ours = render_payload(ProxyRules.build(snapshot(case), NODE, "ipv4").ruleset)
    assert heads(ours) == heads((case / "iptables-restore.in").read_text())
