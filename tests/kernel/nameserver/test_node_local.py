"""NodeLocal DNSCache: a cache on every node, its rules as node-cache writes them, and who answers through it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dnsprocess
import pytest

from k8snetlab.messages.diagnose import ReportedFinding
from k8snetlab.testing import Lab, eventually, running

pytestmark = pytest.mark.root

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {nodeLocal: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node1, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: host}
spec:
  nodeName: node1
  hostNetwork: true
  containers: [{name: c, command: [sh, -c, "cat /etc/resolv.conf /etc/hosts; hostname; exec sleep inf"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: both}
spec:
  nodeName: node1
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  hostAliases: [{ip: 192.0.2.7, hostnames: [alias.example]}]
  containers: [{name: c, command: [sh, -c, "cat /etc/resolv.conf /etc/hosts; exec sleep inf"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: whole}
spec:
  nodeName: node1
  subdomain: sub
  setHostnameAsFQDN: true
  containers: [{name: c, command: [sh, -c, 'hostname; echo $HOSTNAME; cat /etc/hostname; exec sleep inf']}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.20, ports: [{port: 80}]}
"""
RAW = """\
-A PREROUTING -d 169.254.20.10/32 -p tcp -m tcp --dport 53 -j NOTRACK
-A PREROUTING -d 169.254.20.10/32 -p udp -m udp --dport 53 -j NOTRACK
-A OUTPUT -s 169.254.20.10/32 -p tcp -m tcp --sport 53 -j NOTRACK
-A OUTPUT -s 169.254.20.10/32 -p udp -m udp --sport 53 -j NOTRACK
-A OUTPUT -d 169.254.20.10/32 -p tcp -m tcp --dport 53 -j NOTRACK
-A OUTPUT -d 169.254.20.10/32 -p udp -m udp --dport 53 -j NOTRACK
-A OUTPUT -d 169.254.20.10/32 -p tcp -m tcp --dport 8080 -j NOTRACK
-A OUTPUT -s 169.254.20.10/32 -p tcp -m tcp --sport 8080 -j NOTRACK
"""
FILTER = """\
-A INPUT -d 169.254.20.10/32 -p tcp -m tcp --dport 53 -j ACCEPT
-A INPUT -d 169.254.20.10/32 -p udp -m udp --dport 53 -j ACCEPT
-A OUTPUT -s 169.254.20.10/32 -p tcp -m tcp --sport 53 -j ACCEPT
-A OUTPUT -s 169.254.20.10/32 -p udp -m udp --sport 53 -j ACCEPT
"""
NODE_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n192.168.0.21\tnode1\n"
WEB = "web.default.svc.cluster.local."
TEXT: dict[str, Any] = {"capture_output": True, "text": True, "check": True}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("node-local")
    (directory / "lab.yaml").write_text(LAB)
    with running(directory) as one:
        yield one


def config(corefile: str) -> str:
    """The caches' ConfigMap."""
    metadata = {"name": "node-local-dns", "namespace": "kube-system"}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": corefile}})


def rules(lab: Lab, table: str) -> list[str]:
    command = [
        "ip",
        "netns",
        "exec",
        lab.netns("node1"),
        f"iptables-{lab.json('status')['iptables']}-save",
        "-t",
        table,
    ]
    saved = subprocess.run(command, **TEXT).stdout.splitlines()
    return [line for line in saved if line.startswith("-A") and "169.254.20.10" in line]


def test_every_node_has_upstreams_device_and_rules(lab: Lab) -> None:
    for node in ("node1", "node2"):
        shown = ["ip", "-n", lab.netns(node), "-o", "-4", "addr", "show", "dev", "nodelocaldns"]
        assert "inet 169.254.20.10/32" in subprocess.run(shown, **TEXT).stdout
    assert sorted(rules(lab, "raw")) == sorted(RAW.splitlines())
    assert sorted(rules(lab, "filter")) == sorted(FILTER.splitlines())
    assert lab.diagnose().findings == ()


def test_pods_ask_their_nodes_cache_and_it_asks_the_clusters_dns_by_tcp_once(lab: Lab) -> None:
    assert "nameserver 169.254.20.10\n" in lab.exec("client", "cat", "/etc/resolv.conf")
    for _ in range(2):
        (asked,) = lab.json("dig", "client", WEB, "A")["queries"]
        assert asked["answeredBy"].startswith("kube-system/node-local-dns-")
        assert (asked["answeredNode"], asked["service"], asked["records"][0]["data"]) == ("node1", "", "10.96.0.20")
    dns = next(pod for pod in lab.list("Pod", "kube-system") if pod["metadata"]["name"].startswith("coredns"))
    counted = lab.exec("client", "curl", "-s", f"http://{dns['status']['podIP']}:9153/metrics")
    assert (
        'coredns_dns_requests_total{server="dns://:53",zone=".",view="",proto="tcp",family="1",type="A"} 1\n' in counted
    )
    cache = lab.exec("client", "curl", "-s", "http://192.168.0.21:9253/metrics")
    of = 'server="dns://169.254.20.10:53",'
    assert f'coredns_cache_hits_total{{{of}type="success",zones="cluster.local.",view=""}} 1\n' in cache
    assert 'coredns_proxy_request_duration_seconds_count{proxy_name="forward",to="' in cache


