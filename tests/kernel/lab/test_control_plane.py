"""What a student sees of the control plane, with a real kubectl in a real lab: how pods are scheduled, and by whom."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubectl
import pytest
from kubectl import Kubectl

from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.lab import running

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)
NODES = "[{name: node1, labels: {zone: a}}, {name: node2, labels: {zone: b}}, {name: node3, labels: {zone: b}}]"
LAB = "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: %s}, spec: {nodes: %s, dns: {enabled: false}}}\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("plane")
    (found / "lab.yaml").write_text(LAB % ("plane", NODES))
    return found


@pytest.fixture(scope="module")
def lab(directory: Path) -> Iterator[Lab]:
    with running(directory) as found:
        yield found


@pytest.fixture(scope="module")
def k(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    home = tmp_path_factory.mktemp("home")
    (home / "config").write_text(lab.run("kubeconfig"))
    program = kubectl.found()
    assert program
    return Kubectl(program, home, home / "config")


def pod(name: str, spec: str = "", container: str = "", labels: str = "") -> str:
    return f"""---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}}}
spec: {{terminationGracePeriodSeconds: 0, {spec} containers: [{{name: c, {container}}}]}}
"""


def made(k: Kubectl, manifest: str) -> None:
    k.run("create", "-f", "-", stdin=manifest)


def gone(k: Kubectl, *names: str) -> None:
    """Which nobody waits for: no other test has pods of these names."""
    k.run("delete", "pod", *names, "--wait=false")


def described(k: Kubectl, name: str) -> str:
    """Without what kubectl folds."""
    return " ".join(k.run("describe", "pod", name).split())


def test_a_pod_that_does_not_fit_says_so_to_kubectl_and_schedule_shows_the_table(lab: Lab, k: Kubectl) -> None:
    made(k, pod("huge", "nodeSelector: {zone: b},", "resources: {requests: {cpu: '4000'}}"))
    k.run("wait", "--for=jsonpath={.status.conditions[0].reason}=Unschedulable", "pod/huge", "--timeout=60s")
    words = (
        "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 Insufficient cpu. no new "
        "claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )
    eventually(lambda: "Warning FailedScheduling" in described(k, "huge"))
    assert words in described(k, "huge")
    shown = lab.run("schedule", "huge")
    assert "node1 ok ok no - - - -" in " ".join(shown.split()) and words in " ".join(shown.split())
    found = lab.json("schedule", "huge", "-o", "json")
    assert [one["rank"] for one in found["nodes"]] == [0, 0, 0] and found["best"] == ""
    assert found["nodes"][1]["reasons"] == ["Insufficient cpu"]
    gone(k, "huge")


def test_schedule_ranks_the_nodes_of_a_pod_and_kubectl_sees_the_best(lab: Lab, k: Kubectl) -> None:
    near = "{topologyKey: zone, labelSelector: {matchLabels: {app: db}}}"
    made(k, pod("db", "nodeName: node3,", labels="app: db"))
    k.run("wait", "--for=condition=Ready", "pod/db", "--timeout=60s")
    wish = f"podAffinity: {{preferredDuringSchedulingIgnoredDuringExecution: [{{weight: 9, podAffinityTerm: {near}}}]}}"
    made(k, pod("near", f"affinity: {{{wish}}},"))
    k.run("wait", "--for=condition=Ready", "pod/near", "--timeout=60s")
    assert k.json("get", "pod", "near")["spec"]["nodeName"] == "node2"  # of zone b the one with fewer pods
    found = lab.json("schedule", "near", "-o", "json")
    by_name = {one["node"]: one for one in found["nodes"]}
    assert found["node"] == found["best"] == "node2"
    assert by_name["node2"]["scores"]["InterPodAffinity"] == 100 > by_name["node1"]["scores"]["InterPodAffinity"]
    assert sorted(one["rank"] for one in found["nodes"]) == [1, 2, 3]
    gone(k, "db", "near")


def test_a_scheduler_of_ones_own_binds_through_the_api(lab: Lab, k: Kubectl, tmp_path: Path) -> None:
    made(k, pod("mine", "schedulerName: mine,", "ports: [{containerPort: 80}]"))
    assert "mine is to bind it" in lab.run("schedule", "mine")
    binding: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "mine"},
        "target": {"kind": "Node", "name": "node2"},
    }
    (tmp_path / "binding.json").write_text(json.dumps(binding))
    assert not k.json("get", "pod", "mine")["spec"].get("nodeName")
    where = "/api/v1/namespaces/default/pods/mine/binding"
    k.run("create", "--raw", where, "-f", str(tmp_path / "binding.json"))
    k.run("wait", "--for=condition=Ready", "pod/mine", "--timeout=60s")
    assert k.json("get", "pod", "mine")["spec"]["nodeName"] == "node2"
    assert lab.probe("node1", "mine:80").ok
    gone(k, "mine")


def test_a_more_important_pod_takes_the_place_of_a_less_important_one(lab: Lab, k: Kubectl) -> None:
    cpu = int(k.json("get", "node", "node1")["status"]["allocatable"]["cpu"])
    most = f"command: [sleep, infinity], resources: {{requests: {{cpu: '{cpu}'}}}}"
    high = "---\n{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: high}, value: 1000}\n"
    made(k, pod("low", "nodeSelector: {zone: a},", most) + high)
    k.run("wait", "--for=condition=Ready", "pod/low", "--timeout=60s")
    made(k, pod("high", "nodeSelector: {zone: a}, priorityClassName: high,", most))
    k.run("wait", "--for=condition=Ready", "pod/high", "--timeout=60s")
    uid = k.json("get", "pod", "high")["metadata"]["uid"]
    told = "--field-selector=reason=Preempted"
    eventually(lambda: k.json("get", "events", told)["items"])
    (event,) = k.json("get", "events", told)["items"]
    assert event["message"] == f"Preempted by pod {uid} on node node1"
    assert k.run("get", "pod", "low", "--ignore-not-found") == ""
    gone(k, "high")


# --- probes and hooks ---


WEB = "ports: [{containerPort: 80, name: web}]"
SERVES = "command: [python3, -m, http.server, '80']"


def events(k: Kubectl, name: str) -> list[tuple[str, str]]:
    found = k.json("get", "events", f"--field-selector=involvedObject.name={name}")["items"]
    return [(one["reason"], one["message"]) for one in found]


def test_a_pod_gets_traffic_only_while_its_readiness_probe_succeeds(lab: Lab, k: Kubectl, tmp_path: Path) -> None:
    flag = tmp_path / "ready"
    patient = "periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1"
    probe = f"readinessProbe: {{exec: {{command: [cat, {flag}]}}, {patient}}}"
    spec = "{selector: {app: shy}, ports: [{port: 80}]}"
    service = f"---\n{{apiVersion: v1, kind: Service, metadata: {{name: shy}}, spec: {spec}}}\n"
    made(k, pod("shy", container=f"{WEB}, {probe}, {SERVES}", labels="app: shy") + service)
    k.run("wait", "--for=jsonpath={.status.phase}=Running", "pod/shy", "--timeout=60s")
    eventually(lambda: any(reason == "Unhealthy" for reason, _ in events(k, "shy")))
    (message,) = {text for reason, text in events(k, "shy") if reason == "Unhealthy"}
    assert message.startswith(f"Readiness probe failed: cat: {flag}: No such file or directory")
    assert k.run("get", "pod", "shy", "--no-headers").split()[1:3] == ["0/1", "Running"]
    assert "ContainersNotReady" in k.run("get", "pod", "shy", "-o", "yaml")
    assert not lab.probe("node1", "svc/shy:80").ok
    flag.touch()
    k.run("wait", "--for=condition=Ready", "pod/shy", "--timeout=60s")
    eventually(lambda: lab.probe("node1", "svc/shy:80").ok)
    flag.unlink()
    k.run("wait", "--for=condition=Ready=false", "pod/shy", "--timeout=60s")
    eventually(lambda: not lab.probe("node1", "svc/shy:80").ok)
    k.run("delete", "svc", "shy")
    gone(k, "shy")


def test_a_container_whose_liveness_probe_fails_is_started_again(k: Kubectl) -> None:
    probe = "livenessProbe: {httpGet: {port: web, path: /healthz}, periodSeconds: 1, failureThreshold: 1}"
    command = "command: [sh, -c, 'trap \"exit 0\" TERM; while :; do sleep 0.1; done']"
    made(k, pod("ill", container=f"{WEB}, {probe}, {command}"))
    k.run("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/ill", "--timeout=60s")
    ip = k.json("get", "pod", "ill")["status"]["podIP"]
    refused = f'Liveness probe failed: Get "http://{ip}:80/healthz": dial tcp {ip}:80: connect: connection refused'
    killing = "Container c failed liveness probe, will be restarted"
    eventually(lambda: {("Unhealthy", refused), ("Killing", killing)} <= set(events(k, "ill")))
    shown = described(k, "ill")
    assert "Liveness: http-get http://:web/healthz delay=0s timeout=1s period=1s" in shown, shown
    gone(k, "ill")


HEALTH = """
import grpc, pathlib, sys
from concurrent import futures
def answer(question, context):
    if question != b"\\x0a\\x04shop":
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\\x08\\x01" if pathlib.Path(sys.argv[1]).exists() else b"\\x08\\x02"
server = grpc.server(futures.ThreadPoolExecutor(2))
check = {"Check": grpc.unary_unary_rpc_method_handler(answer)}
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", check)])
server.add_insecure_port("0.0.0.0:9000")
server.start()
server.wait_for_termination()
"""


def test_a_health_service_is_asked_by_grpc_for_the_service_of_the_probe(k: Kubectl, tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    program, flag = tmp_path / "health.py", tmp_path / "serving"
    program.write_text(HEALTH)
    probe = "{grpc: {port: 9000, service: %s}, periodSeconds: 1, timeoutSeconds: 5}"
    command = f"command: ['{sys.executable}', '{program}', '{flag}']"
    asked = "readinessProbe: " + probe
    made(
        k, pod("rpc", container=f"{command}, {asked % 'shop'}") + pod("wrong", container=f"{command}, {asked % 'nix'}")
    )
    unwell = ("Unhealthy", 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")')
    eventually(lambda: unwell in events(k, "rpc"))
    flag.touch()
    k.run("wait", "--for=condition=Ready", "pod/rpc", "--timeout=60s")
    refused = (
        "Readiness probe failed: error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"
    )
    eventually(lambda: ("Unhealthy", refused) in events(k, "wrong"))
    flag.unlink()
    k.run("wait", "--for=condition=Ready=false", "pod/rpc", "--timeout=60s")
    assert "Readiness: grpc <pod>:9000 shop delay=0s timeout=5s period=1s" in described(k, "rpc")
    gone(k, "rpc", "wrong")


def test_nothing_is_asked_before_the_startup_probe_has_succeeded(lab: Lab, k: Kubectl, tmp_path: Path) -> None:
    flag = tmp_path / "started"
    startup = f"startupProbe: {{exec: {{command: [cat, {flag}]}}, periodSeconds: 1, failureThreshold: 100}}"
    ready = "readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1, timeoutSeconds: 60}"
    made(k, pod("slow", container=f"{WEB}, {startup}, {ready}, {SERVES}"))
    eventually(lambda: any(text.startswith("Startup probe failed: cat") for _, text in events(k, "slow")))
    eventually(lambda: lab.probe("node1", "slow:80").reached)
    (status,) = k.json("get", "pod", "slow")["status"]["containerStatuses"]
    assert status["state"].keys() == {"running"} and not status["started"] and not status["ready"]
    flag.touch()
    k.run("wait", "--for=condition=Ready", "pod/slow", "--timeout=60s")
    assert not any("Readiness" in text for _, text in events(k, "slow"))
    gone(k, "slow")


def test_a_stand_in_is_asked_what_it_can_answer_and_nothing_of_its_image(k: Kubectl, tmp_path: Path) -> None:
    """Its hooks are not done: a program of that name is the machine's, and about something else."""
    file = tmp_path / "done"
    probes = (
        "livenessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1, failureThreshold: 1}",
        "readinessProbe: {httpGet: {port: web, path: /healthz}, periodSeconds: 1, failureThreshold: 1}",
        "startupProbe: {tcpSocket: {port: 6379}, periodSeconds: 1, failureThreshold: 1}",
        f"lifecycle: {{postStart: {{exec: {{command: [touch, {file}]}}}}}}",
    )
    made(k, pod("redis", container=", ".join((WEB, *probes))))
    k.run("wait", "--for=condition=Ready", "pod/redis", "--timeout=60s")
    (status,) = k.json("get", "pod", "redis")["status"]["containerStatuses"]
    assert (status["restartCount"], status["ready"], status["started"]) == (0, True, True)
    assert not file.exists() and not any(reason == "Unhealthy" for reason, _ in events(k, "redis"))
    gone(k, "redis")


