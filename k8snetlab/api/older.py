"""Stored objects as older versions of k8snetlab wrote them, where decoding alone does not make them today's."""

from __future__ import annotations

from typing import Any

from k8snetlab.api.core import Pod
from k8snetlab.api.meta import Object


def renewed(type_: type[Object], value: Any) -> bool:
    """Brings `value`, stored JSON that is no `type_`, into today's form; whether there was anything to bring."""
    if type_ is not Pod or not isinstance(value, dict) or not isinstance(value.get("status"), dict):
        return False
    statuses = value["status"].get("containerStatuses")
    found = False
    for status in statuses if isinstance(statuses, list) else ():
        if isinstance(status, dict) and isinstance(status.get("state"), str):
            status["state"], found = _STATES.get(status["state"], {}), True
    return found


_STATES: dict[str, dict[str, Any]] = {
    "Running": {"running": {}},
    "Waiting": {"waiting": {}},
    "Terminated": {"terminated": {}},
}
"""A container's state was one word (0.1)."""
