"""Pods, nodes and other places by name: where they are, a command in one, what a pod's container wrote."""

from __future__ import annotations

from typing import Annotated

import msgspec

from k8snetlab.messages.verb import Call, Conversation, Nothing, OfPlace, OfPod, Stream

Cells = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
"""A terminal's width or height."""


class Names(msgspec.Struct, frozen=True):
    """Names for completion: NAME in namespace default, NAMESPACE/NAME in others."""

    nodes: tuple[str, ...]
    """All of them."""
    pods: tuple[str, ...]
    """All of them."""
    services: tuple[str, ...]
    """All of them."""
    hosts: tuple[str, ...] = ()
    """Those outside, as NAME."""


class Resolve(msgspec.Struct, frozen=True):
    """Which place is meant."""

    name: str
    """A pod, also as NAMESPACE/NAME, a node, router or outside."""
    namespace: str = ""
    """That of a pod whose name does not say one; "": default's first, then any other's."""


class Resolved(msgspec.Struct, frozen=True):
    """Where a command for a place runs."""

    kind: str
    """pod, node, router or outside."""
    name: str
    """Its name."""
    namespace: str
    """A pod's; "" for the others."""
    node: str
    """The one that it is on, or is; "" for the router and the host outside."""
    machine: str
    """The other machine that it is on, in words; "" for this one."""
    netns: str
    """Its network namespace, "" for the machine's own."""
    hostname: str
    """What a command there sees."""
    cgroup: str
    """The control group for what is started there, "" for none."""
    held: str
    """The file that names what is started there."""
    flannel: str
    """The directory to be seen as /run/flannel, "" for none."""
    account: str = ""
    """The directory to be seen as that of the pod's ServiceAccount, "" for none."""
    etc: str = ""
    """The directory whose files are seen in /etc, "" for those of the namespace."""
    process: int = 0
    """The first process of the pod's container, whose files and processes a command there sees; 0 where it has none."""


class Execute(msgspec.Struct, frozen=True):
    """What to run where. The request's body is its standard input; with `tty` it is in pieces, as exec/channels has
    them."""

    name: str
    """A pod, also as NAMESPACE/NAME, a node, router or outside."""
    namespace: str = ""
    """That of a pod whose name does not say one; "": default's first, then any other's."""
    command: tuple[str, ...] = ()
    """With its arguments; left out: root's shell."""
    tty: bool = False
    """Whether it runs at a terminal of its own."""
    rows: Cells = 24
    """The terminal's, in characters."""
    columns: Cells = 80
    """The terminal's, in characters."""
    term: str = "dumb"
    """The terminal's kind, as in $TERM."""
    container: str = ""
    """Of a pod: whose files and processes the command sees; "" for the first that runs a command."""


class Stdout(msgspec.Struct, frozen=True, tag_field="type", tag="stdout"):
    """What the command wrote; at a terminal all that it shows."""

    data: bytes
    """In base64."""


class Stderr(msgspec.Struct, frozen=True, tag_field="type", tag="stderr"):
    """What the command wrote to its standard error."""

    data: bytes
    """In base64."""


class Exit(msgspec.Struct, frozen=True, tag_field="type", tag="exit"):
    """The last event: the command has ended."""

    code: int
    """Its exit code; 128 and the signal's number where a signal ended it."""


Output = Stdout | Stderr | Exit


class Connect(msgspec.Struct, frozen=True):
    """A connection to a port of a pod, from inside it. The request's body is what is said on it."""

    namespace: str
    """The pod's."""
    name: str
    """The pod's."""
    port: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)]
    """At the pod's loopback address, over TCP."""


class Received(msgspec.Struct, frozen=True):
    """The next piece of what came on the connection."""

    data: bytes
    """In base64."""


class LogsQuestion(msgspec.Struct, frozen=True):
    """Whose output is meant, and how much of it."""

    namespace: str
    """The pod's."""
    name: str
    """The pod's."""
    container: str = ""
    """Left out or "": the pod's first."""
    follow: bool = False
    """Go on as it grows, until the run ends."""
    tailLines: Annotated[int, msgspec.Meta(ge=-1)] = -1
    """So many lines of the end; -1 for all."""
    previous: bool = False
    """Of the run before the last."""
    limitBytes: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """No more than so many."""
    sinceSeconds: Annotated[int, msgspec.Meta(ge=1, le=10**9)] | None = None
    """What was written in the last so many seconds."""
    sinceTime: str = ""
    """What was written since that time, in RFC 3339; "": all."""
    timestamps: bool = False
    """Each line with its time before it."""


class Written(msgspec.Struct, frozen=True):
    """The next piece of what a container wrote."""

    data: bytes
    """In base64."""


NAMES: Call[Nothing, Names] = Call("names", "GET", "names", Nothing, Names, group=True)
RESOLVE: Call[Resolve, Resolved] = Call("resolve", "GET", "resolve/{name:path}", Resolve, Resolved, group=True)
EXEC: Conversation[Execute, Output] = Conversation("exec", "POST", "exec/{name:path}", Execute, Output, OfPlace())
CONNECT: Conversation[Connect, Received] = Conversation(
    "connect", "POST", "pods/{namespace}/{name}/connect", Connect, Received, OfPod(), silence=None
)
LOGS: Stream[LogsQuestion, Written] = Stream(
    "logs", "GET", "pods/{namespace}/{name}/log", LogsQuestion, Written, OfPod(), group=True, silence=None
)
