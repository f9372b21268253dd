"""What a name server is told at its start."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import msgspec

from k8snetlab.api.dns import PORT

DNS, METRICS, READY = PORT, 9153, 8181
"""The ports of CoreDNS: names (UDP and TCP), its metrics, and whether it serves."""


class Settings(msgspec.Struct, frozen=True):
    """`lab` is the name of the lab that names come from, and the Corefile; `local` are the pod's addresses."""

    lab: str
    local: tuple[str, ...] = ()


def read(words: Sequence[str] | None = None) -> Settings:
    parser = argparse.ArgumentParser(prog="k8snetlab-nameserver", description="Answers the names of a lab's cluster.")
    parser.add_argument("--settings", required=True, metavar="JSON", help='{"lab": NAME, "local": [ADDRESS]}')
    given = parser.parse_args(words).settings
    try:
        return msgspec.json.decode(given, type=Settings)
    except msgspec.MsgspecError as error:
        parser.error(f"--settings: {error}")