def test_its_packets_are_not_tracked_and_the_trace_of_one_says_so(lab: Lab) -> None:
    for protocol in ("udp", "tcp"):
        told = lab.run("trace", "client", "169.254.20.10:53", "-p", protocol, "-v")
        assert "prediction and observation agree" in told
        assert "NOTRACK: raw PREROUTING" in told
        assert "nobody" not in told
    entries = ["ip", "netns", "exec", lab.netns("node1"), "cat", "/proc/net/nf_conntrack"]
    tracked = subprocess.run(entries, capture_output=True, text=True, check=False).stdout
    assert "dst=169.254.20.10" not in tracked


def test_a_killed_cache_breaks_names_and_comes_back(lab: Lab) -> None:
    pid = dnsprocess.pid_of(lab)
    os.kill(pid, signal.SIGSTOP)
    try:
        (asked,) = lab.json("dig", "client", WEB, "A", code=1)["queries"][:1]
        assert (asked["answeredBy"], asked["error"]) == ("", "no answer")
    finally:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: lab.json("dig", "client", WEB, "A", code=None)["found"])
    assert dnsprocess.pid_of(lab) != pid


def test_a_cache_that_stands_still_and_one_that_asks_itself_are_named(lab: Lab) -> None:
    caches = {pod["metadata"]["name"] for pod in lab.list("Pod", "kube-system", "k8s-app=node-local-dns")}
    assert len(caches) == 2

    def named() -> bool:
        """Silent at first, soon not ready."""
        said = " ".join(finding.message for finding in lab.diagnose().findings)
        return all(name in said for name in caches)

    pid = dnsprocess.pid_of(lab)
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(named)
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: not of_names(lab))
    held = lab.get("configmap", "node-local-dns", "kube-system")["data"]["Corefile"]
    for line, fault, message in (
        ("forward . 169.254.20.10", "loop", "169.254.20.10:53, which is each node's cache itself"),
        ("rewrite name a b", "corefile", "ConfigMap kube-system/node-local-dns: Corefile:3: the plugin rewrite"),
    ):
        lab.apply(config(f"x.example:53 {{\n    bind 169.254.20.10\n    {line}\n}}\n"))
        (finding,) = of_names(lab)
        assert (finding.kind, finding.fault) == ("resolver", fault)
        assert message in finding.message
        assert "configmap node-local-dns" in finding.show
    lab.apply(config(held))
    eventually(lambda: not of_names(lab))


def of_names(lab: Lab) -> list[ReportedFinding]:
    """Findings about names; a machine that others use as well may have some of its own."""
    return [finding for finding in lab.diagnose().findings if finding.kind in ("resolver", "pod", "service")]


def test_names_outside_are_asked_by_the_nodes_own_file(lab: Lab) -> None:
    assert Path("/etc/netns", lab.netns("node1"), "resolv.conf").read_text() == "nameserver 203.0.113.10\n"
    assert Path("/etc/netns", lab.netns("node1"), "hosts").read_text() == NODE_HOSTS
    assert lab.json("dig", "client", "www.example.com.", "A")["addresses"] == ["203.0.113.10"]


def test_pods_of_the_hosts_network_have_files_of_their_own(lab: Lab) -> None:
    header = "# Kubernetes-managed hosts file (host network).\n"
    eventually(lambda: lab.run("logs", "host") == f"nameserver 203.0.113.10\n{header}{NODE_HOSTS}node1\n")
    resolv = (
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 169.254.20.10\noptions ndots:5\n"
    )
    aliases = "\n# Entries added by HostAliases.\n192.0.2.7\talias.example\n"
    eventually(lambda: lab.run("logs", "both") == resolv + header + NODE_HOSTS + aliases)
    assert lab.exec("both", "cat", "/etc/resolv.conf") == resolv
    assert lab.exec("host", "getent", "hosts", "node1").split() == ["192.168.0.21", "node1"]
    assert lab.exec("both", "getent", "ahostsv4", "web").split()[0] == "10.96.0.20"


def test_a_pod_may_have_its_whole_name_as_its_hostname(lab: Lab) -> None:
    name = "whole.sub.default.svc.cluster.local"
    eventually(lambda: lab.run("logs", "whole") == f"{name}\n" * 3)
    assert lab.exec("whole", "hostname") == f"{name}\n"


def test_the_cache_cannot_come_or_go_while_the_lab_runs(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB.replace(", dns: {nodeLocal: true}", ""))
    assert "spec.dns.nodeLocal cannot be changed while the lab runs" in lab.run("up", str(tmp_path), code=2)
