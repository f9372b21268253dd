"""Whether this machine is a node of something else already. Looks before anything is made, and touches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from k8snetlab.api.addressing import parse_networks
from k8snetlab.api.lab import Lab
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.errors import ConflictError
from k8snetlab.kernel import iptables
from k8snetlab.kernel.iptables import holds_legacy_rules
from k8snetlab.kernel.read import read
from k8snetlab.render import overlay
from k8snetlab.state import labs
from k8snetlab.state.machine import read as read_machine
from k8snetlab.state.paths import LabPaths

LOCK = Path("/run/xtables.lock")
CHAINS = (*names.CHAINS, "cali-")


def refuse_occupied(lab: Lab) -> list[str]:
    """Raises ConflictError, with all that was found, for a machine that carries a cluster's network already.

    Returns warnings, a sentence each, for what is no cluster but may be in the way (Docker).
    """
    others = [name for name in labs.running() if name != lab.name and read_machine(LabPaths(name))]
    if others:
        raise ConflictError(
            f"this machine is a node of lab {others[0]} already",
            f"`k8snetlab node leave --lab {others[0]}` first: cni0, flannel.1 and the KUBE chains are there once only",
        )
    state = read(HOST_NETNS)
    found = [*_devices(lab, [link.name for link in state.links]), *_rules()]
    wholes = parse_networks(lab.spec.podCIDR)
    for route in state.routes:
        target = ip_network(route.dst) if route.dst != "default" else None
        if target and any(target.version == whole.version and target.overlaps(whole) for whole in wholes):
            found.append(f"a route to {route.dst} by {route.dev}, which is in the lab's podCIDR")
    if found:
        raise ConflictError(
            "this machine carries the network of a cluster, or of another tool, already:\n  " + "\n  ".join(found),
            "nothing was touched; use a machine of its own, or take that down first (with kubeadm: `kubeadm reset`)",
        )
    if any(link.name == "docker0" for link in state.links):
        return ["Docker runs here (docker0): its rules are left alone, but it may set FORWARD's policy to DROP"]
    return []


def _devices(lab: Lab, present: list[str]) -> Iterator[str]:
    ours = (names.BRIDGE, *overlay.tunnels(lab))
    for name in present:
        if name in ours or name.startswith(("flannel", "cali", "kube-ipvs", "kube-bridge", "cilium")):
            yield f"the device {name}"


def _rules() -> Iterator[str]:
    """Chains that kube-proxy, kubelet, flannel or Calico made, in either variant."""
    for family in FAMILIES:
        for variant in ("nft", "legacy"):
            if variant == "legacy" and not holds_legacy_rules("", family):
                continue
            saved = iptables.open(HOST_NETNS, family, variant, LOCK).save()
            chains = [f"{key.table}/{key.chain}" for key in saved if key.chain.startswith(CHAINS)]
            if chains:
                tool = "iptables" if family == "ipv4" else "ip6tables"
                rest = f" and {len(chains) - 3} more" if len(chains) > 3 else ""
                yield f"chains of {tool}-{variant}: {', '.join(sorted(chains)[:3])}{rest}"
