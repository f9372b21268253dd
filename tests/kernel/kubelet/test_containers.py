"""What a pod's commands see: processes, files and volumes of their own, in namespaces that a pause process holds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.kernel import bounds, cgroups
from k8snetlab.kubelet.runner import PIDS
from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.lab import running

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: kub}
spec: {nodes: 1, dns: {enabled: false}, images: {small: HOST/root, "gone:1": HOST/none}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: cfg}, data: {a.conf: old, b: two}}
---
{apiVersion: v1, kind: Secret, metadata: {name: sec}, stringData: {pw: open}}
---
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - {name: first, command: [sh, -c, "echo >> /data/begun"], volumeMounts: [{name: e, mountPath: /data}]}
  containers:
  - name: one
    command: [sh, -c, "echo hello > /data/said; exec sleep 1000"]
    volumeMounts:
    - {name: e, mountPath: /data}
    - {name: cfg, mountPath: /config}
    - {name: cfg, mountPath: /etc/one.conf, subPath: a.conf}
    - {name: all, mountPath: /var/lib/not/there/all}
    - {name: host, mountPath: /theirs}
  - {name: other, command: [sleep, "1001"], volumeMounts: [{name: e, mountPath: /data, readOnly: true}]}
  volumes:
  - {name: e, emptyDir: {}}
  - {name: cfg, configMap: {name: cfg}}
  - {name: host, hostPath: {path: HOST, type: Directory}}
  - name: all
    projected:
      sources:
      - {secret: {name: sec, items: [{key: pw, path: deep/pw, mode: 0400}]}}
      - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
      - {serviceAccountToken: {path: token, audience: them}}
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("host")


@pytest.fixture(scope="module")
def lab(host: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("kub")
    (directory / "lab.yaml").write_text(LAB.replace("HOST", str(host)))
    with running(directory) as found:
        yield found


def inside(lab: Lab, script: str, pod: str = "two") -> str:
    return lab.run("exec", pod, "--", "sh", "-c", script)


def commands(lab: Lab, pod: str = "two") -> list[str]:
    """Of the processes that somebody in there sees, but for those that look."""
    shown = inside(lab, "ps ax -o args=", pod).splitlines()
    return [one for one in shown if not one.startswith(("ps ", "sh -c ps"))]


def status(lab: Lab, pod: str = "two") -> dict[str, Any]:
    found: dict[str, Any] = lab.get("pod", pod)["status"]
    return found


def waiting(lab: Lab, pod: str) -> list[str]:
    return [one["state"]["waiting"]["reason"] for one in status(lab, pod)["containerStatuses"]]


def restarts(lab: Lab) -> dict[str, int]:
    return {one["name"]: one["restartCount"] for one in status(lab)["containerStatuses"]}


def events(lab: Lab, pod: str) -> list[tuple[str, str]]:
    return [(one["reason"], one["message"]) for one in lab.list("events") if one["involvedObject"]["name"] == pod]


def is_ready(lab: Lab, pod: str = "two") -> bool:
    found = next((one for one in lab.list("pods", "default") if one["metadata"]["name"] == pod), None)
    conditions = found["status"].get("conditions", ()) if found else ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def test_a_container_sees_its_own_processes_and_kills_nobody_elses(lab: Lab) -> None:
    eventually(lambda: commands(lab) == ["sleep 1000"])  # a shell becomes it
    machine = {kind: str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("ipc", "uts", "pid", "mnt", "net")}
    seen = dict(
        line.split()
        for line in inside(
            lab, "for k in ipc uts pid mnt net; do echo $k $(readlink /proc/self/ns/$k); done"
        ).splitlines()
    )
    assert not set(seen.values()) & set(machine.values())
    assert inside(lab, "hostname").strip() == "two"
    before = restarts(lab)
    inside(lab, "kill -9 -1; exit 0")
    assert commands(lab) == ["sleep 1000"], "the first process of a container is deaf to its own"
    assert restarts(lab) == before


def test_volumes_are_where_the_container_wants_them(lab: Lab, host: Path) -> None:
    (host / "file").write_text("of the machine")
    assert inside(lab, "cat /config/a.conf /config/b /etc/one.conf /data/said").split() == ["oldtwooldhello"]
    assert inside(lab, "readlink /config/a.conf; cat /theirs/file") == "..data/a.conf\nof the machine"
    shown = inside(
        lab, "cd /var/lib/not/there/all; cat deep/pw; stat -L -c ' %a ' deep/pw; cat labels; cut -c1-3 token"
    )
    assert shown.split() == ["open", "400", 'app="web"eyJ']
    for place in ("/config", "/theirs", "/var/lib/not/there/all"):
        assert "Read-only" in lab.run("exec", "two", "--", "touch", f"{place}/x", code=1)
    assert not (host / "x").exists() and not Path("/var/lib/not").exists() and not Path("/config").exists()


def test_a_changed_config_map_is_read_at_once_but_for_a_part_of_it(lab: Lab) -> None:
    lab.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: cfg}, data: {a.conf: new, c: three}}")
    eventually(lambda: inside(lab, "cat /config/a.conf /config/c; ls /config").split() == ["newthreea.conf", "c"])
    assert inside(lab, "cat /etc/one.conf") == "old"


def test_a_killed_container_is_started_again_in_the_same_network(lab: Lab) -> None:
    """And reads what its volumes hold now."""
    net = inside(lab, "readlink /proc/self/ns/net")
    before, begun = restarts(lab), inside(lab, "wc -l < /data/begun")
    said = lab.run("process", "kill", "two", "-c", "one")
    assert said.strip().endswith("killed one")
    eventually(lambda: restarts(lab)["one"] == before["one"] + 1 and is_ready(lab))
    assert inside(lab, "readlink /proc/self/ns/net") == net and restarts(lab)["other"] == before["other"]
    assert inside(lab, "cat /etc/one.conf") == "new"
    assert inside(lab, "wc -l < /data/begun") == begun, "init containers are not run again"
    last = next(one for one in status(lab)["containerStatuses"] if one["name"] == "one")["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "Error")


def test_a_killed_pause_process_makes_the_sandbox_again_with_all_containers(lab: Lab) -> None:
    net, ip = inside(lab, "readlink /proc/self/ns/net"), status(lab)["podIP"]
    before, begun = restarts(lab), int(inside(lab, "wc -l < /data/begun"))
    assert lab.run("process", "kill", "two", "-c", "pause").strip().endswith("killed pause")
    eventually(lambda: all(n == before[c] + 1 for c, n in restarts(lab).items()) and is_ready(lab))
    assert inside(lab, "readlink /proc/self/ns/net") != net and status(lab)["podIP"] == ip
    assert int(inside(lab, "wc -l < /data/begun")) == begun + 1, "init containers are run again"
    changed = ("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
    eventually(lambda: changed in events(lab, "two"))
    assert lab.probe("node1", "two", "-p", "icmp").ok


def test_a_pod_waits_for_what_it_mounts_and_says_for_what(lab: Lab) -> None:
    volume = "volumes: [{name: v, secret: {secretName: late}}]"
    container = "{name: c, command: [sh, -c, 'exec sleep 1000'], volumeMounts: [{name: v, mountPath: /v}]}"
    spec = f"{{terminationGracePeriodSeconds: 0, {volume}, containers: [{container}]}}"
    manifest = f"{{apiVersion: v1, kind: Pod, metadata: {{name: waits}}, spec: {spec}}}"
    lab.run("apply", "--wait", "false", "-f", "-", stdin=manifest)
    failed = ("FailedMount", 'MountVolume.SetUp failed for volume "v" : secret "late" not found')
    eventually(lambda: failed in events(lab, "waits"))
    eventually(lambda: waiting(lab, "waits") == ["ContainerCreating"])  # an Event may be there before the status
    lab.apply("{apiVersion: v1, kind: Secret, metadata: {name: late}, stringData: {k: here}}")
    eventually(lambda: is_ready(lab, "waits"))
    assert inside(lab, "cat /v/k", "waits") == "here"
    lab.run("delete", "pod", "waits")


def test_containers_that_share_their_processes_see_each_other(lab: Lab) -> None:
    names = "[{name: a, command: [sleep, '2000']}, {name: b, command: [sleep, '2001']}]"
    spec = f"{{shareProcessNamespace: true, terminationGracePeriodSeconds: 0, containers: {names}}}"
    lab.apply(f"{{apiVersion: v1, kind: Pod, metadata: {{name: shared}}, spec: {spec}}}")
    shown = commands(lab, "shared")
    assert len(shown) == 3 and set(shown[1:]) == {"sleep 2000", "sleep 2001"}
    assert inside(lab, "cat /proc/1/comm", "shared").strip() == "pause"
    inside(lab, "(sleep 0.2 &) ; kill $(pgrep -f '[s]leep 2001')", "shared")
    eventually(lambda: any(one["restartCount"] == 1 for one in status(lab, "shared")["containerStatuses"]))
    eventually(lambda: "Z" not in inside(lab, "ps ax -o stat= | cut -c1", "shared").split())
    lab.run("delete", "pod", "shared")


def test_a_stateful_set_finds_its_volume_again(lab: Lab) -> None:
    script = "[ -e /data/first ] || hostname > /data/first; exec sleep 1000"
    container = f"{{name: c, command: [sh, -c, '{script}'], volumeMounts: [{{name: data, mountPath: /data}}]}}"
    template = (
        f"{{metadata: {{labels: {{app: db}}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{container}]}}}}"
    )
    claim = "{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"
    which = "replicas: 1, selector: {matchLabels: {app: db}}"
    spec = f"{{{which}, template: {template}, volumeClaimTemplates: [{claim}]}}"
    lab.apply(f"{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: db}}, spec: {spec}}}")
    (volume,) = lab.get("pod", "db-0")["spec"]["volumes"]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}
    uid = lab.get("pod", "db-0")["metadata"]["uid"]
    inside(lab, "echo more >> /data/first", "db-0")
    lab.run("delete", "pod", "db-0")
    eventually(lambda: is_ready(lab, "db-0") and lab.get("pod", "db-0")["metadata"]["uid"] != uid)
    assert inside(lab, "cat /data/first", "db-0").split() == ["db-0", "more"]
    lab.run("delete", "statefulset", "db")


# --- static pods ---


STATIC = """
{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: static}}, spec: {terminationGracePeriodSeconds: 0,
containers: [{name: c, command: [sleep, "WORD"]}]}}
"""


def test_a_static_pod_goes_on_when_its_mirror_is_deleted_and_ends_with_its_file(lab: Lab) -> None:
    directory = lab.run_directory / lab.name / "manifests" / "node1"
    directory.mkdir(parents=True)
    (directory / "bad.yaml").write_text("{apiVersion: v1, kind: Service, metadata: {name: s}}")
    (directory / "a-link.yaml").symlink_to("nowhere")
    os.mkfifo(directory / "a-pipe.yaml")
    (directory / "web.yaml").write_text(STATIC.replace("WORD", "3000"))
    eventually(lambda: is_ready(lab, "web-node1"))
    mirror = lab.get("pod", "web-node1")["metadata"]
    assert mirror["annotations"]["kubernetes.io/config.source"] == "file"
    assert mirror["ownerReferences"][0]["kind"] == "Node"
    eventually(lambda: any(reason == "FailedStaticPod" and "bad.yaml" in text for reason, text in events(lab, "node1")))
    began = inside(lab, "readlink /proc/self/ns/pid /proc/self/ns/net", "web-node1")
    lab.run("delete", "pod", "web-node1")
    eventually(lambda: is_ready(lab, "web-node1") and lab.get("pod", "web-node1")["metadata"]["uid"] != mirror["uid"])
    assert inside(lab, "readlink /proc/self/ns/pid /proc/self/ns/net", "web-node1") == began
    assert status(lab, "web-node1")["containerStatuses"][0]["restartCount"] == 0
    assert lab.probe("node1", "web-node1", "-p", "icmp").ok
    (directory / "web.yaml").write_text(STATIC.replace("WORD", "3001"))
    eventually(lambda: is_ready(lab, "web-node1") and commands(lab, "web-node1") == ["sleep 3001"])
    (directory / "web.yaml").unlink()
    eventually(lambda: not any(one["metadata"]["name"] == "web-node1" for one in lab.list("pods")))


# --- images ---


def root_of(at: Path, *programs: str) -> None:
    """A root directory with these programs of the machine's, and what they load."""
    for program in programs:
        found = shutil.which(program)
        assert found
        files = {found: f"bin/{program}"}
        for word in subprocess.run(["ldd", found], text=True, capture_output=True, check=False).stdout.split():
            if word.startswith("/"):
                files[word] = word[1:]
        for source, place in files.items():
            (at / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(source).resolve(), at / place)


