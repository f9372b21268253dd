"""A lab that is drawn: many pods with long names on its nodes."""

from __future__ import annotations

import itertools


def manifest(nodes: int, pods: int, more: str = "") -> str:
    text = f"apiVersion: k8snetlab/v1alpha1\nkind: Lab\nmetadata: {{name: p}}\nspec:\n  nodes: {nodes}\n{more}\n"
    for node, pod in itertools.product(range(1, nodes + 1), range(pods)):
        name = f"a-rather-long-name-of-a-workload-75c4d8f9b6-{node}-{pod}"
        text += (
            f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: a{pod % 2}}}}}\n"
            f"spec: {{nodeName: node{node}, containers: [{{name: c, ports: [{{containerPort: 80}}]}}]}}\n"
        )
    for name in ("a0", "a1", "nobody"):
        text += (
            f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
            f"spec: {{selector: {{app: {name}}}, type: NodePort, ports: [{{port: 80}}]}}\n"
        )
    return text
