"""kube-proxy's rules as the text that it feeds to iptables-restore."""

from __future__ import annotations

from k8snetlab.dataplane.names import (
    KUBE_EXTERNAL_SERVICES,
    KUBE_FORWARD,
    KUBE_MARK_MASQ,
    KUBE_NODEPORTS,
    KUBE_POSTROUTING,
    KUBE_PROXY_FIREWALL,
    KUBE_SERVICES,
)
from k8snetlab.dataplane.rules import ChainKey, RuleSet, restore_payload

FIRST = (KUBE_SERVICES, KUBE_EXTERNAL_SERVICES, KUBE_FORWARD, KUBE_NODEPORTS, KUBE_PROXY_FIREWALL)
FIRST_NAT = (KUBE_SERVICES, KUBE_NODEPORTS, KUBE_POSTROUTING, KUBE_MARK_MASQ)


def render_payload(ruleset: RuleSet) -> str:
    """The table filter, then nat; in each the fixed chains come before those of Services.

    As in kube-proxy's own text, jumps from built-in chains are left out, and so are chains that stand empty for other
    reasons (the canaries; KUBE-FIREWALL where it holds nothing): kube-proxy makes those one by one.
    """
    order = [ChainKey("filter", name) for name in FIRST] + [ChainKey("nat", name) for name in FIRST_NAT]
    ranks = {chain: rank for rank, chain in enumerate(order)}
    chains = sorted(
        (chain for chain, rules in ruleset.chains.items() if rules or chain in ranks),
        key=lambda chain: (chain.table, ranks.get(chain, len(ranks))),
    )
    return restore_payload({chain: ruleset.chains[chain] for chain in chains})
