"""A value that is not acted on, set against Kubernetes' reference: what the API server could not read or would refuse.

What it says of a wrong value is said here too, so that a field means the same whether we act on it or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from k8snetlab.api import reference
from k8snetlab.api.ages import moment
from k8snetlab.api.bounds import out_of_bounds
from k8snetlab.api.words import Path, describe, did_you_mean, nothing, shorten, too_large, unsupported

Say = Callable[[Path, str], None]


class Listeners(NamedTuple):
    """Who is told of a value that cannot be read, of a field that is not known, and of a value that is refused."""

    wrong: Say
    unknown: Say
    refused: Say


_QUANTITY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([EPTGMk]i?|Ki|m|u|n|[eE][+-]?[0-9]+)?\Z")
_DURATION = re.compile(r"[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(h|ms|us|µs|μs|ns|m|s))+\Z|[+-]?0\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_WORDS = {
    "i": "a whole number",
    "l": "a whole number",
    "n": "a number",
    "b": "true or false",
    "s": "a string",
    "q": "a quantity",
    "x": "a whole number or a string",
    "d": "a duration",
    "t": "a time",
}


TIME_HINT = ': write it like "2006-01-02T15:04:05Z"'
_BITS = {"i": 32, "l": 64, "x": 32}


def bits(type_: str) -> int:
    """Of a whole number of that type of the reference."""
    return _BITS.get(type_, 64)


def shape(value: Any, path: Path, type_: str, to: Listeners, *, allowed: Iterable[str] = ()) -> None:
    """Tells of each place of `value` that is no `type_` of the reference.

    `allowed`: the only words that a string may be; of a list, each of its strings.
    """
    if type_.startswith("["):
        if not isinstance(value, list):
            to.wrong(path, f'expected a list (items begin with "- "), got {describe(value)}')
            return
        for number, item in enumerate(value):
            shape(item, (*path, number), type_[1:-1], to, allowed=allowed)
    elif type_.startswith("{"):
        if not isinstance(value, dict):
            to.wrong(path, f"expected a mapping of names to values, got {describe(value)}")
            return
        for key, item in value.items():
            shape(item, (*path, key), type_[1:-1], to)
    elif len(type_) == 1:
        scalar(value, path, type_, to.wrong)
        if allowed and isinstance(value, str) and value not in allowed:
            to.refused(path, unsupported(value, allowed))
    elif not isinstance(value, dict):
        to.wrong(path, f"expected a mapping, got {describe(value)}")
    else:
        _mapping(value, path, type_, to)


def _mapping(value: dict[str, Any], path: Path, type_: str, to: Listeners) -> None:
    fields = reference.fields(type_)
    for key, item in value.items():
        if key not in fields:
            to.unknown((*path, key), did_you_mean(key, fields))
        elif item is not None:
            shape(item, (*path, key), fields[key], to, allowed=reference.enumeration(type_, key))
            if problem := out_of_bounds(type_, key, item):
                to.refused((*path, key), problem)
    for key in reference.required(type_):
        if value.get(key) is None:
            to.wrong((*path, key), "Required value: it is missing and has no default")


def scalar(value: Any, path: Path, type_: str, wrong: Say) -> None:
    """One of the reference's one-letter types."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    right = {
        "s": isinstance(value, str),
        "i": number and isinstance(value, int) and -(2**31) <= value < 2**31,
        "l": number and isinstance(value, int) and -(2**63) <= value < 2**63,
        "n": number,
        "b": isinstance(value, bool),
        "q": number or (isinstance(value, str) and len(value) < 100 and bool(_QUANTITY.match(value))),
        "x": isinstance(value, str) or (number and isinstance(value, int) and -(2**31) <= value < 2**31),
        "d": isinstance(value, str) and len(value) < 100 and bool(_DURATION.match(value)),
        "t": isinstance(value, str) and is_time(value),
        "o": True,
    }[type_]
    if right:
        return
    if type_ in _BITS and isinstance(value, int) and not isinstance(value, bool):
        wrong(path, too_large(value, _BITS[type_]))
        return
    hint = ""
    if type_ == "s" and isinstance(value, bool):
        hint = " (unquoted true, yes, on, y and their opposites are booleans): write it in quotes"
    elif type_ == "s" and number:
        hint = f': write it in quotes, "{shorten(str(value))}"'
    elif type_ in "iln" and isinstance(value, str) and value.isdecimal():
        hint = ": write it without quotes"
    elif type_ == "q":
        hint = ': write it like 500m, 1.5 or "128Mi"'
    elif type_ == "d":
        hint = ': write it like "30s" or "1m30s"'
    elif type_ == "t":
        hint = TIME_HINT
    wrong(path, f"expected {_WORDS[type_]}, got {describe(value)}{hint}")


def is_time(text: str) -> bool:
    """As RFC 3339 has it."""
    return bool(_TIME.match(text)) and moment(text) is not None


