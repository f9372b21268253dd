"""What is wrong with an object, and the rules for names that everything else in the API is built on.

Source of the rules: Kubernetes apimachinery pkg/util/validation. Names and label values that pass them hold no quotes,
spaces or newlines, so they can stand in iptables comments and file names as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from k8snetlab.api.fields import shorten, show
from k8snetlab.api.meta import Object
from k8snetlab.api.source import Path


class Problem(msgspec.Struct, frozen=True):
    """A field of an object that is wrong, or (a warning) that hardly does what its author wants."""

    object: Object
    path: Path
    message: str
    severity: Literal["error", "warning"] = "error"

    @property
    def where(self) -> str:
        return title(self.object)

    def __str__(self) -> str:
        return f"{self.where}: {show(self.path)}: {self.message}"


def title(obj: Object) -> str:
    """ "Service default/web", "Lab workshop"."""
    return f"{obj.KIND} {obj.namespace}/{obj.name}" if obj.namespaced else f"{obj.KIND} {obj.name}"


def place(obj: Object) -> str:
    """An object as another one's error names it: with the line it was written on, where that is known."""
    return f"{title(obj)} ({obj.source})" if obj.source else title(obj)


class Report:
    """Collects the problems of objects that are looked at together, in the order given."""

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self.problems: list[Problem] = []
        self._order = {(type(obj), obj.key): number for number, obj in enumerate(objects)}

    def earlier(self, other: Object, obj: Object) -> bool:
        """Whether `other` is another object that had its name, address or port before `obj`: the later one is wrong."""
        mine, others = self._order.get((type(obj), obj.key), 0), self._order.get((type(other), other.key), -1)
        return other.key != obj.key and others < mine

    def error(self, obj: Object, path: Path, message: str) -> None:
        self.problems.append(Problem(obj, path, message))

    def warn(self, obj: Object, path: Path, message: str) -> None:
        self.problems.append(Problem(obj, path, message, "warning"))


# --- names ----------------------------------------------------------------------------------------------------------

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
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


def dns_label_1035(name: str) -> str:
    """Why a name is no RFC 1035 label (which begins with a letter), or ""."""
    problem = dns_label(name)
    if not problem and not _LABEL_1035.match(name):
        return f'"{name}" must begin with a letter'
    return problem


def dns_subdomain(name: str) -> str:
    """Why a name is no DNS subdomain (labels joined by dots), or ""."""
    if len(name) > 253:
        return f'"{shorten(name)}" has {len(name)} characters; at most 253 are allowed'
    if not _SUBDOMAIN.match(name):
        return f'"{shorten(name)}" is no DNS name; use lower case letters, digits, "-" and "."'
    return ""


def port_name(name: str) -> str:
    """Why a name is no container port name (IANA service name), or ""."""
    if len(name) > 15 or not _PORT_NAME.match(name):
        return f'"{shorten(name)}" is no port name; use up to 15 lower case letters, digits and single "-"'
    return ""


def labels(report: Report, obj: Object, path: Path, values: Mapping[str, str], keys_only: bool = False) -> None:
    """Reports keys and values that Kubernetes refuses as labels; annotations have such keys, and any text as value."""
    for key, value in values.items():
        prefix, slash, name = key.rpartition("/")
        if not name or len(name) > 63 or not _QUALIFIED.match(name) or (slash and dns_subdomain(prefix.lower())):
            what = "annotation" if keys_only else "label"
            message = f'"{shorten(key)}" is no {what} key; use a name like app or example.com/app'
            report.error(obj, (*path, key), message)
        if not keys_only and value and (len(value) > 63 or not _QUALIFIED.match(value)):
            report.error(
                obj,
                (*path, key),
                f'"{shorten(value)}" is no label value; use at most 63 letters, digits, "-", "_" and "."',
            )
