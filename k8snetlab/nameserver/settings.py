"""What a name server is told at its start."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import msgspec

from k8snetlab.api.dns import PORT
from k8snetlab.api.workload import NAMESERVER, NameService

DNS, READY = PORT, 8181
"""The ports of CoreDNS: names (UDP and TCP), and whether it serves."""


class Settings(msgspec.Struct, frozen=True):
    """The name of the lab that names come from; then either the descriptor on which pods come and go, or the one pod
    that is served, where the process is."""

    lab: str
    control: int = -1
    alone: NameService | None = None


def read(words: Sequence[str] | None = None) -> Settings:
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAMESERVER}", description="Answers the names of a lab's cluster."
    )
    parser.add_argument("--lab", required=True, metavar="NAME")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--control", type=int, metavar="DESCRIPTOR", help="a socket: a line for each pod that is served")
    way.add_argument("--local", metavar="ADDRESS,ADDRESS", help="serve here, in the pod that has these addresses")
    given = parser.parse_args(words)
    if given.control is not None:
        return Settings(given.lab, control=given.control)
    local = tuple(address for address in given.local.split(",") if address)
    return Settings(given.lab, alone=NameService(given.lab, local))
