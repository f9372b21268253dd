"""What a container's variables are that come from its pod, from ConfigMaps and from Secrets.

Source: Kubernetes pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables), pkg/fieldpath, pkg/api/v1/resource
(ExtractContainerResourceValue).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterator, Mapping

from k8snetlab.api.config import ConfigMap, Secret
from k8snetlab.api.core import Container, EnvVar, Node, Pod
from k8snetlab.api.environment import KeySelector, ResourceFieldSelector, WholeSource
from k8snetlab.api.quantity import quantity
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import Given

FIELDS: Mapping[str, Callable[[Pod], str]] = {
    "metadata.name": lambda pod: pod.name,
    "metadata.namespace": lambda pod: pod.namespace,
    "metadata.uid": lambda pod: pod.metadata.uid,
    "spec.nodeName": lambda pod: pod.spec.nodeName,
    "spec.serviceAccountName": lambda pod: pod.spec.serviceAccountName,
    "status.hostIP": lambda pod: pod.status.hostIP,
    "status.hostIPs": lambda pod: ",".join(one.ip for one in pod.status.hostIPs) or pod.status.hostIP,
    "status.podIP": lambda pod: next(iter(pod.ips), ""),
    "status.podIPs": lambda pod: ",".join(pod.ips),
}
SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
RESOURCES = ("limits", "requests")


class LacksError(Exception):
    """What a variable comes from is not there."""


def given(pod: Pod, container: Container, snapshot: Snapshot) -> Given:
    """Raises LacksError, in kubelet's words."""
    whole: dict[str, str] = {}
    for source in container.envFrom:
        for kind, reference in (("configmap", source.configMapRef), ("secret", source.secretRef)):
            if reference is not None:
                found = _whole(kind, reference, pod.namespace, snapshot)
                whole |= {source.prefix + key: value for key, value in found.items() if _is_name(source.prefix + key)}
    values = {
        variable.name: value for variable in container.env for value in _value(variable, pod, container, snapshot)
    }
    return Given(whole, values)


def _is_name(text: str) -> bool:
    return bool(text) and all(" " <= c <= "~" and c != "=" for c in text)


def _value(variable: EnvVar, pod: Pod, container: Container, snapshot: Snapshot) -> Iterator[str]:
    source = variable.valueFrom
    if source is None:
        return
    if source.fieldRef is not None:
        yield field(pod, source.fieldRef.fieldPath, snapshot)
    elif source.resourceFieldRef is not None:
        yield resource(source.resourceFieldRef, pod, container, snapshot)
    for kind, reference in (("configmap", source.configMapKeyRef), ("secret", source.secretKeyRef)):
        if reference is not None:
            yield from _key(kind, reference, pod.namespace, snapshot)


def field(pod: Pod, path: str, snapshot: Snapshot) -> str:
    """Of the pod. Raises LacksError."""
    if found := SUBSCRIPT.fullmatch(path):
        values: Mapping[str, str] = getattr(pod.metadata, found[1])
        return values.get(found[2], "")
    if path not in FIELDS:
        raise LacksError(f"unsupported fieldPath: {path}")
    value = FIELDS[path](pod)
    if path.startswith("status.hostIP") and not value:
        node = snapshot.get(Node, pod.spec.nodeName)
        hosts = node.addresses if node else ()
        return ",".join(hosts) if path.endswith("s") else next(iter(hosts), "")
    return value


def _key(kind: str, reference: KeySelector, namespace: str, snapshot: Snapshot) -> Iterator[str]:
    values = _whole(kind, WholeSource(name=reference.name, optional=reference.optional), namespace, snapshot)
    if reference.key in values:
        yield values[reference.key]
    elif not reference.optional:
        called = "ConfigMap" if kind == "configmap" else "Secret"
        raise LacksError(f"couldn't find key {reference.key} in {called} {namespace}/{reference.name}")


def _whole(kind: str, reference: WholeSource, namespace: str, snapshot: Snapshot) -> Mapping[str, str]:
    """What is no text stays away."""
    held = snapshot.get(ConfigMap if kind == "configmap" else Secret, reference.name, namespace)
    if held is None:
        if reference.optional:
            return {}
        raise LacksError(f'{kind} "{reference.name}" not found')
    if isinstance(held, ConfigMap):
        return held.data
    return dict(_texts(held.data)) if isinstance(held, Secret) else {}


def _texts(data: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        try:
            text = base64.b64decode(value).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        if "\0" not in text:
            yield key, text


def resource(reference: ResourceFieldSelector, pod: Pod, container: Container, snapshot: Snapshot) -> str:
    """A limit that is not set is what the node's machine has, whose allocatable is more than that; a request that is
    not set is 0. Raises LacksError."""
    of = reference.containerName
    named = next((one for one in (*pod.spec.containers, *pod.spec.initContainers) if one.name == of), None)
    if of and named is None:
        raise LacksError(f"container {of} not found")
    kind, _, name = reference.resource.partition(".")
    if kind not in RESOURCES or not name:
        raise LacksError(f"unsupported container resource : {reference.resource}")
    amounts = (named or container).resources.get(kind)
    amount = amounts.get(name) if isinstance(amounts, Mapping) else None
    if amount is None and kind == "limits":
        node = snapshot.get(Node, pod.spec.nodeName)
        amount = node.status.capacity.get(name) if node else None
    divisor = quantity(reference.divisor) or quantity("1")
    return str(math.ceil(quantity(str(amount or "0")) / divisor))
