"""The CNI plugin bridge of one node: cni0, and the sandboxes of its pods."""

from __future__ import annotations

from k8snetlab.agent.protocol import Manager
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.render import bridge
from k8snetlab.render.pods import Sandboxes


class SandboxManager(Manager):
    """Renders only the sandboxes of pods that have changed."""

    _sandboxes: Sandboxes | None = None

    def wanted(self, snapshot: Snapshot) -> NodeDataplane:
        self._sandboxes = self._sandboxes or Sandboxes()
        return bridge.render(snapshot, self.node, self._sandboxes)
