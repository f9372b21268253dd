"""What is in a pod's volumes that objects fill: ConfigMaps, Secrets, the pod's own fields.

Source: Kubernetes pkg/volume (configmap.MakePayload, secret.MakePayload, downwardapi.CollectData, projected), whose
words these are; pkg/fieldpath (FormatMap).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from k8snetlab.api.config import ConfigMap, Secret
from k8snetlab.api.core import Container, Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.variables import LacksError, field, resource
from k8snetlab.api.volumes import DownwardAPIVolumeFile, KeyToPath, ServiceAccountTokenProjection, Volume

WHOLE = ("metadata.labels", "metadata.annotations")
FILLED = frozenset(("configMap", "secret", "projected", "downwardAPI"))
"""Sources whose files are written, and written anew when what they are made of changes."""


class File(msgspec.Struct, frozen=True):
    data: bytes
    mode: int


Files = Mapping[str, File]
"""By path below the volume."""
Token = Callable[[Pod, ServiceAccountTokenProjection], bytes]
"""Makes a token of the pod's ServiceAccount. Raises LacksError."""


def files(volume: Volume, pod: Pod, snapshot: Snapshot, token: Token) -> Files:
    """Of a volume whose source is one of FILLED. Raises LacksError."""
    found: dict[str, File] = {}
    if (one := volume.configMap) is not None:
        found |= _keys("configmap", one.name, one.items, one.optional, one.defaultMode, pod=pod, snapshot=snapshot)
    elif (secret := volume.secret) is not None:
        how = secret.items, secret.optional, secret.defaultMode
        found |= _keys("secret", secret.secretName, *how, pod=pod, snapshot=snapshot)
    elif (down := volume.downwardAPI) is not None:
        found |= dict(_fields(down.items, down.defaultMode, pod, snapshot))
    elif volume.projected is not None:
        found |= _projected(volume, pod, snapshot, token)
    return found


def uses(volume: Volume) -> Iterator[tuple[type[ConfigMap | Secret], str]]:
    """The objects that it is made of, by kind and name."""
    if volume.configMap is not None:
        yield ConfigMap, volume.configMap.name
    if volume.secret is not None:
        yield Secret, volume.secret.secretName
    for one in volume.projected.sources if volume.projected is not None else ():
        if one.configMap is not None:
            yield ConfigMap, one.configMap.name
        if one.secret is not None:
            yield Secret, one.secret.name


def _projected(volume: Volume, pod: Pod, snapshot: Snapshot, token: Token) -> dict[str, File]:
    assert volume.projected is not None
    found: dict[str, File] = {}
    mode = volume.projected.defaultMode
    for one in volume.projected.sources:
        for kind, source in (("configmap", one.configMap), ("secret", one.secret)):
            if source is not None:
                how = source.items, source.optional, mode
                found |= _keys(kind, source.name, *how, pod=pod, snapshot=snapshot)
        if one.downwardAPI is not None:
            found |= dict(_fields(one.downwardAPI.items, mode, pod, snapshot))
        if one.serviceAccountToken is not None:
            found[one.serviceAccountToken.path] = File(token(pod, one.serviceAccountToken), 0o600)
    return found


def _keys(
    kind: str,
    name: str,
    items: Sequence[KeyToPath],
    optional: bool | None,
    mode: int,
    *,
    pod: Pod,
    snapshot: Snapshot,
) -> dict[str, File]:
    """All keys of an object, or those of `items`."""
    held = _payload(kind, name, pod.namespace, snapshot)
    if held is None:
        if optional:
            return {}
        raise LacksError(f'{kind} "{name}" not found')
    if not items:
        return {key: File(data, mode) for key, data in held.items()}
    found = {}
    for item in items:
        if item.key in held:
            found[item.path] = File(held[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            whose = "config" if kind == "configmap" else "secret"
            raise LacksError(
                f"{'configmap ' if kind == 'configmap' else ''}references non-existent {whose} key: {item.key}"
            )
    return found


def _payload(kind: str, name: str, namespace: str, snapshot: Snapshot) -> dict[str, bytes] | None:
    held = snapshot.get(ConfigMap if kind == "configmap" else Secret, name, namespace)
    if isinstance(held, ConfigMap):
        return {key: text.encode() for key, text in held.data.items()} | _decoded(held.binaryData)
    return _decoded(held.data) if isinstance(held, Secret) else None


def _decoded(data: Mapping[str, str]) -> dict[str, bytes]:
    found = {}
    for key, text in data.items():
        try:
            found[key] = base64.b64decode(text)
        except (binascii.Error, ValueError):
            continue  # the API server takes no such object
    return found


def _fields(
    items: Sequence[DownwardAPIVolumeFile], mode: int, pod: Pod, snapshot: Snapshot
) -> Iterator[tuple[str, File]]:
    for item in items:
        text = ""
        if item.fieldRef is not None:
            text = _field(pod, item.fieldRef.fieldPath, snapshot)
        elif item.resourceFieldRef is not None:
            text = resource(item.resourceFieldRef, pod, Container(name=""), snapshot)
        yield item.path, File(text.encode(), mode if item.mode is None else item.mode)


def _field(pod: Pod, path: str, snapshot: Snapshot) -> str:
    """Whole mappings are written a line each, as volumes alone may have them."""
    if path not in WHOLE:
        return field(pod, path, snapshot)
    values: Mapping[str, str] = getattr(pod.metadata, path.partition(".")[2])
    return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(values.items()))
