"""What can be wrong with a ConfigMap or a Secret.

Source: Kubernetes pkg/apis/core/validation (ValidateConfigMap, ValidateSecret), apimachinery IsConfigMapKey.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from k8snetlab.api.config import ConfigMap, Secret
from k8snetlab.api.problems import Report
from k8snetlab.api.words import shorten

LARGEST = 1 << 20
"""Bytes of all values together."""
REQUIRED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
"""Keys that a Secret of a type must have."""
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def config_map(report: Report, obj: ConfigMap) -> None:
    _keys(report, obj, "data", obj.data)
    _keys(report, obj, "binaryData", obj.binaryData)
    for key in obj.data.keys() & obj.binaryData.keys():
        report.error(obj, ("data", key), "Invalid value: duplicate of key present in binaryData")
    size = sum(len(text.encode()) for text in obj.data.values()) + _decoded(report, obj, "binaryData", obj.binaryData)
    _size(report, obj, size)


def secret(report: Report, obj: Secret) -> None:
    _keys(report, obj, "data", obj.data)
    _size(report, obj, _decoded(report, obj, "data", obj.data))
    for key in REQUIRED.get(obj.type, ()):
        if key not in obj.data:
            report.error(obj, ("data", key), f"Required value: a Secret of type {obj.type} has it")


def _keys(report: Report, obj: ConfigMap | Secret, field: str, held: Mapping[str, str]) -> None:
    for key in held:
        if not _KEY.fullmatch(key) or key == "." or key.startswith(".."):
            message = f"Invalid value: {shorten(key)!r}: a key consists of letters, digits, '-', '_' and '.'"
            report.error(obj, (field, key), message)


def _decoded(report: Report, obj: ConfigMap | Secret, field: str, held: Mapping[str, str]) -> int:
    """How many bytes the values are."""
    size = 0
    for key, text in held.items():
        try:
            size += len(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            report.error(obj, (field, key), f"Invalid value: {shorten(text)!r} is not in base64")
    return size


def _size(report: Report, obj: ConfigMap | Secret, size: int) -> None:
    if size > LARGEST:
        report.error(obj, ("data",), f"Too long: {size} bytes, may not be more than {LARGEST}")
