"""What a fault is: its declaration, and the damage that becomes of it in one lab."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from k8snetlab.dataplane.holds import Hold
from k8snetlab.dataplane.names import is_host
from k8snetlab.faults.scene import Scene

Level = Literal[1, 2, 3]
Class = Literal[
    "overlay",
    "routes",
    "devices",
    "addresses",
    "sysctls",
    "firewall",
    "services",
    "objects",
    "workloads",
    "names",
    "programs",
    "routing",
    "balancers",
    "plane",
]
Symptom = Literal["fails", "sometimes", "large", "uneven", "source", "name", "http", "late", "plane"]
OWN_OPTION = ("ip", "bridge", "tc")
"""Programs with an option -n for the namespace."""
VTYSH = "vtysh"
"""The program by which FRR is spoken with: that of the node whose namespace it is."""


class Command(msgspec.Struct, frozen=True):
    """A program run inside a namespace; prints itself as a person would type it."""

    netns: str
    argv: tuple[str, ...]

    def __str__(self) -> str:
        program, *words = self.argv
        if is_host(self.netns):
            return shlex.join(self.argv)
        if program == VTYSH:
            return shlex.join(("k8snetlab", program, self.netns.partition(".")[2], *words))
        if program in OWN_OPTION:
            return shlex.join((program, "-n", self.netns, *words))
        return shlex.join(("ip", "netns", "exec", self.netns, *self.argv))


class Edit(msgspec.Struct, frozen=True):
    """A change to an object, as a user may make it. `before` is its content until then, None where there was no such
    object; `after` is its content from then on, or all of a new object. With an `annotation` both are the value of that
    one, None for none, and nothing else of the object changes."""

    kind: str
    namespace: str
    name: str
    before: Any
    after: Any
    annotation: str = ""

    def __str__(self) -> str:
        if self.annotation:
            value = f"={self.after}" if self.after is not None else "-"
            return f"kubectl annotate {self.kind.lower()} {self.name} {self.annotation}{value}"
        return f"kubectl {'create' if self.before is None else 'edit'} {self.kind.lower()} {self.name}" + (
            f" -n {self.namespace}" if self.namespace else ""
        )


def content(body: dict[str, Any]) -> dict[str, Any]:
    """What a user writes into an object: neither its name nor what is observed of it."""
    return {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata", "status")}


class Seen(msgspec.Struct, frozen=True):
    """What a probe sees, from a place to a target in the words of `k8snetlab probe`.

    `what`: it fails; it fails `sometimes`; only `large` answers are lost; the endpoints answer `uneven`ly; the pod sees
    another `source` address; an `http` request for the URL that `target` is is not answered well; the `name` that
    `target` is is not found, or by other queries; or `late`: it is as before until something changes; or it shows in
    the state of the control `plane`, with neither source nor target.
    """

    source: str
    target: str
    protocol: str = "TCP"
    what: Symptom = "fails"

    def __str__(self) -> str:
        if self.what == "plane":
            return "k8snetlab controlplane status"
        if "://" in self.target:
            return f"k8snetlab trace {self.source} {self.target}"
        if self.what == "name":
            return f"k8snetlab dig {self.source} {self.target}"
        option = f" -p {self.protocol.lower()}" if self.protocol != "TCP" else ""
        return f"k8snetlab probe {self.source} {self.target}{option}"


class Damage(msgspec.Struct, frozen=True):
    """What a fault does to one lab. `undo` is what no agent does by itself when the holds are lifted; each of its
    commands may find that somebody has done it already. `object` is the thing that is damaged, as `diagnose` calls it.
    """

    object: str
    seen: Seen
    does: tuple[Command, ...] = ()
    undo: tuple[Command, ...] = ()
    holds: tuple[Hold, ...] = ()
    edits: tuple[Edit, ...] = ()


class Said(msgspec.Struct, frozen=True):
    """What `diagnose` says first: the finding's kind and fault."""

    kind: str
    fault: str


class Fault(msgspec.Struct, frozen=True):
    """A fault as it is declared."""

    name: str
    title: str
    """What is wrong, in a few words."""
    level: Level
    """1: a look at one table shows it. 2: two tables must be compared. 3: it shows in certain packets only."""
    group: Class
    touches: str
    """What it damages."""
    symptom: str
    """What a user would complain of."""
    said: Said
    make: Callable[[Scene], Damage]
    """Raises LacksError."""
