"""All controllers in one step: from a snapshot to the writes that bring it nearer to what its objects ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import Pod
from k8snetlab.api.meta import FOREGROUND, Object
from k8snetlab.api.snapshot import Change, Key, Snapshot
from k8snetlab.controllers import (
    blocks,
    builtin,
    components,
    cordons,
    daemon_sets,
    definitions,
    deployments,
    endpoints,
    finished,
    garbage,
    gateways,
    identity,
    ipam,
    jobs,
    leaders,
    load_balancers,
    namespaces,
    node_health,
    node_leases,
    nodes,
    priorities,
    rejection,
    replica_sets,
    roles,
    scheduler,
    service_cidrs,
    stateful_sets,
    taints,
)
from k8snetlab.controllers.changes import (
    DELETED,
    NOTHING,
    Answer,
    Context,
    Due,
    Failed,
    Record,
    is_orphaned,
)
from k8snetlab.controllers.correlation import Note

Run = Callable[[Snapshot, Snapshot | None, Context], Iterable[Answer]]

CONTROLLERS: dict[str, Run] = {
    "namespace-controller": lambda now, before, _: namespaces.reconcile(now, before),
    "customresourcedefinition-controller": lambda now, before, _: definitions.reconcile(now, before),
    "node-controller": nodes.reconcile,
    "kubernetes-service": lambda now, before, _: builtin.service(now, before),
    "serviceaccount-controller": lambda now, before, _: builtin.accounts(now, before),
    "rbac-bootstrap": lambda now, before, _: roles.bootstrap(now, before),
    "clusterrole-aggregation-controller": lambda now, before, _: roles.aggregate(now, before),
    "root-ca-certificate-publisher": lambda now, before, _: builtin.authorities(now, before),
    "garbage-collector-controller": lambda now, before, _: garbage.reconcile(now, before),
    load_balancers.CONTROLLER: lambda now, before, _: load_balancers.reconcile(now, before),
    gateways.CONTROLLER: lambda now, before, _: gateways.reconcile(now, before),
    "service-cidr-controller": lambda now, before, _: service_cidrs.reconcile(now, before),
    "priority-classes": lambda now, before, _: priorities.reconcile(now, before),
    "node-leases": lambda now, before, _: node_leases.reconcile(now, before),
    "leader-election": leaders.reconcile,
    "node-lifecycle-controller": node_health.reconcile,
    "node-cordon-controller": cordons.reconcile,
    "taint-eviction-controller": taints.reconcile,
    "deployment-controller": deployments.reconcile,
    "replicaset-controller": replica_sets.reconcile,
    "daemonset-controller": daemon_sets.reconcile,
    "statefulset-controller": stateful_sets.reconcile,
    "job-controller": jobs.reconcile,
    "ttl-after-finished-controller": finished.reconcile,
    "default-scheduler": lambda now, before, _: scheduler.reconcile(now, before),
    "kubelet": lambda now, before, _: rejection.reconcile(now, before),
    "host-local": lambda now, before, _: ipam.reconcile(now, before),
    "calico-ipam": lambda now, before, _: blocks.reconcile(now, before),
    "endpoint-slice-controller": endpoints.reconcile,
}
"""By the name that their Events have as source, in the order in which they depend on each other."""
ROUNDS = 20
"""Controllers answer each other in a handful of rounds; what is left then waits for the next snapshot."""
ENOUGH = 500
"""Writes after which no other round is begun: what follows from them is worked out when they are stored."""


class Write(msgspec.Struct, frozen=True):
    """What to do with an object. `object` is complete but for what the server gives: creationTimestamp,
    deletionTimestamp, resourceVersion and generation. For "update" and "delete" its resourceVersion is that of the
    snapshot, for compare and swap. `force`: a pod is to be removed at once, as its node is no more; `foreground`: an
    object after what it owns; `released` are finalizers that go with a deletion. `by` names the controller, `notes`
    become true with the write.
    """

    action: Literal["create", "update", "delete"]
    object: Object
    force: bool = False
    foreground: bool = False
    released: tuple[str, ...] = ()
    by: str = ""
    notes: tuple[Note, ...] = ()


class Bug(msgspec.Struct, frozen=True):
    """A controller that failed at an object (None: it is not known at which)."""

    by: str
    object: Object | None
    error: Exception


class Outcome(msgspec.Struct, frozen=True):
    writes: tuple[Write, ...]
    bugs: tuple[Bug, ...]
    dues: dict[tuple[type[Object], Key], float] = {}
    """When an object is to be looked at again, in seconds since 1970."""


def reconcile(snapshot: Snapshot, previous: Snapshot | None = None, context: Context = NOTHING) -> list[Write]:
    """The writes of `work_out`; raises what a controller failed with."""
    outcome = work_out(snapshot, previous, context)
    for bug in outcome.bugs:
        raise bug.error
    return list(outcome.writes)


def work_out(snapshot: Snapshot, previous: Snapshot | None, context: Context) -> Outcome:
    """The writes of all controllers, one for each object, in the order in which they depend on each other.

    `previous` is the snapshot of the last call: only what changed since then is looked at (everything for None). A
    write that loses a race needs no retry: whoever won it changed the object, so the next call looks at it again.
    A controller that fails at an object goes on with the others, and the others go on without it.
    """
    now, before, context = snapshot, previous, replace(context, stored=snapshot)
    touched: dict[tuple[type[Object], Key], str] = {}
    notes: dict[tuple[type[Object], Key], dict[str, Note]] = {}
    bugs: dict[tuple[str, type[Object] | None, Key], Bug] = {}
    dues: dict[tuple[type[Object], Key], float] = {}
    own = {name: run for name, run in CONTROLLERS.items() if components.runs(context.component, name)}
    running = {name: run for name, run in own.items() if name not in context.stuck}
    for _ in range(ROUNDS):
        start = now
        for name, run in running.items():
            changes: list[Change] = []
            told: dict[tuple[type[Object], Key], None] = {}
            for answer in _answers(run, now, before, context):
                match answer:
                    case Record():
                        notes.setdefault(answer.of, {})[answer.note.component] = answer.note
                        told[answer.of] = None
                    case Due(of=of, at=at):
                        dues[of] = min(at, dues.get(of, at))
                    case Failed(object=obj, error=error):
                        bugs[name, type(obj) if obj else None, obj.key if obj else ("", "")] = Bug(name, obj, error)
                    case _:
                        changes.append(_identified(answer, now))
            if changes:
                for type_, key, _obj in changes:
                    touched.setdefault((type_, key), name)
                _move_told(touched, told, snapshot)
                now = now.changed(changes, now.revision)
        if now is start or len(touched) >= ENOUGH:
            break
        before = start
    writes = tuple(
        replace(write, by=name, notes=tuple(notes.get((type_, key), {}).values()))
        for (type_, key), name in touched.items()
        for write in _write(snapshot, now, type_, key)
    )
    return Outcome(writes, tuple(bugs.values()), dues)


def _move_told(
    touched: dict[tuple[type[Object], Key], str], told: Iterable[tuple[type[Object], Key]], snapshot: Snapshot
) -> None:
    """What is told of objects is told in the order in which it was done: a change that has a note comes last so far.
    One that is still to be made stays where it is, as others depend on it."""
    for of in told:
        if of in touched and of[1] in snapshot.all(of[0]):
            touched[of] = touched.pop(of)


def _answers(run: Run, now: Snapshot, before: Snapshot | None, context: Context) -> Iterable[Answer]:
    """What the controller answers until it fails."""
    try:
        yield from run(now, before, context)
    except Exception as error:
        yield Failed(None, error)


def _identified(change: Change, snapshot: Snapshot) -> Change:
    """A new object gets its uid at once, because what it owns refers to it."""
    type_, key, obj = change
    if obj is None or obj.metadata.uid or key in snapshot.all(type_):
        return change
    metadata = replace(obj.metadata, uid=identity.uid(obj, snapshot.revision), generation=int(obj.counted))
    return type_, key, replace(obj, metadata=metadata)


def _write(snapshot: Snapshot, now: Snapshot, type_: type[Object], key: Key) -> Iterable[Write]:
    old, new = snapshot.all(type_).get(key), now.all(type_).get(key)
    if old is None:
        # What was made and given up again on the way was never there.
        return (Write("create", new),) if new and new.metadata.deletionTimestamp != DELETED else ()
    if new is None:
        waited = (FOREGROUND,) if FOREGROUND in old.metadata.finalizers else ()  # and waits no more
        return (Write("delete", old, force=True, released=waited),)
    if new.metadata.deletionTimestamp == DELETED:
        foreground = FOREGROUND in new.metadata.finalizers and FOREGROUND not in old.metadata.finalizers
        released = tuple(name for name in old.metadata.finalizers if name not in new.metadata.finalizers)
        force = isinstance(old, Pod) and is_orphaned(old, now)
        return (Write("delete", old, force=force, foreground=foreground, released=released),)
    return (Write("update", new),) if new != old else ()
