"""May a connection that is there go on, by what one node's rules would say to its first packet?"""

from __future__ import annotations

from k8snetlab.api.addressing import same
from k8snetlab.api.core import Node
from k8snetlab.api.pools import tunnel_addresses
from k8snetlab.dataplane.families import base, gateway
from k8snetlab.policies.shapes import End, Resolved
from k8snetlab.policies.verdict import allowed


class Judge:
    """Of one node: it judges what comes to its own pods and what goes out of them, and nothing else."""

    def __init__(self, resolved: Resolved, node: Node) -> None:
        self._resolved, self._node = resolved, node.name
        self._pods = {address: end for end in resolved.pods.values() if not end.host for address in end.addresses}
        own = (*node.addresses, *(address for cidr in node.podCIDRs for address in (base(cidr), gateway(cidr))))
        self._local = frozenset(map(same, (*own, *tunnel_addresses(node))))

    def allows(self, source: str, target: str, protocol: str, port: int) -> bool:
        """`target` and `port` are those after DNAT, `source` is that before SNAT."""
        ends = (self._end(source), self._end(target))
        if not any(end.key is not None and end.node == self._node for end in ends):
            return True
        verdict = allowed(self._resolved, *ends, (protocol, port), 6 if ":" in target else 4)
        inward = ends[1].node != self._node or source in self._local or verdict.ingress.allowed
        return inward and (ends[0].node != self._node or verdict.egress.allowed)

    def _end(self, address: str) -> End:
        return self._pods.get(address) or End(address, (address,))
