"""DaemonSets, StatefulSets and Jobs in a real lab: pods that run, answer, and end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.testing import Lab, eventually

MANIFESTS = """{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: %s},
  spec: {nodes: 2, dns: {enabled: false}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: c, ports: [{containerPort: 9100}]}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, ports: [{containerPort: 5432}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {selector: {app: db}, ports: [{port: 5432}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {matchLabels: {app: nobody}}}
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: %s}
spec:
  completions: 2
  parallelism: %s
  backoffLimit: 1
  template:
    spec: {restartPolicy: Never, containers: [{name: c, command: [sh, -c, %s]}]}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("workloads"))
    file = tmp_path_factory.mktemp("manifests") / "lab.yaml"
    file.write_text(MANIFESTS % lab.name)
    lab.run("up", "--yes", str(file))
    assert "closed" in lab.run("get", "netpol")
    yield lab
    lab.run("down")


def apply(lab: Lab, directory: Path, text: str) -> None:
    file = directory / "more.yaml"
    file.write_text(text)
    lab.run("apply", "-f", str(file))


def test_up_waits_for_all_of_them_and_they_answer(lab: Lab) -> None:
    agents = {pod["spec"]["nodeName"] for pod in lab.json("get", "pods", "-l", "app=agent")["items"]}
    assert agents == {"node1", "node2"}
    assert sorted(pod["metadata"]["name"] for pod in lab.json("get", "pods", "-l", "app=db")["items"]) == [
        "db-0",
        "db-1",
    ]
    lab.run("probe", "db-0", "db:5432")
    assert lab.run("exec", "db-1", "--", "hostname").strip() == "db-1"


def test_a_stateful_set_grows_and_shrinks_and_its_pods_come_again_by_name(lab: Lab) -> None:
    lab.run("scale", "sts/db", "--replicas", "3")
    eventually(lambda: "3/3" in lab.run("get", "sts", "db"))
    lab.run("delete", "pod", "db-0")
    eventually(lambda: "3/3" in lab.run("get", "sts", "db") and "db-0" in lab.run("get", "pods"))
    lab.run("scale", "sts/db", "--replicas", "1")
    eventually(lambda: "1/1" in lab.run("get", "sts", "db") and "db-2" not in lab.run("get", "pods"))


def test_a_jobs_commands_run_to_their_end(lab: Lab, tmp_path: Path) -> None:
    apply(lab, tmp_path, JOB % ("good", 1, "'echo done'"))
    eventually(lambda: "Complete" in lab.run("get", "job", "good"))
    (pod, *_) = lab.json("get", "pods", "-l", "job-name=good")["items"]
    assert pod["status"]["phase"] == "Succeeded" and "done" in lab.run("logs", pod["metadata"]["name"])
    apply(lab, tmp_path, JOB % ("bad", 2, "'exit 3'"))
    eventually(lambda: "Failed" in lab.run("get", "job", "bad"))
    job = lab.json("get", "job", "bad")
    assert job["status"]["failed"] == 2 and job["status"]["conditions"][-1]["reason"] == "BackoffLimitExceeded"
    assert job["status"]["conditions"][-1]["lastTransitionTime"] and job["status"]["startTime"]


UNHURRIED = JOB.replace("spec:\n", "spec:\n  podReplacementPolicy: Failed\n", 1) % (
    "unhurried",
    1,
    """'trap "sleep 2; exit 0" TERM; echo begun; sleep 3600 & wait'""",
)


def test_a_deleted_pod_of_a_job_that_replaces_ended_ones_only_counts_as_it_ended(lab: Lab, tmp_path: Path) -> None:
    apply(lab, tmp_path, UNHURRIED)
    eventually(lambda: _running(lab, "unhurried"))
    (first,) = _running(lab, "unhurried")
    eventually(lambda: "begun" in lab.run("logs", first["metadata"]["name"]))
    began = time.time()
    lab.run("delete", "pod", first["metadata"]["name"])
    eventually(lambda: lab.json("get", "job", "unhurried")["status"].get("succeeded") == 1)
    eventually(lambda: _running(lab, "unhurried"))
    (second,) = _running(lab, "unhurried")
    made = datetime.fromisoformat(second["metadata"]["creationTimestamp"]).timestamp()
    assert second["metadata"]["name"] != first["metadata"]["name"] and made >= began + 1
    assert not lab.json("get", "job", "unhurried")["status"].get("failed")
    lab.run("delete", "job", "unhurried")


def _running(lab: Lab, job: str) -> list[Any]:
    pods = lab.json("get", "pods", "-l", f"job-name={job}")["items"]
    return [pod for pod in pods if pod["status"]["phase"] == "Running" and not pod["metadata"].get("deletionTimestamp")]


PATIENT = """
apiVersion: v1
kind: Pod
metadata: {name: late}
spec:
  activeDeadlineSeconds: 5
  containers: [{name: c, command: [sh, -c, 'trap "exit 0" TERM; echo begun; sleep 3600 & wait']}]
"""


def test_a_pod_that_is_active_for_too_long_is_ended_and_has_failed(lab: Lab, tmp_path: Path) -> None:
    apply(lab, tmp_path, PATIENT)
    eventually(lambda: lab.json("get", "pod", "late")["status"]["phase"] == "Failed")
    pod = lab.json("get", "pod", "late")
    assert pod["status"]["reason"] == "DeadlineExceeded" and pod["status"]["startTime"]
    assert pod["status"]["message"] == "Pod was active on the node longer than the specified deadline"
    (container,) = pod["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 0 and container["restartCount"] == 0
    assert "begun" in lab.run("logs", "late")
    eventually(lambda: "DeadlineExceeded" in lab.run("get", "events"))


def test_the_service_network_and_the_nodes_leases_are_shown(lab: Lab) -> None:
    assert "services/default/db" in lab.run("get", "ip")
    leases = lab.json("get", "lease", "-n", "kube-node-lease")["items"]
    assert [one["spec"]["holderIdentity"] for one in leases] == ["node1", "node2"]
    assert all(one["spec"]["renewTime"] for one in leases)
