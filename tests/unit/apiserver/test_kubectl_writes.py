"""What a real kubectl writes is stored as a real API server stores it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import kubectl
import pytest
from kubectl import Kubectl

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
        - {name: c, image: "nginx:1", ports: [{containerPort: 80, name: http}], env: [{name: A, value: "1"}]}
        - {name: d, image: "busybox:1"}
"""


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with kubectl.against_face(tmp_path_factory.mktemp("kubectl")) as one:
        yield one


def made(k: Kubectl, namespace: str) -> tuple[str, str]:
    """The Deployment in a namespace of its own."""
    there = ("-n", namespace)
    k.run("create", "ns", namespace)
    k.run("apply", *there, "-f", "-", stdin=DEPLOYMENT)
    return there


def test_what_is_set_leaves_the_rest_as_it_is(k: Kubectl) -> None:
    there = made(k, "set")
    k.run("set", "image", *there, "deploy/shop", "c=nginx:2")
    k.run("set", "env", *there, "deploy/shop", "B=2")
    k.run("set", "resources", *there, "deploy/shop", "-c=c", "--limits=cpu=200m")
    first, second = k.json("get", "deploy", "shop", *there)["spec"]["template"]["spec"]["containers"]
    assert first["image"] == "nginx:2" and second["image"] == "busybox:1"
    assert first["ports"] == [{"containerPort": 80, "name": "http", "protocol": "TCP"}]
    assert {one["name"]: one["value"] for one in first["env"]} == {"A": "1", "B": "2"}
    assert first["resources"]["limits"] == {"cpu": "200m"}


