"""/run/flannel/subnet.env: a node's lease, as flanneld passes it to the CNI plugin.

Source: flannel pkg/subnet (WriteSubnetFile).
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.dataplane.families import FAMILIES, gateway, pick, with_length
from k8snetlab.render.overlay import pod_mtu


def subnet_env(lab: Lab, node: Node) -> dict[str, str]:
    """Its variables, in order; FLANNEL_SUBNET is the subnet's first address, cni0's, with the subnet's length."""
    return dict(_variables(lab, node))


def text(variables: dict[str, str]) -> str:
    """The file."""
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def _variables(lab: Lab, node: Node) -> Iterator[tuple[str, str]]:
    for family in FAMILIES:
        whole, subnet = pick(lab.spec.podCIDR, family), pick(node.podCIDRs, family)
        prefix = "FLANNEL_" if family == "ipv4" else "FLANNEL_IPV6_"
        if whole and subnet:
            yield f"{prefix}NETWORK", whole
            yield f"{prefix}SUBNET", with_length(gateway(subnet), subnet)
    yield "FLANNEL_MTU", str(pod_mtu(lab))
    yield "FLANNEL_IPMASQ", "true"
