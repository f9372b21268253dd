"""Each fault: injected, seen by a probe, named first by `diagnose`, left alone by the agents, cleared."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from k8snetlab.client.client import Client
from k8snetlab.faults import limits
from k8snetlab.faults.catalogue import FAULTS
from k8snetlab.faults.fault import Symptom
from k8snetlab.kernel import netns
from k8snetlab.messages.diagnose import DIAGNOSE, DiagnosisDone, DiagnosisQuestion
from k8snetlab.messages.faults import CLEAR, INJECT, InjectedFault, InjectQuestion
from k8snetlab.messages.probe import PROBE, ProbeQuestion, ProbeResult
from k8snetlab.messages.status import STATUS
from k8snetlab.messages.verb import Nothing
from k8snetlab.testing import Lab, eventually, kill

HERE = Path(__file__).parent
OF_PLANES = {name for name, one in FAULTS.items() if one.group == "plane"}
"""Faults of a control plane of the lab's own: tests/kernel/lab/test_high_availability.py."""
ELSEWHERE = {"miss-agent-dead", "policy-without-dns", *OF_PLANES} | {
    name for name, one in FAULTS.items() if one.group == "names" or one.name == "dns-without-pods"
}
"""Faults of the lab that has DNS, and a kernel that asks; and those of other tests."""
OF_INGRESSES = {name for name in FAULTS if name.startswith(("ingress-", "gateway-", "reference-grant-"))}
"""Faults of labs with nginx at their door, in `tests/kernel/ingress` and `tests/kernel/gateway`."""
TWICE = ("block-owned-twice", "leaked-route")
"""By which two nodes tell others of one block."""
ROUTED = {
    "ospf": (
        "ospf-dropped",
        "ospf-mute",
        "ospf-area-wrong",
        "ospf-hello-wrong",
        "link-mtu-small",
        "learned-route-shadowed",
    ),
    "bgp": ("bgp-dropped", "learned-route-shadowed"),
    "calico": (
        "bgp-dropped",
        "bgp-as-wrong",
        "proxy-arp-off",
        "pod-route-missing",
        "block-owned-twice",
        "leaked-route",
    ),
}
"""Faults of labs whose routes daemons make, by the backend."""
OF_WORKLOADS = sorted((n for n, one in FAULTS.items() if one.group == "workloads"), key=lambda name: name == "taint")
"""Faults of Deployments, of which several may be there at a time; the one that keeps all pods from nodes is last."""
OF_DAEMONS = {"link-down", *(name for names in ROUTED.values() for name in names)}
"""That of links is in tests/kernel/agent/test_underlay_links.py."""
OF_BALANCERS = {name for name, one in FAULTS.items() if one.group == "balancers"} - {"local-without-pod"}
"""Faults of labs with load balancers: test_balancers.py."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with DNS, whose kernel asks for each entry of its tunnel."""
    directory = tmp_path_factory.mktemp("asking")
    text = (HERE / "faulty.yaml").read_text()
    text = text.replace("dns: {enabled: false}", "network: {resolve: on-miss}")
    (directory / "lab.yaml").write_text(text)
    lab = Lab(directory)
    lab.run("up", str(directory / "lab.yaml"))
    yield lab
    assert lab.diagnose().findings == ()
    lab.run("down")


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Path]]:
    """A lab, and its file, in which a test says by which protocol routes are made."""
    directory = tmp_path_factory.mktemp("routed")
    lab = Lab(directory)
    yield lab, directory / "lab.yaml"
    lab.run("down", code=None)


def asked(client: Client, words: str) -> ProbeResult:
    """What `k8snetlab probe FROM TO[:PORT] [-p PROTOCOL]` does."""
    _, _, source, target, *rest = shlex.split(words)
    protocol = rest[1].upper() if rest else "TCP"
    name, _, port = target.rpartition(":")
    to, number = (name, int(port)) if name and port.isdigit() else (target, None)
    return client.call(PROBE, ProbeQuestion(source, to, number, (protocol,))).results[0]


