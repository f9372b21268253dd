"""Devices that `k8snetlab link` has slowed, made lossy or taken down: on purpose, and still the first thing to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from k8snetlab.api import topology
from k8snetlab.api.core import Node
from k8snetlab.api.link_settings import LinkSetting, settings_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.shaping import WHOLE
from k8snetlab.diagnose.finding import Finding

BY = "k8snetlab link"
GRAVE_LOSS = WHOLE // 10
"""With less, three packets in a row are hardly ever lost."""
GRAVE_DELAY = 250_000_000
"""ns: a packet and what it asks on its way then take longer than a look waits."""
_NONE = LinkSetting()
_FOLLOWS = {
    "slow": "what it sends comes later than it would, or no faster than that",
    "lossy": "of what it sends a part is lost: connections slow down or hang, UDP and pings are not answered",
}


def shaped(snapshot: Snapshot) -> Iterator[Finding]:
    """Those that delay, lose or slow down what they send."""
    for netns, (name, settings) in _settings(snapshot).items():
        for device, setting in settings.items():
            shape = setting.shape
            if not shape:
                continue
            yield Finding(
                kind="qdisc",
                fault=shape.fault,
                node=name,
                object=f"{shape.kind} {device}",
                message=f"{name}: {device} sends with {shape.words()}, as `{BY} set` has it",
                consequence=_FOLLOWS[shape.fault],
                show=f"tc -n {netns} -s qdisc show dev {device}",
                mend=f"{BY} clear {name}:{device}",
                owner=BY,
                netns=netns,
                device=device,
            )


def _settings(snapshot: Snapshot) -> dict[str, tuple[str, dict[str, LinkSetting]]]:
    """By namespace: the node or router that it is, and what is set of its devices."""
    lab = snapshot.lab
    known = (*(name for _, name in snapshot.all(Node)), *topology.routers(lab.spec.underlay))
    found = ((name, settings_of(snapshot, name)) for name in known)
    return {names.namespace_of(lab.name, name, lab.spec.machines): (name, settings) for name, settings in found}


def laid(found: Sequence[Finding], snapshot: Snapshot) -> list[Finding]:
    """Findings of what real packets showed: those that got lost where nothing else says why are laid to the first
    device that loses or holds back so much that they must. It may be another node's than the one where they were seen
    last: a neighbour's answer gets lost as well."""
    grave = next((one for one in shaped(snapshot) if _is_grave(one, snapshot)), None)
    lost = [one for one in found if (one.kind, one.fault) == ("path", "lost")]
    if grave is None or not lost:
        return list(found)
    same = [one for one in found if one.identity == grave.identity]
    for one in (*same, *lost):
        texts = [text for text in (one.message, *one.explains) if text not in (grave.message, *grave.explains)]
        broken = tuple(dict.fromkeys((*grave.broken, *one.broken)))
        grave = replace(grave, explains=(*grave.explains, *texts), broken=broken)
    return [*(one for one in found if one not in lost and one not in same), grave]


def _is_grave(finding: Finding, snapshot: Snapshot) -> bool:
    shape = settings_of(snapshot, finding.node)[finding.device].shape
    return shape.loss >= GRAVE_LOSS or shape.delay >= GRAVE_DELAY


def named(found: Iterable[Finding], snapshot: Snapshot) -> Iterator[Finding]:
    """The findings; of a device that is down on purpose with who did that, and what brings it up."""
    known = _settings(snapshot)
    for one in found:
        name, settings = known.get(one.netns) or (one.node, settings_of(snapshot, one.node))
        setting = settings.get(one.object) if (one.kind, one.fault) == ("link", "down") else None
        if one.device and settings.get(one.device, _NONE).down and one.kind != "link":
            one = replace(one, mend="")  # it comes with the device
        if setting is not None and setting.down:
            message = f"{one.message}, as `{BY} down` has it"
            one = replace(one, message=message, mend=f"{BY} up {name}:{one.object}", owner=BY)
        yield one
