"""A control plane of three: each member is killed under a stream of writes, and nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import csv
import http.client
import json
import logging
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import kubectl
import pytest
from kubectl import Kubectl

from k8snetlab.errors import K8sNetLabError, StoreError
from k8snetlab.faults.catalogue import FAULTS
from k8snetlab.kernel import netns
from k8snetlab.messages.controlplane import CONTROL_PLANE, ControlPlane, MemberState
from k8snetlab.messages.verb import Nothing
from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.lab import running

pytestmark = pytest.mark.skipif(
    not (shutil.which("etcd") and shutil.which("haproxy")), reason="etcd and haproxy are wanted"
)
log = logging.getLogger(__name__)
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: hapl}
spec: {nodes: 1, dns: {enabled: false}, controlPlane: {replicas: 3, etcd: 3, nodeMonitorGracePeriod: 2}}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: c, image: c, command: [python3, -m, http.server, "80"], ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c, image: c}]}
"""
LATER = "{apiVersion: v1, kind: Pod, metadata: {name: later}, spec: {containers: [{name: c, image: c}]}}"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
LEASES = ("kube-scheduler", "kube-controller-manager")
PATIENCE = 20.0


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("hapl")
    (found / "lab.yaml").write_text(LAB)
    return found


@pytest.fixture(scope="module")
def lab(directory: Path) -> Iterator[Lab]:
    with running(directory) as found:
        found.run("kubeconfig")  # makes the administrator's certificate
        yield found


T = TypeVar("T", "Writer", "Watcher")


class Api:
    """The balancer, asked from a node."""

    def __init__(self, lab: Lab, keys: Path) -> None:
        self._netns = lab.netns("node1")
        self._context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
        self._context.load_cert_chain(keys / "admin.crt", keys / "admin.key")

    def connection(self) -> http.client.HTTPSConnection:
        made = http.client.HTTPSConnection("192.168.0.1", 6443, context=self._context, timeout=PATIENCE)
        with netns.inside(self._netns):
            line = socket.socket()
        line.settimeout(PATIENCE)
        try:
            line.connect(("192.168.0.1", 6443))
            made.sock = self._context.wrap_socket(line, server_hostname="192.168.0.1")
        except OSError:
            line.close()
            raise
        return made

    def asked(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with contextlib.closing(self.connection()) as line:
            text = json.dumps(body) if body is not None else None
            line.request(method, path, text, {"Content-Type": "application/json"})
            answer = line.getresponse()
            return answer.status, json.loads(answer.read())


class Writer(threading.Thread):
    """Creates objects, one after the other, and remembers which were acknowledged."""

    def __init__(self, api: Api) -> None:
        super().__init__(daemon=True)
        self._api, self._ends = api, threading.Event()
        self.acknowledged: list[str] = []
        self.longest, self.failed = 0.0, 0

    def run(self) -> None:
        number, last = 0, time.monotonic()
        while not self._ends.is_set():
            number += 1
            with contextlib.suppress(OSError, http.client.HTTPException, K8sNetLabError, ValueError):
                body = {"metadata": {"name": f"written-{number}"}}
                status, _ = self._api.asked("POST", MAPS, body)
                if status == 201:
                    self.acknowledged.append(f"written-{number}")
                    self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()
                    continue
            self.failed += 1  # it may have been written, and nobody was told that it was
            self._ends.wait(0.05)

    def end(self) -> None:
        self._ends.set()
        self.join(2 * PATIENCE)


class Watcher(threading.Thread):
    """Watches, and goes on where it was when the connection breaks; a 410 has it list again."""

    def __init__(self, api: Api) -> None:
        super().__init__(daemon=True)
        self._api, self._ends, self._revision = api, threading.Event(), ""
        self.seen: set[str] = set()
        self.opened = self.expired = 0

    def run(self) -> None:
        while not self._ends.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, K8sNetLabError, ValueError):
                self._watch()
            self._ends.wait(0.05)

    def _watch(self) -> None:
        if not self._revision:
            status, listed = self._api.asked("GET", MAPS)
            if status != 200:
                raise ConnectionError(f"{status} to a list")  # of a server that is about to end, or has no store yet
            self.seen |= {one["metadata"]["name"] for one in listed["items"]}
            self._revision = listed["metadata"]["resourceVersion"]
        with contextlib.closing(self._api.connection()) as line:
            line.request("GET", f"{MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion={self._revision}")
            answer = line.getresponse()
            if answer.status == 410:
                self._revision, self.expired = "", self.expired + 1
                return
            if answer.status != 200:
                raise ConnectionError(f"{answer.status} to a watch that is to begin")
            self.opened += 1
            while not self._ends.is_set() and (text := answer.readline()):
                event = json.loads(text)
                if event["type"] == "ERROR":
                    assert event["object"]["code"] == 410, event
                    self._revision = ""
                    return
                self._revision = event["object"]["metadata"]["resourceVersion"]
                self.seen.add(event["object"]["metadata"].get("name", ""))

    def end(self) -> None:
        self._ends.set()
        self.join(2 * PATIENCE)