def test_an_image_is_a_directory_that_a_command_has_for_its_root(lab: Lab, host: Path) -> None:
    root = host / "root"
    root_of(root, "sh", "cat", "ls", "sleep", "readlink")
    mounts = "volumeMounts: [{name: cfg, mountPath: /srv/cfg}]"
    command = "command: [sh, -c, 'echo mine > /written; exec sleep 1000']"
    volume = "volumes: [{name: cfg, configMap: {name: cfg}}]"
    container = f"{{name: c, image: 'small:7', {command}, {mounts}}}"
    spec = f"{{terminationGracePeriodSeconds: 0, {volume}, containers: [{container}]}}"
    lab.apply(f"{{apiVersion: v1, kind: Pod, metadata: {{name: rooted}}, spec: {spec}}}")
    seen = inside(lab, "ls /; cat /written /srv/cfg/c /etc/hostname; readlink /proc/self/exe", "rooted").split()
    assert {"bin", "dev", "etc", "proc", "srv", "sys", "written"} <= set(seen) and "home" not in seen
    assert seen[-3:] == ["mine", "threerooted", "/bin/readlink"]
    assert not (root / "written").exists(), "what a container writes is its own"
    lab.run("delete", "pod", "rooted")


def test_an_image_that_is_not_where_the_lab_says_keeps_its_container_waiting(lab: Lab, host: Path) -> None:
    spec = "{terminationGracePeriodSeconds: 0, containers: [{name: c, image: 'gone:1', command: [sleep, '1000']}]}"
    manifest = f"{{apiVersion: v1, kind: Pod, metadata: {{name: gone}}, spec: {spec}}}"
    lab.run("apply", "--wait", "false", "-f", "-", stdin=manifest)
    eventually(lambda: any('Failed to pull image "gone:1"' in message for _, message in events(lab, "gone")))
    eventually(lambda: waiting(lab, "gone") == ["ErrImagePull"])
    root_of(host / "none", "sleep")
    eventually(lambda: is_ready(lab, "gone"))
    lab.run("delete", "pod", "gone")


