"""Names as pods see them, in a lab of both families: their files, who answers them, and what a name does not do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dnsprocess
import pytest

from k8snetlab.testing import Lab, eventually, running

pytestmark = [pytest.mark.root, pytest.mark.skipif(shutil.which("dig") is None, reason="dig is missing")]

BOTH = """
  podCIDR: 10.244.0.0/16,fd00:10:244::/56
  serviceCIDR: 10.96.0.0/12,fd00:10:96::/112
  underlay: {cidr: "192.168.0.0/24,fd00:168::/64", outside: "203.0.113.10/24,2001:db8::10/64"}"""
LAB = f"""
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  nodes: 2
  dns: {{pods: verified}}{BOTH}
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  nodeName: node1
  hostAliases: [{{ip: 192.0.2.7, hostnames: [alias.example, other.example]}}]
  containers: [{{name: c, command: [sh, -c, "cat /etc/resolv.conf /etc/hosts /etc/hostname; exec sleep inf"]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: crowded}}
spec:
  nodeName: node1
  dnsConfig: {{nameservers: [192.0.2.1, 192.0.2.2, 192.0.2.3]}}
  containers: [{{name: c}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: db-0, labels: {{app: db}}}}
spec: {{nodeName: node2, hostname: db-0, subdomain: db, containers: [{{name: c, ports: [{{containerPort: 80}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  ipFamilyPolicy: RequireDualStack
  clusterIPs: [10.96.0.20, "fd00:10:96::20"]
  selector: {{app: db}}
  ports: [{{name: http, port: 80}}]
---
apiVersion: v1
kind: Service
metadata: {{name: db}}
spec: {{clusterIP: None, ipFamilyPolicy: RequireDualStack, selector: {{app: db}}, ports: [{{name: http, port: 80}}]}}
"""
SIX = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  nodes: 1
  podCIDR: fd00:10:244::/56
  serviceCIDR: fd00:10:96::/112
  underlay: {cidr: "fd00:168::/64", outside: "2001:db8::10/64"}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
"""
UNREADY = """
apiVersion: v1
kind: Pod
metadata: {name: failing, labels: {app: failing}}
spec: {nodeName: node2, containers: [{name: c, command: [sh, -c, "exit 1"]}]}
---
apiVersion: v1
kind: Service
metadata: {name: only-ready}
spec: {clusterIP: None, selector: {app: failing}}
---
apiVersion: v1
kind: Service
metadata: {name: all}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: failing}}
"""
RESOLV = "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
ALIASES = "\n# Entries added by HostAliases.\n192.0.2.7\talias.example\tother.example\n"
WEB = "web.default.svc.cluster.local"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("seen")
    (directory / "lab.yaml").write_text(LAB)
    return directory


@pytest.fixture(scope="module")
def lab(directory: Path) -> Iterator[Lab]:
    with running(directory) as lab:
        assert short(lab, WEB) == ["10.96.0.20"], "asked once, as soon as `up` is done"
        yield lab


def dig(lab: Lab, *words: str, server: str = "10.96.0.10", pod: str = "client") -> str:
    """What `dig` prints in a pod, which asks once."""
    command = ["ip", "netns", "exec", lab.netns("default", pod), "dig", "+tries=1", "+time=5", f"@{server}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def short(lab: Lab, *words: str, server: str = "10.96.0.10") -> list[str]:
    return dig(lab, "+short", *words, server=server).splitlines()


def test_services_of_both_families_are_answered_in_both(lab: Lab) -> None:
    v4, v6 = (one["ip"] for one in lab.get("pod", "db-0")["status"]["podIPs"])
    assert short(lab, WEB, "AAAA") == ["fd00:10:96::20"]
    assert short(lab, "-x", "fd00:10:96::20") == [f"{WEB}."]
    assert (short(lab, "db.default.svc.cluster.local"), short(lab, "db-0.db.default.svc.cluster.local", "AAAA")) == (
        [v4],
        [v6],
    )
    label = v6.replace(":", "-")
    both = {"db-0.db.default.svc.cluster.local.", f"{label}.web.default.svc.cluster.local."}
    assert set(short(lab, "-x", v6)) == both, "a name for each Service that it stands behind"
    assert lab.exec("client", "getent", "ahostsv6", "web").split()[0] == "fd00:10:96::20"
    assert short(lab, "www.example.com", "AAAA") == ["2001:db8::10"]
    for family in ("-4", "-6"):
        assert '"pod": "db-0"' in lab.exec("client", "curl", family, "-s", "http://web/")


def test_a_lab_of_ipv6_alone_has_its_dns_there(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(SIX)
    with running(tmp_path) as lab:
        assert "nameserver fd00:10:96::a\n" in lab.exec("client", "cat", "/etc/resolv.conf")
        name = "kube-dns.kube-system.svc.cluster.local"
        assert short(lab, name, "AAAA", server="fd00:10:96::a") == ["fd00:10:96::a"]
        assert lab.exec("client", "getent", "hosts", "kubernetes").split()[0] == "fd00:10:96::1"
        (asked,) = lab.json("dig", "client", "kubernetes.default", "AAAA")["queries"][-1:]
        assert (asked["service"], asked["answeredNode"]) == ("kube-system/kube-dns", "node1")
        assert [one for one in lab.diagnose().findings if one.kind == "resolver"] == []


def test_pods_that_are_not_ready_are_answered_where_the_service_says_so(lab: Lab) -> None:
    lab.run("apply", "-f", "-", "--wait=false", stdin=UNREADY)
    eventually(lambda: lab.get("pod", "failing")["status"].get("podIP"))
    eventually(lambda: short(lab, "all.default.svc.cluster.local") == [lab.address_of("pod/failing")])
    eventually(lambda: "status: NXDOMAIN" in dig(lab, "only-ready.default.svc.cluster.local"))
    lab.run("delete", "-f", "-", stdin=UNREADY)


def test_verified_names_are_those_of_pods_as_they_come_and_go(lab: Lab) -> None:
    def name_of(address: str) -> str:
        return f"{address.replace('.', '-')}.default.pod.cluster.local"

    known = lab.address_of("pod/db-0")
    eventually(lambda: short(lab, name_of(known)) == [known])
    assert "status: NXDOMAIN" in dig(lab, name_of("10.244.1.250"))
    lab.apply("{apiVersion: v1, kind: Pod, metadata: {name: late}, spec: {containers: [{name: c}]}}")
    late = lab.address_of("pod/late")
    eventually(lambda: short(lab, name_of(late)) == [late])
    lab.run("delete", "pod", "late")
    eventually(lambda: "status: NXDOMAIN" in dig(lab, name_of(late)))


def test_commands_and_shells_and_plain_netns_see_the_files_of_their_pod(lab: Lab) -> None:
    v4, v6 = (one["ip"] for one in lab.get("pod", "client")["status"]["podIPs"])
    said = lab.run("logs", "client")
    assert said.startswith(f"{RESOLV}# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert said.endswith(f"{v4}\tclient\n{v6}\tclient\n{ALIASES}client\n")
    command = "cat /etc/resolv.conf /etc/hosts /etc/hostname\n"
    assert lab.run("shell", "client", stdin=command).endswith(said)
    plain = ["ip", "netns", "exec", lab.netns("default", "client"), "sh", "-c", command]
    assert subprocess.run(plain, capture_output=True, text=True, check=True).stdout == said
    assert lab.exec("client", "getent", "hosts", "other.example").split()[0] == "192.0.2.7"


def test_more_than_kubelets_limits_is_cut_and_said_in_its_event(lab: Lab) -> None:
    assert lab.exec("crowded", "grep", "nameserver", "/etc/resolv.conf").split() == [
        "nameserver",
        "10.96.0.10",
        "nameserver",
        "192.0.2.1",
        "nameserver",
        "192.0.2.2",
    ]
    events = [one for one in lab.list("Event") if one["reason"] == "DNSConfigForming"]
    assert [(one["involvedObject"]["name"], one["type"], one["message"]) for one in events] == [
        (
            "crowded",
            "Warning",
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
            "10.96.0.10 192.0.2.1 192.0.2.2",
        )
    ]


def test_a_services_name_is_found_and_its_address_answers_no_ping(lab: Lab) -> None:
    """It is no device, only rules for its ports: the story that readers of kube-proxy's rules are told."""
    assert lab.exec("client", "getent", "ahostsv4", "web").split()[0] == "10.96.0.20"
    told = lab.probe("client", "web", "-p", "icmp")
    assert not told.ok
    assert lab.probe("client", "web:80").answeredBy == "db-0"
    pinged = lab.run("exec", "client", "--", "ping", "-c1", "-W1", "-4", "web", code=None)
    assert "PING" in pinged and "(10.96.0.20)" in pinged
    assert "1 packets transmitted, 0 received" in pinged


def test_metrics_are_reached_as_any_service_through_its_chains(lab: Lab) -> None:
    assert "coredns_dns_requests_total{" in lab.exec("client", "curl", "-s", "kube-dns.kube-system:9153/metrics")
    told = lab.run("trace", "client", "kube-dns.kube-system:9153")
    assert "prediction and observation agree" in told
    rules = lab.shell("node1", f"iptables-{lab.json('status')['iptables']}-save", "-t", "nat")
    for port, number, protocol in (("dns", 53, "udp"), ("dns-tcp", 53, "tcp"), ("metrics", 9153, "tcp")):
        (rule,) = (
            line
            for line in rules.splitlines()
            if line.startswith("-A KUBE-SERVICES -d 10.96.0.10/32") and f"kube-dns:{port} cluster IP" in line
        )
        assert f"-p {protocol} " in rule
        assert f"--dport {number} -j KUBE-SVC-" in rule


def test_a_killed_server_breaks_names_and_nothing_else_and_diagnose_says_so(lab: Lab) -> None:
    """It stays away, since it is killed as often as it is begun, until its pod waits before it is begun again."""
    before = {name: lab.pids()[name] for name in ("daemon", "kubelet")}
    restarts = {pod["metadata"]["name"]: restarts_of(pod) for pod in lab.list("Pod", "default")}

    def is_down() -> bool:
        for pid in dnsprocess.pids_of(lab):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return "CrashLoopBackOff" in str(lab.list("Pod", "kube-system")[0]["status"])

    def is_refused() -> bool:
        query = lab.json("dig", "client", WEB, "A", code=None)["queries"][0]
        return is_down() and query["error"] == "connection refused"

    def is_named() -> bool:
        assert is_down()
        found = [one for one in lab.diagnose().findings if one.kind == "resolver"]
        assert [one.fault for one in found] == ["endpoints"]
        ended = ("the name server has ended", "ended by signal 9")
        return any(words in found[0].explains[0] for words in ended)

    eventually(is_refused)
    eventually(is_named)
    assert lab.probe("client", "10.96.0.20:80").answeredBy == "db-0"
    assert all(result.ok for result in lab.probe_all() if "kube-dns" not in result.target)
    assert {name: lab.pids()[name] for name in before} == before
    assert {pod["metadata"]["name"]: restarts_of(pod) for pod in lab.list("Pod", "default")} == restarts
    lab.run("delete", "pod", "-n", "kube-system", lab.list("Pod", "kube-system")[0]["metadata"]["name"])
    eventually(lambda: short(lab, WEB) == ["10.96.0.20"])


def restarts_of(pod: dict[str, object]) -> int:
    (status,) = pod["status"]["containerStatuses"]  # type: ignore[index]
    return int(status["restartCount"])


def test_up_is_done_when_a_servers_names_are_answered_and_not_before(lab: Lab, directory: Path) -> None:
    """The process that is to answer in the second pod, too, stands still for a while."""
    (first,) = [pod["metadata"]["name"] for pod in lab.list("Pod", "kube-system")]
    (directory / "lab.yaml").write_text(LAB.replace("pods: verified", "pods: verified, replicas: 2"))
    pid = dnsprocess.pid_of(lab)
    os.kill(pid, signal.SIGSTOP)
    try:
        up = lab.start("up", str(directory))
        eventually(lambda: second(lab, first))
        assert up.poll() is None
    finally:
        os.kill(pid, signal.SIGCONT)
    said = "".join(up.communicate(timeout=120))
    assert up.returncode == 0, said
    assert short(lab, WEB, server=second(lab, first)) == ["10.96.0.20"], "asked once"


def second(lab: Lab, first: str) -> str:
    """The address of the other DNS pod, as soon as it has one."""
    found = [
        pod["status"].get("podIP", "") for pod in lab.list("Pod", "kube-system") if pod["metadata"]["name"] != first
    ]
    return "".join(found)


def test_without_replicas_kube_proxy_rejects_each_port_as_a_cluster_without_dns_shows_it(lab: Lab) -> None:
    lab.run("scale", "deployment/coredns", "--replicas", "0", "-n", "kube-system")
    variant = lab.json("status")["iptables"]
    saved = lab.shell("node1", f"iptables-{variant}-save", "-t", "filter").splitlines()
    ports = (("dns", "udp", 53), ("dns-tcp", "tcp", 53), ("metrics", "tcp", 9153))
    rejected = [REJECTED.format(name=name, protocol=protocol, port=port) for name, protocol, port in ports]
    assert sorted(line for line in saved if "kube-dns" in line) == sorted(rejected)
    eventually(lambda: "connection refused" in dig(lab, WEB))  # of ICMP errors a kernel sends a few in a second


REJECTED = (
    "-A KUBE-SERVICES -d 10.96.0.10/32 -p {protocol} -m comment "
    '--comment "kube-system/kube-dns:{name} has no endpoints"'
    " -m {protocol} --dport {port} -j REJECT --reject-with icmp-port-unreachable"
)
