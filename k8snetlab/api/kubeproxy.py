"""kind KubeProxyConfiguration, kubeproxy.config.k8s.io/v1alpha1: how kube-proxy writes its rules.

Source: kube-proxy's configuration API v1alpha1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from k8snetlab.api.meta import Object, Value

DetectLocalMode = Literal["", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"]


class DetectLocal(Value):
    bridgeInterface: str = ""
    interfaceNamePrefix: str = ""


class IptablesConfiguration(Value):
    masqueradeBit: Annotated[int, Meta(ge=0, le=31)] | None = None
    masqueradeAll: bool = False
    localhostNodePorts: bool | None = None
    syncPeriod: str = "30s"
    minSyncPeriod: str = "1s"


class ConntrackConfiguration(Value):
    maxPerCore: int | None = None
    min: int | None = None
    tcpEstablishedTimeout: str | None = None
    tcpCloseWaitTimeout: str | None = None
    tcpBeLiberal: bool = False
    udpTimeout: str | None = None
    udpStreamTimeout: str | None = None


EXTERNAL_IPS = "AllowServiceExternalIPs"
"""The one gate of kube-proxy 1.36 that changes its rules or its choice of endpoints and is not locked."""


class KubeProxyConfiguration(Object):
    """An empty `clusterCIDR` means the lab's podCIDR; `mode` must be "" or "iptables"."""

    KIND: ClassVar[str] = "KubeProxyConfiguration"
    API_VERSION: ClassVar[str] = "kubeproxy.config.k8s.io/v1alpha1"
    namespaced: ClassVar[bool] = False

    mode: Literal["", "iptables"] = ""
    bindAddress: str = ""
    clusterCIDR: str = ""
    hostnameOverride: str = ""
    detectLocalMode: DetectLocalMode = ""
    detectLocal: DetectLocal = DetectLocal()
    nodePortAddresses: tuple[str, ...] = ()
    featureGates: Mapping[str, bool] = {}
    iptables: IptablesConfiguration = IptablesConfiguration()
    conntrack: ConntrackConfiguration = ConntrackConfiguration()

    @property
    def external_ips(self) -> bool:
        """Whether Services' externalIPs are served (KEP-5707; on by default until 1.40)."""
        return self.featureGates.get(EXTERNAL_IPS, True)
