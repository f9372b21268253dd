"""The API from inside a lab: a pod's command asks it as on a real cluster, through the rules, with what it finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from k8snetlab.testing import Lab, eventually

pytestmark = pytest.mark.lab("two-nodes", scope="module")

ASK = """
import json, os, ssl, sys, urllib.request
base = "/var/run/secrets/kubernetes.io/serviceaccount/"
token, namespace = open(base + "token").read(), open(base + "namespace").read()
server = "https://%s:%s" % (os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"])
request = urllib.request.Request(server + "/api/v1/namespaces/%s/pods" % namespace)
request.add_header("Authorization", "Bearer " + token)
context = ssl.create_default_context(cafile=base + "ca.crt")
pods = json.load(urllib.request.urlopen(request, context=context, timeout=30))
print(json.dumps({"server": server, "pods": sorted(pod["metadata"]["name"] for pod in pods["items"])}), flush=True)
import time; time.sleep(1000)
"""


def asking(name: str, node: str, **spec: object) -> str:
    container = {"name": "c", "image": "python", "command": ["python3", "-c", ASK]}
    metadata = {"name": name, "namespace": "default"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node, **spec}}
    pod["spec"]["containers"] = [container]  # type: ignore[index]
    return json.dumps(pod)


def said(lab: Lab, pod: str, lines: int = 1) -> str:
    """What it has written, once that is so many lines."""
    eventually(lambda: lab.run("logs", pod).count("\n") >= lines)
    return lab.run("logs", pod)


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_a_command_in_a_pod_lists_the_pods_of_its_namespace(lab: Lab, node: str) -> None:
    lab.run("apply", "-f", "-", stdin=asking(f"asks-{node}", node))
    answer = json.loads(said(lab, f"asks-{node}").splitlines()[0])
    assert answer["server"] == "https://10.96.0.1:443"
    assert {"client", f"asks-{node}"} <= set(answer["pods"])


def test_the_service_kubernetes_is_as_a_real_servers(lab: Lab) -> None:
    [service] = [one for one in lab.list("services", "default") if one["metadata"]["name"] == "kubernetes"]
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    assert service["metadata"]["labels"] == {"component": "apiserver", "provider": "kubernetes"}
    assert "selector" not in service["spec"]
    [endpoints] = [one for one in lab.list("endpoints", "default") if one["metadata"]["name"] == "kubernetes"]
    assert endpoints["subsets"] == [
        {"addresses": [{"ip": "192.168.0.21"}], "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}
    ]
    rules = lab.run("exec", "node2", "--", "iptables-save", "-t", "nat")
    assert "default/kubernetes:https cluster IP" in rules and "--to-destination 192.168.0.21:6443" in rules


def test_a_pod_without_automount_finds_no_token(lab: Lab) -> None:
    command = [
        "sh",
        "-c",
        "ls /var/run/secrets/kubernetes.io/serviceaccount/token; echo $KUBERNETES_SERVICE_HOST; sleep 1000",
    ]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bare"},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": "any", "command": command}],
        },
    }
    lab.run("apply", "-f", "-", stdin=json.dumps(pod))
    text = said(lab, "bare", 2)
    assert "No such file" in text and "10.96.0.1" in text


def test_what_exec_begins_in_a_pod_finds_the_token_too(lab: Lab) -> None:
    lab.run("apply", "-f", "-", stdin=asking("entered", "node1"))
    said(lab, "entered")
    base = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert lab.run("exec", "entered", "--", "cat", f"{base}/namespace") == "default"
    assert not Path(base).exists(), "the machine's own directories have none of it"


HOLD = """
import signal, socket
holder = socket.create_server(("192.168.0.21", 6443))
print("holds", flush=True)
signal.pause()
"""


def endpoint(lab: Lab) -> tuple[str, int]:
    subset = lab.get("endpoints", "kubernetes")["subsets"][0]
    return subset["addresses"][0]["ip"], subset["ports"][0]["port"]


def test_the_api_is_found_by_pods_though_another_program_has_taken_its_port(lab: Lab) -> None:
    """The daemon goes, the port in the node is taken meanwhile, and the daemon comes again."""
    assert endpoint(lab) == ("192.168.0.21", 6443)
    lab.kill("daemon")
    command = ["ip", "netns", "exec", lab.netns("node1"), sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout and holder.stdout.readline() == "holds\n"
            lab.up("two-nodes")
            eventually(lambda: endpoint(lab)[1] != 6443)
            address, port = endpoint(lab)
            assert address == "192.168.0.21"
            lab.run("apply", "-f", "-", stdin=asking("moved", "node2"))
            answer = json.loads(said(lab, "moved").splitlines()[0])
            assert answer["server"] == "https://10.96.0.1:443" and "moved" in answer["pods"]
            rules = lab.run("exec", "node2", "--", "iptables-save", "-t", "nat")
            assert f"--to-destination {address}:{port}" in rules and "192.168.0.21:6443" not in rules
        finally:
            holder.terminate()
