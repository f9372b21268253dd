"""Make namespaces with all that is in them: nothing of a new one needs to be read.

A namespace, its sysctls, the veth whose other end is born inside, addresses and routes are one visit, and two sends:
one in the outer namespace and one inside. A pause process or a PID namespace of its own would be started within that
visit, where a sandbox asks for one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from k8snetlab.dataplane.birth import birth
from k8snetlab.dataplane.links import Veth
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.errors import AlreadyExistsError, K8sNetLabError
from k8snetlab.kernel import fault, netns, sysctl
from k8snetlab.kernel.execute import attempt
from k8snetlab.kernel.netlink import Netlink
from k8snetlab.kernel.watch import Watch, watch

_TURN = threading.Lock()
"""Threads that wait for the kernel's lock at once burn as much time as they use (mutex_optimistic_spin)."""


class Sandbox(msgspec.Struct, frozen=True):
    """A namespace that is not there, as it is to be, and the veth that leads to it from the outer namespace. `heard`:
    what is changed in it is told from the beginning."""

    state: Netns
    cable: Veth
    heard: bool = True


Begun: TypeAlias = Watch | AlreadyExistsError | None
"""A watch in a sandbox that was made; None where one was not; the error where somebody else has one of its name."""
Make: TypeAlias = Callable[[Netlink, Sequence[Sandbox]], Iterator[Begun]]
"""`make`, wherever it is done."""


def make(outer: Netlink, sandboxes: Sequence[Sandbox]) -> Iterator[Begun]:
    """Makes each, with a watch on what others change from then on, or from when it is told to begin.

    None for one of which something was refused: its namespace is there or not, holds some of what it should or nothing,
    and whoever reads it and executes the difference is told what is refused.
    """
    for sandbox in sandboxes:
        try:
            with _TURN:
                begun = _made(outer, sandbox)
            yield begun
        except AlreadyExistsError as error:
            yield error
        except (K8sNetLabError, OSError):
            yield None


def _made(outer: Netlink, sandbox: Sandbox) -> Begun:
    state, cable = sandbox.state, sandbox.cable
    steps = birth(state, cable)
    with netns.created(state.name):
        for step in steps.before:
            fault.point()
            sysctl.write(HOST_NETNS, {step.key: step.value})
        with Netlink() as own:
            by = {outer.namespace: outer, state.name: own}
            if attempt([ItemOperation("add", outer.namespace, cable), *steps.after], by.get):
                return None
            return watch(own, sandbox.heard)
