"""ControllerRevisions: what the templates of a DaemonSet or a StatefulSet were, so that a rollout can be undone.

Source: Kubernetes pkg/controller/history, pkg/controller/daemon/update.go, pkg/controller/statefulset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import PodTemplateSpec
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.selection import by_owner
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workloads import REVISION_HASH, ControllerRevision, DaemonSet, StatefulSet
from k8snetlab.controllers.changes import Answer, put
from k8snetlab.controllers.identity import owned_by, template_hash

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
Owner = DaemonSet | StatefulSet


class History(msgspec.Struct, frozen=True):
    """Of one object: the revision of its template as it is now, and all, the newest last. `answers` make it so."""

    now: ControllerRevision
    all: tuple[ControllerRevision, ...]
    answers: tuple[Answer, ...]

    def named(self, name: str) -> ControllerRevision | None:
        return next((one for one in self.all if hash_of(one) == name or one.name == name), None)


def history(owner: Owner, snapshot: Snapshot) -> History:
    owned = snapshot.select(ControllerRevision, by_owner, (owner.KIND, *owner.key)).values()
    known = sorted(owned, key=lambda one: (one.revision, one.name))
    newest = max((one.revision for one in known), default=0)
    data = data_of(owner.spec.template)
    same = next((one for one in reversed(known) if one.data == data), None)
    if same is None:
        now = _made(owner, data, newest + 1)
        return History(now, (*known, now), (put(now),))
    if same.revision == newest:
        return History(same, tuple(known), ())
    now = replace(same, revision=newest + 1)
    return History(now, (*(one for one in known if one is not same), now), (put(now),))


def forgotten(history: History, limit: int, used: Collection[str]) -> Iterator[Answer]:
    """The oldest revisions that no pod is of, beyond the limit. `used` are hashes."""
    spare = [one for one in history.all if one.name != history.now.name and hash_of(one) not in used]
    for one in spare[: max(0, len(spare) - limit)]:
        yield type(one), one.key, None


def hash_of(revision: ControllerRevision) -> str:
    return revision.metadata.labels.get(REVISION_HASH, "")


def data_of(template: PodTemplateSpec) -> dict[str, Any]:
    """The patch that gives an object this template back."""
    # Through JSON, as the store has it: what is compared is then alike.
    value = msgspec.json.decode(msgspec.json.encode(template))
    return {"spec": {"template": {"$patch": "replace", **value}}}


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """Raises msgspec.ValidationError where somebody has written what is no template."""
    spec = revision.data.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    return msgspec.convert(template, PodTemplateSpec)


def _made(owner: Owner, data: dict[str, Any], number: int) -> ControllerRevision:
    hash_ = template_hash(owner.spec.template)
    annotations = {key: text for key, text in owner.metadata.annotations.items() if key != LAST_APPLIED}
    return ControllerRevision(
        metadata=ObjectMeta(
            name=f"{owner.name}-{hash_}",
            namespace=owner.namespace,
            labels={**owner.spec.template.metadata.labels, REVISION_HASH: hash_},
            annotations={key: text for key, text in annotations.items() if not key.startswith("k8snetlab/")},
            ownerReferences=(owned_by(owner),),
        ),
        data=data,
        revision=number,
    )
