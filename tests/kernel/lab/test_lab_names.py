"""Manifests that are ordinary in clusters, as a lab: nodes with dots, ports and containers with the names of others."""

from __future__ import annotations

import subprocess
from pathlib import Path

from k8snetlab.testing import Lab

MANIFEST = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {dns: {enabled: false}, nodes: [{name: ip-10-0-11-22.ec2.internal}, {name: a.b}]}
---
{apiVersion: v1, kind: Namespace, metadata: {name: a}}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: a}
spec: {nodeName: a.b, containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b.c.d, labels: {app: x}}
spec: {nodeName: ip-10-0-11-22.ec2.internal, containers: [{name: c, ports: [{containerPort: 80}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: 1st}, spec: {type: NodePort, selector: {app: x}, ports: [{port: 80}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: busy, labels: {app: busy}}
spec:
  initContainers: [{name: three, restartPolicy: Always, ports: [{containerPort: 82, name: metrics}]}]
  containers:
  - {name: one, ports: [{containerPort: 81, name: http}, {containerPort: 81, name: web}]}
  - {name: two, ports: [{containerPort: 80, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: busy}
spec:
  type: ""
  sessionAffinity: ""
  selector: {app: busy}
  ports:
  - {name: named, port: 443, targetPort: http, protocol: ""}
  - {name: web, port: 444, targetPort: web}
  - {name: sidecar, port: 445, targetPort: metrics}
"""


def test_nodes_with_dots_are_nodes_like_others(tmp_path: Path) -> None:
    lab, file, policy = Lab(tmp_path), tmp_path / "lab.yaml", tmp_path / "policy.yaml"
    file.write_text(MANIFEST)
    policy.write_text("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {}}")
    try:
        lab.run("up", str(file))
        assert lab.whole()
        assert lab.run("exec", "ip-10-0-11-22.ec2.internal", "--", "hostname").strip() == "ip-10-0-11-22.ec2.internal"
        assert lab.probe("a.b", "1st:80").answeredNode == "ip-10-0-11-22.ec2.internal"
        assert {lab.netns("a_b"), lab.netns("a", "b"), lab.netns("ip-10-0-11-22_ec2_internal")} <= set(lab.namespaces())
        found = lab.json("get", "endpointslices")["items"]
        slices = {s["metadata"]["labels"]["kubernetes.io/service-name"]: s for s in found}
        assert {p["name"]: p["port"] for p in slices["busy"]["ports"]} == {"named": 81, "web": 81, "sidecar": 82}
        for port in (443, 444, 445):
            assert lab.probe("a.b", f"busy:{port}").answeredBy == "busy"
        before = lab.json("get", "pods", "-A")["items"]
        lab.run("apply", "-f", str(policy))  # a kind that no lab has: named, and nothing is changed
        assert lab.json("get", "pods", "-A")["items"] == before
        assert lab.json("diagnose")["findings"] == []
    finally:
        subprocess.run(lab.command("down"), env=lab.environment, capture_output=True, timeout=200)
    assert lab.namespaces() == []
