"""DaemonSets, StatefulSets, ReplicationControllers and Jobs, step by step, without a kernel."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import ContainerState, ContainerStateTerminated, ContainerStatus, Pod, Taint
from k8snetlab.api.workloads import (
    COMPLETION_INDEX,
    ControllerRevision,
    DaemonSet,
    Job,
    ReplicationController,
    StatefulSet,
)
from k8snetlab.controllers import Context, job_tracking, work_out
from k8snetlab.controllers.job_tracking import TRACKING, completed, ranges
from k8snetlab.errors import ForbiddenError
from k8snetlab.testing.fake_cluster import FakeCluster

LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nmetadata: {name: l}\nspec: {nodes: %d}\n"
BODY = """---
apiVersion: %s
kind: %s
metadata: {name: %s}
spec:
  %s
  template:
    metadata: {labels: {app: %s}}
    spec: {%s containers: [{name: c, image: %s}]}
"""


def workload(kind: str, more: str = "", name: str = "w", image: str = "one", pod: str = "") -> str:
    version = {"Job": "batch/v1", "ReplicationController": "v1"}.get(kind, "apps/v1")
    selector = f"selector: {{matchLabels: {{app: {name}}}}}"
    if kind in ("Job", "ReplicationController"):
        selector = ""
    if kind == "Job":
        pod = pod or "restartPolicy: Never,"
    lines = "\n  ".join(line for line in (selector, *more.splitlines()) if line)
    nothing = "completions: 1" if kind == "Job" else "minReadySeconds: 0"
    return BODY % (version, kind, name, lines or nothing, name, pod, image)


def world(text: str, nodes: int = 2) -> FakeCluster:
    return FakeCluster("---\n" + LAB % nodes + text)


def only(cluster: FakeCluster, type_: Any) -> Any:
    (found,) = cluster.snapshot.all(type_).values()
    return found


def names(cluster: FakeCluster) -> list[str]:
    return sorted(pod.name for pod in cluster.pods())


def images(cluster: FakeCluster) -> list[str]:
    return [pod.spec.containers[0].image for pod in sorted(cluster.pods(), key=lambda pod: pod.name)]


def ended(cluster: FakeCluster, phase: str, *names: str) -> None:
    """The kubelet says that pods have run to their end; all that run where none is named."""
    for pod in cluster.pods():
        if pod.ips and not pod.ended and (not names or pod.name in names):
            at = datetime.fromtimestamp(cluster.time, UTC).isoformat()
            state = ContainerState(terminated=ContainerStateTerminated(finishedAt=at))
            containers = (ContainerStatus(name="c", state=state),)
            status = replace(pod.status, phase=phase, conditions=(), containerStatuses=containers)
            cluster.store(replace(pod, status=status))


# --- DaemonSet ---


def test_a_daemon_set_has_a_pod_on_each_node_and_counts_them() -> None:
    cluster = world(workload("DaemonSet"), 3).run()
    assert sorted(pod.spec.nodeName for pod in cluster.pods()) == ["node1", "node2", "node3"]
    status = only(cluster, DaemonSet).status
    assert (status.desiredNumberScheduled, status.currentNumberScheduled, status.numberReady) == (3, 3, 3)
    assert (status.updatedNumberScheduled, status.numberAvailable, status.numberUnavailable) == (3, 3, 0)
    assert only(cluster, ControllerRevision).revision == 1


def test_a_daemon_sets_pods_follow_labels_taints_and_nodes() -> None:
    cluster = world(workload("DaemonSet", pod="nodeSelector: {disk: ssd},"), 2).run()
    assert cluster.pods() == [] and only(cluster, DaemonSet).status.desiredNumberScheduled == 0
    node = cluster.snapshot.node("node2")
    cluster.store(replace(node, metadata=replace(node.metadata, labels={**node.metadata.labels, "disk": "ssd"})))
    assert [pod.spec.nodeName for pod in cluster.run().pods()] == ["node2"]
    node = cluster.snapshot.node("node2")
    cluster.store(replace(node, spec=replace(node.spec, taints=(Taint(key="full", effect="NoExecute"),))))
    assert cluster.run().pods() == []
    cluster.store(replace(cluster.snapshot.node("node2"), spec=replace(node.spec, unschedulable=True)))
    assert [pod.spec.nodeName for pod in cluster.run().pods()] == ["node2"], "a cordon keeps no DaemonSet's pod away"


def test_a_daemon_set_is_updated_a_pod_at_a_time() -> None:
    cluster = world(workload("DaemonSet"), 3).run()
    cluster.apply(workload("DaemonSet", image="two"))
    most = 0
    for _ in range(20):
        cluster.settle()
        most = max(most, sum(bool(pod.metadata.deletionTimestamp) or not pod.ready for pod in cluster.pods()))
        cluster.kubelet()
    assert images(cluster.run()) == ["two"] * 3 and most == 1
    assert only(cluster, DaemonSet).status.updatedNumberScheduled == 3
    assert sorted(one.revision for one in cluster.snapshot.all(ControllerRevision).values()) == [1, 2]


def test_a_daemon_set_that_surges_has_the_new_pod_before_the_old_one_goes() -> None:
    more = "updateStrategy: {rollingUpdate: {maxSurge: %s, maxUnavailable: 0}}"
    for limit, most in (("1", 4), ("34%", 5), ("100%", 6)):
        cluster = world(workload("DaemonSet", more % limit), 3).run()
        cluster.apply(workload("DaemonSet", more % limit, image="two"))
        counts, fewest = [], 3
        for _ in range(20):
            cluster.settle()
            counts.append(sum(not pod.metadata.deletionTimestamp for pod in cluster.pods()))
            serving = {p.spec.nodeName for p in cluster.pods() if p.ready and not p.metadata.deletionTimestamp}
            fewest = min(fewest, len(serving))
            cluster.kubelet()
        assert images(cluster.run()) == ["two"] * 3 and max(counts) == most and fewest == 3, limit
        status = only(cluster, DaemonSet).status
        assert (status.updatedNumberScheduled, status.numberAvailable, status.numberReady) == (3, 3, 3)


def test_a_surge_waits_for_new_pods_and_passes_old_ones_that_do_not_serve() -> None:
    more = "updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
    cluster = world(workload("DaemonSet", more), 3).run(ready=lambda pod: pod.spec.nodeName != "node2")
    cluster.apply(workload("DaemonSet", more, image="two"))
    cluster.run(ready=lambda pod: pod.spec.containers[0].image == "one" and pod.spec.nodeName != "node2")
    on = sorted((pod.spec.nodeName, pod.spec.containers[0].image) for pod in cluster.pods())
    assert on == [("node1", "one"), ("node1", "two"), ("node2", "two"), ("node3", "one")]


def test_a_daemon_set_that_updates_on_deletion_waits_for_it() -> None:
    more = "updateStrategy: {type: OnDelete}"
    cluster = world(workload("DaemonSet", more)).run().apply(workload("DaemonSet", more, image="two")).run()
    assert images(cluster) == ["one", "one"]
    cluster.delete(cluster.pods()[0])
    assert sorted(images(cluster.run())) == ["one", "two"]


def test_an_older_template_again_is_its_older_revision_again() -> None:
    cluster = world(workload("DaemonSet")).run().apply(workload("DaemonSet", image="two")).run()
    first = {one.name: one.revision for one in cluster.snapshot.all(ControllerRevision).values()}
    cluster.apply(workload("DaemonSet")).run()
    again = {one.name: one.revision for one in cluster.snapshot.all(ControllerRevision).values()}
    assert sorted(first.values()) == [1, 2] and sorted(again.values()) == [2, 3] and first.keys() == again.keys()


# --- StatefulSet ---


def test_a_stateful_sets_pods_come_one_after_the_other_with_names_that_stay() -> None:
    cluster = world(workload("StatefulSet", "replicas: 3\nserviceName: db"))
    seen = []
    for _ in range(6):
        seen.append(names(cluster.settle()))
        cluster.kubelet()
    assert seen[:3] == [["w-0"], ["w-0", "w-1"], ["w-0", "w-1", "w-2"]]
    pod = cluster.run().pods()[1]
    assert (pod.spec.hostname, pod.spec.subdomain) == ("w-1", "db")
    assert pod.metadata.labels["statefulset.kubernetes.io/pod-name"] == "w-1"
    assert pod.metadata.labels["apps.kubernetes.io/pod-index"] == "1"
    status = only(cluster, StatefulSet).status
    assert (status.replicas, status.readyReplicas, status.currentReplicas, status.updatedReplicas) == (3, 3, 3, 3)
    assert status.currentRevision == status.updateRevision == only(cluster, ControllerRevision).name


def test_one_that_is_not_ready_holds_up_the_next_unless_all_are_made_at_once() -> None:
    broken = world(workload("StatefulSet", "replicas: 3")).run(ready=lambda pod: False)
    assert names(broken) == ["w-0"]
    more = "replicas: 3\npodManagementPolicy: Parallel"
    assert names(world(workload("StatefulSet", more)).run(ready=lambda pod: False)) == ["w-0", "w-1", "w-2"]


def test_a_stateful_set_shrinks_from_its_end_and_makes_a_lost_pod_again() -> None:
    cluster = world(workload("StatefulSet", "replicas: 3")).run()
    cluster.delete(cluster.pods("w-1")[0])
    assert names(cluster.run()) == ["w-0", "w-1", "w-2"]
    cluster.apply(workload("StatefulSet", "replicas: 1"))
    cluster.settle()
    assert [pod.name for pod in cluster.pods() if pod.metadata.deletionTimestamp] == ["w-2"]
    assert names(cluster.run()) == ["w-0"]
    assert names(world(workload("StatefulSet", "replicas: 2\nordinals: {start: 5}")).run()) == ["w-5", "w-6"]


def test_a_stateful_set_is_updated_from_its_end_down_to_the_partition() -> None:
    cluster = world(workload("StatefulSet", "replicas: 3")).run()
    partitioned = "replicas: 3\nupdateStrategy: {rollingUpdate: {partition: 2}}"
    cluster.apply(workload("StatefulSet", partitioned, image="two")).run()
    assert images(cluster) == ["one", "one", "two"]
    status = only(cluster, StatefulSet).status
    assert status.currentRevision != status.updateRevision and status.updatedReplicas == 1
    cluster.delete(cluster.pods("w-0")[0])
    assert images(cluster.run()) == ["one", "one", "two"], "below the partition a pod is made as it was"
    cluster.apply(workload("StatefulSet", "replicas: 3", image="two"))
    cluster.settle()
    assert [pod.name for pod in cluster.pods() if pod.metadata.deletionTimestamp] == ["w-1"]
    assert images(cluster.run()) == ["two"] * 3
    status = only(cluster, StatefulSet).status
    assert status.currentRevision == status.updateRevision


# --- ReplicationController ---


def test_a_replication_controller_is_a_replica_set_of_old() -> None:
    cluster = world(workload("ReplicationController", "replicas: 3")).run()
    found = only(cluster, ReplicationController)
    assert len(cluster.pods("w-")) == 3 and found.spec.selector == {"app": "w"}
    assert (found.status.replicas, found.status.readyReplicas, found.status.fullyLabeledReplicas) == (3, 3, 3)
    cluster.apply(workload("ReplicationController", "replicas: 1"))
    assert len(cluster.run().pods()) == 1


# --- Job ---


def said(job: Job) -> dict[str, str]:
    return {one.type: one.reason for one in job.status.conditions if one.status == "True"}


def test_a_job_runs_as_many_pods_as_are_to_succeed() -> None:
    cluster = world(workload("Job", "completions: 3\nparallelism: 2")).run()
    assert len(cluster.pods()) == 2 and only(cluster, Job).status.active == 2
    ended(cluster, "Succeeded")
    assert len([pod for pod in cluster.run().pods() if not pod.ended]) == 1, "one is still to come"
    ended(cluster, "Succeeded")
    job = only(cluster.run(), Job)
    assert (job.status.succeeded, job.status.active) == (3, 0)
    assert said(job) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert len(cluster.pods()) == 3, "pods that have ended stay, for their logs"
    cluster.delete(cluster.pods()[0], force=True)
    assert only(cluster.run(), Job).status.succeeded == 3 and len(cluster.pods()) == 2


def test_a_job_tries_again_until_it_has_failed_too_often() -> None:
    cluster = world(workload("Job", "backoffLimit: 1")).run()
    ended(cluster, "Failed")
    assert only(cluster.run().later(10).run(), Job).status.failed == 1 and len(cluster.pods()) == 2
    ended(cluster, "Failed")
    job = only(cluster.run(), Job)
    assert said(job) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert job.status.failed == 2 and len(cluster.pods()) == 2


def test_a_job_counts_pods_that_are_deleted_once_they_have_ended() -> None:
    cluster = world(workload("Job", "completions: 3")).run()
    for _ in range(3):
        [pod] = [pod for pod in cluster.pods() if not pod.ended]
        assert pod.metadata.finalizers == (TRACKING,)
        ended(cluster, "Succeeded", pod.name)
        cluster.run()
        over = cluster.snapshot.all(Pod)[pod.key]
        assert over.metadata.finalizers == ()
        cluster.delete(over, force=True)
        cluster.run()
    job = only(cluster, Job)
    assert (job.status.succeeded, job.status.uncountedTerminatedPods, job.over) == (3, {}, True)
    assert cluster.pods() == []


def test_a_pod_that_is_deleted_before_it_has_ended_has_failed_and_one_that_is_not_wanted_has_not() -> None:
    cluster = world(workload("Job", "completions: 5\nparallelism: 3")).run()
    cluster.delete(cluster.pods()[0])
    assert only(cluster.run(), Job).status.failed == 1 and len(cluster.pods()) == 3
    cluster.apply(workload("Job", "completions: 5\nparallelism: 1")).run()
    assert only(cluster, Job).status.failed == 1 and len(cluster.pods()) == 1
    cluster.apply(workload("Job", "completions: 5\nparallelism: 1\nsuspend: true")).run()
    assert only(cluster, Job).status.failed == 1 and cluster.pods() == []


@pytest.mark.parametrize("mode", ["NonIndexed", "Indexed"])
@pytest.mark.parametrize("policy", ["TerminatingOrFailed", "Failed"])
def test_a_pod_on_its_way_out_is_replaced_at_once_or_once_it_has_ended(policy: str, mode: str) -> None:
    text = f"completions: 3\nparallelism: 3\ncompletionMode: {mode}\npodReplacementPolicy: {policy}"
    cluster = world(workload("Job", text)).run()
    cluster.delete(cluster.pods()[0])
    cluster.settle()
    going = [pod for pod in cluster.pods() if pod.metadata.deletionTimestamp]
    later = policy == "Failed"
    status = only(cluster, Job).status
    assert len(going) == 1 and len(cluster.pods()) == (3 if later else 4)
    assert (status.active, status.terminating, status.failed) == ((2, 1, 0) if later else (3, 1, 1))
    cluster.run().later(10).run()
    status = only(cluster, Job).status
    assert (len(cluster.pods()), status.active, status.terminating, status.failed) == (3, 3, 0, 1)
    numbers = sorted(pod.metadata.annotations.get(COMPLETION_INDEX, "") for pod in cluster.pods())
    assert numbers == (["0", "1", "2"] if mode == "Indexed" else ["", "", ""])
    ended(cluster, "Succeeded")
    job = only(cluster.run(), Job)
    assert (job.over, job.status.succeeded, job.status.failed) == (True, 3, 1)


def test_a_job_is_complete_when_the_last_of_its_pods_has_ended() -> None:
    cluster = world(workload("Job", "completions: 2\nparallelism: 2")).run()
    cluster.delete(cluster.pods()[0])
    cluster.settle()
    ended(cluster, "Succeeded", *(pod.name for pod in cluster.pods() if not pod.metadata.deletionTimestamp))
    going = [pod for pod in cluster.settle().pods() if pod.metadata.deletionTimestamp]
    assert going and not only(cluster, Job).over
    assert only(cluster.run(), Job).over


def test_what_a_large_indexed_job_has_written_is_read_once_however_many_pods_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = world(workload("Job", "completions: 40\nparallelism: 40\ncompletionMode: Indexed"), nodes=1).run()
    ended(cluster, "Succeeded")
    read: list[str] = []

    def counted(text: str, completions: int | None) -> set[int | None]:
        read.append(text)
        return completed(text, completions)

    monkeypatch.setattr(job_tracking, "completed", counted)
    job, pods = only(cluster, Job), cluster.pods()
    job_tracking.Tracked.of(job, pods, cluster.snapshot)
    assert len(pods) == 40 and len(read) == 1


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("mode", ["NonIndexed", "Indexed"])
def test_each_pod_is_counted_once_whichever_writes_are_lost(mode: str, seed: int) -> None:
    chance = random.Random(seed)
    cluster = world(workload("Job", f"completions: 4\nparallelism: 2\nbackoffLimit: 50\ncompletionMode: {mode}"))
    failures = 0
    for _ in range(200):
        cluster.previous = None
        for write in work_out(cluster.snapshot, None, Context(time=cluster.time)).writes:
            lost = isinstance(write.object, Job | Pod) and chance.random() < 0.4
            if not lost and write.action == "delete":
                cluster.delete(write.object, write.force, write.released)
            elif not lost:
                cluster.store(write.object)
        for pod in cluster.pods():
            if pod.metadata.deletionTimestamp or (pod.ended and not pod.metadata.finalizers):
                cluster.delete(pod, force=True)
            elif pod.ips and not pod.ended and chance.random() < 0.3:
                phase = chance.choice(["Succeeded", "Failed"])
                failures += phase == "Failed"
                ended(cluster, phase, pod.name)
        cluster.time += 700
    job = only(cluster.run(), Job)
    assert job.over and job.status.uncountedTerminatedPods == {}
    assert (job.status.succeeded, job.status.failed) == (4, failures)


def test_a_pod_of_an_older_daemons_job_is_counted_too() -> None:
    cluster = world(workload("Job", "completions: 1")).run()
    [pod] = cluster.pods()
    cluster.store(replace(pod, metadata=replace(pod.metadata, finalizers=())))
    ended(cluster.run(), "Succeeded")
    assert only(cluster.run(), Job).status.succeeded == 1 and len(cluster.pods()) == 1


def test_a_pod_that_has_lost_its_number_keeps_no_job_from_its_end() -> None:
    cluster = world(workload("Job", "completions: 1\ncompletionMode: Indexed")).run()
    [pod] = cluster.pods()
    cluster.store(replace(pod, metadata=replace(pod.metadata, annotations={})))
    for _ in range(2):
        ended(cluster, "Succeeded")
        cluster.run()
    assert only(cluster, Job).over and not [pod for pod in cluster.pods() if pod.metadata.finalizers]


def test_an_indexed_job_that_shrinks_counts_none_beyond_its_end() -> None:
    text = workload("Job", "completions: 3\nparallelism: 3\ncompletionMode: Indexed")
    cluster = world(text).run()
    [beyond] = [pod for pod in cluster.pods() if pod.name.startswith("w-2-")]
    ended(cluster, "Succeeded", beyond.name)
    cluster.apply(text.replace(" 3", " 2")).run()
    assert (only(cluster, Job).status.succeeded, only(cluster, Job).status.completedIndexes) == (0, "")
    ended(cluster, "Succeeded")
    job = only(cluster.run(), Job)
    assert (job.over, job.status.completedIndexes) == (True, "0,1")
    assert not [pod for pod in cluster.pods() if pod.metadata.finalizers]


@pytest.mark.parametrize("orphaned", [False, True])
def test_pods_whose_job_goes_are_kept_by_nothing(orphaned: bool) -> None:
    cluster = world(workload("Job", "completions: 2\nparallelism: 2")).run()
    pods = cluster.pods()
    if orphaned:
        for pod in pods:
            cluster.store(replace(pod, metadata=replace(pod.metadata, ownerReferences=())))
    cluster.delete(only(cluster, Job), force=True)
    cluster.run()
    left = cluster.pods()
    assert (len(left), [pod for pod in left if pod.metadata.finalizers]) == (2 if orphaned else 0, [])


def test_pods_of_a_job_before_it_count_for_none_of_its_name() -> None:
    text = workload("Job", "completions: 1\nbackoffLimit: 0")
    cluster = world(text).run()
    [old] = cluster.pods()
    cluster.delete(only(cluster, Job), force=True)
    cluster.apply(text).run()
    job, mine = only(cluster, Job), [pod for pod in cluster.pods() if pod.metadata.uid != old.metadata.uid]
    assert (job.status.failed, job.status.active, job.over, len(mine)) == (0, 1, False, 1)


def test_a_job_waits_twice_as_long_after_each_failure_until_one_succeeds() -> None:
    cluster = world(workload("Job", "completions: 2\nbackoffLimit: 20")).run()
    for made, pause in enumerate([10, 20, 40, 80, 160, 320, 600, 600], start=1):
        ended(cluster, "Failed")
        assert len(cluster.run().later(pause - 1).run().pods()) == made, pause
        assert len(cluster.later(1).run().pods()) == made + 1, pause
    ended(cluster, "Succeeded")
    assert len(cluster.run().pods()) == 10, "the next comes at once"
    cluster.later(1)
    ended(cluster, "Failed")
    assert len(cluster.run().later(9).run().pods()) == 10
    assert len(cluster.later(1).run().pods()) == 11


def test_pods_of_a_job_that_still_run_are_left_alone_while_it_backs_off() -> None:
    cluster = world(workload("Job", "completions: 3\nparallelism: 2")).run()
    ended(cluster, "Failed", names(cluster)[0])
    assert (only(cluster.run(), Job).status.active, only(cluster, Job).status.failed) == (1, 1)
    assert only(cluster.later(10).run(), Job).status.active == 2


def test_a_suspended_job_has_no_pods_until_it_goes_on() -> None:
    cluster = world(workload("Job", "suspend: true")).run()
    assert cluster.pods() == [] and said(only(cluster, Job)) == {"Suspended": "JobSuspended"}
    cluster.apply(workload("Job", "suspend: false")).run()
    assert len(cluster.pods()) == 1 and said(only(cluster, Job)) == {}
    cluster.apply(workload("Job", "suspend: true")).run()
    assert cluster.pods() == []


def test_an_indexed_jobs_pods_know_their_number() -> None:
    cluster = world(workload("Job", "completions: 3\nparallelism: 2\ncompletionMode: Indexed")).run()
    pods = sorted(cluster.pods(), key=lambda pod: pod.name)
    assert [pod.name.rpartition("-")[0] for pod in pods] == ["w-0", "w-1"]
    assert [pod.spec.containers[0].env[0].value for pod in pods] == ["0", "1"]
    ended(cluster, "Failed", pods[0].name)
    ended(cluster, "Succeeded", pods[1].name)
    cluster.run().later(10).run()
    assert only(cluster, Job).status.completedIndexes == "1"
    living = sorted(pod.name.rpartition("-")[0] for pod in cluster.pods() if not pod.ended)
    assert living == ["w-0", "w-2"], "the number that failed is tried again"


@pytest.mark.parametrize(("text", "numbers"), [("", set()), ("0", {0}), ("0,1", {0, 1}), ("0-2,4", {0, 1, 2, 4})])
def test_completed_indexes_are_ranges(text: str, numbers: set[int | None]) -> None:
    assert ranges(numbers) == text and completed(text, 10) == numbers


@pytest.mark.parametrize("text", ["0-999999,0-999999", "0-99999999999999", "0-1,5-3,0,1", "0,-,x,1,\u0662", "9" * 5000])
def test_indexes_that_a_client_writes_count_as_far_as_the_job_has_them(text: str) -> None:
    assert completed(text, 2) <= {0, 1} and completed(text, None) == set()


def test_a_job_selects_its_own_pods_by_its_uid() -> None:
    job = only(world(workload("Job")), Job)
    own = {"batch.kubernetes.io/controller-uid": job.metadata.uid}
    assert job.spec.selector and job.spec.selector.matchLabels == own
    assert own.items() <= job.spec.template.metadata.labels.items()
    assert job.spec.template.metadata.labels["job-name"] == "w"


# --- taints and priorities ---


def test_a_taint_drives_pods_away_that_do_not_tolerate_it() -> None:
    text = workload("ReplicationController", "replicas: 2")
    cluster = world(text, 2).run()
    node = cluster.snapshot.node("node2")
    cluster.store(replace(node, spec=replace(node.spec, taints=(Taint(key="full", effect="NoExecute"),))))
    assert [pod.spec.nodeName for pod in cluster.run().pods()] == ["node1", "node1"]
    cluster.store(replace(node, spec=replace(node.spec, taints=(Taint(key="full", effect="NoSchedule"),))))
    cluster.apply(text.replace("replicas: 2", "replicas: 4")).run()
    assert {pod.spec.nodeName for pod in cluster.pods()} == {"node1"}, "the scheduler passes it by"
    tolerant = "tolerations: [{key: full, operator: Exists}], nodeSelector: {kubernetes.io/hostname: node2},"
    cluster.apply(workload("ReplicationController", name="t", pod=tolerant)).run()
    assert [pod.spec.nodeName for pod in cluster.pods("t-")] == ["node2"]


PRIORITY = """---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: high}, value: 1000, globalDefault: true}
"""


def test_a_pods_priority_is_its_classes() -> None:
    pod = "---\n{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {%s containers: [{name: c}]}}\n"
    cluster = world(pod % "priorityClassName: high," + PRIORITY)
    assert only(cluster, Pod).spec.priority == 1000, "though the class is written behind it"
    assert only(cluster.apply(pod % "").run(), Pod).spec.priority == 1000
    assert only(world(PRIORITY + pod % ""), Pod).spec.priorityClassName == "high", "the default one"
    assert only(world(pod % "priorityClassName: system-node-critical,"), Pod).spec.priority == 2_000_001_000
    with pytest.raises(ForbiddenError, match='pods "p" is forbidden: no PriorityClass with name low was found'):
        world(pod % "priorityClassName: low,")
