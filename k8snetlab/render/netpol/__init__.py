"""NetworkPolicy on one node, as kube-router's policy controller says it: chains, rules and ipsets.

Source: cloudnativelabs/kube-router pkg/controllers/netpol (npc_iptables.go, policy.go, pod.go).
"""

__all__ = ["node", "policy"]
