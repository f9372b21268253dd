"""One result of a probe in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def line(result: Mapping[str, Any]) -> str:
    """One result in words."""
    head = f"{result['from']} → {result['to']} {end(result)} {str(result['protocol']).lower()}"
    if not result["reached"]:
        error = str(result["error"])
        return f"{head}: {error}" if error.startswith("no answer") else f"{head}: no answer: {error}"
    took = f"in {result['milliseconds']:.1f} ms"
    if not result["answeredBy"]:
        return f"{head}: answered {took}"
    place = " on ".join(filter(None, (result["answeredIP"], result["answeredNode"])))
    saw = f", saw client {result['client']}" if result["client"] else ""
    return f"{head}: answered by {result['answeredBy']} ({place}) {took}{saw}"


def end(result: Mapping[str, Any]) -> str:
    """Address and port of what was asked; a ping has no port."""
    address = str(result["address"])
    if str(result["protocol"]).upper() == "ICMP":
        return address
    return f"[{address}]:{result['port']}" if ":" in address else f"{address}:{result['port']}"
