"""kind Guest, k8snetlab/v1alpha1: a program of the user's own in the namespaces of a node or of a pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from k8snetlab.api.meta import Object, Value


class GuestSpec(Value):
    """`command` runs on the node `nodeName`, or beside the containers of the pod `podName`, wherever that one is.

    It begins in the directory `workingDir` of the node's machine, with `env` besides what every guest has: a kubeconfig
    of the lab, and what a container has of the ServiceAccount `serviceAccountName` (left out: its pod's, else default).
    `namespace` is the pod's and the ServiceAccount's.
    """

    command: tuple[str, ...] = ()
    nodeName: str = ""
    podName: str = ""
    namespace: str = "default"
    serviceAccountName: str = ""
    workingDir: str = "/"
    env: Mapping[str, str] = {}


class Guest(Object):
    """Started again whenever it ends, for as long as the object is there."""

    KIND: ClassVar[str] = "Guest"
    API_VERSION: ClassVar[str] = "k8snetlab/v1alpha1"
    namespaced: ClassVar[bool] = False

    spec: GuestSpec = GuestSpec()

    @property
    def pod(self) -> str:
        """NAMESPACE/NAME of the pod it is in, "" for one that is in a node itself."""
        return f"{self.spec.namespace}/{self.spec.podName}" if self.spec.podName else ""
