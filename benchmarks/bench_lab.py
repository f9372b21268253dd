"""`up` of business-manager to every probe answered, `down`, `--help`, and a scaled pod answering.

The floor of `up`: the same namespaces, links, addresses, routes, entries, sysctls and rules by `ip -batch`,
`bridge -batch` and `iptables-restore`, one call per namespace, and nothing else.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import msgspec

from benchmarks.report import line
from k8snetlab.api.core import Node
from k8snetlab.api.load import load
from k8snetlab.api.meta import Object
from k8snetlab.dataplane.operations import NetnsOperation
from k8snetlab.dataplane.rules import restore_payload
from k8snetlab.kernel import netns
from k8snetlab.lab import render
from k8snetlab.render import underlay
from k8snetlab.state import scenarios

ROUNDS = 5
COMMAND = [sys.executable, "-m", "k8snetlab"]


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ["K8SNETLAB_RUN"] = f"{directory}/run"
        os.environ["K8SNETLAB_LAB"] = f"b{secrets.token_hex(3)}"
        helps = [_timed("--help") for _ in range(ROUNDS)]
        python = [_seconds([sys.executable, "-c", "import typer"]) for _ in range(ROUNDS)]
        ups, probes, downs, scales, floors = [], [], [], [], []
        for _ in range(ROUNDS):
            floors.append(_floor())
            began = time.perf_counter()
            ups.append(_timed("up", "business-manager"))
            _timed("probe", "--all")
            probes.append(time.perf_counter() - began)
            scales.append(_scale())
            downs.append(_timed("down"))
    print(line("k8snetlab --help", helps, 0.2, python), "(floor: python -c 'import typer')")
    print(line("up business-manager", ups, None, floors))
    print(line("up business-manager, then every probe answered", probes, 1.5, floors))
    print(line("scale to a new pod answering through the Service", scales, 0.3))
    print(line("down", downs, 1.0))


def _timed(*words: str) -> float:
    return _seconds([*COMMAND, *words])


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _scale() -> float:
    """From the start of `scale` until a pod that was not there answers through the ClusterIP."""
    lab = os.environ["K8SNETLAB_LAB"]
    known = set(_answering(lab, 40))
    began = time.perf_counter()
    subprocess.run([*COMMAND, "scale", "deployment/business-manager", "--replicas", "4"], check=True, stdout=-3)
    while not set(_answering(lab, 1)) - known:
        pass
    return time.perf_counter() - began


def _answering(lab: str, times: int) -> list[str]:
    import socket

    names = []
    for _ in range(times):
        with netns.inside(f"{lab}.default.client"):
            client = socket.socket()
        with client:
            client.settimeout(5)
            client.connect(("10.254.80.22", 80))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            names.append(json.loads(client.recv(4096).split(b"\r\n\r\n")[1])["pod"])
    return names


def _floor() -> float:
    """Makes the kernel objects of business-manager by hand, as quickly as plain tools can; removes them untimed."""
    lab = f"f{secrets.token_hex(3)}"
    steps, namespaces = _script(lab)
    try:
        began = time.perf_counter()
        for command, text in steps:
            subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began
    finally:
        for name in namespaces:
            netns.delete(name)


def _script(lab: str) -> tuple[list[tuple[list[str], str]], list[str]]:
    """The commands with their standard input, and the namespaces they make."""
    objects = [_renamed(obj, lab) for obj in load(scenarios.find("business-manager")).objects]
    snapshot = render.settle(objects)
    nodes = [render.dataplane(snapshot, name) for _, name in snapshot.all(Node)]
    made, ip, bridge, rest = [], defaultdict(list), defaultdict(list), []
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
            rest.append((["ip", "netns", "exec", plane.node.name, "iptables-restore", "--noflush"], payload))
            rest += [
                (["ip", "netns", "exec", plane.node.name, "sh", "-c", hook], "") for hook in render.hooks(plane, "ipv4")
            ]
    steps = [(["ip", "-batch", "-"], "".join(f"netns add {name}\n" for name in made))]
    steps += [(["ip", "-n", name, "-batch", "-"], "\n".join(lines) + "\n") for name, lines in ip.items()]
    steps += [(["bridge", "-n", name, "-batch", "-"], "\n".join(lines) + "\n") for name, lines in bridge.items()]
    return steps + rest, made


def _renamed(obj: Object, lab: str) -> Object:
    if obj.KIND != "Lab":
        return obj
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, name=lab))


if __name__ == "__main__":
    if not Path("scenarios").is_dir():
        sys.exit("run it from the checkout: python -m benchmarks.bench_lab")
    main()
