"""Faults of the control plane, as a manifest brings them: a Deployment whose pods get no node, or do not become ready.

Each makes a Deployment and a Service of its own, so that nothing of the lab's is changed but what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.core import Node, Taint
from k8snetlab.api.scheme import to_dict
from k8snetlab.faults.fault import Class, Damage, Edit, Fault, Said, Seen, content
from k8snetlab.faults.scene import LacksError, Scene, named
from k8snetlab.faults.typed import created

PORT = 8080
TAINT = Taint(key="maintenance", value="tonight", effect="NoSchedule")
_LABEL = "node.example.com/disk"


def _damage(scene: Scene, name: str, spec: dict[str, Any], container: dict[str, Any], *first: Edit) -> Damage:
    """Of a Deployment of one pod with this spec, behind a Service; `first` are edits made between the two."""
    where, labels = scene.client.namespace, {"app": name}
    about = {"metadata": {"name": name, "namespace": where, "labels": labels}}
    service = {"selector": labels, "ports": [{"port": 80, "targetPort": PORT}]}
    containers = [{"name": "shop", "image": "shop:1.0", "ports": [{"containerPort": PORT}]} | container]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers} | spec}
    deployment = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    edits = (
        created(scene, {"apiVersion": "v1", "kind": "Service", "spec": service} | about),
        *first,
        created(scene, {"apiVersion": "apps/v1", "kind": "Deployment", "spec": deployment} | about),
    )
    return Damage(f"{where}/{name}", Seen(named(scene.client), f"svc/{where}/{name}:80"), edits=edits)


def _selector(scene: Scene) -> Damage:
    if any(_LABEL in node.metadata.labels for node in scene.snapshot.all(Node).values()):
        raise LacksError(f"a node has the label {_LABEL}")
    return _damage(scene, "archive", {"nodeSelector": {_LABEL: "large"}}, {})


def _taint(scene: Scene) -> Damage:
    """All nodes are tainted; pods that are there stay."""
    edits = []
    for node in scene.snapshot.all(Node).values():
        tainted = replace(node, spec=replace(node.spec, taints=(*node.spec.taints, TAINT)))
        edits.append(Edit("Node", "", node.name, content(to_dict(node)), content(to_dict(tainted))))
    return _damage(scene, "billing", {}, {}, *edits)


def _requests(scene: Scene) -> Damage:
    return _damage(scene, "search", {}, {"resources": {"requests": {"cpu": "4000"}}})


def _scheduler(scene: Scene) -> Damage:
    return _damage(scene, "reports", {"schedulerName": "defualt-scheduler"}, {})


def _readiness(scene: Scene) -> Damage:
    probe = {"httpGet": {"path": "/healthz", "port": PORT + 1}, "periodSeconds": 1, "failureThreshold": 1}
    command = ["python3", "-m", "http.server", str(PORT)]
    return _damage(scene, "checkout", {}, {"command": command, "readinessProbe": probe})


def _crash(scene: Scene) -> Damage:
    return _damage(scene, "basket", {}, {"command": ["sh", "-c", "echo no configuration >&2; exit 3"]})


def _configuration(scene: Scene) -> Damage:
    return _damage(scene, "login", {}, {"envFrom": [{"configMapRef": {"name": "login-settings"}}]})


def _program(scene: Scene) -> Damage:
    return _damage(scene, "mailer", {}, {"command": ["/usr/local/bin/mailerd", "--foreground"]})


_KINDS: tuple[tuple[str, str, str, Callable[[Scene], Damage]], ...] = (
    ("node-selector", "a Deployment wants nodes with a label that none has", "pending", _selector),
    ("taint", "every node has a taint that a Deployment does not tolerate", "pending", _taint),
    ("requests-too-large", "a Deployment requests more CPU than any node has", "pending", _requests),
    ("scheduler-name", "a Deployment names a scheduler that there is not", "pending", _scheduler),
    ("readiness-probe", "a readiness probe asks a port where nobody listens", "waiting", _readiness),
    ("crash-loop", "a container's command ends at once, again and again", "waiting", _crash),
    ("config-missing", "a container needs a ConfigMap that there is not", "waiting", _configuration),
    ("command-missing", "a container's command is no program", "waiting", _program),
)


def faults() -> Iterator[Fault]:
    group: Class = "workloads"
    for name, title, what, make in _KINDS:
        yield Fault(
            name=name,
            title=title,
            level=2 if name in ("taint", "scheduler-name") else 1,
            group=group,
            touches="a Deployment" if name != "taint" else "a Deployment and all Nodes",
            symptom="a new application does not come up: its Service fails from everywhere",
            said=Said("pod", what),
            make=make,
        )