def test_hooks_are_done_when_a_container_begins_and_before_it_ends(k: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "done"
    begins = f"postStart: {{exec: {{command: [sh, -c, 'echo begun >> {file}']}}}}"
    ends = f"preStop: {{exec: {{command: [sh, -c, 'echo ending >> {file}']}}}}"
    command = f"command: [sh, -c, 'trap \"echo ended >> {file}; exit 0\" TERM; while :; do sleep 0.1; done']"
    hooked = pod("hooked", container=f"{command}, lifecycle: {{{begins}, {ends}}}")
    made(k, hooked.replace("terminationGracePeriodSeconds: 0", "terminationGracePeriodSeconds: 20"))
    k.run("wait", "--for=condition=Ready", "pod/hooked", "--timeout=60s")
    assert file.read_text() == "begun\n"
    k.run("delete", "pod", "hooked", "--timeout=60s")
    assert file.read_text() == "begun\nending\nended\n"
    made(
        k, pod("failing", container="command: [sleep, infinity], lifecycle: {postStart: {exec: {command: ['false']}}}")
    )
    eventually(lambda: ("FailedPostStartHook", "PostStartHook failed") in events(k, "failing"))
    gone(k, "failing")


def test_a_command_that_is_deaf_to_sigterm_has_all_of_its_time_and_its_endpoint_is_terminating(k: Kubectl) -> None:
    """Process 1 of a container without a handler: the kernel brings SIGTERM to none of these. A finalizer keeps what
    became of it."""
    spec = "{selector: {app: deaf}, ports: [{port: 80}]}"
    service = f"---\n{{apiVersion: v1, kind: Service, metadata: {{name: deaf}}, spec: {spec}}}\n"
    deaf = pod("deaf", container=f"{SERVES}, {WEB}", labels="app: deaf")
    deaf = deaf.replace("labels:", "finalizers: [example.com/kept], labels:").replace("Seconds: 0", "Seconds: 300")
    made(k, deaf + service)
    k.run("wait", "--for=condition=Ready", "pod/deaf", "--timeout=60s")
    k.run("delete", "pod", "deaf", "--grace-period=12", "--wait=false")

    def conditions() -> list[dict[str, bool]]:
        found = k.json("get", "endpointslices", "-l", "kubernetes.io/service-name=deaf")["items"]
        return [one["conditions"] for slice_ in found for one in slice_["endpoints"] or ()]

    eventually(lambda: conditions() == [{"ready": False, "serving": True, "terminating": True}])
    assert k.run("get", "pod", "deaf", "--no-headers").split()[1:3] == ["1/1", "Terminating"]
    assert k.run("exec", "deaf", "--", "hostname").strip() == "deaf"
    eventually(lambda: "terminated" in k.json("get", "pod", "deaf")["status"]["containerStatuses"][0]["state"])
    found = k.json("get", "pod", "deaf")
    ended = found["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["signal"], ended["reason"]) == (137, 9, "Error")
    assert ended["finishedAt"] >= found["metadata"]["deletionTimestamp"]
    k.run("patch", "pod", "deaf", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    k.run("delete", "svc", "deaf")


def test_init_containers_are_run_in_turn_before_the_others_and_a_failed_one_holds_them_up(
    lab: Lab, k: Kubectl, tmp_path: Path
) -> None:
    file, flag = tmp_path / "order", tmp_path / "go"
    first = f"{{name: first, command: [sh, -c, 'until [ -e {flag} ]; do sleep 0.1; done; echo first >> {file}']}}"
    second = f"{{name: second, command: [sh, -c, 'echo second >> {file}']}}"
    main = f"command: [sh, -c, 'echo main >> {file}; exec sleep infinity']"
    made(k, pod("turn", f"initContainers: [{first}, {second}],", main))
    eventually(lambda: k.run("get", "pod", "turn", "--no-headers").split()[1:3] == ["0/1", "Init:0/2"])
    (waiting,) = k.json("get", "pod", "turn")["status"]["containerStatuses"]
    assert waiting["state"] == {"waiting": {"reason": "PodInitializing"}}
    told = {one["type"]: one for one in k.json("get", "pod", "turn")["status"]["conditions"]}
    assert told["Initialized"]["message"] == "containers with incomplete status: [first second]"
    flag.touch()
    k.run("wait", "--for=condition=Ready", "pod/turn", "--timeout=60s")
    assert file.read_text().split() == ["first", "second", "main"]
    assert k.run("get", "pod", "turn", "--no-headers").split()[1:3] == ["1/1", "Running"]
    assert "turn" not in lab.run("status")
    gone(k, "turn")
    bad = "{name: bad, command: ['false']}"
    made(k, pod("held", f"initContainers: [{bad}],") + pod("over", f"restartPolicy: Never, initContainers: [{bad}],"))
    eventually(lambda: k.run("get", "pod", "held", "--no-headers").split()[2] == "Init:CrashLoopBackOff")
    eventually(lambda: k.run("get", "pod", "over", "--no-headers").split()[2] == "Init:Error")
    assert k.json("get", "pod", "over")["status"]["phase"] == "Failed"
    gone(k, "held", "over")


def test_variables_come_from_the_pod_from_config_maps_and_secrets_and_are_waited_for(
    k: Kubectl, tmp_path: Path
) -> None:
    file = tmp_path / "env"
    env = (
        "{name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}},"
        "{name: APP, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}},"
        "{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}},"
        "{name: MILLI, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}},"
        "{name: COLOUR, valueFrom: {configMapKeyRef: {name: paint, key: colour}}},"
        "{name: WORD, valueFrom: {secretKeyRef: {name: hidden, key: word}}},"
        "{name: NONE, valueFrom: {secretKeyRef: {name: none, key: word, optional: true}}},"
        '{name: BOTH, value: "$(ME)-$(COLOUR)"}'
    )
    command = f"command: [sh, -c, 'env > {file}.new; mv {file}.new {file}; exec sleep infinity']"
    more = "envFrom: [{configMapRef: {name: paint}, prefix: P_}], resources: {requests: {cpu: 10m}}"
    made(k, pod("vars", container=f"{command}, env: [{env}], {more}", labels="app: web"))
    eventually(lambda: k.run("get", "pod", "vars", "--no-headers").split()[2] == "CreateContainerConfigError")
    eventually(lambda: ("Failed", 'Error: configmap "paint" not found') in events(k, "vars"))
    k.run("create", "configmap", "paint", "--from-literal=colour=red")
    k.run("create", "secret", "generic", "hidden", "--from-literal=word=sesame")
    k.run("wait", "--for=condition=Ready", "pod/vars", "--timeout=60s")
    found = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
    ip = k.json("get", "pod", "vars")["status"]["podIP"]
    wanted = {"ME": "vars", "APP": "web", "IP": ip, "MILLI": "10", "COLOUR": "red", "WORD": "sesame"}
    assert {name: found[name] for name in wanted} == wanted
    assert (found["BOTH"], found["P_colour"]) == ("vars-red", "red") and "NONE" not in found
    gone(k, "vars")


def test_a_killed_process_comes_back_and_what_has_none_is_named(lab: Lab, k: Kubectl) -> None:
    made(k, pod("worker", container="command: [sleep, infinity]") + pod("plain", container=WEB))
    k.run("wait", "--for=condition=Ready", "pod/worker", "pod/plain", "--timeout=60s")
    assert "not on node9" in lab.run("process", "kill", "worker", "--node", "node9", code=2)
    done = lab.json("process", "kill", "worker", "-o", "json")
    assert (done["kind"], done["name"], done["containers"]) == ("pod", "default/worker", ["c"])
    k.run("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/worker", "--timeout=60s")
    k.run("wait", "--for=condition=Ready", "pod/worker", "--timeout=60s")
    (status,) = k.json("get", "pod", "worker")["status"]["containerStatuses"]
    ended = status["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")
    assert "has no process: its containers have no command" in lab.run("process", "kill", "plain", code=1)
    gone(k, "worker", "plain")
    lab.run("guest", "start", "tick", "--node", "node2", "--", "sleep", "infinity")
    assert "tick on node2: killed" in lab.run("process", "kill", "tick")
    eventually(lambda: lab.json("guest", "list", "-o", "json")["guests"][0]["restarts"] == 1)
    lab.run("guest", "stop", "tick")


def test_leases_say_who_leads_and_a_daemon_that_begins_takes_them(lab: Lab, k: Kubectl, directory: Path) -> None:
    def held() -> dict[str, Any]:
        found = k.json("get", "leases", "-n", "kube-system")["items"]
        return {one["metadata"]["name"]: one["spec"] for one in found}

    before = held()
    assert before.keys() == {"kube-scheduler", "kube-controller-manager"}
    assert {one["leaseDurationSeconds"] for one in before.values()} == {15}
    for name, spec in before.items():
        told = k.json("get", "events", "-n", "kube-system", f"--field-selector=involvedObject.name={name}")["items"]
        assert f"{spec['holderIdentity']} became leader" in {one["message"] for one in told}
    shown = lab.json("controlplane", "status", "-o", "json")
    assert {one["name"]: one["holder"] for one in shown["leaders"]} == {
        name: spec["holderIdentity"] for name, spec in before.items()
    }
    assert [one["node"] for one in shown["agents"]] == ["router", "node1", "node2", "node3"]
    assert shown["healthy"] and "kube-scheduler" in lab.run("controlplane", "status")
    assert "keeps Lease" in k.run("delete", "lease", "-n", "kube-system", "kube-scheduler", code=1)
    lab.kill("daemon")  # and waits: while it ends, its port is not free, and another one would take another
    lab.up(directory)  # which begins another one; the API listens again where it did
    eventually(lambda: k.try_("get", "--raw", "/readyz").returncode == 0)
    eventually(lambda: all(held()[name]["holderIdentity"] != before[name]["holderIdentity"] for name in before))
    after = held()
    for name, spec in after.items():
        assert spec["holderIdentity"] != before[name]["holderIdentity"]
        assert spec["leaseTransitions"] == before[name]["leaseTransitions"] + 1