def test_applying_again_changes_what_has_changed_and_no_more(k: Kubectl) -> None:
    there = made(k, "again")
    assert k.run("apply", *there, "-f", "-", stdin=DEPLOYMENT).endswith("unchanged\n")
    k.run("scale", *there, "deploy/shop", "--replicas=5")
    changed = DEPLOYMENT.replace("  replicas: 2\n", "").replace("nginx:1", "nginx:2")
    assert k.run("apply", *there, "-f", "-", stdin=changed, code=0).endswith("configured\n")
    spec = k.json("get", "deploy", "shop", *there)["spec"]
    assert [one["image"] for one in spec["template"]["spec"]["containers"]] == ["nginx:2", "busybox:1"]
    fewer = DEPLOYMENT.replace('        - {name: d, image: "busybox:1"}\n', "")
    k.run("apply", *there, "-f", "-", stdin=fewer)
    containers = k.json("get", "deploy", "shop", *there)["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in containers] == ["c"]


def test_three_kinds_of_patches_are_taken(k: Kubectl) -> None:
    there = made(k, "patches")

    def replicas() -> int:
        return int(k.json("get", "deploy", "shop", *there)["spec"]["replicas"])

    k.run("patch", *there, "deploy", "shop", "-p", '{"spec": {"replicas": 3}}')
    assert replicas() == 3
    k.run("patch", *there, "deploy", "shop", "--type=merge", "-p", '{"spec": {"replicas": 4}}')
    assert replicas() == 4
    operation = json.dumps([{"op": "replace", "path": "/spec/replicas", "value": 5}])
    k.run("patch", *there, "deploy", "shop", "--type=json", "-p", operation)
    assert replicas() == 5
    wrong = k.run("patch", *there, "deploy", "shop", "-p", '{"spec": {"replicas": -1}}', code=1)
    assert 'Deployment "shop" is invalid' in wrong or "spec.replicas" in wrong


def test_a_rollout_goes_on_and_comes_back(k: Kubectl) -> None:
    there = made(k, "rollout")
    k.run("rollout", "status", *there, "deploy/shop", "--timeout=60s")
    k.run("set", "image", *there, "deploy/shop", "c=nginx:2")
    k.run("rollout", "status", *there, "deploy/shop", "--timeout=60s")
    k.run("annotate", *there, "deploy/shop", "kubernetes.io/change-cause=a newer image")
    history = [
        line.split(maxsplit=1) for line in k.run("rollout", "history", *there, "deploy/shop").splitlines() if line
    ]
    assert history[2:] == [["1", "<none>"], ["2", "a newer image"]]
    assert "nginx:2" in k.run("rollout", "history", *there, "deploy/shop", "--revision=2")
    k.run("rollout", "undo", *there, "deploy/shop")
    assert (
        k.json("get", "deploy", "shop", *there)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    )
    image = ("get", "deploy", "shop", *there, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert k.run(*image) == "nginx:1"
    k.run("rollout", "pause", *there, "deploy/shop")
    assert k.json("get", "deploy", "shop", *there)["spec"]["paused"] is True
    k.run("rollout", "resume", *there, "deploy/shop")
    k.run("rollout", "restart", *there, "deploy/shop")
    k.run("rollout", "status", *there, "deploy/shop", "--timeout=60s")


def test_a_dry_run_of_the_servers_changes_nothing(k: Kubectl) -> None:
    there = made(k, "dry")
    changed = DEPLOYMENT.replace("nginx:1", "nginx:2")
    assert "configured (server dry run)" in k.run("apply", *there, "--dry-run=server", "-f", "-", stdin=changed)
    said = k.try_("diff", *there, "-f", "-", stdin=changed)
    assert said.returncode == 1 and "nginx:2" in said.stdout
    assert k.try_("diff", *there, "-f", "-", stdin=DEPLOYMENT).returncode == 0
    assert "nginx:2" not in k.run("get", "deploy", "shop", *there, "-o", "yaml")


def test_nodes_are_cordoned_and_tainted(k: Kubectl) -> None:
    k.run("cordon", "node1")
    assert "SchedulingDisabled" in k.run("get", "node", "node1")
    k.run("uncordon", "node1")
    k.run("taint", "nodes", "node1", "a=b:NoSchedule")
    assert {"key": "a", "value": "b", "effect": "NoSchedule"} in k.json("get", "node", "node1")["spec"]["taints"]
    k.run("taint", "nodes", "node1", "a-")
    assert "SchedulingDisabled" not in k.run("get", "node", "node1")


def test_a_node_is_drained_by_evictions(k: Kubectl) -> None:
    there = made(k, "drained")
    k.run("rollout", "status", *there, "deploy/shop", "--timeout=60s")

    def pods() -> set[str]:
        return {pod["metadata"]["uid"] for pod in k.json("get", "pods", *there)["items"]}

    before = pods()
    k.run("drain", "node1", "--dry-run=server", "--force")
    assert pods() == before and "SchedulingDisabled" not in k.run("get", "node", "node1")
    said = k.run("drain", "node1", "--force", "--timeout=60s")
    assert "evicted" in said and "node/node1 drained" in said
    assert not before & pods()
    k.run("uncordon", "node1")


def test_labels_and_annotations_come_and_go(k: Kubectl) -> None:
    there = made(k, "labels")
    k.run("label", *there, "deploy", "shop", "tier=web")
    k.run("annotate", *there, "deploy", "shop", "note=here")
    metadata = k.json("get", "deploy", "shop", *there)["metadata"]
    assert metadata["labels"] == {"tier": "web"} and metadata["annotations"]["note"] == "here"
    assert "--overwrite is false" in k.run("label", *there, "deploy", "shop", "tier=db", code=1)
    k.run("label", *there, "deploy", "shop", "tier-")
    assert "labels" not in k.json("get", "deploy", "shop", *there)["metadata"]


def test_what_is_created_by_words_is_made_of_protobuf_too(k: Kubectl) -> None:
    k.run("create", "ns", "words")
    there = ("-n", "words")
    k.run("create", "deployment", *there, "web", "--image=nginx", "--replicas=0", "--port=80")
    spec = k.json("get", "deploy", "web", *there)["spec"]
    assert spec["replicas"] == 0 and spec["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] == 80
    k.run("create", "service", "nodeport", *there, "web", "--tcp=80:8080", "--node-port=30099")
    [port] = k.json("get", "svc", "web", *there)["spec"]["ports"]
    assert (port["port"], port["targetPort"], port["nodePort"]) == (80, 8080, 30099)
    k.run("expose", "deploy", *there, "web", "--name=other", "--port=81")
    k.run("run", *there, "box", "--image=busybox", "--port=80", "--labels=a=b")
    assert k.json("get", "pod", "box", *there)["metadata"]["labels"] == {"a": "b"}
    k.run("delete", "ns", "words")
    assert "not found" in k.run("get", "ns", "words", code=1)


def test_what_is_owned_goes_first_or_stays_where_that_is_said(k: Kubectl) -> None:
    there = made(k, "cascade")
    k.run("rollout", "status", *there, "deploy/shop", "--timeout=60s")
    k.run("delete", *there, "deploy", "shop", "--cascade=orphan")
    [left] = k.json("get", "rs", *there)["items"]
    assert "ownerReferences" not in left["metadata"]
    assert len(k.run("get", "pods", *there, "-o", "name").split()) == 2
    k.run("delete", *there, "rs", "--all", "--cascade=foreground")
    assert k.run("get", "pods,rs", *there, "-o", "name") == ""


def test_server_side_apply_knows_who_owns_what(k: Kubectl) -> None:
    there = ("-n", "owned")
    k.run("create", "ns", "owned")
    applied = ("apply", "--server-side", *there, "-f", "-")
    assert k.run(*applied, stdin=DEPLOYMENT) == "deployment.apps/shop serverside-applied\n"
    k.run(*applied, stdin=DEPLOYMENT)
    k.run("scale", *there, "deploy/shop", "--replicas=4")
    said = k.run(*applied, stdin=DEPLOYMENT, code=1)
    assert 'conflict with "kubectl" using apps/v1 at ' in said and ".spec.replicas" in said
    k.run(*applied, "--force-conflicts", stdin=DEPLOYMENT)
    assert k.json("get", "deploy", "shop", *there)["spec"]["replicas"] == 2
    assert "kubectl" in k.run("get", "deploy", "shop", *there, "--show-managed-fields", "-o", "yaml")


def test_configuration_is_made_shown_and_deleted(k: Kubectl) -> None:
    there = ("-n", "config")
    k.run("create", "ns", "config")
    k.run("create", "configmap", *there, "c", "--from-literal=a=b")
    k.run("create", "secret", "generic", *there, "s", "--from-literal=a=b")
    k.run("create", "serviceaccount", *there, "sa")
    shown = k.run("get", "cm,secret,sa", *there).split()
    assert {"configmap/c", "secret/s", "serviceaccount/sa", "Opaque"} <= set(shown)
    assert k.run("get", "secret", "s", *there, "-o", "jsonpath={.data.a}") == "Yg=="
    assert "a:  1 bytes" in k.run("describe", "secret", "s", *there)
    k.run("delete", "cm,secret,sa", "--all", *there)
    assert k.run("get", "cm,secret,sa", *there, "-o", "name") == ""