@contextlib.contextmanager
def at_work(thread: T) -> Iterator[T]:
    thread.start()
    try:
        yield thread
    finally:
        thread.end()


def plane(lab: Lab) -> ControlPlane:
    return lab.client.call(CONTROL_PLANE, Nothing())


def is_whole(lab: Lab) -> bool:
    found = plane(lab)
    parts = [*found.servers, *found.etcd, *found.components]
    return len(parts) == 13 and not any(one.problem for one in parts)


def leader_of(lab: Lab, after: int = 0) -> MemberState:
    """Who leads, elected after that term. Raises LookupError while there is none."""
    found = [one for one in plane(lab).etcd if one.leads and not one.problem and one.term > after]
    if not found:
        raise LookupError("the etcd has no leader")
    return max(found, key=lambda one: one.term)


def elected(lab: Lab, after: int = 0) -> MemberState:
    """The same, once there is one: perhaps the one before, if it is back before the others have noticed."""
    found: list[MemberState] = []

    def one_leads() -> bool:
        found.append(leader_of(lab, after))
        return True

    eventually(one_leads)
    return found[-1]


def test_each_member_is_killed_in_turn_and_no_acknowledged_write_is_lost(lab: Lab) -> None:
    assert {one["roles"] for one in _nodes(lab)} == {"", "control-plane"}
    eventually(lambda: addresses(lab) == ["192.168.0.11", "192.168.0.12", "192.168.0.13"])
    eventually(lambda: is_whole(lab))
    web = lab.get("pod", "web")["status"]["containerStatuses"]
    api = Api(lab, lab.run_directory / lab.name / "api")
    with at_work(Writer(api)) as writer, at_work(Watcher(api)) as watcher:
        elections = [*killed_in_turn(lab, api, writer)]
        takeovers = [*leaders_killed(lab, api)]
        cut, others = lose_the_leaders_node(lab, api)
        writer.end()
        eventually(lambda: set(writer.acknowledged) <= names(api))
        eventually(lambda: set(writer.acknowledged) <= watcher.seen)
    assert lab.get("pod", "web")["status"]["containerStatuses"] == web, "pods went on as if nothing had happened"
    log.info("leaders of the etcd after %s", ", ".join(f"{one:.1f} s" for one in (*elections, cut)))
    log.info("leaders by Lease after %s", ", ".join(f"{one:.1f} s" for one in (*takeovers, *others.values())))
    log.info("%d writes, %d not acknowledged", len(writer.acknowledged), writer.failed)
    log.info("longest gap %.1f s, %d watches, %d times 410", writer.longest, watcher.opened, watcher.expired)


