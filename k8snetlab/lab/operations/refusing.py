"""What of a request does not go together, by itself or with what is stored: nothing of it is written then."""

from __future__ import annotations

from collections.abc import Container, Iterable
from operator import attrgetter

from k8snetlab.addons import routing, trial
from k8snetlab.api import topology
from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.validate import validate
from k8snetlab.cluster.cluster import BROUGHT
from k8snetlab.controllers.admission import is_another
from k8snetlab.errors import InputError, ManifestError, UnconfirmedError
from k8snetlab.lab import render

PLAN = (
    *("underlay", "podCIDR", "serviceCIDR", "machines", "dns.nodeLocal"),
    *(f"network.{family}{end}" for family in ("subnet", "ipv6Subnet") for end in ("Len", "Min", "Max")),
)
"""Fields of a Lab's spec by which addresses are given, and rules that stand by themselves; machines bring the first
one."""
TRIED = 3
"""Nodes whose daemons are asked beforehand: the others' configurations differ in names and addresses."""
SHOWN = 10
"""So many objects are named before "and more"."""


def check(
    objects: list[Object], snapshot: Snapshot, without: Iterable[Object] = (), right: Container[int] = frozenset()
) -> list[str]:
    """Refuses all of them when one does not go with the others or with what is stored; returns warnings. `right` as in
    `validate`.

    Notices concern a manifest by itself: who has read it has said them."""
    gone = ((type(o), o.key, None) for o in without)
    existing = snapshot.changed(gone, snapshot.revision)
    said: dict[str, list[str]] = {"error": [], "warning": [], "notice": []}
    for problem in validate(objects, existing, right):
        source = problem.object.source
        said[problem.severity].append(f"{source}: {problem}" if source else str(problem))
    if said["error"]:
        raise ManifestError(said["error"], "nothing was changed")
    return said["warning"]


def to_make_anew(objects: Iterable[Object], snapshot: Snapshot) -> list[Object]:
    """What an `up` brought and this one wants otherwise, in what no update can change; and what is wanted and was
    being deleted (a crash may have come in between)."""
    stored = ((new, snapshot.get(type(new), new.name, new.namespace)) for new in objects)
    return [
        old
        for new, old in stored
        if old and (old.metadata.deletionTimestamp or (BROUGHT in old.metadata.annotations and is_another(new, old)))
    ]


def refuse_rebuilding(objects: list[Object], snapshot: Snapshot) -> None:
    """The addresses of a running lab stay; another plan of addresses is another lab."""
    old = next(iter(snapshot.all(Lab).values()), None)
    for new in objects:
        if not isinstance(new, Lab) or old is None:
            continue
        for field in PLAN[1:] if new.spec.machines else PLAN:
            value = attrgetter(field)
            if value(new.spec) != value(old.spec):
                raise InputError(
                    f"{new.source or 'Lab'}: spec.{field} cannot be changed while the lab runs",
                    "`k8snetlab down` first, then `up`",
                )


def refuse_unread(objects: list[Object], snapshot: Snapshot) -> None:
    """What a routing daemon would not take for its configuration is no lab: it is asked before anything is written,
    for the first nodes and all routers. Raises ManifestError with its words. Takes a while: not for the event loop."""
    for lab in objects:
        if not isinstance(lab, Lab) or not lab.spec.daemon:
            continue
        stored = snapshot.get(Lab, lab.name)
        if stored is not None and stored.spec == lab.spec:
            continue
        settled = render.settle([lab])
        nodes = [node.name for node in settled.all(Node).values()][:TRIED]
        for name in (*nodes, *topology.routers(lab.spec.underlay)):
            for program in routing.programs(settled, name):
                if program.plain and (words := trial.refusal(program)):
                    what = f"spec.network: {program.name} of {name} would refuse its configuration: {words}"
                    raise ManifestError([f"{lab.source}: {what}" if lab.source else what], "nothing was changed")


def refuse_emptying(gone: list[Object], brought: int) -> None:
    """Raises UnconfirmedError where `up` would take away more objects than it leaves of those that it once brought."""
    if len(gone) <= brought - len(gone):
        return
    names = [title(obj) for obj in gone]
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    raise UnconfirmedError(
        f"this deletes {len(gone)} of the {brought} objects that `up` brought: {shown}",
        "--yes if that is meant; nothing was changed",
    )


def title(obj: Object) -> str:
    return f"{obj.KIND.lower()}/{obj.name}"
