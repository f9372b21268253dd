"""What can be wrong with an Ingress or an IngressClass.

Source: Kubernetes pkg/apis/networking/validation, whose words these are.
"""

from __future__ import annotations

import re

from k8snetlab.api import addressing
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import (
    HTTPIngressPath,
    Ingress,
    IngressBackend,
    IngressClass,
    IngressRule,
    IngressServiceBackend,
    TypedLocalObjectReference,
)
from k8snetlab.api.problems import Report, dns_label, dns_subdomain, port_name
from k8snetlab.api.rules import invalid, name_problem, path_segment, port_number, required
from k8snetlab.api.words import Path

LONGEST_CONTROLLER = 250
_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_ENDS = ("/..", "/.")
_WILDCARD = re.compile(r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_WILDCARD_RULE = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com')"
)
_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+\Z")


def ingress(report: Report, obj: Ingress) -> None:
    spec = obj.spec
    if not spec.rules and spec.defaultBackend is None:
        report.error(obj, ("spec",), invalid("", "either `defaultBackend` or `rules` must be specified"))
    if spec.defaultBackend is not None:
        _backend(report, obj, ("spec", "defaultBackend"), spec.defaultBackend)
    for number, rule in enumerate(spec.rules):
        _rule(report, obj, ("spec", "rules", number), rule)
    for number, tls in enumerate(spec.tls):
        for place, host in enumerate(tls.hosts):
            _host(report, obj, ("spec", "tls", number, "hosts", place), host)
        if tls.secretName:
            name_problem(report, obj, ("spec", "tls", number, "secretName"), tls.secretName, dns_subdomain)
    if spec.ingressClassName is not None:
        name_problem(report, obj, ("spec", "ingressClassName"), spec.ingressClassName, dns_subdomain)
    _status(report, obj)


def _rule(report: Report, obj: Ingress, where: Path, rule: IngressRule) -> None:
    if rule.host:
        _rule_host(report, obj, (*where, "host"), rule.host)
    if rule.http is not None:
        if not rule.http.paths:
            report.error(obj, (*where, "http", "paths"), required())
        for place, path in enumerate(rule.http.paths):
            _path(report, obj, (*where, "http", "paths", place), path)


def _status(report: Report, obj: Ingress) -> None:
    for number, one in enumerate(obj.status.loadBalancer.ingress):
        where: Path = ("status", "loadBalancer", "ingress", number)
        if one.ip:
            try:
                addressing.api_address(one.ip)
            except ValueError as error:
                report.error(obj, (*where, "ip"), str(error))
        if one.hostname:
            name_problem(report, obj, (*where, "hostname"), one.hostname, dns_subdomain)
            _no_address(report, obj, (*where, "hostname"), one.hostname)


def _rule_host(report: Report, obj: Object, path: Path, host: str) -> None:
    _no_address(report, obj, path, host)
    _host(report, obj, path, host)


def _no_address(report: Report, obj: Object, path: Path, host: str) -> None:
    try:
        addressing.canonical(host)
    except ValueError:
        return
    report.error(obj, path, invalid(host, "must be a DNS name, not an IP address"))


def _host(report: Report, obj: Object, path: Path, host: str) -> None:
    if "*" not in host:
        name_problem(report, obj, path, host, dns_subdomain)
    elif not _WILDCARD.match(host) or len(host) > 253:
        report.error(obj, path, invalid(host, _WILDCARD_RULE))


def _path(report: Report, obj: Object, where: Path, path: HTTPIngressPath) -> None:
    if path.pathType is None:
        report.error(obj, (*where, "pathType"), required("pathType must be specified"))
        return
    if not path.path.startswith("/") and (path.path or path.pathType != "ImplementationSpecific"):
        report.error(obj, (*where, "path"), invalid(path.path, "must be an absolute path"))
    if path.pathType != "ImplementationSpecific":
        for text in _SEQUENCES:
            if text in path.path:
                report.error(obj, (*where, "path"), invalid(path.path, f"must not contain '{text}'"))
        for text in _ENDS:
            if path.path.endswith(text):
                report.error(obj, (*where, "path"), invalid(path.path, f"cannot end with '{text}'"))
    _backend(report, obj, (*where, "backend"), path.backend)


def _backend(report: Report, obj: Object, path: Path, backend: IngressBackend) -> None:
    if backend.resource is not None and backend.service is not None:
        report.error(obj, path, invalid("", "cannot set both resource and service backends"))
    elif backend.resource is not None:
        _reference(report, obj, (*path, "resource"), backend.resource)
    elif backend.service is not None:
        _service(report, obj, path, backend.service)
    else:
        report.error(obj, path, invalid("", "resource or service backend is required"))


def _service(report: Report, obj: Object, path: Path, service: IngressServiceBackend) -> None:
    where: Path = (*path, "service")
    if not service.name:
        report.error(obj, (*where, "name"), "Required value")
    else:
        name_problem(report, obj, (*where, "name"), service.name, dns_label)
    port = service.port
    if port.name and port.number:
        report.error(obj, path, invalid("", "cannot set both port name & port number"))
    elif port.name:
        name_problem(report, obj, (*where, "port", "name"), port.name, port_name)
    elif port.number:
        port_number(report, obj, (*where, "port", "number"), port.number)
    else:
        report.error(obj, path, required("port name or number is required"))


def _reference(report: Report, obj: Object, path: Path, reference: TypedLocalObjectReference) -> None:
    if reference.apiGroup is not None:
        name_problem(report, obj, (*path, "apiGroup"), reference.apiGroup, dns_subdomain)
    path_segment(report, obj, (*path, "kind"), reference.kind)
    path_segment(report, obj, (*path, "name"), reference.name)


def ingress_class(report: Report, obj: IngressClass) -> None:
    controller, path = obj.spec.controller, ("spec", "controller")
    if not controller:
        report.error(obj, path, "Required value")
    else:
        if len(controller) > LONGEST_CONTROLLER:
            report.error(obj, path, f"Too long: may not be more than {LONGEST_CONTROLLER} bytes")
        _prefixed_path(report, obj, path, controller)
    _parameters(report, obj)


def _prefixed_path(report: Report, obj: Object, path: Path, text: str) -> None:
    """IsDomainPrefixedPath: example.com/controller."""
    host, slash, rest = text.partition("/")
    if not slash or not host or not rest:
        report.error(obj, path, invalid(text, 'must be a domain-prefixed path (such as "acme.io/foo")'))
        return
    name_problem(report, obj, path, host, dns_subdomain)
    if not _PATH.match(rest):
        report.error(obj, path, invalid(text, "Invalid path (e.g. '/foo')"))


def _parameters(report: Report, obj: IngressClass) -> None:
    given, path = obj.spec.parameters, ("spec", "parameters")
    if given is None:
        return
    _reference(report, obj, path, TypedLocalObjectReference(apiGroup=given.apiGroup, kind=given.kind, name=given.name))
    where: Path = (*path, "namespace")
    if given.scope == "Namespace" and given.namespace is None:
        report.error(obj, where, required("`parameters.scope` is set to 'Namespace'"))
    elif given.scope == "Namespace" and given.namespace is not None:
        name_problem(report, obj, where, given.namespace, dns_label)
    elif given.namespace is not None:
        report.error(obj, where, "Forbidden: `parameters.scope` is set to 'Cluster'")
