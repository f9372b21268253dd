"""Names in a real lab: asked by dig in a pod, through kube-dns' rules, of the server in the DNS pod."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dnsprocess
import pytest

from k8snetlab.testing import Lab, eventually, running

pytestmark = [pytest.mark.root, pytest.mark.skipif(shutil.which("dig") is None, reason="dig is missing")]

DNS = "nodes: 2"
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node1, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, labels: {app: db}}
spec: {nodeName: node2, hostname: db-0, subdomain: db, containers: [{name: c, ports: [{containerPort: 3306}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 3306}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: db}, clusterIP: 10.96.0.20, ports: [{name: http, port: 80, targetPort: 3306}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
"""
COMING_LATE = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 1}
---
apiVersion: v1
kind: Namespace
metadata: {name: zoo}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: last, namespace: zoo}
spec:
  replicas: 2
  selector: {matchLabels: {app: last}}
  template: {metadata: {labels: {app: last}}, spec: {containers: [{name: c}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c}]}}
"""
LATE = """
apiVersion: v1
kind: Service
metadata: {name: late}
spec: {clusterIP: 10.96.0.30, ports: [{port: 1}]}
"""
WRONG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    . {
      rewrite name a b
    }
"""
LOOPING = """
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    . {
      kubernetes cluster.local
      forward . 10.96.0.10
      loop
    }
"""
ADDRESS = "10.96.0.10"
TEXT: dict[str, Any] = {"capture_output": True, "text": True, "check": True}
WEB = "web.default.svc.cluster.local"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names")


@pytest.fixture(scope="module")
def lab(directory: Path) -> Iterator[Lab]:
    with running(written(directory, LAB)) as one:
        yield one


def written(directory: Path, text: str) -> Path:
    (directory / "lab.yaml").write_text(text)
    return directory


def dig(lab: Lab, *words: str) -> str:
    """What `dig` prints in the pod `client`, which asks kube-dns once."""
    command = ["ip", "netns", "exec", lab.netns("default", "client"), "dig", "+tries=1", "+time=2", f"@{ADDRESS}"]
    return subprocess.run([*command, *words], capture_output=True, text=True, check=False).stdout


def short(lab: Lab, *words: str) -> list[str]:
    return [line for line in dig(lab, "+short", *words).splitlines() if not line.startswith(";")]


def test_names_are_answered_through_the_clusters_own_service(lab: Lab) -> None:
    eventually(lambda: short(lab, WEB) == ["10.96.0.20"])
    address = lab.address_of("pod/db-0")
    assert short(lab, "+tcp", "db.default.svc.cluster.local") == [address]
    assert short(lab, "db-0.db.default.svc.cluster.local") == [address]
    assert short(lab, "_sql._tcp.db.default.svc.cluster.local", "SRV") == [
        "0 100 3306 db-0.db.default.svc.cluster.local."
    ]
    assert short(lab, "-x", "10.96.0.20") == [f"{WEB}."]
    assert short(lab, "kube-dns.kube-system.svc.cluster.local") == [ADDRESS]
    assert short(lab, "kubernetes.default.svc.cluster.local") == ["10.96.0.1"]
    assert short(lab, "cluster.local", "NS") == ["kube-dns.kube-system.svc.cluster.local."]
    assert short(lab, "dns-version.cluster.local", "TXT") == ['"1.1.0"']
    assert "status: NXDOMAIN" in dig(lab, "nothing.default.svc.cluster.local")
    assert lab.diagnose().findings == ()


def test_programs_find_names_by_the_files_of_their_pod(lab: Lab) -> None:
    resolv = (
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )
    assert lab.exec("client", "cat", "/etc/resolv.conf") == resolv
    assert lab.exec("client", "cat", "/etc/hostname") == "client\n"
    hosts = lab.exec("db-0", "cat", "/etc/hosts")
    assert f"{lab.address_of('pod/db-0')}\tdb-0.db.default.svc.cluster.local\tdb-0\n" in hosts
    assert lab.exec("client", "getent", "hosts", "web").split() == ["10.96.0.20", WEB]
    plain = ["ip", "netns", "exec", lab.netns("default", "client")]
    asked = subprocess.run([*plain, "getent", "hosts", "db-0.db"], capture_output=True, text=True, check=True)
    assert asked.stdout.split()[0] == lab.address_of("pod/db-0")
    python = "import socket; print(socket.getaddrinfo('web', 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])"
    assert lab.exec("client", sys.executable, "-c", python) == "10.96.0.20\n"
    assert '"pod": "db-0"' in lab.exec("client", "curl", "-s", "http://web/")


