"""What `k8snetlab link` set of devices of a node or a router: queueing disciplines, and those that are to be down.

A discipline of the lab's has a handle of its own: one that somebody else put on a device where nothing is set is left
alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from k8snetlab.agent.protocol import Manager
from k8snetlab.api.link_settings import LinkSetting, kept_in, link_settings, settings_of, unread
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.holds import Hold
from k8snetlab.errors import K8sNetLabError, NotFoundError
from k8snetlab.kernel import shaping


class LinkSettings(Manager):
    """Of one node or router. It reads the kernel where something is set, or was, and once in its life."""

    _set: Mapping[str, LinkSetting] = {}
    _namespace = ""
    _looked = False
    """Disciplines of an agent before it have been looked for."""

    def settled(self, snapshot: Snapshot, namespace: str) -> None:
        kept = kept_in(snapshot, self.node)
        wanted = link_settings(*kept) if kept else {}
        self.warnings = tuple(unread(*kept)) if kept else ()
        self.warnings += tuple(f"{device} {_told(setting)} (k8snetlab link)" for device, setting in wanted.items())
        if self._looked and not wanted and not self._set:
            return
        self._set, self._namespace = wanted, namespace
        failure: K8sNetLabError | None = None
        there = shaping.held(namespace)
        for device, one in there.items():
            if one.ours and not self._shaped(device):
                shaping.remove(namespace, device)
        for device in wanted:
            try:
                self._bring(namespace, device, there.get(device))
            except NotFoundError:  # it comes, or has gone, with its pod
                continue
            except K8sNetLabError as error:
                failure = failure or error
        self._looked = True
        if failure:
            raise failure

    def noticed_change(self) -> bool:
        """Whether somebody has changed one."""
        return bool(self._set) and bool(self.drift())

    def drift(self) -> list[str]:
        if not self._set:
            return []
        try:
            there = shaping.held(self._namespace)
        except NotFoundError:
            return []
        return [
            f"tc -n {self._namespace} qdisc replace dev {device} root {setting.shape.kind} {setting.shape.words()}"
            for device, setting in self._set.items()
            if setting.shape and shaping.exists(self._namespace, device) and not _has(there.get(device), setting)
        ]

    def _bring(self, namespace: str, device: str, held: shaping.Held | None) -> None:
        setting = self._set[device]
        if setting.shape and not _has(held, setting):
            shaping.put(namespace, device, setting.shape)
        if setting.down:
            shaping.lower(namespace, device)

    def _shaped(self, device: str) -> bool:
        return device in self._set and bool(self._set[device].shape)


def holds(snapshot: Snapshot, node: str, namespace: str) -> frozenset[Hold]:
    """The devices of a node or a router that its agent is not to bring up."""
    settings = settings_of(snapshot, node)
    return frozenset(Hold(namespace, "link", device) for device, setting in settings.items() if setting.down)


def _has(held: shaping.Held | None, setting: LinkSetting) -> bool:
    return held is not None and held.ours and held.kind == setting.shape.kind and held.shape == setting.shape


def _told(setting: LinkSetting) -> str:
    sends = f"sends with {setting.shape.words()}" if setting.shape else ""
    return " and ".join(filter(None, ("is down" if setting.down else "", sends)))
