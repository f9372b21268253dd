"""Waits until a lab has come to what its objects say, so that what was just asked of it is not judged half done."""

from __future__ import annotations

import contextlib

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.workloads import MAKERS
from k8snetlab.client.client import Client
from k8snetlab.errors import K8sNetLabError, NotFoundError
from k8snetlab.messages.changes import WAIT, Named, Wait

LONGEST = 15.0
"""Seconds for which a lab is waited for: one that never comes to rest is judged as it is."""
KINDS: tuple[type[Object], ...] = (Node, Pod, *MAKERS)
TRIES = 5
"""Times that it is asked what there is: what goes meanwhile cannot be waited for by its name."""


def at_rest(client: Client) -> None:
    """Until every kernel of the lab is as its objects say and every pod runs, has failed or has gone, for LONGEST at
    most. Nodes that are paused are not waited for, and a lab that does not answer is left to those who ask it next."""
    with contextlib.suppress(K8sNetLabError):
        for _ in range(TRIES):
            with contextlib.suppress(NotFoundError):
                for _ in client.stream(WAIT, Wait(objects=_all(client), timeout=LONGEST)):
                    pass
                return


def _all(client: Client) -> tuple[Named, ...]:
    return tuple(
        Named(kind.KIND, one["metadata"]["name"], one["metadata"].get("namespace", ""))
        for kind in KINDS
        for one in client.list(kind.KIND)
    )
