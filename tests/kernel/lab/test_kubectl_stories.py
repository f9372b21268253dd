"""What kubectl tells of what goes on, in a real cluster's words and order: events, describe, rollout status.

Source of the words: Kubernetes pkg/controller/deployment/sync.go, pkg/controller/controller_utils.go, pkg/scheduler
(FitError), pkg/kubelet/events, pkg/kubelet/kuberuntime, pkg/controller/namespace/deletion; kubectl's own
pkg/polymorphichelpers/rollout_status.go and pkg/drain.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import clients
import pytest

from k8snetlab.testing import Lab, eventually, running

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}}
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  minReadySeconds: 1
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: web, image: "web:1", ports: [{containerPort: 80}]}]}
"""
PODS = """
apiVersion: v1
kind: Pod
metadata: {name: bad}
spec: {containers: [{name: c, image: busybox, command: [/no/such/program]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: unready}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: busybox
    command: [sleep, infinity]
    readinessProbe: {tcpSocket: {port: 81}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: unhealthy}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: busybox
    command: [sleep, infinity]
    livenessProbe: {exec: {command: ["false"]}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: big}
spec: {containers: [{name: c, image: busybox, resources: {requests: {cpu: "4000"}}}]}
"""
pytestmark = pytest.mark.timeout(600)


