"""Real kube-proxy 1.36.2's output for given objects, and what compares it with ours.

Each case of `unit/render/proxy/golden/kube-proxy` holds the objects, the KubeProxyConfiguration and the
iptables-restore text on node-a.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import yaml

from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import ChainKey

CASES = sorted((Path(__file__).parent / "unit/render/proxy/golden/kube-proxy").iterdir())
NODE = "node-a"

SHARED = {"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"}
_NAME = re.compile(r'--comment "?([^ "]+)')
_COUNTER = re.compile(r" -m nfacct --nfacct-name \S+")


def objects(text: str) -> list[Object]:
    """The objects of a YAML text, as the API server holds them: nothing is defaulted."""
    return [msgspec.convert(doc, BY_KIND[doc["kind"]].type, strict=False) for doc in yaml.safe_load_all(text) if doc]


def snapshot(case: Path) -> Snapshot:
    texts = [(case / name).read_text() for name in ("input.yaml", "kube-proxy-config.yaml")]
    return Snapshot.of(obj for text in texts for obj in objects(text))


def chains(payload: str) -> dict[ChainKey, list[str]]:
    """The rules of every chain in an iptables-restore or iptables-save text."""
    found: dict[ChainKey, list[str]] = {}
    table = ""
    for line in payload.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found[ChainKey(table, line[1:].split()[0])] = []
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            found[ChainKey(table, chain)].append(rule)
    return found


def by_service(held: dict[ChainKey, list[str]]) -> dict[ChainKey, list[str]]:
    """With the rows of Services in shared chains sorted by Service, whose order is free; the rest as it is."""

    def name(rule: str) -> str:
        match = _NAME.search(rule)
        return match.group(1) if match and "/" in match.group(1) else "~"

    return {key: sorted(rules, key=name) if key.chain in SHARED else rules for key, rules in held.items()}


def without_counters(payload: str) -> str:
    """The text as kube-proxy writes it where the kernel has no nfacct counters."""
    lines = (line for line in payload.splitlines() if "localhost_nps_accepted_pkts" not in line)
    return _COUNTER.sub("", "\n".join(lines)) + "\n"