def large(lab: Lab, words: str) -> bool:
    """Whether what is asked can send 1,488 octets to who asks, in as many packets as it likes."""
    _, _, source, target = shlex.split(words)
    ends = [lab.client.get("pods", one.rpartition("/")[2], "default") for one in (source, target)]
    inside = lab.netns("default", ends[1]["metadata"]["name"])
    ping = ["ip", "netns", "exec", inside, "ping", "-c1", "-W1", "-Mdont", "-s1460", ends[0]["status"]["podIP"]]
    return subprocess.run(ping, capture_output=True).returncode == 0


def shares(lab: Lab, words: str) -> float:
    """Of 30 connections, the part that the pod has which has most."""
    pods = Counter(asked(lab.client, words).answeredBy for _ in range(30))
    return max(pods.values()) / 30


def found(lab: Lab, words: str) -> bool:
    """Whether a name is asked for by the search list first, and answered, be it that there is none."""
    told = lab.run(*shlex.split(words)[1:], code=None)
    return not any(wrong in told for wrong in ("no answer", "SERVFAIL", "as it is goes first"))


def own_address(lab: Lab, words: str) -> bool:
    """Whether who is asked sees the address of the pod that asks."""
    source = shlex.split(words)[2].rpartition("/")[2]
    address: str = lab.client.get("pods", source, "default")["status"]["podIP"]
    return asked(lab.client, words).client == address


WHOLE: dict[Symptom, Callable[[Lab, str], bool]] = {
    "fails": lambda lab, words: asked(lab.client, words).reached,
    "sometimes": lambda lab, words: all(asked(lab.client, words).reached for _ in range(20)),
    "large": large,
    "uneven": lambda lab, words: shares(lab, words) < 0.9,
    "source": own_address,
    "name": found,
    "late": lambda lab, words: asked(lab.client, words).reached,
}
"""Whether all is well, as far as the probe tells."""


def diagnosed(client: Client) -> DiagnosisDone:
    *_, last = client.stream(DIAGNOSE, DiagnosisQuestion())
    assert isinstance(last, DiagnosisDone)
    return last


def drift(client: Client) -> list[str]:
    return [line for node in client.call(STATUS, Nothing()).nodes for line in node.agent.drift]


@contextlib.contextmanager
def injected(client: Client, name: str, seed: str = "") -> Iterator[InjectedFault]:
    [fault] = client.call(INJECT, InjectQuestion(name, "node1", seed)).faults
    try:
        yield fault
    finally:
        cleared = client.call(CLEAR, Nothing())
        assert [one.name for one in cleared.faults] == [name] and cleared.notes == ()


def named_first(client: Client, fault: InjectedFault) -> str:
    """Asserts that diagnose names the fault before all else; the commands that it says mend it."""
    done = diagnosed(client)
    first = next(iter((*done.findings, *done.closed)), None)
    assert first is not None, "nothing is wrong"
    said = FAULTS[fault.name].said
    assert (first.kind, first.fault) == (said.kind, said.fault), [f.message for f in done.findings]
    assert fault.object.split(" -> ")[0] in first.object, first
    assert first.node in ("", "router", fault.node)
    return first.mend


def mended_by_hand(lab: Lab, mend: str) -> bool:
    """Types what diagnose says, where these are commands of the machine's own."""
    lines = mend.splitlines()
    if not lines or any(not line.startswith(("ip ", "bridge ", "tc ")) for line in lines):
        return False
    for line in lines:
        done = subprocess.run(["sh", "-c", line], env=lab.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stderr}"
    return True


def check(lab: Lab, name: str) -> None:
    with injected(lab.client, name) as fault:
        symptom = symptom_of(lab, fault)
        if name not in LATE:
            eventually(lambda: not WHOLE[symptom](lab, fault.probe))
        assert drift(lab.client) == [], "an agent wants to mend what it is to leave alone"
        mend = named_first(lab.client, fault)
        if mended_by_hand(lab, mend) and name not in LATE:
            eventually(lambda: WHOLE[symptom](lab, fault.probe))
    assert drift(lab.client) == []
    if name not in LATE and "kubectl create" not in "".join(fault.commands[:1]):
        eventually(lambda: WHOLE[symptom](lab, fault.probe))


LATE = {"udp-stale", "agent-stuck", "pool-leaked", "controller-stuck", "clock-jumped"}
"""Of which a probe sees something in tests of their own."""


