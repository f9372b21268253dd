"""Which namespaces a node's agent may touch: those that the ledger has as the lab's, and as this node's."""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.agent.additions import OwnedNetns, Owner
from k8snetlab.agent.ends import unplug
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.netns import Netns
from k8snetlab.kernel import netns


class Ownership:
    """Of one node. The machine's own namespace is nobody's: it is never made, noted or deleted."""

    def __init__(self, owner: Owner, node: str) -> None:
        """`node` is as it stands in the ledger."""
        self._owner, self._node = owner, node
        held = list(owner.namespaces.values())  # other agents, in their threads, claim and disown meanwhile
        self.names = {owned.name for owned in held if owned.node == node}
        """Of the ledger's namespaces those that this agent, or an earlier one of the node, has made."""

    def is_strange(self, name: str) -> bool:
        """Whether a namespace of that name would be none of the lab's."""
        return not is_host(name) and name not in self._owner.namespaces

    def claim(self, wanted: Iterable[Netns], missing: Iterable[str]) -> set[str]:
        """Notes them, before they are made; returns those of the `missing` that were the lab's already."""
        own = [state for state in wanted if not is_host(state.name)]
        with self._owner.lock:
            known = {name for name in missing if name in self._owner.namespaces}
            self._owner.own_namespaces(OwnedNetns(state.name, state.uid, self._node) for state in own)
        self.names.update(state.name for state in own)
        return known

    def disown(self, name: str) -> None:
        """One that somebody else has made since it was claimed."""
        with self._owner.lock:
            self._owner.release_namespaces([name])
        self.names.discard(name)

    def delete_former(self, state: Netns) -> bool:
        """Takes away what was made for another Node or Pod of this name (a daemon died before it could), if it was."""
        owned = self._owner.namespaces.get(state.name)
        if owned is None or not owned.uid or not state.uid or owned.uid == state.uid:
            return False
        with self._owner.lock:
            unplug(state.name)
            netns.delete(state.name)
        return True

    def delete(self, name: str, plugged: bool) -> None:
        """Deletes it, unless another node's agent has made one of the same name by now. `plugged`: ends of its veths
        may be where nobody knows of them."""
        with self._owner.lock:
            owned = self._owner.namespaces.get(name)
            if owned is None or owned.node not in ("", self._node):
                return
            if plugged:
                unplug(name)
            netns.delete(name)
            self._owner.release_namespaces([name])
