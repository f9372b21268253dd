"""flannel of one node: its backend's devices and entries, its rules, and the answers to what its tunnel asks."""

from __future__ import annotations

from k8snetlab.agent.protocol import Manager
from k8snetlab.dataplane.netns import NodeDataplane


class Flannel(Manager):
    """Its misses are answered from the moment its namespace stands."""

    def prepared(self, whole: NodeDataplane) -> None:
        self.around.misses.attend(self.node, whole.node)

    def pause(self) -> None:
        """Misses are not answered either."""
        self.around.misses.mute(self.node)

    def resume(self) -> None:
        self.around.misses.unmute(self.node)

    def close(self) -> None:
        self.around.misses.leave(self.node)

    def remove(self) -> None:
        self.around.misses.leave(self.node)
