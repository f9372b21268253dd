"""process kill: the process of a pod's container, or of an add-on, ended as by the kernel."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from k8snetlab.messages.verb import Call


class KillQuestion(msgspec.Struct, frozen=True):
    """Whose process is meant."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    """A pod, also as NAMESPACE/NAME, or an add-on: a guest, or a routing daemon as bird."""
    namespace: str = ""
    """That of a pod whose name does not say one; "": default's first, then any other's."""
    node: str = ""
    """The node of an add-on, where several have one of the name; "": the only one."""
    container: str = ""
    """Whose process of a pod; "" for all of its containers', "pause" for that which holds its namespaces."""


class Killed(msgspec.Struct, frozen=True):
    """What was killed."""

    kind: Literal["pod", "addon"]
    """What the name was."""
    name: str
    """Of a pod NAMESPACE/NAME."""
    node: str
    """The node that it runs on."""
    containers: tuple[str, ...]
    """Whose first process got SIGKILL: those that ran, or "pause". Each is started again as its restartPolicy says."""


KILL: Call[KillQuestion, Killed] = Call("process kill", "POST", "processes/kill", KillQuestion, Killed)
