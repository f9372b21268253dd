"""A real kubectl makes and deletes what has namespaces, owners and finalizers, and all of it ends as it should."""

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
  template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: c, image: nginx}]}}
"""
CONFIG = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, finalizers: [%s]}}"


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with kubectl.against_face(tmp_path_factory.mktemp("kubectl")) as one:
        yield one


def test_a_namespace_goes_with_all_that_is_in_it(k: Kubectl) -> None:
    k.run("create", "ns", "shop")
    k.run("apply", "-n", "shop", "-f", "-", stdin=DEPLOYMENT)
    k.run("rollout", "status", "-n", "shop", "deploy/shop", "--timeout=60s")
    k.run("create", "-n", "shop", "-f", "-", stdin=CONFIG % ("c", ""))
    k.run("delete", "ns", "shop", "--timeout=60s")
    assert "not found" in k.run("get", "ns", "shop", code=1)
    assert k.run("get", "all,cm,rs", "-n", "shop", "-o", "name") == ""


def test_a_namespace_that_ends_says_what_it_waits_for_and_takes_nothing_new(k: Kubectl) -> None:
    k.run("create", "ns", "stuck")
    k.run("create", "-n", "stuck", "-f", "-", stdin=CONFIG % ("kept", "example.com/mine"))
    k.run("delete", "ns", "stuck", "--wait=false")
    k.run("wait", "ns/stuck", "--for=condition=NamespaceContentRemaining", "--timeout=30s")
    assert k.run("get", "ns", "stuck", "--no-headers").split()[1] == "Terminating"
    said = json.loads(k.run("get", "ns", "stuck", "-o", "json"))
    conditions = {one["type"]: one for one in said["status"]["conditions"]}
    assert conditions["NamespaceContentRemaining"]["message"] == (
        "Some resources are remaining: configmaps. has 1 resource instances"
    )
    assert "example.com/mine in 1 resource instances" in conditions["NamespaceFinalizersRemaining"]["message"]
    assert said["spec"] == {"finalizers": ["kubernetes"]} and said["status"]["phase"] == "Terminating"
    said = k.run("create", "-n", "stuck", "-f", "-", stdin=CONFIG % ("new", ""), code=1)
    assert (
        'configmaps "new" is forbidden: unable to create new content in namespace stuck because it is being terminated'
        in said
    )
    k.run("patch", "-n", "stuck", "cm", "kept", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    k.run("wait", "ns/stuck", "--for=delete", "--timeout=30s")


def test_a_namespace_that_does_not_end_is_let_go_at_its_part_finalize(k: Kubectl) -> None:
    k.run("create", "ns", "stuck")
    k.run("patch", "ns", "stuck", "--type=merge", "-p", '{"spec":{"finalizers":[]}}')
    assert k.json("get", "ns", "stuck")["spec"] == {"finalizers": ["kubernetes"]}, "an update changes nothing of it"
    k.run("create", "-n", "stuck", "-f", "-", stdin=CONFIG % ("kept", "example.com/mine"))
    k.run("delete", "ns", "stuck", "--wait=false")
    k.run("wait", "ns/stuck", "--for=condition=NamespaceContentRemaining", "--timeout=30s")
    path, body = "/api/v1/namespaces/stuck/finalize", k.json("get", "ns", "stuck")
    body["spec"]["finalizers"] = ["no name"]
    said = k.run("replace", "--raw", path, "-f", "-", stdin=json.dumps(body), code=1)
    assert "spec.finalizers[0]" in said and "no name" in said
    assert "the server does not allow this method" in k.run("get", "--raw", path, code=1)
    body["spec"] = {}
    body["metadata"]["labels"]["other"] = "label"
    answer = json.loads(k.run("replace", "--raw", path, "-f", "-", stdin=json.dumps(body)))
    assert answer["spec"].get("finalizers", []) == [] and "other" not in answer["metadata"]["labels"]
    k.run("wait", "ns/stuck", "--for=delete", "--timeout=30s")


def test_nothing_is_made_in_a_namespace_that_is_not_there(k: Kubectl) -> None:
    said = k.run("create", "-n", "nowhere", "-f", "-", stdin=CONFIG % ("c", ""), code=1)
    assert 'namespaces "nowhere" not found' in said
    said = k.run("apply", "--server-side", "-n", "nowhere", "-f", "-", stdin=CONFIG % ("c", ""), code=1)
    assert 'namespaces "nowhere" not found' in said
    assert "not found" in k.run("get", "ns", "nowhere", code=1)
    assert k.run("get", "pods", "-n", "nowhere") == ""


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public", "kube-node-lease"])
def test_the_systems_namespaces_are_not_deleted(k: Kubectl, name: str) -> None:
    said = k.run("delete", "ns", name, code=1)
    assert f'(Forbidden): namespaces "{name}" is forbidden: this namespace may not be deleted' in said


def test_in_the_foreground_what_is_owned_goes_first(k: Kubectl) -> None:
    k.run("create", "ns", "front")
    k.run("apply", "-n", "front", "-f", "-", stdin=DEPLOYMENT)
    k.run("rollout", "status", "-n", "front", "deploy/shop", "--timeout=60s")
    [pod, _] = k.run("get", "pods", "-n", "front", "-o", "name").split()
    k.run("patch", "-n", "front", pod, "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/mine"]}}')
    k.run("delete", "-n", "front", "deploy", "shop", "--cascade=foreground", "--wait=false")
    deployment = json.loads(k.run("get", "-n", "front", "deploy", "shop", "-o", "json"))
    assert deployment["metadata"]["finalizers"] == ["foregroundDeletion"]
    k.run("wait", "-n", "front", pod, "--for=jsonpath={.metadata.deletionTimestamp}", "--timeout=30s")
    assert len(k.run("get", "rs,deploy", "-n", "front", "-o", "name").split()) == 2
    k.run("patch", "-n", "front", pod, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    k.run("wait", "-n", "front", "deploy/shop", "--for=delete", "--timeout=30s")
    assert k.run("get", "rs,pods", "-n", "front", "-o", "name") == ""


def test_names_are_generated_and_begin_as_they_are_told(k: Kubectl) -> None:
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {generateName: %s, labels: {made: 'yes'}}}"
    for begin in ("with-", "without", "x" * 80):
        name = k.run("create", "-f", "-", "-o", "name", stdin=text % begin).strip().removeprefix("configmap/")
        assert name.startswith(begin[:58]) and len(name) == min(len(begin), 58) + 5
    k.run("delete", "cm", "-l", "made=yes")


def test_a_deletion_may_name_what_it_is_meant_for(k: Kubectl) -> None:
    k.run("create", "-f", "-", stdin=CONFIG % ("meant", ""))
    options = '{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"%s"}}'
    path = "/api/v1/namespaces/default/configmaps/meant"
    said = k.run("delete", "--raw", path, "-f", "-", stdin=options % "another", code=1)
    assert "Precondition failed: UID in precondition: another" in said
    uid = k.run("get", "cm", "meant", "-o", "jsonpath={.metadata.uid}")
    k.run("delete", "--raw", path, "-f", "-", stdin=options % uid)


def test_an_old_version_of_an_object_is_not_written(k: Kubectl) -> None:
    k.run("create", "-f", "-", stdin=CONFIG % ("old", ""))
    text = k.run("get", "cm", "old", "-o", "json")
    k.run("label", "cm", "old", "a=b")
    said = k.run("replace", "-f", "-", stdin=text, code=1)
    assert 'Operation cannot be fulfilled on configmaps "old": the object has been modified' in said


def test_a_pod_is_given_the_time_that_its_deletion_says(k: Kubectl) -> None:
    text = "{apiVersion: v1, kind: Pod, metadata: {name: graced, finalizers: [example.com/mine]}, "
    k.run("create", "-f", "-", stdin=text + "spec: {containers: [{name: c, image: nginx}]}}")
    k.run("wait", "pod/graced", "--for=condition=Ready", "--timeout=30s")
    said = k.run("delete", "--raw", "/api/v1/namespaces/default/pods/graced?gracePeriodSeconds=7")
    assert json.loads(said)["metadata"]["deletionGracePeriodSeconds"] == 7
    k.run("patch", "pod", "graced", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    k.run("wait", "pod/graced", "--for=delete", "--timeout=30s")
