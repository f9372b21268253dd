"""Flannel's subnet leases, and Kubernetes' leases, as the store holds them: keys and values.

Source: flannel pkg/subnet (MakeSubnetKey, ParseSubnetKey, config.go), pkg/lease (LeaseAttrs); Kubernetes
coordination/v1 Lease.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable

import msgspec

from k8snetlab.api.addressing import IPNetwork, parse_network, parse_networks
from k8snetlab.api.core import Node
from k8snetlab.api.flannel import vtep_mac_of
from k8snetlab.api.lab import Lab
from k8snetlab.api.machines import MACHINE
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.renewal import EVERY

NETWORK = "/coreos.com/network/"
CONFIG = NETWORK + "config"
SUBNETS = NETWORK + "subnets/"

KUBERNETES = "/registry/leases/"
NODE_LEASES = KUBERNETES + "kube-node-lease/"
LEADER = KUBERNETES + "kube-system/kube-controller-manager"


_SPACE = uuid.UUID("1c0c1f58-57d2-4f0c-9a43-6d9c6e0d52aa")


class SubnetLease(msgspec.Struct, frozen=True):
    """Who holds which pod subnets, one of each family: a key below SUBNETS and what is there.

    `addresses` are the holder's (flannel's PublicIP and PublicIPv6).
    """

    key: str
    subnets: tuple[IPNetwork, ...]
    addresses: tuple[str, ...]


def subnet_key(subnets: Iterable[IPNetwork]) -> str:
    """`…/10.5.34.0-24`, `…/10.5.34.0-24&fd00:5:22::-64`; of a lab with IPv6 alone, which flannel's etcd subnet manager
    does not know, `…/fd00:5:22::-64`."""
    ordered = sorted(subnets, key=lambda subnet: subnet.version)
    return SUBNETS + "&".join(f"{subnet.network_address}-{subnet.prefixlen}" for subnet in ordered)


def subnet_lease(key: str, value: bytes) -> SubnetLease | None:
    """What a key below SUBNETS says; None for what is no lease (flannel too passes over it)."""
    try:
        subnets = tuple(parse_network(part.replace("-", "/")) for part in key.removeprefix(SUBNETS).split("&"))
        attributes = msgspec.json.decode(value, type=_Attributes)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    return SubnetLease(key, subnets, tuple(ip for ip in (attributes.PublicIP, attributes.PublicIPv6) if ip))


def subnet_value(lab: Lab, node: Node) -> bytes:
    """The value of a node's lease, JSON."""
    overlay = lab.spec.network
    data = {}
    if overlay.backend == "vxlan":
        data = {
            field: {"VNI": overlay.vni, "VtepMAC": vtep_mac_of(node, family)}
            for version, field, family in ((4, "BackendData", "ipv4"), (6, "BackendV6Data", "ipv6"))
            if any(subnet.version == version for cidr in node.podCIDRs for subnet in parse_networks(cidr))
        }
    ipv4 = next((a for a in node.addresses if ":" not in a), None)
    ipv6 = next((a for a in node.addresses if ":" in a), None)
    value = {"PublicIP": ipv4, "PublicIPv6": ipv6, "BackendType": overlay.flannel, **data}
    return json.dumps(value, separators=(",", ":")).encode()


def network_config(lab: Lab) -> bytes:
    """The value of CONFIG, JSON. Raises ValueError when the pod network cannot be divided as the lab asks."""
    spec = lab.spec.network
    backend: dict[str, object] = {"Type": spec.flannel}
    if spec.backend == "vxlan":
        backend |= {"VNI": spec.vni, "Port": spec.port}
        if spec.directRouting:
            backend["DirectRouting"] = True
    config: dict[str, object] = {}
    cluster = parse_networks(lab.spec.podCIDR)
    if not any(whole.version == 4 for whole in cluster):
        config["EnableIPv4"] = False
    for whole in cluster:
        prefix = ""
        if whole.version == 6:
            config["EnableIPv6"], prefix = True, "IPv6"
        subnets = spec.subnets(whole)
        config[f"{prefix}Network"] = str(whole)
        config[f"{prefix}SubnetLen"] = subnets.length
        config[f"{prefix}SubnetMin"], config[f"{prefix}SubnetMax"] = str(subnets.first), str(subnets.last)
    return json.dumps({**config, "Backend": backend}, separators=(",", ":")).encode()


def coordination_lease(key: str, holder: str, seconds: int, now: str, machine: str = "") -> bytes:
    """The value of a coordination.k8s.io/v1 Lease, JSON. It is written once, and not renewed: that the key is there
    says that its holder lives.

    `now` is an RFC 3339 timestamp, `machine` tells apart those that would take the same name.
    """
    namespace, name = key.removeprefix(KUBERNETES).split("/")
    every = {EVERY: str(max(1, seconds // 4))}
    metadata: dict[str, object] = {"name": name, "namespace": namespace, "creationTimestamp": now}
    metadata["annotations"] = {**every, MACHINE: machine} if machine else every
    metadata["uid"] = str(uuid.uuid5(_SPACE, f"{key}/{holder}/{now}"))
    micro = now.replace("Z", ".000000Z")
    spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "acquireTime": micro, "renewTime": micro}
    value = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    return json.dumps(value, separators=(",", ":")).encode()


class Holder(msgspec.Struct, frozen=True):
    """Of a coordination Lease: who holds it, and on which machine ("" where it does not say)."""

    identity: str = ""
    machine: str = ""


def holder_of(value: bytes) -> Holder:
    """Who holds a coordination Lease; an empty Holder where the value is no Lease."""
    try:
        lease = msgspec.json.decode(value, type=_Coordination)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Holder()
    return Holder(lease.spec.holderIdentity, lease.metadata.annotations.get(MACHINE, ""))


class _Attributes(msgspec.Struct):
    PublicIP: str | None = None
    PublicIPv6: str | None = None


class _Spec(msgspec.Struct):
    holderIdentity: str = ""


class _Coordination(msgspec.Struct):
    spec: _Spec
    metadata: ObjectMeta