# --- limits ---

FORKS = """
import errno, os, time
made = []
try:
    while len(made) < 5000:
        pid = os.fork()
        if not pid:
            time.sleep(600)
        made.append(pid)
except OSError as error:
    print(len(made), errno.errorcode[error.errno], flush=True)
for pid in made:
    os.kill(pid, 9)
time.sleep(1000)
"""


@pytest.fixture(scope="module")
def lacking() -> Iterator[frozenset[str]]:
    """The controllers that nobody can use here."""
    hierarchy = cgroups.hierarchy()
    if hierarchy is None:
        yield frozenset({"memory", "cpu", "pids"})
        return
    group = hierarchy / f"k8snetlab-test-{os.getpid()}" / "bounded"
    found = bounds.hold(group, bounds.Bounds(memory=1 << 30, cpu=1000, pids=100))
    cgroups.end(group.parent)
    bounds.remove(group.parent)
    yield frozenset(found)


def test_a_container_that_takes_too_much_memory_is_killed_for_that(lab: Lab, lacking: frozenset[str]) -> None:
    limits = "resources: {limits: {memory: 48Mi, cpu: '1'}}"
    command = "command: [python3, -c, 'import time; x = bytearray(200 << 20); time.sleep(1000)']"
    spec = f"{{restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{{name: c, {command}, {limits}}}]}}"
    manifest = f"{{apiVersion: v1, kind: Pod, metadata: {{name: hog}}, spec: {spec}}}"
    lab.run("apply", "--wait", "false", "-f", "-", stdin=manifest)
    if "memory" in lacking:
        eventually(lambda: any(reason == "LimitNotEnforced" for reason, _ in events(lab, "hog")))
    else:
        eventually(lambda: status(lab, "hog").get("phase") == "Failed")
        (ended,) = (one["state"]["terminated"] for one in status(lab, "hog")["containerStatuses"])
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    lab.run("delete", "pod", "hog")


def test_a_container_that_forks_without_end_comes_to_its_bound(lab: Lab, lacking: frozenset[str]) -> None:
    if "pids" in lacking:
        pytest.skip("this machine lets nobody use the cgroup controller pids")
    script = FORKS.strip().replace("\n", "\\n").replace('"', '\\"')
    spec = f'{{terminationGracePeriodSeconds: 0, containers: [{{name: c, command: [python3, -c, "{script}"]}}]}}'
    lab.apply(f"{{apiVersion: v1, kind: Pod, metadata: {{name: forks}}, spec: {spec}}}")
    eventually(lambda: "EAGAIN" in lab.run("logs", "forks"))
    assert int(lab.run("logs", "forks").split()[0]) < PIDS
    assert lab.probe("node1", "two", "-p", "icmp").ok
    lab.run("delete", "pod", "forks")