def symptom_of(lab: Lab, fault: InjectedFault) -> Symptom:
    [kept] = json.loads((lab.run_directory / lab.name / "faults.json").read_text())
    found: Symptom = kept["damage"]["seen"]["what"]
    return found


ALONE = [
    name for name in FAULTS if name not in ELSEWHERE | LATE | OF_DAEMONS.union(OF_WORKLOADS, OF_BALANCERS, OF_INGRESSES)
]


@pytest.mark.parametrize("name", ALONE)
def test_a_fault_is_seen_named_and_cleared(lab: Lab, name: str) -> None:
    if name == "conntrack-full" and int(limits.ROOM.read_text()) > limits.MOST:
        pytest.skip("conntrack's table is too large to be filled")
    check(lab, name)


def test_faults_of_deployments_are_seen_named_before_all_else_and_cleared(lab: Lab) -> None:
    """All of them at once, as each has a Deployment and a Service of its own; the last keeps all pods from nodes."""
    words = {
        "archive": "didn't match Pod's node affinity/selector",
        "search": "Insufficient cpu",
        "reports": "its schedulerName is defualt-scheduler",
        "checkout": "Readiness probe failed",
        "basket": "exited with 3",
        "login": 'configmap "login-settings" not found',
        "mailer": "mailerd",
    }
    faults: list[InjectedFault] = []

    def injects(names: Iterable[str]) -> None:
        for name in names:
            faults.extend(lab.client.call(INJECT, InjectQuestion(name, "node1")).faults)
            assert not asked(lab.client, faults[-1].probe).reached, name

    try:
        injects(OF_WORKLOADS[:-1])
        eventually(lambda: are_named(lab, faults, words))
        injects(OF_WORKLOADS[-1:])
        eventually(lambda: are_named(lab, faults, {"billing": "had untolerated taint"}))
    finally:
        cleared = lab.client.call(CLEAR, Nothing())
    assert sorted(one.name for one in cleared.faults) == sorted(OF_WORKLOADS) and cleared.notes == ()
    assert all(not node["spec"].get("taints") for node in lab.client.list("nodes"))
    eventually(lambda: diagnosed(lab.client).findings == ())


def are_named(lab: Lab, faults: list[InjectedFault], words: dict[str, str]) -> bool:
    """Whether each is a finding, before all others, and says why."""
    *_, last = lab.client.stream(DIAGNOSE, DiagnosisQuestion(predictOnly=True))
    assert isinstance(last, DiagnosisDone)
    first = {one.object.rsplit("-", 2)[0]: one for one in last.findings[: len(faults)]}
    said = {(name, one.kind, one.fault) for name, one in first.items()}
    return said == {(one.object, "pod", FAULTS[one.name].said.fault) for one in faults} and all(
        why in first[f"default/{name}"].message for name, why in words.items()
    )


def test_a_client_whose_connection_outlives_its_endpoint_is_seen(lab: Lab) -> None:
    def answered() -> bool:
        with netns.inside(lab.netns("default", "client1")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("", 5000))
            sender.settimeout(2)
            with contextlib.suppress(OSError):
                sender.sendto(b"who\n", ("10.96.0.11", 53))
                return bool(sender.recv(2000))
        return False

    with injected(lab.client, "udp-stale") as fault:
        assert not answered()
        named_first(lab.client, fault)
    eventually(answered)


def test_what_is_changed_does_not_reach_a_node_whose_agent_hangs(lab: Lab) -> None:
    with injected(lab.client, "agent-stuck") as fault:
        gone = ["ip", "-n", lab.netns("node1"), "route", "del", "10.244.2.0/24"]
        subprocess.run(gone, check=True)
        eventually(lambda: "agent" in [finding.kind for finding in diagnosed(lab.client).findings[-1:]])
        assert not asked(lab.client, "k8snetlab probe client1 far").reached
        assert fault.object == "node1"
    eventually(lambda: asked(lab.client, "k8snetlab probe client1 far").reached)