def killed_in_turn(lab: Lab, api: Api, writer: Writer) -> Iterator[float]:
    """Yields the seconds without a leader of the etcd."""
    eventually(lambda: len(writer.acknowledged) > 5)
    for victim in ("etcd-1", "etcd-2", "etcd-3", "apiserver-1", "apiserver-2", "apiserver-3", "haproxy"):
        before, written = elected(lab), len(writer.acknowledged)
        lab.run("process", "kill", victim)
        killed = time.monotonic()
        log.info("killed %s, %s led", victim, before.endpoint)
        if victim.startswith("etcd-") and before.endpoint.startswith(f"https://192.168.0.1{victim[-1]}:"):
            elected(lab, before.term)
            yield time.monotonic() - killed
        eventually(lambda written=written: len(writer.acknowledged) > written)
        if victim in ("etcd-3", "apiserver-3"):
            becomes_ready(api, f"with-{victim}-away")
        eventually(lambda: is_whole(lab))


def told_of(api: Api, name: str) -> list[str]:
    """What Events tell of a component's elections; they are written after the Lease."""
    asked = f"/api/v1/namespaces/kube-system/events?fieldSelector=involvedObject.name={name}"
    return [one["message"] for one in read(api, asked)["items"] if one["reason"] == "LeaderElection"]


def leaders_killed(lab: Lab, api: Api) -> Iterator[float]:
    """Of the components that stand by for each other: yields the seconds without a leader."""
    for name in LEASES:
        eventually(lambda name=name: holder(api, name))
        before = holder(api, name)
        lab.run("process", "kill", f"{name}-{before.partition('_')[0][-1]}")
        killed = time.monotonic()
        create(api, DEPLOYMENTS, deployment(f"without-{name}"))
        eventually(lambda name=name, before=before: holder(api, name) not in ("", before))
        yield time.monotonic() - killed
        becomes_ready(api, f"without-{name}", made=True)
        eventually(lambda: is_whole(lab))
        eventually(lambda name=name: f"{holder(api, name)} became leader" in told_of(api, name))


def lose_the_leaders_node(lab: Lab, api: Api) -> tuple[float, dict[str, float]]:
    """The node that leads the etcd, and perhaps scheduler and controllers, loses its power: the seconds without leaders
    of each."""
    before, killed = elected(lab), time.monotonic()
    node = f"control-plane{before.endpoint[len('https://192.168.0.1')]}"
    held = {name: one for name in LEASES if (one := holder(api, name)).startswith(f"{node}_")}
    lab.run("node", "stop", node)
    log.info("%s was stopped in %.1f s", node, time.monotonic() - killed)
    elected(lab, before.term)
    seconds, others = time.monotonic() - killed, dict[str, float]()
    for name, was in held.items():
        eventually(lambda name=name, was=was: holder(api, name) not in ("", was))
        others[name] = time.monotonic() - killed
    becomes_ready(api, "with-a-node-away")
    eventually(lambda: len(addresses(lab)) == 2)
    assert lab.probe("client", "web").reached
    lab.run("node", "start", node)
    eventually(lambda: is_whole(lab))
    return seconds, others


