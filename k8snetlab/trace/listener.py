"""Why no process listens on a port: it is bound to another address, for the other protocol, or another was meant."""

from __future__ import annotations

from k8snetlab.dataplane.families import end
from k8snetlab.dataplane.view import View

MOST = 6
"""Ports named at most, where another one may be meant."""


def no_listener(view: View, protocol: str, address: str, port: int) -> str:
    """Part of a sentence; nothing in `view` listens there."""
    bound = {held for what, held, number in view.listening if (what, number) == (protocol, port)}
    if bound:
        return f"{protocol} port {port} is bound to {' and '.join(_named(held) for held in sorted(bound))} only"
    others = sorted({what for what, held, number in view.listening if number == port and _takes(held, address)})
    if others:
        return f"nobody listens on {protocol} {end(address, port)}: port {port} is open for {' and '.join(others)} only"
    listening = sorted({number for what, held, number in view.listening if what == protocol and _takes(held, address)})
    return f"nobody listens on {protocol} {end(address, port)}{_instead(protocol, listening)}"


def _named(held: str) -> str:
    if held in ("::", "0.0.0.0"):
        return f"{'IPv6' if held == '::' else 'IPv4'} ({'[::]' if held == '::' else held})"
    return held


def _takes(held: str, address: str) -> bool:
    return held in ("", address, "::" if ":" in address else "0.0.0.0")


def _instead(protocol: str, ports: list[int]) -> str:
    if not ports:
        return ""
    more = f" and {len(ports) - MOST} more" if len(ports) > MOST else ""
    return f" (but on {protocol} {', '.join(map(str, ports[:MOST]))}{more})"
