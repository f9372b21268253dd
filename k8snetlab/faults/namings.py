"""Faults of names: a pod's resolv.conf, the servers that it asks, the servers that those ask."""

from __future__ import annotations

import re
from collections.abc import Iterator

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import Pod
from k8snetlab.api.scheme import to_dict
from k8snetlab.dns import addon
from k8snetlab.dns import etc as contents
from k8snetlab.dns.resolv import Resolv
from k8snetlab.faults.fault import Class, Command, Damage, Edit, Fault, Said, Seen, content
from k8snetlab.faults.scene import LacksError, Scene, named
from k8snetlab.faults.typed import inserted

NOBODY = "192.0.2.53"
"""An address of documentation (RFC 5737): nobody answers there."""
SERVERS = f"svc/{addon.NAMESPACE}/{addon.SERVICE}:53"


def _servers(scene: Scene) -> list[Pod]:
    """The DNS pods of all nodes."""
    found = [pod for pod in scene.snapshot.all(Pod).values() if addon.is_server(pod) and pod.ready]
    if not found:
        raise LacksError("this lab has no DNS", "dns: {enabled: true}")
    return found


def _edited(scene: Scene, one: str, other: str) -> Damage:
    """`one` of a pod's resolv.conf made `other`, in the file that `ip netns exec` and the kubelet show the pod."""
    _servers(scene)
    netns, name = scene.netns_of(scene.client), f"{scene.client.namespace}/{scene.client.name}"
    if one not in contents.of(scene.client, scene.snapshot, Resolv()).resolv_conf:
        raise LacksError(f"the resolv.conf of pod {name} does not say {one}")
    file = f"/etc/netns/{netns}/resolv.conf"
    words = ("sed", "-i", "-E")
    do = Command(netns, (*words, f"s/{one}/{other}/", file))
    undo = Command(netns, (*words, f"s/{other}/{one}/", file))
    return Damage(
        name, Seen(named(scene.client), f"{addon.SERVICE}.{addon.NAMESPACE}.svc", what="name"), (do,), (undo,)
    )


def _ndots(scene: Scene) -> Damage:
    return _edited(scene, "ndots:5", "ndots:1")


def _nameserver(scene: Scene) -> Damage:
    server = next(iter(contents.servers(scene.snapshot)), "")
    return _edited(scene, f"nameserver {server}", f"nameserver {NOBODY}")


def _deaf(scene: Scene) -> Damage:
    """Each server drops what it is asked."""
    both = [
        inserted(scene, scene.netns_of(pod), "filter", "INPUT", "-p udp --dport 53 -j DROP") for pod in _servers(scene)
    ]
    does, undo = tuple(do for do, _ in both), tuple(undo for _, undo in both)
    return Damage("filter INPUT 1", Seen(named(scene.client), SERVERS, "UDP"), does, undo)


def _upstream(scene: Scene) -> Damage:
    """Names outside are asked of who does not answer."""
    _servers(scene)
    held = scene.snapshot.get(ConfigMap, addon.NAME, addon.NAMESPACE)
    text = held.data.get("Corefile", "") if held else ""
    if held is None or not re.search(r"forward \. [^\s{]+", text):
        raise LacksError("the DNS of this lab asks nobody outside", "dns: {upstream: ADDRESS}")
    body = content(to_dict(held))
    silent = f"{scene.outside}:5399"
    after = body | {"data": body["data"] | {"Corefile": re.sub(r"(forward \.) [^\s{]+", rf"\1 {silent}", text)}}
    edit = Edit("ConfigMap", addon.NAMESPACE, addon.NAME, body, after)
    return Damage(silent, Seen(named(scene.client), "example.com", what="name"), edits=(edit,))


def faults() -> Iterator[Fault]:
    group: Class = "names"
    yield Fault(
        name="ndots",
        title="a pod's resolv.conf has another ndots",
        level=2,
        group=group,
        touches="a pod's resolv.conf",
        symptom="one pod asks outside first for names of the cluster, and is slow",
        said=Said("resolver", "ndots"),
        make=_ndots,
    )
    yield Fault(
        name="nameserver",
        title="a pod asks a name server that nobody is",
        level=1,
        group=group,
        touches="a pod's resolv.conf",
        symptom="one pod finds no name",
        said=Said("resolver", "nameserver"),
        make=_nameserver,
    )
    yield Fault(
        name="dns-deaf",
        title="the servers of names drop what they are asked",
        level=2,
        group=group,
        touches="filter INPUT of the DNS pods",
        symptom="pods find no name any more",
        said=Said("rule", "foreign"),
        make=_deaf,
    )
    yield Fault(
        name="dns-upstream",
        title="names outside are asked of a server that does not answer",
        level=2,
        group=group,
        touches="the ConfigMap coredns",
        symptom="pods find names of the cluster, and none outside",
        said=Said("path", "broken"),
        make=_upstream,
    )
