"""This machine as a node of a lab: which one, and by which of its interfaces the others reach it."""

from __future__ import annotations

import msgspec

from k8snetlab.state.paths import LabPaths, write_private


class Machine(msgspec.Struct, frozen=True):
    """`node` is the node's name, `interface` the device by which the others reach it, `addresses` one of each family
    (without prefix length), `hostname` the machine's own name, `network` the interface's networks, by commas."""

    node: str
    interface: str
    addresses: tuple[str, ...]
    hostname: str
    network: str = ""


def read(paths: LabPaths) -> Machine | None:
    """What `write` has kept; None in a lab whose nodes are namespaces of this machine."""
    try:
        return msgspec.json.decode(paths.machine.read_bytes(), type=Machine)
    except FileNotFoundError:
        return None


def write(paths: LabPaths, machine: Machine) -> None:
    write_private(paths.machine, msgspec.json.encode(machine))
