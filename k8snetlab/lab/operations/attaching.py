"""A namespace that is not the lab's becomes a pod's: it gets a second name, that of the pod's namespace, and what makes
every pod's then finds it there. Who deletes the Pod takes that name away, and what was plugged in; the namespace itself
goes on.
"""

from __future__ import annotations

import asyncio
import os

from k8snetlab.agent.additions import OwnedNetns
from k8snetlab.api.body import decode
from k8snetlab.api.core import Pod
from k8snetlab.api.meta import ATTACHED
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane import names
from k8snetlab.errors import ConflictError, InputError
from k8snetlab.kernel import netns
from k8snetlab.kernel.capture import devices
from k8snetlab.lab.table import answers
from k8snetlab.messages.attach import ATTACH, Attach, Attached
from k8snetlab.state import labs
from k8snetlab.state.ledger import Ledger


class Attaching:
    def __init__(self, cluster: Cluster, ledger: Ledger) -> None:
        self._cluster, self._ledger = cluster, ledger
        self._turn = asyncio.Lock()
        """Two that ask for one Pod's name would take the namespace's name from each other."""

    @answers(ATTACH)
    async def attach(self, asked: Attach) -> Attached:
        """Raises NotFoundError where there is no such namespace, ConflictError where it cannot be a pod's."""
        snapshot = self._cluster.snapshot
        node, whose = snapshot.node(asked.node), asked.called or asked.netns
        netns.path(asked.netns)  # raises where that can be no name; "" would be the machine's own
        async with self._turn:
            pod = self._cluster.tried(_pod(asked, whose))
            name = names.pod_netns(snapshot.lab.name, pod.namespace, pod.name)
            await asyncio.to_thread(self._adopt, name, asked, whose)
            try:
                await self._cluster.create(_pod(asked, whose))
            except BaseException:
                await asyncio.to_thread(self._let_go, name)
                raise
        return Attached(f"{pod.namespace}/{pod.name}", node.name, name, whose)

    def _adopt(self, name: str, asked: Attach, whose: str) -> None:
        held = netns.opened(asked.netns)
        try:
            number = os.fstat(held).st_ino
            self._refuse(number, whose)
            with self._ledger.lock:
                if name in self._ledger.namespaces:  # of a Pod that has gone, or of a daemon that was killed here
                    netns.delete(name)
                elif netns.exists(name):
                    raise ConflictError(f"there is a namespace {name} already", "another --name for the Pod")
                self._ledger.own_namespaces([OwnedNetns(name, "", asked.node)])
                try:
                    netns.adopt(name, held)
                except BaseException:
                    self._ledger.release_namespaces([name])
                    raise
        finally:
            os.close(held)
        if names.ETH0 in devices(name):
            self._let_go(name)
            raise ConflictError(
                f"namespace {whose} has a device {names.ETH0} already",
                "attach makes one of that name; take it away or rename it first",
            )

    def _refuse(self, number: int, whose: str) -> None:
        """The machine's own namespace, and those that are a lab's, are never plugged in."""
        if number == netns.inode(names.HOST_NETNS):
            raise ConflictError(f"{whose} is the machine's own network", "make a namespace: ip netns add NAME")
        beginnings = tuple(f"{lab}." for lab in labs.running())
        of_labs = {*self._ledger.namespaces, *(name for name in netns.names() if name.startswith(beginnings))}
        if taken := next((name for name in sorted(of_labs) if netns.number(name) == number), ""):
            raise ConflictError(f"{whose} is {taken}, a namespace of a lab", "make one of your own: ip netns add NAME")

    def _let_go(self, name: str) -> None:
        with self._ledger.lock:
            netns.delete(name)
            self._ledger.release_namespaces([name])


def _pod(asked: Attach, whose: str) -> Pod:
    pod = decode(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": asked.pod, "namespace": asked.namespace, "annotations": {ATTACHED: whose}},
            "spec": {"nodeName": asked.node, "containers": [{"name": "attached", "image": "attached"}]},
        }
    )
    if not isinstance(pod, Pod):
        raise InputError(f"{asked.pod} is no Pod")
    return pod
