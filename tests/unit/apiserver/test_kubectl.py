"""A real kubectl finds out what there is, sees it as a real cluster shows it, and deletes no more than it says."""

from __future__ import annotations

from collections.abc import Iterator

import kubectl
import pytest
from kubectl import Kubectl

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)

SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80, name: http}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: http, name: http}, {port: 81, targetPort: 80, name: b}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: alone, labels: {app: %s}}
spec: {containers: [{name: c, image: nginx}]}
"""


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with kubectl.against_face(tmp_path_factory.mktemp("kubectl")) as one:
        one.run("apply", "-f", "-", stdin=SHOP)
        for namespace in ("alone", "watched"):
            one.run("create", "ns", namespace)
        one.run("rollout", "status", "deploy/shop", "--timeout=60s")
        yield one


def titles(text: str) -> list[str]:
    return text.splitlines()[0].split()


def test_what_there_is_is_asked_once(k: Kubectl) -> None:
    """Each further command asks its question alone."""
    k.run("get", "pods")
    said = k.try_("get", "pods", "-v=6").stderr
    asked = [
        line.split('url="')[1].split('"')[0] for line in said.splitlines() if "url=" in line and "Response" in line
    ]
    assert asked and all("/namespaces/default/pods" in url for url in asked), asked


def test_groups_versions_and_resources_are_found_out(k: Kubectl) -> None:
    assert "Server Version: v1.36" in k.run("version")
    assert {"v1", "apps/v1", "discovery.k8s.io/v1"} <= set(k.run("api-versions").split())
    rows = {line.split()[0]: line.split() for line in k.run("api-resources", "--no-headers").splitlines()}
    assert rows["pods"] == ["pods", "po", "v1", "true", "Pod"]
    assert rows["deployments"] == ["deployments", "deploy", "apps/v1", "true", "Deployment"]
    assert rows["namespaces"] == ["namespaces", "ns", "v1", "false", "Namespace"]
    assert "is running at https://127.0.0.1:" in k.run("cluster-info")


def test_the_server_says_that_it_is_well(k: Kubectl) -> None:
    for path in ("/readyz", "/livez", "/healthz", "/livez/etcd"):
        assert k.run("get", "--raw", path) == "ok"
    assert "[+]etcd ok" in k.run("get", "--raw", "/livez?verbose")


def test_explain_knows_the_fields_of_kubernetes(k: Kubectl) -> None:
    said = k.run("explain", "pod.spec.containers")
    assert "readinessProbe\t<Probe>" in said and "name\t<string> -required-" in said
    assert "maxSurge\t<IntOrString>" in k.run("explain", "deployment.spec.strategy.rollingUpdate")
    assert "backend" in k.run("explain", "lab.spec.network")


def test_tables_have_a_real_clusters_columns(k: Kubectl) -> None:
    assert titles(k.run("get", "pods")) == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    wide = k.run("get", "pods", "-o", "wide").splitlines()
    assert " ".join(wide[0].split()) == "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"
    assert wide[1].split()[1:4] == ["1/1", "Running", "0"] and wide[1].split()[6:] == ["node1", "<none>", "<none>"]
    services = " ".join(titles(k.run("get", "svc", "-o", "wide")))
    assert services == "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR"
    assert titles(k.run("get", "deploy")) == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert k.run("get", "deploy", "shop", "--no-headers").split()[:4] == ["shop", "2/2", "2", "2"]
    assert titles(k.run("get", "rs")) == ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]
    assert titles(k.run("get", "nodes")) == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert titles(k.run("get", "endpointslices")) == ["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"]
    assert titles(k.run("get", "events")) == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert titles(k.run("get", "ns", "--show-labels")) == ["NAME", "STATUS", "AGE", "LABELS"]
    everything = k.run("get", "all")
    assert all(
        f"\n{kind}/shop" in f"\n{everything}" for kind in ("pod", "service", "deployment.apps", "replicaset.apps")
    )


def test_lists_come_in_every_form_that_get_prints(k: Kubectl) -> None:
    pods = k.run("get", "pods", "-o", "name").split()
    assert len(pods) == 2 and k.run("get", "pods", "--chunk-size=1", "-o", "name").split() == pods
    assert k.run("get", "pods", "-o", "jsonpath={.items[*].status.phase}") == "Running Running"
    assert titles(k.run("get", "pods", "-o", "custom-columns=N:.metadata.name,I:.status.podIP")) == ["N", "I"]
    assert len(k.json("get", "pods", "-A")["items"]) == 2
    assert k.run("get", "pods", "--sort-by=.metadata.name", "-o", "name").split() == sorted(pods)
    assert "kind: Service" in k.run("get", "svc", "shop", "-o", "yaml")
    assert k.run("get", "pods", "-l", "app!=shop", "-o", "name") == ""
    assert k.run("get", "pods", "--field-selector", "spec.nodeName=node1", "-o", "name").split() == pods


def test_a_deletion_by_label_takes_what_has_it_and_nothing_else(k: Kubectl) -> None:
    for name in ("one", "two", "three"):
        k.run("create", "-f", "-", stdin=POD % (name, "odd" if name != "two" else "even"))
    alone = ("-n", "alone")
    assert "server dry run" in k.run("delete", "pod", *alone, "-l", "app=odd", "--dry-run=server")
    assert k.run("delete", "pod", *alone, "-l", "app=nothing").strip() in ("", "No resources found")
    k.run("delete", "pod", *alone, "-l", "app=odd")
    assert k.run("get", "pods", *alone, "-o", "name") == "pod/two\n"
    k.run("delete", "pod", *alone, "--all")
    assert k.run("get", "pods", *alone, "-o", "name") == ""


def test_refusals_are_in_the_api_servers_words(k: Kubectl) -> None:
    assert k.run("get", "pod", "x", code=1) == 'Error from server (NotFound): pods "x" not found\n'
    assert 'deployments.apps "x" not found' in k.run("delete", "deploy", "x", code=1)
    assert 'services "shop" already exists' in k.run("create", "-f", "-", stdin=SHOP, code=1)
    wrong = POD.replace("name: c", "name: C!") % ("x", "x")
    assert 'The Pod "x" is invalid: spec.containers[0].name: ' in k.run("create", "-f", "-", stdin=wrong, code=1)
    assert 'strict decoding error: unknown field "spec.nothing"' in k.run(
        "create", "-f", "-", stdin=(POD % ("x", "x")).replace("spec: {", "spec: {nothing: 1, "), code=1
    )


def test_a_watch_tells_what_comes_and_goes(k: Kubectl) -> None:
    with k.begin("get", "pods", "-n", "watched", "-w", "--no-headers", "--output-watch-events") as watch:
        k.run("create", "-n", "watched", "-f", "-", stdin=(POD % ("seen", "seen")).replace("alone", "watched"))
        assert watch.readline().split()[:2] == ["ADDED", "seen"]
        k.run("delete", "pod", "seen", "-n", "watched")
        while (line := watch.readline().split())[0] != "DELETED":
            assert line[:2] == ["MODIFIED", "seen"]


def test_describe_shows_endpoints_and_events(k: Kubectl) -> None:
    said = k.run("describe", "svc", "shop")
    assert "Endpoints:" in said and ":80" in said
    said = k.run("describe", "pod", "-l", "app=shop")
    assert "State:          Running" in said and "Scheduled" in said
    for what in ("deploy/shop", "node/node1", "ns/default", "endpoints/shop", "rs"):
        assert "Name:" in k.run("describe", what)
