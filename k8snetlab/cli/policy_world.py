"""The objects that `policy` judges, from manifests or of a running lab, and where their lines are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from k8snetlab.api import calico_policy
from k8snetlab.api.addressing import address, api_address
from k8snetlab.api.core import Condition, Pod, PodIP, PodStatus
from k8snetlab.api.snapshot import Change, Key, Snapshot
from k8snetlab.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k8snetlab.api.load import Loaded, Written
    from k8snetlab.client.client import Client

KINDS = (
    *("lab", "kubeproxyconfiguration", "node", "namespace", "pod", "service", "endpointslice"),
    *("serviceaccount", "networkpolicy", "clusternetworkpolicy"),
)


def of_files(loaded: Loaded) -> Snapshot:
    """What the controllers make of manifests, every pod that is written with a status.podIP keeping that address."""
    from k8snetlab.lab.render import settle

    written = {key: one for (kind, key), one in loaded.written.items() if kind == Pod.KIND}
    found = {key: status for key, one in written.items() if (status := _status(one)) is not None}
    snapshot = settle(loaded.objects)
    changes: list[Change] = []
    for key, status in found.items():
        pod = snapshot.get(Pod, key[1], key[0])
        if pod is not None:
            changes.append((Pod, key, msgspec.structs.replace(pod, status=status)))
    changes += _moved(snapshot, found)
    return _served(snapshot.changed(changes, snapshot.revision + 1), snapshot)


def _moved(snapshot: Snapshot, written: Mapping[Key, PodStatus]) -> Iterator[Change]:
    """Pods that were given an address which another is written with: the next one that nobody has."""
    taken = {one.ip for status in written.values() for one in status.podIPs}
    used = taken | {ip for pod in snapshot.all(Pod).values() for ip in pod.ips}
    for key, pod in snapshot.all(Pod).items():
        if key in written or pod.spec.hostNetwork or not taken.intersection(pod.ips):
            continue
        ips = [_free(ip, used) if ip in taken else ip for ip in pod.ips]
        status = msgspec.structs.replace(pod.status, podIP=ips[0], podIPs=tuple(map(PodIP, ips)))
        yield Pod, key, msgspec.structs.replace(pod, status=status)


def _free(text: str, used: set[str]) -> str:
    """The first address after one that nobody has; it is used then."""
    while text in used:
        text = str(address(text) + 1)
    used.add(text)
    return text


def _served(now: Snapshot, before: Snapshot) -> Snapshot:
    """With the endpoints that Services have by the addresses that pods have now."""
    from k8snetlab.controllers import endpoints

    changes = [one for one in endpoints.reconcile(now, before) if isinstance(one, tuple)]
    return now.changed(changes, now.revision + 1)


def with_dns(snapshot: Snapshot) -> Snapshot:
    """With the DNS pod that every cluster has, where manifests leave it to the cluster: policies name it."""
    from k8snetlab.dns import addon

    there = (pod for pod in snapshot.all(Pod).values() if pod.namespace == addon.NAMESPACE)
    if any(addon.LABELS.items() <= pod.metadata.labels.items() for pod in there):
        return snapshot
    pod = addon.pod(snapshot.lab)
    return snapshot.changed([(Pod, pod.key, pod)], snapshot.revision + 1)


def of_lab(client: Client) -> Snapshot:
    """The objects of a lab that runs."""
    from k8snetlab.api.scheme import BY_NAME, RESOURCES

    kinds = [BY_NAME[kind] for kind in KINDS]
    kinds += [one for one in RESOURCES if one.version == calico_policy.VERSION]
    return Snapshot.of(msgspec.convert(obj, one.type) for one in kinds for obj in client.list(one))


def _status(written: Written) -> PodStatus | None:
    """The addresses (and end) that a manifest says a pod has; None where it says none. Raises ManifestError."""
    status = written.value.get("status")
    if not isinstance(status, dict):
        return None
    phase, first, several = status.get("phase"), status.get("podIP"), status.get("podIPs")
    ips = [_address(written, ("status", "podIP"), first)] if first else []
    for number, one in enumerate(several if isinstance(several, list) else ()):
        ip = _address(written, ("status", "podIPs", number, "ip"), one.get("ip") if isinstance(one, dict) else one)
        if ip not in ips:
            ips.append(ip)
    ended = phase if phase in ("Succeeded", "Failed") else "Running"
    if not ips and ended == "Running":
        return None
    ready = (Condition(type="Ready", status="True"),) if ended == "Running" else ()
    return PodStatus(phase=ended, podIP=ips[0] if ips else "", podIPs=tuple(map(PodIP, ips)), conditions=ready)


def _address(written: Written, path: tuple[str | int, ...], value: Any) -> str:
    from k8snetlab.api.words import describe, show

    try:
        if not isinstance(value, str):
            raise ValueError(f"expected an address as a string, got {describe(value)}")
        return str(api_address(value))
    except ValueError as error:
        problem = f"{written.line(path)}: {show((*written.at, *path))}: {error}"
        raise ManifestError([problem], "1 problem; nothing was changed") from None
