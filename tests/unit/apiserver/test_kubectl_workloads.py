"""A real kubectl with DaemonSets, StatefulSets, Jobs and ReplicationControllers: rollouts, history, undo, wait."""

from __future__ import annotations

from collections.abc import Iterator

import kubectl
import pytest
from kubectl import Kubectl

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)

SET = """
apiVersion: apps/v1
kind: %s
metadata: {name: %s}
spec:
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec: {containers: [{name: c, image: "nginx:1"}]}
"""
PATCH = '{"status": {"phase": "Succeeded", "conditions": null, "containerStatuses": null}}'


def manifest(kind: str, name: str) -> str:
    return SET % (kind, name, name, name)


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with kubectl.against_face(tmp_path_factory.mktemp("kubectl")) as one:
        yield one


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize(("kind", "short"), [("DaemonSet", "ds"), ("StatefulSet", "sts"), ("Deployment", "deploy")])
def test_a_rollout_is_followed_told_of_and_undone(k: Kubectl, kind: str, short: str) -> None:
    name = f"roll-{short}"
    target = f"{short}/{name}"
    k.run("apply", "-f", "-", stdin=manifest(kind, name))
    done = k.run("rollout", "status", target, "--timeout=60s")
    assert "successfully rolled out" in done or "complete" in done
    k.run("set", "image", target, "c=nginx:2")
    k.run("annotate", target, "kubernetes.io/change-cause=newer")
    k.run("rollout", "status", target, "--timeout=60s")
    history = k.run("rollout", "history", target)
    assert [row[0] for row in words(history)[2:] if row] == ["1", "2"]
    if kind == "Deployment":  # whose revisions follow its annotations
        assert words(history)[3] == ["2", "newer"]
    assert "nginx:1" in k.run("rollout", "history", target, "--revision=1")
    k.run("rollout", "undo", target)
    k.run("rollout", "status", target, "--timeout=60s")
    assert k.run("get", "pods", "-l", f"app={name}", "-o", "jsonpath={.items[*].spec.containers[0].image}") == "nginx:1"
    assert [row[0] for row in words(k.run("rollout", "history", target))[2:] if row] == ["2", "3"]
    k.run("rollout", "restart", target)
    k.run("rollout", "status", target, "--timeout=60s")
    assert "Normal" in k.run("describe", target)
    k.run("delete", target)


def test_a_daemon_set_is_shown_as_a_cluster_shows_it(k: Kubectl) -> None:
    k.run("apply", "-f", "-", stdin=manifest("DaemonSet", "agent"))
    k.run("rollout", "status", "ds/agent", "--timeout=60s")
    title, row = (line.split("  ") for line in k.run("get", "ds").splitlines())
    assert [word.strip() for word in title if word.strip()] == [
        *("NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR", "AGE"),
    ]
    assert [word.strip() for word in row if word.strip()][:7] == ["agent", "1", "1", "1", "1", "1", "<none>"]
    said = k.run("describe", "ds", "agent")
    assert "Desired Number of Nodes Scheduled: 1" in said and "Pods Status:  1 Running" in said
    revision = words(k.run("get", "controllerrevisions"))
    assert revision[0] == ["NAME", "CONTROLLER", "REVISION", "AGE"]
    assert revision[1][1:3] == ["daemonset.apps/agent", "1"]
    everything = k.run("get", "all")
    assert "daemonset.apps/agent" in everything
    k.run("delete", "ds", "agent")


def test_a_stateful_set_is_scaled_and_its_pods_keep_their_names(k: Kubectl) -> None:
    k.run("apply", "-f", "-", stdin=manifest("StatefulSet", "db"))
    k.run("scale", "sts/db", "--replicas=3")
    k.run("rollout", "status", "sts/db", "--timeout=60s")
    assert sorted(k.run("get", "pods", "-l", "app=db", "-o", "name").split()) == ["pod/db-0", "pod/db-1", "pod/db-2"]
    title, row = words(k.run("get", "sts"))
    assert title == ["NAME", "READY", "AGE"] and row[:2] == ["db", "3/3"]
    assert "3 Running / 0 Waiting" in k.run("describe", "sts", "db")
    refused = k.run("patch", "sts", "db", "-p", '{"spec": {"serviceName": "other"}}', code=1)
    assert "spec: Forbidden: updates to statefulset spec for fields other than" in refused
    k.run("scale", "sts/db", "--replicas=1")
    k.run("wait", "pod/db-1", "pod/db-2", "--for=delete", "--timeout=60s")
    k.run("delete", "sts", "db")
    k.run("wait", "pod/db-0", "--for=delete", "--timeout=60s")


def test_a_job_is_waited_for_until_its_pods_have_succeeded(k: Kubectl) -> None:
    k.run("create", "job", "once", "--image=busybox", "--", "true")
    k.run("wait", "pod", "-l", "job-name=once", "--for=condition=Ready", "--timeout=60s")
    title, row = words(k.run("get", "jobs"))
    assert title == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"] and row[:3] == ["once", "Running", "0/1"]
    pod = k.run("get", "pods", "-l", "batch.kubernetes.io/job-name=once", "-o", "name").strip()
    k.run("patch", pod, "--subresource=status", "--type=merge", "-p", PATCH)
    k.run("wait", "job/once", "--for=condition=complete", "--timeout=60s")
    title, row = words(k.run("get", "jobs"))
    assert row[:3] == ["once", "Complete", "1/1"]
    said = k.run("describe", "job", "once")
    assert "0 Active (0 Ready) / 1 Succeeded / 0 Failed" in said and "Completed At:" in said
    changed = k.run("patch", "job", "once", "-p", '{"spec": {"completions": 3}}', code=1)
    assert "spec.completions: Invalid value: 3: field is immutable" in changed
    k.run("delete", "job", "once")
    k.run("wait", pod, "--for=delete", "--timeout=60s")


