"""tables: what ip, bridge and conntrack print inside a node or pod, each line explained."""

from __future__ import annotations

from typing import Literal

import msgspec

from k8snetlab.messages.verb import Call, OfPlace

PlaceKind = Literal["pod", "node", "router", "outside"]
TableName = Literal["routes", "neigh", "fdb", "links", "conntrack"]


class TablesQuestion(msgspec.Struct, frozen=True):
    """Which tables are meant."""

    name: str
    """A pod, also as NAMESPACE/NAME, a node, router or outside."""
    namespace: str = ""
    """That of a pod whose name does not say one; "": default's first, then any other's."""
    table: str = ""
    """The table's name, "" for all."""


class Row(msgspec.Struct, frozen=True):
    """A line of a table."""

    line: str
    """As the command prints it; of a link, shorter."""
    owner: str
    """Who put it there: kernel, flannel, CNI bridge, k8snetlab; "nobody": neither the lab nor the kernel; "machine":
    what a machine that is a node has of its own."""
    meaning: str
    """What it does, in a sentence."""


class Table(msgspec.Struct, frozen=True):
    """One table of a network namespace, of one IP family or one device."""

    table: TableName
    """Its name."""
    command: str
    """What a person would type to see its lines."""
    rows: tuple[Row, ...]
    """Its lines in the order of the kernel."""


class TableList(msgspec.Struct, frozen=True):
    """The tables of a place."""

    place: str
    """Its name."""
    kind: PlaceKind
    """What it is."""
    netns: str
    """Its network namespace, "" for the machine's own."""
    tables: tuple[Table, ...]
    """Those that were asked for and that it has."""


TABLES: Call[TablesQuestion, TableList] = Call(
    "tables", "GET", "tables/{name:path}", TablesQuestion, TableList, OfPlace(), group=True
)
