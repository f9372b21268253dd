"""Pods, nodes and other places of a lab by name."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.verb import Call, Nothing


class Names(msgspec.Struct, frozen=True):
    """Names for completion: of a pod or a Service NAME in namespace default, NAMESPACE/NAME in others."""

    nodes: tuple[str, ...]
    pods: tuple[str, ...]
    services: tuple[str, ...]


class Resolve(msgspec.Struct, frozen=True):
    """`name`: a pod, also as NAMESPACE/NAME, a node, "router" or "outside"; `namespace`: that of a pod whose name does
    not say one, "" for default's first, then any other's."""

    name: str
    namespace: str = ""


class Resolved(msgspec.Struct, frozen=True):
    """Where a command for a place runs.

    `kind` is "pod", "node", "router" or "outside"; `namespace`: a pod's, "" for the others; `node`: on which it is;
    `machine`: the other machine that it is on, in words, "" for this one; `netns`: its network namespace's name, "" for
    the machine's own; `cgroup`: path of the control group for what is started there, "" for none; `held`: path of the
    file that names what is started there; `flannel`: path of the directory to be seen as /run/flannel, "" for none.
    """

    kind: str
    name: str
    namespace: str
    node: str
    machine: str
    netns: str
    hostname: str
    cgroup: str
    held: str
    flannel: str


NAMES: Call[Nothing, Names] = Call("names", "GET", "names", Nothing, Names, group=True)
RESOLVE: Call[Resolve, Resolved] = Call("resolve", "GET", "resolve/{name:path}", Resolve, Resolved, group=True)