# Where writing a field says the same as leaving it out, nothing is lost by not acting on it.
_DEFAULTS: dict[tuple[str, str], tuple[Any, ...]] = {
    ("PodSpec", "restartPolicy"): ("Always",),
    ("PodSpec", "hostPID"): (False,),
    ("PodSpec", "hostIPC"): (False,),
    ("PodSpec", "hostUsers"): (True,),
    ("PodSpec", "shareProcessNamespace"): (False,),
    ("Container", "terminationMessagePath"): ("/dev/termination-log",),
    ("Container", "terminationMessagePolicy"): ("File",),
    ("Container", "stdinOnce"): (False,),
    ("Container", "tty"): (False,),
    ("DeploymentSpec", "paused"): (False,),
    ("DeploymentSpec", "minReadySeconds"): (0,),
    ("DeploymentSpec", "progressDeadlineSeconds"): (600,),
    ("DeploymentSpec", "revisionHistoryLimit"): (10,),
    ("ReplicaSetSpec", "minReadySeconds"): (0,),
    ("ReplicationControllerSpec", "minReadySeconds"): (0,),
    ("DaemonSetSpec", "minReadySeconds"): (0,),
    ("StatefulSetSpec", "minReadySeconds"): (0,),
    ("StatefulSetSpec", "persistentVolumeClaimRetentionPolicy"): ({"whenDeleted": "Retain", "whenScaled": "Retain"},),
    ("NamespaceSpec", "finalizers"): (["kubernetes"],),
    ("KubeProxyConfiguration", "healthzBindAddress"): ("0.0.0.0:10256", "[::]:10256"),
    ("KubeProxyConfiguration", "metricsBindAddress"): ("127.0.0.1:10249", "[::1]:10249"),
    ("KubeProxyConfiguration", "configSyncPeriod"): ("15m0s", "15m"),
    ("KubeProxyConfiguration", "oomScoreAdj"): (-999,),
    ("ProxyIPTables", "minSyncPeriod"): ("1s",),
    ("ProxyIPTables", "syncPeriod"): ("30s",),
    ("ProxyConntrack", "maxPerCore"): (32768,),
    ("ProxyConntrack", "min"): (131072,),
    ("ProxyConntrack", "tcpEstablishedTimeout"): ("24h0m0s", "24h"),
    ("ProxyConntrack", "tcpCloseWaitTimeout"): ("1h0m0s", "1h"),
}
# Read, kept and answered again, since a real server does, but without an effect.
_HELD = {
    "PodSpec": "securityContext",
    "Container": "terminationMessagePath terminationMessagePolicy",
    "EnvVarSource": "fileKeyRef",
    "Volume": "awsElasticBlockStore azureDisk azureFile cephfs cinder csi ephemeral fc flexVolume flocker"
    " gcePersistentDisk gitRepo glusterfs image iscsi nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO"
    " storageos vsphereVolume",
    "VolumeProjection": "clusterTrustBundle podCertificate",
    "VolumeMount": "recursiveReadOnly mountPropagation",
    "EmptyDirVolumeSource": "medium sizeLimit",
    "Lifecycle": "stopSignal",
    "StatefulSetSpec": "persistentVolumeClaimRetentionPolicy volumeClaimTemplates",
    "RollingUpdateStatefulSetStrategy": "maxUnavailable",
    "NamespaceSpec": "finalizers",
    "KubeProxyConfiguration": "hostnameOverride",
    "ProxyIPTables": "minSyncPeriod syncPeriod",
    "ProxyConntrack": "maxPerCore min tcpCloseWaitTimeout tcpEstablishedTimeout udpStreamTimeout udpTimeout",
}


def held(type_: str, field: str) -> bool:
    """Whether a field that one of our types has is not acted on."""
    return field in _HELD.get(type_, "").split()


def plain(type_: str, field: str) -> bool:
    """Whether a field that is acted on is held as plain values, so that its shape is the reference's."""
    return (type_, field) == ("Container", "resources")


# The server's own, which `kubectl get -o yaml` shows and nobody writes.
_UNAVAILABLE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SERVERS = {
    ("ObjectMeta", "managedFields"),
    ("ObjectMeta", "selfLink"),
    ("ObjectMeta", "deletionGracePeriodSeconds"),
    ("OwnerReference", "blockOwnerDeletion"),
    ("ObjectReference", "apiVersion"),
    ("ObjectReference", "resourceVersion"),
    ("ObjectReference", "fieldPath"),
    ("NodeSpec", "externalID"),
    ("NodeSpec", "providerID"),
}


def silent(type_: str, field: str, value: Any) -> bool:
    """Whether a field that is not acted on need not be named: it says nothing, or what the server says by itself."""
    if nothing(value) or (type_, field) in _SERVERS or type_.endswith(("Status", "Condition")) or field == "status":
        return True
    if (type_, field) == ("PodSpec", "tolerations") and isinstance(value, list):
        return all(isinstance(one, dict) and one.get("key") in _UNAVAILABLE for one in value)
    if type_.startswith("Proxy") or type_ == "KubeProxyConfiguration":
        return empty(value) or value in _DEFAULTS.get((type_, field), ())
    return any(value == default and type(value) is type(default) for default in _DEFAULTS.get((type_, field), ()))


def empty(value: Any) -> bool:
    """Whether kube-proxy would put its default in: zero, or nothing but zeros. kubeadm writes all of them out."""
    if isinstance(value, dict):
        return all(empty(item) for item in value.values())
    return nothing(value) or value in (0, False, "0s", "0")
