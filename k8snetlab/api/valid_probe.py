"""What can be wrong with how a container is asked, and with what it does when it begins and ends.

Source: Kubernetes pkg/apis/core/validation (validateProbe, validateHandler, validateLivenessProbe, validateLifecycle),
whose words these are.
"""

from __future__ import annotations

import re

from k8snetlab.api.core import Container
from k8snetlab.api.meta import Object
from k8snetlab.api.probes import HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction
from k8snetlab.api.problems import Report, port_name
from k8snetlab.api.words import Path, shorten

_NOT_OF_INIT = "Forbidden: may not be set for init containers without restartPolicy=Always"
_HEADER = re.compile(r"[-A-Za-z0-9!#$%&'*+.^_`|~]+")


def asked(report: Report, obj: Object, path: Path, container: Container) -> None:
    """`path` is that of the container."""
    begins_only = "initContainers" in path and container.restartPolicy != "Always"
    probes = {
        "livenessProbe": container.livenessProbe,
        "readinessProbe": container.readinessProbe,
        "startupProbe": container.startupProbe,
    }
    for field, probe in probes.items():
        if probe is None:
            continue
        if begins_only:
            report.error(obj, (*path, field), _NOT_OF_INIT)
        _probe(report, obj, (*path, field), probe, once=field != "readinessProbe")
    lifecycle = container.lifecycle
    if lifecycle is None:
        return
    if begins_only:
        report.error(obj, (*path, "lifecycle"), _NOT_OF_INIT)
    for field, handler in (("postStart", lifecycle.postStart), ("preStop", lifecycle.preStop)):
        if handler is not None:
            _handler(report, obj, (*path, "lifecycle", field), handler)


def _probe(report: Report, obj: Object, path: Path, probe: Probe, once: bool) -> None:
    _handler(report, obj, path, probe)
    if once and probe.successThreshold != 1:
        report.error(obj, (*path, "successThreshold"), f"Invalid value: {probe.successThreshold}: must be 1")
    if not once and probe.terminationGracePeriodSeconds is not None:
        message = f"Invalid value: {probe.terminationGracePeriodSeconds}: must not be set for readinessProbes"
        report.error(obj, (*path, "terminationGracePeriodSeconds"), message)


def _handler(report: Report, obj: Object, path: Path, one: Probe | LifecycleHandler) -> None:
    given = [
        field for field in ("exec", "httpGet", "tcpSocket", "grpc", "sleep") if getattr(one, field, None) is not None
    ]
    for field in given[1:]:
        report.error(obj, (*path, field), "Forbidden: may not specify more than 1 handler type")
    if not given:
        report.error(obj, path, "Required value: must specify a handler type")
    if one.exec is not None:
        if not one.exec.command:
            report.error(obj, (*path, "exec", "command"), "Required value")
        for number, word in enumerate(one.exec.command):
            if "\0" in word:
                message = f'"{shorten(word)}" has a NUL in it, with which no process can be started'
                report.error(obj, (*path, "exec", "command", number), message)
    for field, action in (("httpGet", one.httpGet), ("tcpSocket", one.tcpSocket)):
        if action is not None:
            _asked_at(report, obj, (*path, field), action)


def _asked_at(report: Report, obj: Object, path: Path, action: HTTPGetAction | TCPSocketAction) -> None:
    if isinstance(action.port, str) and (problem := port_name(action.port)):
        report.error(obj, (*path, "port"), problem)
    texts = {"host": action.host}
    if isinstance(action, HTTPGetAction):
        texts["path"] = action.path
        for number, header in enumerate(action.httpHeaders):
            at: Path = (*path, "httpHeaders", number)
            if not _HEADER.fullmatch(header.name):
                message = f'Invalid value: "{shorten(header.name)}": a valid HTTP header must consist of alphanumeric '
                report.error(obj, (*at, "name"), f"{message}characters or '-'")
            if any(c < " " and c != "\t" for c in header.value):
                report.error(obj, (*at, "value"), f'"{shorten(header.value)}" has a control character in it')
    for field, text in texts.items():
        if any(c <= " " or c == "\x7f" for c in text):
            message = f'"{shorten(text)}" has a space or control character in it, which no request can have there'
            report.error(obj, (*path, field), message)
