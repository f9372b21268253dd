"""The formats of strings in OpenAPI schemas that are checked. Source: kube-openapi pkg/validation/strfmt."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from ipaddress import IPv4Address, IPv6Address, ip_network

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})\Z")
_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\Z"
)
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}\Z")
_DURATION = re.compile(r"-?(\d{1,18}(\.\d{1,9})?(ns|us|µs|ms|s|m|h|d|w))+\Z")
UNCHECKED = frozenset({"int32", "int64", "float", "double", "password", "int-or-string", "binary"})
"""Those of numbers, and those that any string has."""


def _made(make: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            make(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _date(text: str) -> object:
    if not _DATE.match(text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _date_time(text: str) -> object:
    if not _DATE_TIME.match(text):
        raise ValueError(text)
    return datetime.fromisoformat(text[:19].upper())


def _cidr(text: str) -> object:
    if "/" not in text:
        raise ValueError(text)
    return ip_network(text, strict=False)


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date": _made(_date),
    "date-time": _made(_date_time),
    "datetime": _made(_date_time),
    "duration": lambda text: bool(_DURATION.match(text)),
    "byte": _made(lambda text: base64.b64decode(text, validate=True)),
    "ipv4": _made(IPv4Address),
    "ipv6": _made(IPv6Address),
    "cidr": _made(_cidr),
    "mac": lambda text: bool(_MAC.match(text)),
    "uuid": _made(uuid.UUID),
    "hostname": lambda text: bool(_HOST.match(text)),
}