def test_names_outside_are_answered_by_the_host_outside(lab: Lab) -> None:
    eventually(lambda: short(lab, "www.example.com") == ["203.0.113.10"])
    assert short(lab, "cdn.example.com") == ["www.example.com.", "203.0.113.10"]
    assert short(lab, "example.com", "MX") == ["10 mail.example.com."]
    assert "status: NXDOMAIN" in dig(lab, "www.kubernetes.io")
    assert len(short(lab, "+noedns", "many.example.com")) == 40
    assert ";; Truncated, retrying in TCP mode" in dig(lab, "+noedns", "many.example.com")


def test_a_new_service_is_answered_and_a_deleted_one_is_not(lab: Lab) -> None:
    lab.apply(LATE)
    eventually(lambda: short(lab, "late.default.svc.cluster.local") == ["10.96.0.30"])
    lab.run("delete", "svc", "late")
    eventually(lambda: "status: NXDOMAIN" in dig(lab, "late.default.svc.cluster.local"))


def test_a_killed_server_is_started_again(lab: Lab) -> None:
    before = dnsprocess.pid_of(lab)
    os.kill(before, signal.SIGKILL)
    assert lab.probe("client", "web:80").ok, "addresses go on"
    eventually(lambda: short(lab, WEB) == ["10.96.0.20"])
    assert dnsprocess.pid_of(lab) != before
    eventually(lambda: lab.list("Pod", "kube-system")[0]["status"]["containerStatuses"][0]["restartCount"] == 1)


def test_two_dns_pods_have_one_process_and_each_has_its_own_counters_and_log(lab: Lab, directory: Path) -> None:
    before = dnsprocess.pid_of(lab)
    lab.up(written(directory, LAB.replace(DNS, "nodes: 2, dns: {replicas: 2}")))
    assert dnsprocess.pid_of(lab) == before
    pods = lab.list("Pod", "kube-system")
    assert len({pod["status"]["podIP"] for pod in pods}) == 2
    for pod in pods:
        ask = [f"@{pod['status']['podIP']}", "+short", WEB]
        asked = subprocess.run(["ip", "netns", "exec", lab.netns("default", "client"), "dig", *ask], **TEXT)
        assert asked.stdout == "10.96.0.20\n"
        assert "[INFO] goes by a Corefile" in lab.run("logs", "-n", "kube-system", pod["metadata"]["name"])
    new = max(pods, key=lambda pod: pod["status"]["startTime"])
    counted = lab.exec("client", "curl", "-s", f"http://{new['status']['podIP']}:9153/metrics")
    assert (
        'coredns_dns_requests_total{server="dns://:53",zone=".",view="",proto="udp",family="1",type="A"} 1\n' in counted
    )
    lab.run("delete", "pod", "-n", "kube-system", new["metadata"]["name"])
    assert dnsprocess.pid_of(lab) == before, "the other one's names are answered all the time"
    lab.up(written(directory, LAB))
    assert short(lab, WEB) == ["10.96.0.20"]


def test_a_killed_kubelet_takes_the_server_along_and_the_next_one_has_its_own(lab: Lab) -> None:
    before = dnsprocess.pid_of(lab)
    os.kill(before, signal.SIGSTOP)
    lab.kill("kubelet")
    eventually(lambda: not Path(f"/proc/{before}").exists())
    eventually(lambda: short(lab, WEB) == ["10.96.0.20"])
    assert dnsprocess.pid_of(lab) != before


def test_the_server_goes_on_without_the_daemon_and_follows_the_next_one(lab: Lab, directory: Path) -> None:
    lab.kill("daemon")
    assert short(lab, WEB) == ["10.96.0.20"]
    lab.up(written(directory, LAB.replace("10.96.0.20", "10.96.0.21")))
    eventually(lambda: short(lab, WEB) == ["10.96.0.21"])
    lab.up(written(directory, LAB))
    eventually(lambda: short(lab, WEB) == ["10.96.0.20"])


