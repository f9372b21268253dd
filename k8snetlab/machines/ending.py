"""The end of a lab on several machines: `down` on any of them takes it down on all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec

from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.messages.machines import Leaving
from k8snetlab.state.machine import Machine

ENDED_BY = "k8snetlab/ended-by"
"""Annotation of a Lab that is being taken down: the node on which `down` was said."""


async def end(cluster: Cluster, machine: Machine) -> AsyncIterator[Leaving]:
    """Marks the lab as ending, for every machine to see, and waits until all others have left; yields progress."""

    def marked(lab: Lab) -> Lab:
        metadata = msgspec.structs.replace(
            lab.metadata,
            deletionTimestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            annotations={**lab.metadata.annotations, ENDED_BY: machine.node},
        )
        return msgspec.structs.replace(lab, metadata=metadata)

    for lab in list(cluster.snapshot.all(Lab).values()):
        await cluster.edit(lab, marked)
    total = len(cluster.snapshot.all(Node)) - 1
    async for snapshot in cluster.changes():
        others = [name for _, name in snapshot.all(Node) if name != machine.node]
        message = f"waiting for {', '.join(others)}" if others else "every machine has left"
        yield Leaving("machines", total - len(others), total, message, nodes=tuple(others))
        if not others:
            return


async def leave_when_ended(lab: str, cluster: Cluster, machine: Machine) -> None:
    """Lets this machine leave once `down` was said on another one. Never returns: what it starts ends this process."""
    async for snapshot in cluster.changes():
        for one in snapshot.all(Lab).values():
            if one.metadata.deletionTimestamp and one.metadata.annotations.get(ENDED_BY, machine.node) != machine.node:
                subprocess.Popen(
                    [sys.executable, "-m", "k8snetlab", "--lab", lab, "node", "leave", "--force"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                )
                await asyncio.Event().wait()