def test_a_new_pod_gets_no_address_where_all_of_the_pool_are_leaked(lab: Lab, tmp_path: Path) -> None:
    late = write_pod(tmp_path, "late", "node1")
    with injected(lab.client, "pool-leaked") as fault:
        lab.run("apply", "-f", str(late), code=None)
        eventually(lambda: "no free address in 10.244.1.0/24" in lab.run("get", "events"))
        assert "kubectl annotate node node1 k8snetlab/reserved-ips-" in named_first(lab.client, fault)
        assert len(diagnosed(lab.client).findings) == 1, "the pod is the pool's consequence"
    eventually(lambda: asked(lab.client, "k8snetlab probe client1 pod/late:8080").reached)
    lab.run("delete", "pod", "late")


def test_what_changes_has_no_consequence_where_a_controller_hangs(lab: Lab, tmp_path: Path) -> None:
    """Which one it is the seed says: here the one of EndpointSlices."""
    more = write_pod(tmp_path, "more", "node1", app="near")
    with injected(lab.client, "controller-stuck", seed="a") as fault:
        assert fault.object == "endpoint-slice-controller" and diagnosed(lab.client).findings == ()
        lab.run("apply", "-f", str(more))
        named_first(lab.client, fault)
        assert endpoints(lab, "near") == 1
    eventually(lambda: endpoints(lab, "near") == 2)
    lab.run("delete", "pod", "more")
    eventually(lambda: endpoints(lab, "near") == 1)


ASKER = """
apiVersion: v1
kind: Pod
metadata: {name: asker}
spec: {nodeName: node1, containers: [{name: c, command: [sleep, "1000"]}]}
"""


def test_a_pods_token_is_not_good_yet_where_the_clock_of_the_api_has_jumped_back(lab: Lab) -> None:
    lab.apply(ASKER)
    token = '-H "Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)"'
    ask = f"curl -sk -o /dev/null -w '%{{http_code}}' {token} https://192.168.0.21:6443/api"

    def answer() -> str:
        return lab.exec("asker", "sh", "-c", ask)

    eventually(lambda: answer() == "200")
    with injected(lab.client, "clock-jumped") as fault:
        assert answer() == "401"
        assert named_first(lab.client, fault) == "k8snetlab fault clear"
        assert [one.object for one in diagnosed(lab.client).findings] == [fault.object]
        lab.kill("daemon")
        lab.run("up", str(lab.run_directory.parent / "lab.yaml"))
        eventually(lambda: answer() == "401")
    assert answer() == "200"
    lab.run("delete", "pod", "asker")
    eventually(lambda: diagnosed(lab.client).findings == ())


def write_pod(directory: Path, name: str, node: str, **labels: str) -> Path:
    containers = [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}}
    file = directory / f"{name}.json"
    file.write_text(json.dumps(pod | {"spec": {"nodeName": node, "containers": containers}}))
    return file


def endpoints(lab: Lab, service: str) -> int:
    """How many endpoints a Service's slices have."""
    slices = lab.client.list("endpointslices", "default")
    return sum(len(one["endpoints"]) for one in slices if one["metadata"]["name"].startswith(f"{service}-"))


@pytest.mark.parametrize("name", sorted(ELSEWHERE - OF_PLANES))
def test_a_fault_of_names_and_of_answers_is_seen_named_and_cleared(asking: Lab, name: str) -> None:
    check(asking, name)


@pytest.mark.skipif(not Path("/usr/lib/frr/zebra").exists(), reason="frr is missing")
@pytest.mark.parametrize("backend", ROUTED)
def test_faults_of_routing_daemons_are_seen_named_and_cleared(routed: tuple[Lab, Path], backend: str) -> None:
    """Some seconds pass until a session is given up."""
    lab, file = routed
    text = (HERE / "faulty.yaml").read_text()
    file.write_text(
        text.replace("dns: {enabled: false}", f"dns: {{enabled: false}}\n  network: {{backend: {backend}}}")
    )
    lab.run("up", str(file))
    for name in ROUTED[backend]:
        with injected(lab.client, name) as fault:
            eventually(lambda probe=fault.probe: not asked(lab.client, probe).reached)  # type: ignore[misc]
            mend = named_first(lab.client, fault)
            if mended_by_hand(lab, mend):
                eventually(lambda probe=fault.probe: asked(lab.client, probe).reached)  # type: ignore[misc]
        eventually(lambda probe=fault.probe: asked(lab.client, probe).reached)  # type: ignore[misc]
        eventually(lambda: diagnosed(lab.client).findings == ())
    for fault, (place, wrong, right) in TYPED.items() if backend == "ospf" else ():
        for words in wrong.split("; "):
            lab.run("vtysh", "node1", "-c", "configure terminal", "-c", place, "-c", words)
        eventually(lambda fault=fault: first(lab) == ("route", fault, "node1"))  # type: ignore[misc]
        if right:
            lab.run("vtysh", "node1", "-c", "configure terminal", "-c", place, "-c", right)
        else:
            lab.run("process", "kill", "ospfd", "--node", "node1")
        eventually(lambda: diagnosed(lab.client).findings == ())


