"""A lab is kept, changed and brought back, and built anew from what was kept; what cannot be restored is refused."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.testing import Lab, eventually

pytestmark = pytest.mark.lab("lessons/08-service", scope="module")
EXTRA = """
apiVersion: v1
kind: ConfigMap
metadata: {name: extra}
data: {key: value}
---
apiVersion: v1
kind: Service
metadata: {name: extra}
spec: {type: NodePort, selector: {app: extra}, ports: [{port: 81, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: extra}
spec:
  replicas: 2
  selector: {matchLabels: {app: extra}}
  template:
    metadata: {labels: {app: extra}}
    spec: {containers: [{name: extra, image: nginx, ports: [{containerPort: 8080}]}]}
"""


def addresses(lab: Lab) -> dict[str, Any]:
    """Whatever is given to somebody in a lab: pods' names, nodes and addresses, subnets, cluster IPs, node ports."""
    pods = {p["metadata"]["name"]: (p["spec"]["nodeName"], p["status"]["podIP"]) for p in items(lab, "pods")}
    services = {s["metadata"]["name"]: (s["spec"]["clusterIPs"], s["spec"]["ports"]) for s in items(lab, "services")}
    subnets = {n["metadata"]["name"]: n["spec"]["podCIDRs"] for n in items(lab, "nodes")}
    return {"pods": pods, "services": services, "subnets": subnets}


def items(lab: Lab, kind: str) -> list[Any]:
    found: list[Any] = lab.json("get", kind, "-A")["items"]
    return found


def uids(lab: Lab) -> dict[str, str]:
    return {p["metadata"]["name"]: p["metadata"]["uid"] for p in items(lab, "pods")}


def file_of(lab: Lab, name: str) -> Path:
    return Path(lab.environment["K8SNETLAB_STATE"], "snapshots", lab.name, f"{name}.json")


def written(lines: list[bytes], lab: Lab) -> dict[str, list[bytes]]:
    """What somebody may have written into a file that looks whole, by what is said of it."""

    def elsewhere(line: bytes) -> bytes:
        entry = json.loads(line)
        if entry["value"]["kind"] == "Lab":
            entry["value"]["spec"]["podCIDR"] = "10.9.0.0/16"
        return json.dumps(entry).encode() + b"\n"

    return {
        "snapshot of lab stranger": [line.replace(lab.name.encode(), b"stranger") for line in lines],
        "/etc/passwd: no kind": [*lines, b'{"key": "/etc/passwd", "value": {}}\n'],
        "default/client": [line.replace(b'"name":"client"', b'"name":"../x"') for line in lines],
        "exactly one Lab": [line for line in lines if b"/k8snetlab/labs/" not in line],
        "podCIDR cannot be changed": [elsewhere(line) for line in lines],
    }


def put(file: Path, lines: list[bytes]) -> None:
    """With a sum that is right."""
    head = json.loads(file.read_bytes().partition(b"\n")[0])
    head["sum"] = hashlib.sha256(b"".join(lines)).hexdigest()
    file.write_bytes(json.dumps(head).encode() + b"\n" + b"".join(lines))


def test_what_was_changed_is_as_it_was_and_what_was_not_runs_on(lab: Lab) -> None:
    lab.apply(EXTRA)
    lab.run("snapshot", "save", "one")
    assert file_of(lab, "one").stat().st_mode & 0o777 == 0o600
    before, pods = addresses(lab), uids(lab)
    gone = next(name for name in pods if name.startswith("extra-"))
    lab.run("delete", "pod", gone)
    lab.run("scale", "deploy/extra", "--replicas", "3")
    lab.run("delete", "svc", "extra")
    lab.run("delete", "configmap", "extra")
    lab.apply(EXTRA.replace("name: extra", "name: other"))
    told = lab.json("snapshot", "restore", "one")
    assert (told["lab"], told["snapshot"]) == (lab.name, "one")
    assert "service/extra" in told["created"] and "service/other" in told["deleted"]
    assert addresses(lab) == before
    now = uids(lab)
    assert {name for name in pods if pods[name] != now[name]} == {gone}
    assert lab.get("configmap", "extra")["data"] == {"key": "value"}
    eventually(lambda: lab.probe("client", "extra:81").reached and lab.whole())
    assert "nothing had changed" in lab.run("snapshot", "restore", "one")


def test_a_lab_that_is_down_is_built_anew_with_the_same_names_and_addresses(lab: Lab) -> None:
    before = addresses(lab)
    lab.run("snapshot", "save", "two")
    lab.down()
    listed = {one["name"]: one for one in lab.json("snapshot", "list")["snapshots"]}
    assert listed["two"]["pods"] == len(before["pods"]) and listed["two"]["problem"] == ""
    _, *lines = file_of(lab, "two").read_bytes().splitlines(keepends=True)
    for said, changed in list(written(lines, lab).items())[:4]:
        put(file_of(lab, "two"), changed)
        assert said in lab.run("snapshot", "restore", "two", code=2)
        assert not lab.namespaces() and not (lab.run_directory / lab.name).exists()
    put(file_of(lab, "two"), lines)
    lab.run("snapshot", "restore", "two")
    assert addresses(lab) == before
    eventually(lab.whole)
    eventually(lambda: lab.diagnose().findings == ())
    lab.run("snapshot", "delete", "two")
    assert "has no snapshot two" in lab.run("snapshot", "delete", "two", code=1)


def test_what_cannot_be_kept_or_restored_is_refused_and_changes_nothing(lab: Lab) -> None:
    lab.run("snapshot", "save", "kept", "--force")
    file, before = file_of(lab, "kept"), addresses(lab)
    whole = file.read_bytes()
    assert "has a snapshot kept already" in lab.run("snapshot", "save", "kept", code=1)
    assert "cannot name" in lab.run("snapshot", "save", "../kept", code=2)
    assert "has no snapshot keep" in lab.run("snapshot", "restore", "keep", code=1)
    head, *lines = whole.splitlines(keepends=True)
    of_another = json.dumps({**json.loads(head), "lab": "another"}).encode() + b"\n"
    of_later = json.dumps({**json.loads(head), "form": 2, "by": "9.0"}).encode() + b"\n"
    for content, said in (
        (whole[:-100], "is damaged"),
        (whole.replace(b"ConfigMap", b"ConfigMop", 1), "is damaged"),
        (b"", "is damaged, or no snapshot"),
        (b"\xff\x00\n", "is damaged, or no snapshot"),
        (of_later + b"".join(lines), "by k8snetlab 9.0 in form 2"),
        (of_another + b"".join(lines), "is a snapshot of lab another"),
    ):
        file.write_bytes(content)
        assert said in lab.run("snapshot", "restore", "kept", code=2)
        assert lab.json("snapshot", "list")["snapshots"]
    file.write_bytes(whole)
    for said, changed in written(lines, lab).items():
        put(file, changed)
        assert said in lab.run("snapshot", "restore", "kept", code=2)
    file.write_bytes(whole)
    lab.run("fault", "inject", "cni0-down", "--node", "node1")
    assert "a fault is in the lab" in lab.run("snapshot", "save", "broken", code=1)
    assert "a fault is in the lab" in lab.run("snapshot", "restore", "kept", code=1)
    lab.run("fault", "clear")
    assert addresses(lab) == before and "nothing had changed" in lab.run("snapshot", "restore", "kept")


def test_a_full_disk_leaves_the_snapshot_that_was_there(lab: Lab) -> None:
    lab.run("snapshot", "save", "full", "--force")
    kept = file_of(lab, "full").read_bytes()
    command = [sys.executable, "-m", "k8snetlab", "snapshot", "save", "full", "--force"]
    # A limit of the process' files stands for a disk: the kernel writes a part and refuses the rest.
    ended = subprocess.run(
        ["prlimit", "--fsize=4096", *command], env=lab.environment, capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 2 and "cannot be written" in ended.stderr, ended.stderr
    assert file_of(lab, "full").read_bytes() == kept
    assert not [entry for entry in file_of(lab, "full").parent.iterdir() if entry.name.startswith(".")]


def test_ctrl_c_in_a_restore_leaves_a_lab_that_the_same_command_finishes(lab: Lab) -> None:
    lab.apply(EXTRA)
    lab.run("snapshot", "save", "cut", "--force")
    before = addresses(lab)
    lab.run("pause", "node1")  # so that it does not end by itself
    gone = next(name for name in before["pods"] if name.startswith("extra-"))
    lab.run("delete", "pod", gone)
    lab.apply(EXTRA.replace("name: extra", "name: late"))
    command = [sys.executable, "-m", "k8snetlab", "snapshot", "restore", "cut"]
    running = subprocess.Popen(
        command, env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        eventually(lambda: lab.client.list("services") and not _has(lab, "late"))
    finally:
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=200)
    assert running.returncode in (0, 130), said
    lab.run("resume", "node1")
    lab.run("snapshot", "restore", "cut")
    assert addresses(lab) == before
    eventually(lab.whole)


def _has(lab: Lab, name: str) -> bool:
    return any(service["metadata"]["name"] == name for service in lab.client.list("services"))
