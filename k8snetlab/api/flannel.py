"""What flannel's kube subnet manager keeps in a Node's annotations.

Source: flannel pkg/subnet/kube (annotations.go) and pkg/backend/vxlan (leaseAttrs).
"""

from __future__ import annotations

import json
from functools import lru_cache

from k8snetlab.api.core import Node

PREFIX = "flannel.alpha.coreos.com/"
BACKEND_TYPE = PREFIX + "backend-type"
KUBE_SUBNET_MANAGER = PREFIX + "kube-subnet-manager"
BACKEND_DATA = {"ipv4": PREFIX + "backend-data", "ipv6": PREFIX + "backend-v6-data"}
PUBLIC_IP = {"ipv4": PREFIX + "public-ip", "ipv6": PREFIX + "public-ipv6"}


def vtep_mac(lab: str, node: str, family: str = "ipv4") -> str:
    """A locally administered unicast address that stays the same over restarts (flannel's are random and stored)."""
    import hashlib  # loads OpenSSL, which no verb that shows objects needs

    digest = hashlib.sha256(f"vtep/{lab}/{node}/{family}".encode()).digest()
    return ":".join(f"{b:02x}" for b in (digest[0] & 0xFC | 0x02, *digest[1:6]))


def backend_data(vni: int, mac: str) -> str:
    """The text of the backend-data annotation."""
    return json.dumps({"VNI": vni, "VtepMAC": mac}, separators=(",", ":"))


def vtep_mac_of(node: Node, family: str) -> str:
    """The VTEP's MAC that the node announces; a made-up one where it announces none (a cluster without flannel)."""
    return _mac(node.metadata.annotations.get(BACKEND_DATA[family], "{}")) or vtep_mac("", node.name, family)


@lru_cache(maxsize=4096)
def _mac(data: str) -> str:
    """The MAC in a backend-data annotation, "" where it has none: every node reads those of all others."""
    try:
        mac = json.loads(data).get("VtepMAC", "")
    except (ValueError, AttributeError):
        return ""
    return mac if isinstance(mac, str) else ""