TYPED = {
    "passive": ("interface eth0", "ip ospf passive", "no ip ospf passive"),
    "unannounced": ("router ospf", "no network 10.244.1.0/24 area 0", "network 10.244.1.0/24 area 0"),
    "password": ("interface eth0", "ip ospf message-digest-key 1 md5 other; ip ospf authentication message-digest", ""),
}
"""What is typed at FRR's console, where, and what takes it back; "" for what diagnose says: ospfd begun again."""


def first(lab: Lab) -> tuple[str, str, str] | None:
    return next(((one.kind, one.fault, one.node) for one in diagnosed(lab.client).findings), None)


def test_all_else_is_repaired_while_a_fault_is_there(lab: Lab) -> None:
    def routes() -> str:
        return lab.shell("node1", "ip", "route")

    with injected(lab.client, "fdb-missing"):
        subprocess.run(["ip", "-n", lab.netns("node1"), "route", "del", "10.244.2.0/24"], check=True)
        eventually(lambda: "10.244.2.0/24" in routes())
        assert "192.168.0.22" not in lab.shell("node1", "bridge", "fdb", "show", "dev", "flannel.1")
    assert "192.168.0.22" in lab.shell("node1", "bridge", "fdb", "show", "dev", "flannel.1")


def test_a_fault_outlives_the_daemon_and_is_cleared_by_its_successor(lab: Lab) -> None:
    client = lab.client
    client.call(INJECT, InjectQuestion("route-missing", "node1"))
    lab.kill("daemon")
    lab.run("up", str(lab.run_directory.parent / "lab.yaml"))
    assert "10.244.2.0/24" not in lab.shell("node1", "ip", "route")
    assert [one["name"] for one in lab.json("fault", "list", "--injected")["faults"]] == ["route-missing"]
    said = lab.run("fault", "inject", "route-missing", code=2)
    assert "injected already" in said and "fault clear" in said
    assert lab.run("fault", "clear") == "cleared: route-missing on node1\n"
    assert "10.244.2.0/24" in lab.shell("node1", "ip", "route")
    assert not (lab.run_directory / lab.name / "faults.json").exists()


def test_a_daemon_that_dies_while_it_injects_leaves_nothing_that_is_not_cleared(lab: Lab) -> None:
    daemon, file = lab.pids()["daemon"], lab.run_directory / lab.name / "faults.json"
    asking = lab.start("fault", "inject", "vni", "--node", "node1")
    while not file.exists() and asking.poll() is None:
        time.sleep(0.001)
    kill(daemon)
    asking.communicate()
    lab.run("up", str(lab.run_directory.parent / "lab.yaml"))
    assert lab.run("fault", "clear") == "cleared: vni on node1\n"
    assert drift(lab.client) == [] and diagnosed(lab.client).findings == ()


def test_the_same_seed_is_the_same_fault(lab: Lab) -> None:
    names = []
    for _ in range(2):
        [one] = lab.json("fault", "random", "--seed", "monday", "--level", "1")["faults"]
        names.append((one["name"], one["node"]))
        assert one["level"] == 1 and one["commands"]
        lab.run("fault", "clear")
    assert names[0] == names[1]


def test_what_cannot_be_injected_is_refused_and_nothing_is_changed(lab: Lab) -> None:
    assert "this lab has no DNS" in lab.run("fault", "inject", "dns-without-pods", code=1)
    assert "did you mean fdb-missing?" in lab.run("fault", "inject", "fdb-mising", code=1)
    assert "nodes: node1, node2" in lab.run("fault", "inject", "fdb-missing", "--node", "node9", code=1)
    assert lab.run("fault", "clear") == "there is no fault to clear\n"
