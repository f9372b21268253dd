"""What of a machine a fault may damage where a node is all of it: what is the lab's alone, and goes with the lab."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

from k8snetlab.dataplane.links import Device
from k8snetlab.dataplane.names import CHAINS, is_host
from k8snetlab.faults.fault import Command, Damage
from k8snetlab.faults.scene import Scene

SHOWN = 100
"""Characters of a command that is shown, at most."""


def beyond(damage: Damage, scene: Scene) -> str:
    """Why it is more than the lab's on this machine, "" where it is not."""
    pods = {scene.netns_of(pod) for pod in scene.all_pods if not pod.spec.hostNetwork}
    devices = {link.name for link in scene.plane.node.links if not isinstance(link, Device)}
    if damage.edits:
        return "it changes objects, which all machines share: kubectl does so, too"
    if any(hold.kind in ("lease", "controller", "process", "clock") for hold in damage.holds):
        return "it concerns the control plane, which all machines share"
    for command in (*damage.does, *damage.undo):
        if command.netns not in pods and not is_host(command.netns):
            return "it damages another machine"
        if is_host(command.netns) and not _is_own(command, devices):
            shown = f"`{command}`" if len(str(command)) < SHOWN else "what it does"
            return f"{shown} concerns more of this machine than the lab"
    return ""


def _is_own(command: Command, devices: Collection[str]) -> bool:
    """Whether it concerns nothing but devices, routes and chains that the lab made and takes away as it ends."""
    program, *words = command.argv
    match program:
        case "ip" | "bridge" | "tc":
            lost = words[:2] in (["link", "del"], ["link", "add"])
            return words[:2] == ["route", "del"] or (not lost and any(word in devices for word in words))
        case "sysctl":
            return any(f".{device}." in words[-1] for device in devices)
        case "conntrack":
            return words[:1] in (["-I"], ["-D"])
        case _ if program.startswith("iptables-"):
            chain = next((after for word, after in pairwise(words) if word in _ACTS), "")
            leads = words[-1] if "-j" in words[-2:-1] else ""
            return chain.startswith(CHAINS) or ("-D" in words and leads.startswith(CHAINS))
        case _:
            return False


_ACTS = ("-F", "-D", "-I", "-R", "-A")