def test_a_replication_controller_is_made_scaled_and_described(k: Kubectl) -> None:
    text = manifest("ReplicationController", "old").replace("apps/v1", "v1")
    k.run("create", "-f", "-", stdin=text.replace("  selector: {matchLabels: {app: old}}\n", ""))
    k.run("scale", "rc/old", "--replicas=2")
    k.run("wait", "rc/old", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=60s")
    title, row = words(k.run("get", "rc"))
    assert title == ["NAME", "DESIRED", "CURRENT", "READY", "AGE"] and row[:4] == ["old", "2", "2", "2"]
    assert "Replicas:     2 current / 2 desired" in k.run("describe", "rc", "old")
    k.run("delete", "rc", "old")


def test_a_deployment_says_how_far_it_is_and_pauses(k: Kubectl) -> None:
    k.run("create", "deployment", "web", "--image=nginx:1", "--replicas=2")
    k.run("wait", "deploy/web", "--for=condition=Available", "--timeout=60s")
    conditions = {one["type"]: one for one in k.json("get", "deploy", "web")["status"]["conditions"]}
    assert conditions["Progressing"]["reason"] == "NewReplicaSetAvailable"
    assert conditions["Available"]["lastTransitionTime"] and conditions["Available"]["lastUpdateTime"]
    k.run("rollout", "pause", "deploy/web")
    k.run("set", "image", "deploy/web", "nginx=nginx:2")
    k.run("wait", "deploy/web", "--for=jsonpath={.status.observedGeneration}=3", "--timeout=60s")
    assert len(words(k.run("get", "rs", "-l", "app=web", "--no-headers"))) == 1, "a paused one makes no new set"
    k.run("scale", "deploy/web", "--replicas=3")
    k.run("wait", "deploy/web", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=60s")
    reasons = {one["type"]: one["reason"] for one in k.json("get", "deploy", "web")["status"]["conditions"]}
    assert reasons["Progressing"] == "DeploymentPaused"
    k.run("rollout", "resume", "deploy/web")
    k.run("rollout", "status", "deploy/web", "--timeout=60s")
    images = k.run("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.containers[0].image}")
    assert images == "nginx:2 nginx:2 nginx:2"
    k.run("delete", "deploy", "web")


def test_a_rollout_that_takes_too_long_fails_as_kubectl_says_it(k: Kubectl) -> None:
    nowhere = manifest("Deployment", "late").replace("spec: {containers", "spec: {nodeSelector: {no: node}, containers")
    k.run("apply", "-f", "-", stdin=nowhere.replace("spec:\n", "spec:\n  progressDeadlineSeconds: 1\n", 1))
    said = k.run("rollout", "status", "deploy/late", "--timeout=60s", code=1)
    assert 'error: deployment "late" exceeded its progress deadline' in said
    assert "Progressing    False   ProgressDeadlineExceeded" in k.run("describe", "deploy", "late")
    k.run("delete", "deploy", "late")


def test_a_job_ends_by_its_deadline_and_goes_by_its_time_to_live(k: Kubectl) -> None:
    job = (
        "{apiVersion: batch/v1, kind: Job, metadata: {name: late}, spec: {activeDeadlineSeconds: 1, "
        "ttlSecondsAfterFinished: 2, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}"
    )
    k.run("apply", "-f", "-", stdin=job)
    k.run("wait", "job/late", "--for=jsonpath={.status.conditions[?(@.type=='Failed')].reason}=DeadlineExceeded")
    k.run("wait", "job/late", "--for=delete", "--timeout=60s")
    k.run("wait", "pod", "-l", "batch.kubernetes.io/job-name=late", "--for=delete", "--timeout=60s")


@pytest.mark.parametrize(
    ("kind", "fields", "code", "words"),
    [
        ("Deployment", "replicas: -1", 422, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ("StatefulSet", "replicas: -1", 422, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ("ReplicaSet", "replicas: 200000", 422, "spec.replicas: Invalid value: 200000: must be between 0 and 100000"),
        ("Deployment", "replicas: 3000000000", 400, "cannot be handled as a Deployment"),
        ("Deployment", "replicas: 1.5", 400, "cannot be handled as a Deployment"),
        ("Deployment", "minReadySeconds: -1", 422, "spec.minReadySeconds: Invalid value: -1: must be greater than or"),
        (
            "Deployment",
            "strategy: {type: Never}",
            422,
            'spec.strategy.type: Unsupported value: "Never": supported values: ',
        ),
        ("DaemonSet", "minReadySeconds: -1", 422, "spec.minReadySeconds: Invalid value: -1: must be greater than or"),
    ],
)
def test_numbers_that_are_refused_have_a_real_servers_code(
    k: Kubectl, kind: str, fields: str, code: int, words: str
) -> None:
    text = manifest(kind, "odd").replace("spec:\n", f"spec:\n  {fields}\n", 1)
    said = k.run("create", "--validate=false", "-f", "-", stdin=text, code=1)
    reason = f'The {kind} "odd" is invalid: ' if code == 422 else "Error from server (BadRequest)"
    assert said.startswith(reason) and words in said


def test_ports_that_are_none_are_invalid(k: Kubectl) -> None:
    service = "{apiVersion: v1, kind: Service, metadata: {name: odd}, spec: {ports: [{port: 70000}]}}"
    said = k.run("create", "--validate=false", "-f", "-", stdin=service, code=1)
    assert "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive" in said
    assert said.startswith('The Service "odd" is invalid: ')
