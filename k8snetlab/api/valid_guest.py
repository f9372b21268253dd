"""What can be wrong with a Guest."""

from __future__ import annotations

from k8snetlab.api.core import Node
from k8snetlab.api.guest import Guest
from k8snetlab.api.problems import Report, dns_label, dns_subdomain
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path, shorten


def guest(report: Report, obj: Guest, world: Snapshot) -> None:
    spec = obj.spec
    if problem := dns_label(obj.name):
        report.error(obj, ("metadata", "name"), problem)
    if not spec.command or not spec.command[0]:
        report.error(obj, ("spec", "command"), "Required value: a guest is a command, as in [traefik, --ping]")
    _where(report, obj, world)
    for number, word in enumerate(spec.command):
        _text(report, obj, ("spec", "command", number), word)
    if not spec.workingDir.startswith("/"):
        report.error(obj, ("spec", "workingDir"), f'"{shorten(spec.workingDir)}" is no absolute path, as /root is')
    _text(report, obj, ("spec", "workingDir"), spec.workingDir)
    for name, value in spec.env.items():
        if not name or "=" in name:
            report.error(obj, ("spec", "env"), f'"{shorten(name)}" cannot name a variable')
        _text(report, obj, ("spec", "env"), f"{name}{value}")


def _where(report: Report, obj: Guest, world: Snapshot) -> None:
    spec = obj.spec
    if bool(spec.nodeName) == bool(spec.podName):
        report.error(obj, ("spec",), "takes nodeName or podName, one of them: where the guest runs")
    if spec.podName and (problem := dns_subdomain(spec.podName)):
        report.error(obj, ("spec", "podName"), problem)
    if spec.serviceAccountName and (problem := dns_subdomain(spec.serviceAccountName)):
        report.error(obj, ("spec", "serviceAccountName"), problem)
    if problem := dns_label(spec.namespace):
        report.error(obj, ("spec", "namespace"), problem)
    nodes = [name for _, name in world.all(Node)]
    if spec.nodeName and nodes and spec.nodeName not in nodes:
        report.error(obj, ("spec", "nodeName"), f'the lab has no node "{shorten(spec.nodeName)}"')


def _text(report: Report, obj: Guest, path: Path, text: str) -> None:
    if "\0" in text:
        report.error(obj, path, "no word of a command, path or variable has a NUL in it")