class Kubectl:
    def __init__(self, program: str, directory: Path, lab: Lab) -> None:
        self._program, self._directory = program, directory
        (directory / "config").write_text(lab.run("kubeconfig"))
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "KUBECONFIG": str(directory / "config"),
        }

    def __call__(self, *words: str, stdin: str = "", code: int = 0) -> str:
        done = subprocess.run(
            [self._program, *words],
            env=self._environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
        )
        assert done.returncode == code, f"{words}: {done.stdout}"
        return done.stdout

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._program, *words], env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )

    def told(self, kind: str, name: str) -> list[str]:
        """Of an object, what its Events say, oldest first: "Normal Scheduled default-scheduler: Successfully …"."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        found = json.loads(self("get", "events", "--field-selector", selector, "-o", "json"))["items"]
        found.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [f"{e['type']} {e['reason']} {e['source']['component']}: {e['message']}" for e in found]


@pytest.fixture(scope="module")
def kubectl(kubectl_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    program, directory = kubectl_of(clients.RELEASES[-1]), tmp_path_factory.mktemp("stories")
    (directory / "lab.yaml").write_text(LAB)
    with running(directory / "lab.yaml") as lab:
        kubectl = Kubectl(program, directory, lab)
        kubectl("apply", "-f", "-", stdin=WEB)
        kubectl("rollout", "status", "deploy/web")
        kubectl("apply", "-f", "-", stdin=PODS)
        yield kubectl


def in_order(lines: list[str], patterns: list[str]) -> bool:
    """Whether each pattern is found in a line after that of the one before."""
    rest = iter(lines)
    return all(any(re.search(pattern, line) for line in rest) for pattern in patterns)


def test_a_rolling_update_is_told_set_by_set_and_can_be_undone(kubectl: Kubectl) -> None:
    old = kubectl("get", "rs", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
    kubectl("rollout", "pause", "deploy/web")
    assert kubectl("set", "image", "deploy/web", "web=web:2") == "deployment.apps/web image updated\n"
    with kubectl.begin("rollout", "status", "deploy/web") as looking:  # from before the first step on
        assert looking.stdout and "0 out of 2 new replicas have been updated" in looking.stdout.readline()
        kubectl("rollout", "resume", "deploy/web")
        said = looking.communicate(timeout=200)[0]
    new = next(name for name in kubectl("get", "rs", "-o", "name").split() if old not in name).partition("/")[2]
    waiting = 'Waiting for deployment "web" rollout to finish: '
    assert re.search(f"{waiting}1 out of 2 new replicas have been updated...", said)
    assert re.search(f"{waiting}1 old replicas are pending termination...", said)
    assert said.splitlines()[-1] == 'deployment "web" successfully rolled out'
    steps = [
        rf"Normal ScalingReplicaSet deployment-controller: Scaled up replica set {old} from 0 to 2",
        rf"Scaled up replica set {new} from 0 to 1",
        rf"Scaled down replica set {old} from 2 to 1",
        rf"Scaled up replica set {new} from 1 to 2",
        rf"Scaled down replica set {old} from 1 to 0",
    ]
    eventually(lambda: in_order(kubectl.told("Deployment", "web"), steps))
    steps = [
        rf"Normal SuccessfulCreate replicaset-controller: Created pod: {old}-",
        rf"Normal SuccessfulDelete .*: {old}-",
    ]
    eventually(lambda: in_order(kubectl.told("ReplicaSet", old), steps))
    assert re.search(r"REVISION  CHANGE-CAUSE\n1 +<none>\n2 +<none>", kubectl("rollout", "history", "deploy/web"))
    described = kubectl("describe", "deploy", "web")
    for line in (
        r"Replicas: +2 desired \| 2 updated \| 2 total \| 2 available \| 0 unavailable",
        r"StrategyType: +RollingUpdate",
        r"Available +True +MinimumReplicasAvailable",
        r"Progressing +True +NewReplicaSetAvailable",
        rf"OldReplicaSets: +{old} \(0/0 replicas created\)",
        rf"NewReplicaSet: +{new} \(2/2 replicas created\)",
    ):
        assert re.search(line, described), line
    assert kubectl("rollout", "undo", "deploy/web").endswith("deployment.apps/web rolled back\n")
    kubectl("rollout", "status", "deploy/web")
    assert re.search(r"\n2 +<none>\n3 +<none>", kubectl("rollout", "history", "deploy/web"))
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}") == "web:1"


def test_a_paused_deployment_waits_and_one_that_cannot_progress_says_so(kubectl: Kubectl) -> None:
    kubectl("rollout", "pause", "deploy/web")
    kubectl("set", "image", "deploy/web", "web=web:3")
    eventually(lambda: "DeploymentPaused" in kubectl("describe", "deploy", "web"))
    sets = kubectl("get", "rs", "-l", "app=web", "-o", "name")
    kubectl("rollout", "resume", "deploy/web")
    kubectl("rollout", "status", "deploy/web")
    assert len(kubectl("get", "rs", "-l", "app=web", "-o", "name").split()) == len(sets.split()) + 1
    kubectl("patch", "deploy", "web", "-p", '{"spec": {"progressDeadlineSeconds": 2}}')
    stuck = '{"spec": {"template": {"spec": {"nodeSelector": {"disk": "none"}}}}}'
    kubectl("patch", "deploy", "web", "-p", stuck)
    said = kubectl("rollout", "status", "deploy/web", code=1)
    assert 'error: deployment "web" exceeded its progress deadline' in said
    assert re.search(r"Progressing +False +ProgressDeadlineExceeded", kubectl("describe", "deploy", "web"))
    kubectl("patch", "deploy", "web", "-p", '{"spec": {"progressDeadlineSeconds": 600}}')  # long enough for all else
    kubectl("rollout", "undo", "deploy/web")
    kubectl("rollout", "status", "deploy/web")


def test_a_command_that_is_no_program_is_told(kubectl: Kubectl) -> None:
    steps = [
        r"Normal Scheduled default-scheduler: Successfully assigned default/bad to node[12]",
        r'Warning Failed kubelet: Error: .*exec: "/no/such/program": stat /no/such/program: no such file or directory',
        r"Warning BackOff kubelet: Back-off restarting failed container c in pod bad_default\([0-9a-f-]+\)",
    ]
    eventually(lambda: all(in_order(kubectl.told("Pod", "bad"), [step]) for step in steps))
    described = kubectl("describe", "pod", "bad")
    for line in (r"Reason: +CrashLoopBackOff", r"Last State: +Terminated", r"Reason: +StartError", r"Exit Code: +128"):
        assert re.search(line, described), line
    assert re.search(r"bad +0/1 +(CrashLoopBackOff|RunContainerError) +\d+", kubectl("get", "pods"))


def test_probes_that_fail_are_told(kubectl: Kubectl) -> None:
    steps = [r"Normal Scheduled", r"Normal Created kubelet", r"Normal Started kubelet"]
    unready = r"Warning Unhealthy kubelet: Readiness probe failed: dial tcp .*:81: connect: connection refused"
    eventually(lambda: in_order(kubectl.told("Pod", "unready"), [*steps, unready]))
    assert re.search(r"unready +0/1 +Running", kubectl("get", "pods"))
    assert re.search(r"ContainersReady +False", kubectl("describe", "pod", "unready"))
    killed = r"Normal Killing kubelet: Container c failed liveness probe, will be restarted"
    eventually(lambda: in_order(kubectl.told("Pod", "unhealthy"), [killed]))
    assert in_order(kubectl.told("Pod", "unhealthy"), [r"Warning Unhealthy kubelet: Liveness probe failed:"])


def test_a_pod_that_fits_nowhere_is_told(kubectl: Kubectl) -> None:
    why = r"0/2 nodes are available: 2 Insufficient cpu\."
    eventually(lambda: in_order(kubectl.told("Pod", "big"), [rf"Warning FailedScheduling default-scheduler: {why}"]))
    assert re.search(r"PodScheduled +False", kubectl("describe", "pod", "big"))
    assert re.search(r"big +0/1 +Pending +0", kubectl("get", "pods"))


def test_a_drained_node_is_told(kubectl: Kubectl) -> None:
    where = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{'\\n'}{end}"
    before = dict(line.split() for line in kubectl("get", "pods", "-l", "app=web", "-o", where).splitlines())
    said = kubectl("drain", "node2", "--force", "--ignore-daemonsets", "--timeout=60s")
    assert said.startswith("node/node2 cordoned\n") and said.endswith("node/node2 drained\n")
    for pod, node in before.items():
        assert (f"evicting pod default/{pod}" in said and f"pod/{pod} evicted" in said) == (node == "node2")
        if node == "node2":
            eventually(lambda pod=pod: in_order(kubectl.told("Pod", pod), [r"Normal Killing kubelet: Stopping"]))  # type: ignore[misc]
    kubectl("rollout", "status", "deploy/web")
    assert "node2" not in kubectl("get", "pods", "-l", "app=web", "-o", where)
    described = kubectl("describe", "node", "node2")
    for line in (
        r"Taints: +node.kubernetes.io/unschedulable:NoSchedule",
        r"Unschedulable: +true",
        r"NodeNotSchedulable +\S+ +kubelet +Node node2 status is now: NodeNotSchedulable",
    ):
        eventually(lambda line=line: re.search(line, kubectl("describe", "node", "node2")))  # type: ignore[misc]
    assert "SchedulingDisabled" in kubectl("get", "nodes") and described
    assert kubectl("uncordon", "node2") == "node/node2 uncordoned\n"
    eventually(lambda: re.search(r"Taints: +<none>", kubectl("describe", "node", "node2")))


def test_a_namespace_that_goes_says_what_keeps_it(kubectl: Kubectl) -> None:
    kubectl("create", "ns", "team")
    kubectl("-n", "team", "create", "cm", "settings")
    kubectl("-n", "team", "patch", "cm", "settings", "-p", '{"metadata": {"finalizers": ["example.com/keep"]}}')
    assert 'namespace "team" deleted' in kubectl("delete", "ns", "team", "--wait=false")
    eventually(lambda: "SomeFinalizersRemain" in kubectl("get", "ns", "team", "-o", "json"))
    assert re.search(r"team +Terminating", kubectl("get", "ns"))
    conditions = {c["type"]: c for c in json.loads(kubectl("get", "ns", "team", "-o", "json"))["status"]["conditions"]}
    remaining, finalizers = conditions["NamespaceContentRemaining"], conditions["NamespaceFinalizersRemaining"]
    assert remaining["message"] == "Some resources are remaining: configmaps. has 1 resource instances"
    words = "Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances"
    assert (finalizers["status"], finalizers["message"]) == ("True", words)
    refused = kubectl("-n", "team", "create", "cm", "late", code=1)
    assert "is forbidden: unable to create new content in namespace team because it is being terminated" in refused
    kubectl("-n", "team", "patch", "cm", "settings", "--type=merge", "-p", '{"metadata": {"finalizers": []}}')
    eventually(lambda: "team" not in kubectl("get", "ns"))


def test_a_set_whose_pods_always_fail_backs_off_and_harms_nobody(kubectl: Kubectl) -> None:
    """Each container is begun again with longer and longer pauses; the set makes no more pods than it asks for."""
    failing = WEB.replace("name: web}", "name: failing}").replace("app: web", "app: failing")
    failing = failing.replace("replicas: 2", "replicas: 3").replace('image: "web:1"', 'image: x, command: ["false"]')
    kubectl("apply", "-f", "-", stdin=failing)
    counted = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
    eventually(lambda: kubectl("get", "pods", "-l", "app=failing").count("CrashLoopBackOff") == 3)
    restarts = [int(word) for word in kubectl("get", "pods", "-l", "app=failing", "-o", counted).split()]
    assert len(restarts) == 3 and max(restarts) <= 4
    assert len(kubectl("get", "pods", "-l", "app=failing", "-o", "name").split()) == 3
    pod = kubectl("get", "pods", "-l", "app=failing", "-o", "name").split()[0].partition("/")[2]
    backoff = r"Warning BackOff kubelet: Back-off restarting failed container web"
    eventually(lambda: in_order(kubectl.told("Pod", pod), [backoff]))
    assert re.search(r"failing +0/3 +3 +0", kubectl("get", "deploy", "failing"))
    kubectl("scale", "deploy/web", "--replicas=3")
    kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    kubectl("delete", "deploy", "failing", "--wait=false")
    eventually(lambda: "failing-" not in kubectl("get", "pods"))
