"""What goes by the clock: pods that must last to be available, rollouts and Jobs that take too long, Jobs that go."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Condition, Pod
from k8snetlab.api.workloads import DaemonSet, Job, StatefulSet
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment

JOB = """---
apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec: {%s, template: {metadata: {labels: {app: j}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}
"""


def web(cluster: FakeCluster) -> Deployment:
    return cluster.snapshot.all(Deployment)["default", "web"]


def asked(more: str, replicas: int = 2, image: str = "a") -> str:
    return deployment("web", replicas, image).replace("spec:\n", f"spec:\n  {more}\n", 1)


def progressing(cluster: FakeCluster) -> Condition:
    (found,) = [one for one in web(cluster).status.conditions if one.type == "Progressing"]
    return found


def only(cluster: FakeCluster, type_: Any) -> Any:
    (found,) = cluster.snapshot.all(type_).values()
    return found


def notes(cluster: FakeCluster) -> list[str]:
    return [note.reason for write in cluster.history for note in write.notes]


def test_a_pod_is_available_once_it_has_been_ready_for_long_enough() -> None:
    cluster = FakeCluster(LAB % 1 + asked("minReadySeconds: 10")).run()
    assert (web(cluster).status.readyReplicas, web(cluster).status.availableReplicas) == (2, 0)
    assert (web(cluster).status.unavailableReplicas, only(cluster, ReplicaSet).spec.minReadySeconds) == (2, 10)
    cluster.later(9)
    assert (web(cluster).status.availableReplicas, progressing(cluster).reason) == (0, "ReplicaSetUpdated")
    cluster.later(1)
    assert (web(cluster).status.availableReplicas, progressing(cluster).reason) == (2, "NewReplicaSetAvailable")


def test_a_pod_that_was_unready_begins_to_count_anew() -> None:
    cluster = FakeCluster(LAB % 1 + asked("minReadySeconds: 10", 1)).run().later(6)
    cluster.run(ready=lambda pod: False)
    cluster.run()
    assert web(cluster).status.availableReplicas == 0
    assert web(cluster.later(6)).status.availableReplicas == 0
    assert web(cluster.later(4)).status.availableReplicas == 1


def test_a_rollout_waits_for_pods_that_last() -> None:
    more = "minReadySeconds: 10\n  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
    cluster = FakeCluster(LAB % 1 + asked(more)).run().later(10).apply(asked(more, image="b")).run()

    def images() -> list[str]:
        return sorted(pod.spec.containers[0].image for pod in cluster.pods())

    assert images() == ["a", "a", "b"]
    cluster.later(9).run()
    assert images() == ["a", "a", "b"]
    cluster.later(1).run()
    assert images() == ["a", "b", "b"]
    cluster.later(10).run()
    assert images() == ["b", "b"] and progressing(cluster).reason == "NewReplicaSetAvailable"


@pytest.mark.parametrize(("kind", "type_"), [("DaemonSet", DaemonSet), ("StatefulSet", StatefulSet)])
def test_other_sets_wait_for_pods_that_last(kind: str, type_: Any) -> None:
    text = asked("minReadySeconds: 5", 2).replace("kind: Deployment", f"kind: {kind}")
    text = text.replace("  replicas: 2\n", "") if kind == "DaemonSet" else text
    cluster = FakeCluster(LAB % 1 + text).run()

    def counts() -> tuple[int, int]:
        status = only(cluster, type_).status
        return (
            (status.numberReady, status.numberAvailable)
            if kind == "DaemonSet"
            else (status.readyReplicas, status.availableReplicas)
        )

    assert counts() == (1, 0), "the second of a StatefulSet's waits until the first is available"
    cluster.later(5).run()
    assert counts() == ((1, 1) if kind == "DaemonSet" else (2, 1))


def test_a_rollout_that_gets_nowhere_says_so_once_its_deadline_has_passed() -> None:
    cluster = FakeCluster(LAB % 1 + asked("progressDeadlineSeconds: 30")).run()
    assert progressing(cluster).reason == "NewReplicaSetAvailable"
    assert progressing(cluster.later(100)).reason == "NewReplicaSetAvailable", "what is complete has no deadline"
    cluster.apply(asked("progressDeadlineSeconds: 30", image="b"))
    cluster.run(ready=lambda pod: pod.spec.containers[0].image == "a")
    assert progressing(cluster).reason == "ReplicaSetUpdated"
    assert progressing(cluster.later(29)).reason == "ReplicaSetUpdated"
    late = progressing(cluster.later(1))
    new = next(
        rs.name for rs in cluster.snapshot.all(ReplicaSet).values() if rs.spec.template.spec.containers[0].image == "b"
    )
    assert (late.status, late.reason) == ("False", "ProgressDeadlineExceeded")
    assert late.message == f'ReplicaSet "{new}" has timed out progressing.'
    assert progressing(cluster.run()).reason == "NewReplicaSetAvailable", "it may come about yet"


def test_each_step_of_a_rollout_begins_the_deadline_anew() -> None:
    ready: set[str] = set()
    cluster = FakeCluster(LAB % 1 + asked("progressDeadlineSeconds: 30", 3))
    cluster.run(ready=lambda pod: pod.name in ready)
    for pod in sorted(cluster.pods(), key=lambda one: one.name)[:2]:
        cluster.later(20)
        ready.add(pod.name)
        cluster.run(ready=lambda pod: pod.name in ready)
        assert progressing(cluster).reason == "ReplicaSetUpdated"
    assert progressing(cluster.later(29)).reason == "ReplicaSetUpdated"
    assert progressing(cluster.later(1)).reason == "ProgressDeadlineExceeded"


def test_a_held_rollout_has_no_deadline_and_begins_it_anew_when_it_goes_on() -> None:
    cluster = FakeCluster(LAB % 1 + asked("progressDeadlineSeconds: 30"))
    cluster.run(ready=lambda pod: False)
    hold = replace(web(cluster), spec=replace(web(cluster).spec, paused=True))
    cluster.store(hold)
    assert progressing(cluster.settle()).reason == "DeploymentPaused"
    assert progressing(cluster.later(100)).reason == "DeploymentPaused"
    cluster.store(replace(web(cluster), spec=replace(web(cluster).spec, paused=False)))
    resumed = progressing(cluster.settle())
    assert (resumed.status, resumed.reason) == ("Unknown", "DeploymentResumed")
    assert progressing(cluster.later(29)).reason == "DeploymentResumed"
    assert progressing(cluster.later(1)).reason == "ProgressDeadlineExceeded"


def test_a_deployment_without_a_deadline_says_nothing_of_its_progress() -> None:
    cluster = FakeCluster(LAB % 1 + asked("progressDeadlineSeconds: 2147483647")).run()
    assert [one.type for one in web(cluster).status.conditions] == ["Available"]


def test_a_job_that_is_at_work_for_too_long_fails() -> None:
    cluster = FakeCluster(LAB % 1 + JOB % "activeDeadlineSeconds: 20").run()
    assert len(cluster.pods()) == 1 and not cluster.later(19).snapshot.all(Job)["default", "j"].over
    cluster.later(1).run()
    job = only(cluster, Job)
    failed = [one for one in job.status.conditions if one.type == "Failed"]
    assert [(one.reason, one.message) for one in failed] == [
        ("DeadlineExceeded", "Job was active longer than specified deadline"),
    ]
    assert cluster.pods() == [] and job.status.active == 0 and "DeadlineExceeded" in notes(cluster)


def test_a_job_that_waits_has_no_deadline() -> None:
    cluster = FakeCluster(LAB % 1 + JOB % "activeDeadlineSeconds: 20, suspend: true").run().later(100)
    assert not only(cluster, Job).over


def test_a_job_that_is_over_goes_after_its_time_with_its_pods() -> None:
    cluster = FakeCluster(LAB % 1 + JOB % "ttlSecondsAfterFinished: 60").run()
    cluster.later(500)
    assert cluster.snapshot.all(Job), "it is not over"
    (pod,) = cluster.snapshot.all(Pod).values()
    cluster.store(replace(pod, status=replace(pod.status, phase="Succeeded", conditions=())))
    cluster.run()
    assert only(cluster, Job).over
    cluster.later(59).run()
    assert cluster.snapshot.all(Job) and cluster.pods()
    cluster.later(1).run()
    assert not cluster.pods()
