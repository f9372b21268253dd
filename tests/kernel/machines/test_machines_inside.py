"""The API from pods in a lab of machines: every machine is an endpoint, and all of them know one CA and one key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Machine, pair

pytestmark = pytest.mark.etcd
LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {machines: true, dns: {enabled: false}}\n"

ASK = """
import json, ssl, sys, urllib.request
base = "/var/run/secrets/kubernetes.io/serviceaccount/"
for where in sys.argv[1:]:
    request = urllib.request.Request("https://%s/api/v1/namespaces/default/pods" % where)
    request.add_header("Authorization", "Bearer " + open(base + "token").read())
    context = ssl.create_default_context(cafile=base + "ca.crt")
    pods = json.load(urllib.request.urlopen(request, context=context, timeout=30))
    print(json.dumps([where, sorted(pod["metadata"]["name"] for pod in pods["items"])]), flush=True)
import time; time.sleep(1000)
"""


def said(machine: Machine, pod: str, lines: int) -> list[str]:
    eventually(lambda: machine.run("logs", pod).count("\n") >= lines)
    return machine.run("logs", pod).splitlines()


def test_a_pods_token_is_good_at_every_machine(tmp_path: Path) -> None:
    with pair(LAB, tmp_path) as (one, _):
        eventually(lambda: len(one.json("get", "endpoints", "kubernetes")["subsets"][0]["addresses"]) == 2)
        subset = one.json("get", "endpoints", "kubernetes")["subsets"][0]
        nodes = [a["address"] for n in one.json("get", "nodes")["items"] for a in n["status"]["addresses"]]
        found = [address["ip"] for address in subset["addresses"]]
        assert set(found) <= set(nodes)
        service = one.json("get", "service", "kubernetes")["spec"]["clusterIP"]
        port = subset["ports"][0]["port"]
        where = [f"{service}:443", *(f"{ip}:{port}" for ip in found)]
        container = {"name": "c", "image": "python", "command": ["python3", "-c", ASK, *where]}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "asks"},
            "spec": {"containers": [container]},
        }
        one.run("apply", "-f", "-", stdin=json.dumps(pod))
        answers = [json.loads(line) for line in said(one, "asks", len(where))]
        assert [answer[0] for answer in answers] == where and all("asks" in answer[1] for answer in answers)
