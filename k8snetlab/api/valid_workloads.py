"""What can be wrong with DaemonSets, StatefulSets, ReplicationControllers, Jobs and ControllerRevisions.

Source: Kubernetes pkg/apis/{apps,batch,core}/validation, whose words these are.
"""

from __future__ import annotations

from k8snetlab.api.meta import Labels, LabelSelector, Object
from k8snetlab.api.problems import Report, dns_label, labels
from k8snetlab.api.rules import invalid, label_selector, name_problem, not_negative, required
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.valid_pod import percentage, pod_spec
from k8snetlab.api.words import Path, shorten, unsupported
from k8snetlab.api.workloads import ControllerRevision, DaemonSet, Job, ReplicationController, StatefulSet

MAX_INDEXED = 100_000
_MISMATCH = "`selector` does not match template `labels`"


def daemon_set(report: Report, obj: DaemonSet, world: Snapshot) -> None:
    _selected(report, obj, obj.spec.selector)
    _template(report, obj, world, ("Always",))
    _numbers(report, obj, "minReadySeconds", "revisionHistoryLimit")
    strategy, path = obj.spec.updateStrategy, ("spec", "updateStrategy", "rollingUpdate")
    roll = strategy.rollingUpdate
    if strategy.type == "RollingUpdate" and roll is not None:
        counts = []
        for field in ("maxUnavailable", "maxSurge"):
            counts.append(percentage(report, obj, (*path, field), getattr(roll, field)))
        if counts == [0, 0]:
            why = "cannot be 0 when `maxSurge` is 0"
            report.error(obj, (*path, "maxUnavailable"), invalid(roll.maxUnavailable, why))
        elif all(counts):
            why = "may not be set when maxUnavailable is non-zero"
            report.error(obj, (*path, "maxSurge"), invalid(roll.maxSurge, why))


def stateful_set(report: Report, obj: StatefulSet, world: Snapshot) -> None:
    spec = obj.spec
    _selected(report, obj, spec.selector)
    _template(report, obj, world, ("Always",))
    _numbers(report, obj, "minReadySeconds", "revisionHistoryLimit")
    if spec.serviceName:
        name_problem(report, obj, ("spec", "serviceName"), spec.serviceName, dns_label)
    if spec.updateStrategy.rollingUpdate is not None:
        path: Path = ("spec", "updateStrategy", "rollingUpdate")
        if spec.updateStrategy.type == "OnDelete":
            why = "only allowed for updateStrategy 'RollingUpdate'"
            report.error(obj, path, f"Invalid value: {why}")
        else:
            not_negative(report, obj, (*path, "partition"), spec.updateStrategy.rollingUpdate.partition)
    if spec.ordinals is not None:
        not_negative(report, obj, ("spec", "ordinals", "start"), spec.ordinals.start)


def replication_controller(report: Report, obj: ReplicationController, world: Snapshot) -> None:
    spec = obj.spec
    if not spec.selector:
        report.error(obj, ("spec", "selector"), required())
    labels(report, obj, ("spec", "selector"), spec.selector)
    have = spec.template.metadata.labels
    if spec.selector and any(have.get(key) != value for key, value in spec.selector.items()):
        report.error(obj, ("spec", "template", "metadata", "labels"), f"Invalid value: {_labels(have)}: {_MISMATCH}")
    _template(report, obj, world, ("Always",))
    _numbers(report, obj, "minReadySeconds")


def job(report: Report, obj: Job, world: Snapshot) -> None:
    spec = obj.spec
    labels(report, obj, ("spec", "template", "metadata", "labels"), spec.template.metadata.labels)
    pod_spec(report, obj, ("spec", "template", "spec"), spec.template.spec, world)
    _numbers(report, obj, "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
    policy: Path = ("spec", "template", "spec", "restartPolicy")
    if spec.template.spec.restartPolicy == "Always":
        report.error(obj, policy, required('valid values: "OnFailure", "Never"'))
    if spec.manualSelector and spec.selector is None:
        report.error(obj, ("spec", "selector"), required())
    if spec.selector is not None:
        label_selector(report, obj, ("spec", "selector"), spec.selector)
        if not spec.selector.matches(spec.template.metadata.labels):
            said = _labels(spec.template.metadata.labels)
            report.error(obj, ("spec", "template", "metadata", "labels"), f"Invalid value: {said}: {_MISMATCH}")
    if spec.completionMode == "Indexed":
        if spec.completions is None:
            why = "when completion mode is Indexed"
            report.error(obj, ("spec", "completions"), required(why))
        elif spec.completions > MAX_INDEXED or (spec.parallelism or 0) > MAX_INDEXED:
            why = f"must be less than or equal to {MAX_INDEXED} when completion mode is Indexed"
            report.error(obj, ("spec", "completions"), invalid(spec.completions, why))


def controller_revision(report: Report, obj: ControllerRevision) -> None:
    if not obj.data:
        report.error(obj, ("data",), required("data is mandatory"))
    not_negative(report, obj, ("revision",), obj.revision)


def _selected(report: Report, obj: DaemonSet | StatefulSet, selector: LabelSelector) -> None:
    have = obj.spec.template.metadata.labels
    labels(report, obj, ("spec", "template", "metadata", "labels"), have)
    if not selector.matchLabels and not selector.matchExpressions:
        why = f"empty selector is invalid for {'daemonset' if isinstance(obj, DaemonSet) else 'statefulset'}"
        report.error(obj, ("spec", "selector"), f"Invalid value: {{}}: {why}")
        return
    label_selector(report, obj, ("spec", "selector"), selector)
    if not selector.matches(have):
        report.error(obj, ("spec", "template", "metadata", "labels"), f"Invalid value: {_labels(have)}: {_MISMATCH}")


def _template(
    report: Report,
    obj: DaemonSet | StatefulSet | ReplicationController,
    world: Snapshot,
    policies: tuple[str, ...],
) -> None:
    spec = obj.spec.template.spec
    pod_spec(report, obj, ("spec", "template", "spec"), spec, world)
    if spec.restartPolicy not in policies:
        report.error(obj, ("spec", "template", "spec", "restartPolicy"), unsupported(spec.restartPolicy, policies))


def _numbers(report: Report, obj: Object, *fields: str) -> None:
    for field in fields:
        not_negative(report, obj, ("spec", field), getattr(obj.spec, field))  # type: ignore[attr-defined]


def _labels(have: Labels) -> str:
    return "{" + shorten(",".join(f'"{key}":"{value}"' for key, value in have.items())) + "}"
