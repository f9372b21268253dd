"""What most labs of a test need beside the Lab: a client, and a Service `web` with pods behind it, as manifests.

Each text is YAML documents that begin with their `---`, so they are put together with `+`.
"""

from __future__ import annotations

_CLIENT = """---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {NODE, containers: [{name: c}]}
"""
_WEB = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {NODE, containers: [{name: c, ports: [{containerPort: PORT}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: TYPE, selector: {app: web}, ports: [{port: 80, targetPort: PORT, nodePort: GIVEN}]}
"""


def client(node: str = "") -> str:
    """A Pod `client`, which listens nowhere; on `node`, else where it fits."""
    return _at(_CLIENT, node)


def web(replicas: int = 2, port: int = 80, node: str = "", type_: str = "ClusterIP", node_port: int = 0) -> str:
    """A Deployment `web`, whose pods listen on `port` (on `node`, else where they fit), and its Service at port 80.

    `type_` is the Service's; `node_port` 0 lets the lab choose one, where the type has one.
    """
    text = _WEB.replace("REPLICAS", str(replicas)).replace("PORT", str(port)).replace("TYPE", type_)
    return _at(text.replace("GIVEN", str(node_port)) if node_port else text.replace(", nodePort: GIVEN", ""), node)


def _at(text: str, node: str) -> str:
    return text.replace("NODE", f"nodeName: {node}") if node else text.replace("NODE, ", "")
