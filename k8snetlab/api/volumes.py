"""Volumes of a pod, and where its containers see them. Source: Kubernetes API reference, core/v1 (Volume).

A source that has no type here is kept as it is written, named in a warning, and brought to no container.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from k8snetlab.api.environment import ObjectFieldSelector, ResourceFieldSelector
from k8snetlab.api.meta import OrBlank, Value, always

MODE = 0o644
"""The permissions of a file that says none."""


class KeyToPath(Value):
    key: str
    path: str
    mode: int | None = None


class ConfigMapVolumeSource(Value):
    """All keys of a ConfigMap, or `items` of it."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    defaultMode: int = always(MODE)
    optional: bool | None = None


class SecretVolumeSource(Value):
    secretName: str = ""
    items: tuple[KeyToPath, ...] = ()
    defaultMode: int = always(MODE)
    optional: bool | None = None


class EmptyDirVolumeSource(Value):
    """Begins empty, and goes with the pod."""

    medium: str = ""
    sizeLimit: Any = None


HostPathType = Literal[
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"
]


class HostPathVolumeSource(Value):
    path: str
    type: HostPathType = always("")


class DownwardAPIVolumeFile(Value):
    path: str
    fieldRef: ObjectFieldSelector | None = None
    resourceFieldRef: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardAPIVolumeSource(Value):
    items: tuple[DownwardAPIVolumeFile, ...] = ()
    defaultMode: int = always(MODE)


class ObjectProjection(Value):
    """Of a ConfigMap or a Secret."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None


class DownwardAPIProjection(Value):
    items: tuple[DownwardAPIVolumeFile, ...] = ()


class ServiceAccountTokenProjection(Value):
    path: str
    audience: str = ""
    expirationSeconds: int = always(3600)


class VolumeProjection(Value):
    """One of them is given."""

    configMap: ObjectProjection | None = None
    secret: ObjectProjection | None = None
    downwardAPI: DownwardAPIProjection | None = None
    serviceAccountToken: ServiceAccountTokenProjection | None = None
    clusterTrustBundle: Mapping[str, Any] | None = None
    podCertificate: Mapping[str, Any] | None = None


class ProjectedVolumeSource(Value):
    sources: tuple[VolumeProjection, ...] = ()
    defaultMode: int = always(MODE)


class PersistentVolumeClaimVolumeSource(Value):
    """A directory of the machine, which belongs to the claim of that name."""

    claimName: str
    readOnly: bool = False


Kept = Mapping[str, Any] | None
"""A source as it is written, which no container sees."""


class Volume(Value):
    name: str
    configMap: ConfigMapVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    emptyDir: EmptyDirVolumeSource | None = None
    hostPath: HostPathVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    downwardAPI: DownwardAPIVolumeSource | None = None
    persistentVolumeClaim: PersistentVolumeClaimVolumeSource | None = None
    awsElasticBlockStore: Kept = None
    azureDisk: Kept = None
    azureFile: Kept = None
    cephfs: Kept = None
    cinder: Kept = None
    csi: Kept = None
    ephemeral: Kept = None
    fc: Kept = None
    flexVolume: Kept = None
    flocker: Kept = None
    gcePersistentDisk: Kept = None
    gitRepo: Kept = None
    glusterfs: Kept = None
    image: Kept = None
    iscsi: Kept = None
    nfs: Kept = None
    photonPersistentDisk: Kept = None
    portworxVolume: Kept = None
    quobyte: Kept = None
    rbd: Kept = None
    scaleIO: Kept = None
    storageos: Kept = None
    vsphereVolume: Kept = None

    @property
    def source(self) -> str:
        """Which of them is given; "emptyDir" where none is, as the API server fills in."""
        return next((f for f in self.__struct_fields__ if f != "name" and getattr(self, f) is not None), "emptyDir")

    @property
    def is_brought(self) -> bool:
        """Whether containers see it."""
        return self.source in BROUGHT


BROUGHT = frozenset(
    ("configMap", "secret", "emptyDir", "hostPath", "projected", "downwardAPI", "persistentVolumeClaim")
)
"""The sources that have an effect."""


class VolumeMount(Value):
    """`subPath` is what of the volume is seen; `subPathExpr` the same with the container's variables in it."""

    name: str
    mountPath: str
    readOnly: bool = False
    subPath: str = ""
    subPathExpr: str = ""
    recursiveReadOnly: Annotated[Literal["Disabled", "IfPossible", "Enabled"], OrBlank] | None = None
    mountPropagation: Annotated[Literal["None", "HostToContainer", "Bidirectional"], OrBlank] | None = None
