"""What is wrong with an object, and the rules for names that everything else in the API is built on.

Source of the rules: Kubernetes apimachinery pkg/util/validation. Names and label values that pass them hold no quotes,
spaces or newlines, so they can stand in iptables comments and file names as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

import msgspec

from k8snetlab.api.meta import Object
from k8snetlab.api.words import Path, shorten, show
from k8snetlab.dataplane.names import ETH0, OUTSIDE, ROUTER, UNDERLAY_BRIDGE

MAX_ANNOTATIONS = 256 * 1024
RESERVED = {ROUTER, OUTSIDE, UNDERLAY_BRIDGE, "lo", ETH0, "all", "default"}
"""Names that the lab's other namespaces, the router's interfaces and the kernel's sysctls have already."""


class Problem(msgspec.Struct, frozen=True):
    """A field of an object that is wrong, or (a warning) that hardly does what its author wants."""

    object: Object
    path: Path
    message: str
    severity: Literal["error", "warning", "notice"] = "error"
    """A warning may come to nothing where other objects stand beside these; a notice holds in any case."""

    @property
    def where(self) -> str:
        return title(self.object)

    def __str__(self) -> str:
        return f"{self.where}: {show(self.path)}: {self.message}"


def title(obj: Object) -> str:
    """ "Service default/web", "Lab workshop"."""
    kind = f"Calico's {obj.KIND}" if obj.REFERENCE else obj.KIND  # Kubernetes has one of that name
    return f"{kind} {obj.namespace}/{obj.name}" if obj.namespaced else f"{kind} {obj.name}"


def place(obj: Object) -> str:
    """An object as another one's error names it: with the line it was written on, where that is known."""
    return f"{title(obj)} ({obj.source})" if obj.source else title(obj)


class Report:
    """Collects the problems of objects that are looked at together, in the order given."""

    def __init__(self, objects: Sequence[Object] = ()) -> None:
        self.problems: list[Problem] = []
        self._objects = objects

    @cached_property
    def _order(self) -> dict[tuple[type[Object], tuple[str, str]], int]:
        """Asked for by few: most objects have nothing that another one has."""
        return {(type(obj), obj.key): number for number, obj in enumerate(self._objects)}

    def earlier(self, other: Object, obj: Object) -> bool:
        """Whether `other` is another object that had its name, address or port before `obj`: the later one is wrong."""
        if other is obj or other.key == obj.key:
            return False
        return self._order.get((type(other), other.key), -1) < self._order.get((type(obj), obj.key), 0)

    def holds(self, obj: Object) -> bool:
        """Whether the object is among those that are looked at together."""
        return (type(obj), obj.key) in self._order

    def error(self, obj: Object, path: Path, message: str) -> None:
        self.problems.append(Problem(obj, path, message))

    def warn(self, obj: Object, path: Path, message: str) -> None:
        self.problems.append(Problem(obj, path, message, "warning"))

    def notice(self, obj: Object, path: Path, message: str) -> None:
        self.problems.append(Problem(obj, path, message, "notice"))


# --- names ----------------------------------------------------------------------------------------------------------

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*\Z")


def dns_label(name: str) -> str:
    """Why a name is no RFC 1123 label, or ""."""
    if len(name) > 63:
        return f'"{shorten(name)}" has {len(name)} characters; at most 63 are allowed'
    if not _LABEL.match(name):
        return f'"{shorten(name)}" is no DNS label; use lower case letters, digits and, between them, "-"'
    return ""


def dns_subdomain(name: str) -> str:
    """Why a name is no DNS subdomain (labels joined by dots), or ""."""
    if len(name) > 253:
        return f'"{shorten(name)}" has {len(name)} characters; at most 253 are allowed'
    if not _SUBDOMAIN.match(name):
        return f'"{shorten(name)}" is no DNS name; use lower case letters, digits, "-" and "."'
    return ""


def path_segment(name: str) -> str:
    """Why a name cannot be one part of a path, or ""."""
    if name in (".", ".."):
        return f"Invalid value: {name!r}: may not be '{name}'"
    wrong = "/" if "/" in name else "%" if "%" in name else ""
    return f"Invalid value: {shorten(name)!r}: may not contain '{wrong}'" if wrong else ""


def port_name(name: str) -> str:
    """Why a name is no container port name (IANA service name), or ""."""
    if len(name) > 15 or not _PORT_NAME.match(name):
        return f'"{shorten(name)}" is no port name; use up to 15 lower case letters, digits and single "-"'
    return ""


def label_value(value: str) -> str:
    """Why a text is no label value, or ""."""
    if value and (len(value) > 63 or not _QUALIFIED.match(value)):
        return f'"{shorten(value)}" is no label value; use at most 63 letters, digits, "-", "_" and "."'
    return ""


def qualified_name(key: str) -> str:
    """Why a text is no qualified name, as the keys of labels are, or ""."""
    prefix, slash, name = key.rpartition("/")
    if not name or len(name) > 63 or not _QUALIFIED.match(name) or (slash and dns_subdomain(prefix)):
        return f'"{shorten(key)}" is no qualified name; use a name like app or example.com/app'
    return ""


def labels(report: Report, obj: Object, path: Path, values: Mapping[str, str], keys_only: bool = False) -> None:
    """Reports keys and values that Kubernetes refuses as labels; annotations have such keys, and any text as value."""
    for key, value in values.items():
        if qualified_name(key.lower() if keys_only else key):
            what = "annotation" if keys_only else "label"
            message = f'"{shorten(key)}" is no {what} key; use a name like app or example.com/app'
            report.error(obj, (*path, key), message)
        if not keys_only and (problem := label_value(value)):
            report.error(obj, (*path, key), problem)
    if keys_only and sum(len(k.encode()) + len(v.encode()) for k, v in values.items()) > MAX_ANNOTATIONS:
        report.error(obj, path, f"Too long: may not be more than {MAX_ANNOTATIONS} bytes")


def node_name(name: str) -> str:
    """Why a node of a lab cannot have that name, or ""."""
    if name in RESERVED:
        return f'"{name}" is taken by the lab itself; choose another name'
    if len(name) > 63:
        return f'"{shorten(name)}" has {len(name)} characters; 63 is what its label kubernetes.io/hostname takes'
    return dns_subdomain(name)
