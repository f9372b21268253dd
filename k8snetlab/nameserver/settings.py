"""What a name server is told at its start: words of a command line, made by `command` and read by `read`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import msgspec

from k8snetlab.dns.zones import REVERSE, Zones

DNS, METRICS, READY = 53, 9153, 8181
"""The ports of CoreDNS: names (UDP and TCP), its metrics, and whether it serves."""


class Settings(msgspec.Struct, frozen=True):
    """`lab` is the name of the lab whose objects are answered for. `upstream` are the servers asked about names outside
    (address, or address:port), tried in order; without one such names are refused."""

    lab: str
    zones: Zones = Zones()
    upstream: tuple[str, ...] = ()


def command(settings: Settings) -> tuple[str, ...]:
    """The command line that `read` understands."""
    words = [sys.executable, "-m", "k8snetlab.nameserver", "--settings", msgspec.json.encode(settings).decode()]
    return tuple(words)


def read(words: Sequence[str] | None = None) -> Settings:
    parser = argparse.ArgumentParser(prog="k8snetlab-nameserver", description="Answers the names of a lab's cluster.")
    parser.add_argument("--settings", required=True, metavar="JSON", help='{"lab": NAME, "zones": {"domain": …}, …}')
    given = parser.parse_args(words).settings
    try:
        return msgspec.json.decode(given, type=Settings)
    except msgspec.MsgspecError as error:
        parser.error(f"--settings: {error}")


__all__ = ["DNS", "METRICS", "READY", "REVERSE", "Settings", "command", "read"]