def test_another_corefile_is_taken_and_a_wrong_one_left(lab: Lab, directory: Path) -> None:
    lab.up(written(directory, LAB.replace(DNS, "nodes: 2, dns: {upstream: [], hosts: {db.corp.example: [192.0.2.7]}}")))
    eventually(lambda: short(lab, "db.corp.example") == ["192.0.2.7"])
    assert "status: REFUSED" in dig(lab, "www.example.com")
    lab.apply(WRONG)
    said = "Corefile:2: the plugin rewrite is not served here"
    eventually(lambda: said in lab.run("logs", "-n", "kube-system", "deploy/coredns"))
    assert short(lab, "db.corp.example") == ["192.0.2.7"]
    lab.up(written(directory, LAB))
    eventually(lambda: short(lab, "db.corp.example") == ["198.51.100.53"])


def logs_of(lab: Lab, pod: str) -> str:
    """Of all runs of its container."""
    return "".join(file.read_text() for file in lab.run_directory.glob(f"**/*{pod}*/**/*.log"))


def test_a_loop_is_said_in_log_status_and_event_and_named(lab: Lab, directory: Path) -> None:
    """A server whose upstream is the cluster's own Service: it ends, as CoreDNS does, and is started ever later."""
    said = 'plugin/loop: Loop (:53 -> 10.96.0.10) detected for zone "."'
    (pod,) = lab.list("Pod", "kube-system")
    name = pod["metadata"]["name"]
    lab.run("apply", "-f", "-", "--wait=false", stdin=LOOPING)

    def ended() -> str:
        status = lab.get("pod", name, "kube-system")["status"]["containerStatuses"][0]
        states = [status[state].get("terminated", {}) for state in ("state", "lastState")]
        return next((one["message"] for one in states if "message" in one), "")

    eventually(lambda: said in ended())
    assert said in logs_of(lab, name)
    eventually(lambda: said in lab.run("get", "events", "-n", "kube-system"))
    eventually(lambda: [(f.fault, f.object) for f in lab.diagnose().findings] == [("loop", "10.96.0.10:53")])
    lab.run("up", str(written(directory, LAB)), code=None)  # the pod waits to be started again, and `up` says so
    lab.run("delete", "pod", name, "-n", "kube-system")
    eventually(lambda: short(lab, WEB) == ["10.96.0.20"])
    eventually(lambda: lab.diagnose().findings == ())


def test_the_host_outside_answers_again_after_its_server_is_killed_and_after_it_was_deleted(lab: Lab) -> None:
    netns = lab.netns("outside")
    asked = ["ip", "netns", "exec", lab.netns("node1"), "dig", "+tries=1", "+time=1", "@203.0.113.10", "+short"]

    def answered() -> bool:
        done = subprocess.run([*asked, "www.corp.example"], capture_output=True, text=True, check=False)
        return done.stdout == "203.0.113.10\n"

    eventually(answered)
    lab.kill("kubelet")
    eventually(answered)
    subprocess.run(["ip", "netns", "del", netns], check=True)
    eventually(answered)
    eventually(lambda: lab.diagnose().findings == ())


def test_without_replicas_names_are_rejected_and_without_dns_nothing_is_left(lab: Lab, directory: Path) -> None:
    lab.up(written(directory, LAB.replace(DNS, "nodes: 2, dns: {replicas: 0}")))
    eventually(lambda: "connection refused" in dig(lab, WEB))  # of ICMP errors a kernel sends a few in a second
    lab.up(written(directory, LAB.replace(DNS, "nodes: 2, dns: {enabled: false}")))
    assert not lab.list("Pod", "kube-system")
    assert not lab.list("Service", "kube-system")
    names = list(lab.namespaces())
    lab.down()
    assert not [name for name in names if Path("/etc/netns", name).exists()]


def test_dns_pods_take_their_addresses_after_all_others(tmp_path: Path) -> None:
    """After a pod of a namespace that comes later, and after one that is made once another one is ready; said again it
    stays where it is."""
    with running(written(tmp_path, COMING_LATE)) as lab:
        pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in lab.list("Pod")}
        (name,) = (name for name in pods if name.startswith("coredns"))
        own = ip_address(pods.pop(name))
        assert len(pods) == 5
        assert all(own > ip_address(other) for other in pods.values()), (own, pods)
        assert lab.json("up", str(tmp_path))["updated"] == []
        assert next(p["status"]["podIP"] for p in lab.list("Pod", "kube-system")) == str(own)
