"""Faults of who keeps the network: an agent that does nothing, answers that do not come."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.dataplane.holds import Hold
from k8snetlab.faults.fault import Damage, Fault, Said
from k8snetlab.faults.scene import LacksError, Scene
from k8snetlab.faults.typed import across, ip

DAY = 24 * 60 * 60
CONTROLLERS = ("endpoint-slice-controller", "default-scheduler", "replicaset-controller")


def _stuck(scene: Scene) -> Damage:
    node = scene.node.name
    seen = across(scene, "late")
    return Damage(node, seen, holds=(Hold(scene.netns, "agent", node),))


def _misses(scene: Scene) -> Damage:
    """What was answered before is forgotten, so that the kernel asks again."""
    if not scene.plane.node.asking:
        raise LacksError("the kernel of this lab asks nothing", "network: {backend: vxlan, resolve: on-miss}")
    node, dev = scene.node.name, scene.tunnel.name
    does = (ip(scene.netns, "neigh", "flush", "dev", dev, "nud", "all"),)
    seen = across(scene)
    return Damage(node, seen, does, holds=(Hold(scene.netns, "misses", node),))


def _controller(scene: Scene) -> Damage:
    """One of those whose work shows in the network."""
    if scene.snapshot.lab.spec.controlPlane.replicas:
        hint = "`process kill kube-controller-manager-1` ends one of them"
        raise LacksError("its controllers are processes of their own, which stand by for each other", hint)
    name = scene.one(CONTROLLERS, "controller")
    return Damage(name, across(scene, "late"), holds=(Hold("", "controller", name),))


def _clock(scene: Scene) -> Damage:
    """What the API makes and judges tokens by; it takes the place of the clock of the machine it runs on."""
    if scene.snapshot.lab.spec.controlPlane.replicas:
        raise LacksError("this lab's API servers are programs of their own, by the machine's clock")
    return Damage("kube-apiserver", across(scene, "late"), holds=(Hold("", "clock", str(-DAY)),))


def faults() -> Iterator[Fault]:
    yield Fault(
        name="agent-stuck",
        title="a node's agent hangs: nothing that changes reaches its kernel",
        level=3,
        group="programs",
        touches="a node's agent",
        symptom="what is changed has no effect on one node",
        said=Said("agent", "stuck"),
        make=_stuck,
    )
    yield Fault(
        name="miss-agent-dead",
        title="nobody answers what the kernel asks of flannel.1",
        level=3,
        group="programs",
        touches="a node's agent",
        symptom="pods of this node reach none of another node",
        said=Said("agent", "misses"),
        make=_misses,
    )
    yield Fault(
        name="controller-stuck",
        title="a controller hangs: what is changed of objects has no consequence",
        level=3,
        group="programs",
        touches="a controller",
        symptom="pods come and go, and what follows from it does not happen",
        said=Said("controller", "stuck"),
        make=_controller,
    )
    yield Fault(
        name="clock-jumped",
        title="the API's clock has jumped back by a day",
        level=3,
        group="programs",
        touches="the clock by which the API makes and judges tokens",
        symptom="programs in pods are refused by the API: 401 Unauthorized",
        said=Said("component", "clock"),
        make=_clock,
    )
