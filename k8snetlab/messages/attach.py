"""attach: a network namespace of somebody's own becomes a pod's."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.verb import Call, OfNode


class Attach(msgspec.Struct, frozen=True):
    """Which namespace is to be plugged into which node, on that node's machine."""

    node: str
    """The node."""
    netns: str
    """Its name, as `ip netns list` shows it."""
    pod: str
    """What the Pod is to be called that stands for it."""
    namespace: str = "default"
    """The Pod's."""
    called: str = ""
    """What a person calls the namespace; left out: by its name."""


class Attached(msgspec.Struct, frozen=True):
    """What stands for it now."""

    pod: str
    """The Pod, as NAMESPACE/NAME."""
    node: str
    """Its node."""
    netns: str
    """Another name of the namespace, that of any pod's."""
    attached: str
    """Which one it is: its name, or "process PID"."""


class PluggedIn(msgspec.Struct, frozen=True):
    """What `attach` prints."""

    pod: str
    """The Pod that stands for it, as NAMESPACE/NAME."""
    node: str
    """Its node."""
    netns: str
    """Another name of the namespace, that of any pod's."""
    attached: str
    """Which one it is: its name, or "process PID"."""
    ip: str
    """Its address, of the node's pool."""
    gateway: str
    """The default route's gateway, cni0's address; "" where it is not known."""


ATTACH: Call[Attach, Attached] = Call("attach", "POST", "attach/{node}", Attach, Attached, OfNode())
