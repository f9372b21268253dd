"""A lab's kernel objects by plain tools: `ip -batch`, `bridge -batch` and `iptables-restore`, a call a namespace."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections import defaultdict

import msgspec

from benchmarks import machine
from k8snetlab.api.core import Node
from k8snetlab.api.load import load
from k8snetlab.api.meta import Object
from k8snetlab.dataplane.operations import NetnsOperation
from k8snetlab.dataplane.rules import restore_payload
from k8snetlab.kernel import netns
from k8snetlab.lab import render
from k8snetlab.render import underlay
from k8snetlab.state import scenarios

Step = tuple[list[str], str]
"""A command and its standard input."""


def make(scenario: str) -> float:
    """Seconds to make what `up` of a scenario makes in the kernel; it is removed untimed."""
    prefix = f"floor{secrets.token_hex(3)}"
    steps, namespaces = script(scenario, prefix)
    try:
        began = time.perf_counter()
        for command, text in steps:
            subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began
    finally:
        for name in namespaces:
            netns.delete(name)
        machine.emptied()


def script(scenario: str, prefix: str) -> tuple[list[Step], list[str]]:
    """The commands with their standard input, and the namespaces they make."""
    objects = [_renamed(obj, prefix) for obj in load(scenarios.find(scenario)).objects]
    snapshot = render.settle(objects)
    nodes = [render.dataplane(snapshot, name) for _, name in snapshot.all(Node)]
    made: list[str] = []
    ip: dict[str, list[str]] = defaultdict(list)
    bridge: dict[str, list[str]] = defaultdict(list)
    rest: list[Step] = []
    for plane in (underlay.render(snapshot), *nodes):
        for operation in render.operations(plane):
            for text in str(operation).splitlines():
                words = text.split()
                if isinstance(operation, NetnsOperation):
                    made.append(operation.netns)
                elif words[:3] == ["ip", "netns", "exec"]:
                    rest.append((words, ""))
                else:
                    {"ip": ip, "bridge": bridge}[words[0]][words[2]].append(" ".join(words[3:]))
        payload = "".join(restore_payload(rules.chains) for rules in plane.rules)
        if payload:
            inside = ["ip", "netns", "exec", plane.node.name]
            rest.append(([*inside, "iptables-restore", "--noflush"], payload))
            rest += [([*inside, "sh", "-c", hook], "") for hook in render.hooks(plane, "ipv4")]
    steps: list[Step] = [(["ip", "-batch", "-"], "".join(f"netns add {name}\n" for name in made))]
    steps += [(["ip", "-n", name, "-batch", "-"], "\n".join(lines) + "\n") for name, lines in ip.items()]
    steps += [(["bridge", "-n", name, "-batch", "-"], "\n".join(lines) + "\n") for name, lines in bridge.items()]
    return steps + rest, made


def _renamed(obj: Object, lab: str) -> Object:
    if obj.KIND != "Lab":
        return obj
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, name=lab))