def read(api: Api, path: str) -> Any:
    """Raises AssertionError while no server answers."""
    try:
        status, found = api.asked("GET", path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AssertionError(str(error)) from error
    assert status == 200, found
    return found


def create(api: Api, path: str, body: Any) -> None:
    """Perhaps an attempt that nobody was told of has done it already."""

    def done() -> bool:
        try:
            status, found = api.asked("POST", path, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise AssertionError(str(error)) from error
        assert status in (201, 409), found
        return True

    eventually(done)


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "c"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


def becomes_ready(api: Api, name: str, made: bool = False) -> None:
    if not made:
        create(api, DEPLOYMENTS, deployment(name))
    eventually(lambda: read(api, f"{DEPLOYMENTS}/{name}")["status"].get("readyReplicas") == 2)


def holder(api: Api, name: str) -> str:
    found: str = read(api, f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{name}")["spec"][
        "holderIdentity"
    ]
    return found


def addresses(lab: Lab) -> list[str]:
    """Those of the Service kubernetes. Raises AssertionError while the daemon has no store to ask."""
    try:
        found = lab.get("endpoints", "kubernetes")
    except StoreError as error:
        raise AssertionError(error.message) from error
    return [one["ip"] for one in found["subsets"][0]["addresses"]]


def names(api: Api) -> set[str]:
    """Of the objects that are there."""
    return {one["metadata"]["name"] for one in read(api, MAPS)["items"]}


@pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)
def test_kubectl_goes_through_the_balancer_and_survives_whichever_server_dies(lab: Lab, tmp_path: Path) -> None:
    program = kubectl.found()
    assert program
    (tmp_path / "config").write_text(lab.run("kubeconfig"))
    (tmp_path / "view").write_text(lab.run("kubeconfig", "--user", "view"))
    k = Kubectl(program, tmp_path, tmp_path / "config")
    eventually(lambda: connections(lab) == 0)
    for number in (1, 2, 3):
        lab.run("process", "kill", f"apiserver-{number}")
        k.run("create", "configmap", f"without-apiserver-{number}")
        assert connections(lab) > 0
        eventually(lambda: is_whole(lab))
    assert len([one for one in k.json("get", "configmaps")["items"] if "without-" in one["metadata"]["name"]]) == 3
    assert k.json("auth", "whoami")["status"]["userInfo"]["username"] == "admin"
    assert k.run("exec", "web", "--", "hostname").strip() == "web", (
        "which the daemon answers, as the kubelet that it has"
    )
    assert 'User "nobody" cannot list' in k.run("get", "pods", "--as", "nobody", code=1)
    viewer = Kubectl(program, tmp_path, tmp_path / "view")
    assert "cannot create" in viewer.run("create", "configmap", "mine", code=1) and viewer.run("get", "pods")


def connections(lab: Lab) -> int:
    """Those that the balancer has."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(lab.run_directory / lab.name / "addons" / "router" / "haproxy" / "haproxy.sock"))
        line.sendall(b"show stat\n")
        rows = csv.DictReader(line.makefile().read().removeprefix("# ").splitlines())
        return next(int(row["scur"]) for row in rows if row["svname"] == "FRONTEND")


@pytest.mark.parametrize("name", ["apiserver-hangs", "etcd-without-quorum", "scheduler-hangs"])
def test_a_fault_of_the_control_plane_is_named_first_mended_by_what_is_said_and_cleared(lab: Lab, name: str) -> None:
    eventually(lambda: is_whole(lab))
    eventually(lambda: not lab.diagnose().findings)
    said = FAULTS[name].said

    def named() -> str:
        found = lab.diagnose().findings
        assert found and (found[0].kind, found[0].fault) == (said.kind, said.fault), found
        return found[0].mend

    lab.run("fault", "inject", name, "--node", "control-plane2")
    eventually(named)
    if name == "scheduler-hangs":
        lab.run("apply", "--wait=false", "-f", "-", stdin=LATER)
        assert not lab.get("pod", "later")["spec"].get("nodeName")
    for line in named().splitlines():
        lab.run(*line.split()[1:])
    eventually(lambda: not lab.diagnose().findings)
    assert name in lab.run("fault", "clear")
    eventually(lambda: is_whole(lab))
    if name == "scheduler-hangs":
        eventually(lambda: lab.get("pod", "later")["status"]["phase"] == "Running")


def test_a_fault_of_the_control_plane_is_cleared_without_anybodys_help(lab: Lab) -> None:
    lab.run("fault", "inject", "etcd-without-quorum", "--node", "control-plane2")
    eventually(lambda: "etcd has no quorum" in lab.run("diagnose", code=1))
    lab.run("fault", "clear")
    eventually(lambda: is_whole(lab) and not lab.diagnose().findings)


def test_a_daemon_that_comes_back_finds_its_store_where_it_was(lab: Lab, directory: Path) -> None:
    before = lab.get("pod", "web")["metadata"]["uid"]
    lab.kill("daemon")
    lab.up(directory)
    assert lab.get("pod", "web")["metadata"]["uid"] == before and lab.json("status")["store"]["type"] == "etcd"


def _nodes(lab: Lab) -> list[dict[str, str]]:
    role = "node-role.kubernetes.io/control-plane"
    return [{"roles": "control-plane" if role in one["metadata"]["labels"] else ""} for one in lab.list("nodes")]
