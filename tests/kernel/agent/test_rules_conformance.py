"""What the kernel holds after real kube-proxy's rules and after ours: the same, with either iptables.

Each text is loaded into an empty namespace that dies with the process that loaded it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from golden import CASES, NODE, by_service, chains, snapshot, without_counters

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import ChainKey, Family, RuleSet, restore_payload
from k8snetlab.iptables.syntax import canonical
from k8snetlab.render.proxy import ProxyRules, render_payload
from k8snetlab.testing.services import POD1, POD1_V6, POD2, POD2_V6, POD3, VIP6, cluster, endpoint, service, slice_of

variants = pytest.mark.parametrize("variant", ["nft", "legacy"])


def saved(payload: str, variant: str, family: Family, tmp_path: Path) -> dict[ChainKey, list[str]]:
    """The chains that iptables-save shows in a fresh namespace after `payload` was restored there."""
    tool = f"{'iptables' if family == 'ipv4' else 'ip6tables'}-{variant}"
    script = f"{tool}-restore --noflush && {tool}-save"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script],
        input=payload,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "XTABLES_LOCKFILE": str(tmp_path / "xtables.lock")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return chains(done.stdout)


def with_hooks(ruleset: RuleSet) -> str:
    """Everything of a rule set as one payload, the jumps from the built-in chains among it."""
    lines = restore_payload(ruleset.chains)
    for table in ("filter", "nat"):
        jumps = "\n".join(f"-I {h.chain} 1 {h.rule}" for h in ruleset.hooks if h.table == table)
        lines += f"*{table}\n{jumps}\nCOMMIT\n"
    return lines


def every_feature() -> Snapshot:
    """A Service for each way in which rules differ, TCP, UDP and SCTP, both families."""
    policies = {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"}
    ports = [
        {"name": p.lower(), "port": 80, "protocol": p, "nodePort": 30000 + i}
        for i, p in enumerate(["TCP", "UDP", "SCTP"])
    ]
    lb = {"type": "LoadBalancer", "ingress": ["198.51.100.9", "2001:db8:9::9"], "sessionAffinity": "ClientIP"}
    objects = []
    variants = [
        {},
        lb | policies | {"healthCheckNodePort": 31000},
        lb | {"loadBalancerSourceRanges": ["192.168.0.0/24", "2001:db8::/32"]},
    ]
    for number, spec in enumerate([*variants, {"externalIPs": ["198.51.100.7"]}]):
        name = f"web{number}"
        ips = [f"10.96.0.{10 + number}", f"{VIP6}{number}"]
        own_ports = [p | {"nodePort": p["nodePort"] + 10 * number} for p in ports]
        objects.append(service(name, own_ports, clusterIPs=ips, **spec))
        four = [endpoint(POD1, "node1"), endpoint(POD2, "node2"), endpoint(POD3, "node2")]
        six = [endpoint(POD1_V6, "node1"), endpoint(POD2_V6, "node2")]
        objects.append(slice_of(name, *four, ports=ports, name=f"{name}-4"))
        objects.append(slice_of(name, *six, ports=ports, name=f"{name}-6", addressType="IPv6"))
    objects.append(service("empty", ports, clusterIPs=["10.96.0.99", f"{VIP6}99"], **lb))
    return cluster(*objects)


@variants
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_kernel_holds_what_kube_proxy_wrote(case: Path, variant: str, tmp_path: Path) -> None:
    theirs = saved(without_counters((case / "iptables-restore.in").read_text()), variant, "ipv4", tmp_path)
    ours = saved(render_payload(ProxyRules.build(snapshot(case), NODE, "ipv4").ruleset), variant, "ipv4", tmp_path)
    assert by_service(ours) == by_service(theirs)


@variants
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("layout", ["current", "classic"])
def test_the_tracers_reader_knows_what_the_kernel_makes_of_our_rules(
    variant: str, family: Family, layout: str, tmp_path: Path
) -> None:
    objects = [obj for kind in every_feature().objects.values() for obj in kind.values()]
    ruleset = ProxyRules.build(cluster(*objects, layout=layout), "node1", family).ruleset
    held = saved(with_hooks(ruleset), variant, family, tmp_path)
    for key, rules in ruleset.chains.items():
        assert [canonical(rule) for rule in held[key]] == [canonical(rule) for rule in rules], key
    for hook in ruleset.hooks:
        assert canonical(hook.rule) in map(canonical, held[ChainKey(hook.table, hook.chain)])
    jumps = [hook.rule for hook in reversed(ruleset.hooks) if (hook.table, hook.chain) == ("filter", "FORWARD")]
    assert [canonical(rule) for rule in held[ChainKey("filter", "FORWARD")]] == [canonical(rule) for rule in jumps]
