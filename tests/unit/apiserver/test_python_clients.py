"""Python's client libraries list, watch and patch; an operator of kopf's runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kr8s
import kubectl
import kubernetes
import pytest
from kubectl import Kubectl

OPERATOR = Path(__file__).parent / "operator.py"


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    directory = tmp_path_factory.mktemp("clients")
    with kubectl.serving(directory) as (_face, listener, _loop):
        yield Kubectl(
            kubectl.found() or "kubectl", directory, kubectl.kubeconfig(listener, "admin", directory / "config")
        )


@pytest.fixture(scope="module")
def official(k: Kubectl) -> Iterator[Any]:
    client = kubernetes.config.new_client_from_config(str(k.kubeconfig))
    yield client
    client.close()


def body(name: str, size: int = 2) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}
    spec = {"replicas": size, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": spec}


def until(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + 60
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_the_official_client_lists_watches_and_patches(official: Any) -> None:
    core, apps = kubernetes.client.CoreV1Api(official), kubernetes.client.AppsV1Api(official)
    seen: list[tuple[str, str, str]] = []
    watch = kubernetes.watch.Watch()

    def look() -> None:
        for event in watch.stream(core.list_namespaced_pod, "default", label_selector="app=official"):
            seen.append((event["type"], event["object"].metadata.name, event["object"].status.phase))
            if seen[-1][1] == "last":
                watch.stop()

    looking = threading.Thread(target=look)
    looking.start()
    made = apps.create_namespaced_deployment("default", body("official"))
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    until(lambda: apps.read_namespaced_deployment_status("official", "default").status.ready_replicas == 2)
    until(lambda: len({name for _, name, phase in seen if phase == "Running"}) == 2)

    patched = apps.patch_namespaced_deployment(
        "official", "default", {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:2"}]}}}}
    )
    assert patched.spec.template.spec.containers[0].image == "nginx:2"
    apps.patch_namespaced_deployment_scale("official", "default", {"spec": {"replicas": 1}})
    until(lambda: len(core.list_namespaced_pod("default", label_selector="app=official").items) == 1)
    until(lambda: "DELETED" in {kind for kind, _, _ in seen})

    page = core.list_namespaced_pod("default", limit=1, field_selector="status.phase=Running")
    assert page.items[0].spec.containers[0].image == "nginx:2"
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.read_namespaced_pod("nothing", "default")
    assert refused.value.status == 404 and '"reason":"NotFound"' in refused.value.body

    apps.delete_namespaced_deployment("official", "default", propagation_policy="Foreground")
    until(lambda: not core.list_namespaced_pod("default", label_selector="app=official").items)
    core.create_namespaced_pod(
        "default",
        {
            "metadata": {"name": "last", "labels": {"app": "official"}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        },
    )
    looking.join(60)
    assert not looking.is_alive()


def test_the_dynamic_client_finds_out_what_there_is(official: Any) -> None:
    client = kubernetes.dynamic.DynamicClient(official)
    services = client.resources.get(api_version="v1", kind="Service")
    services.create(body={"metadata": {"name": "found"}, "spec": {"ports": [{"port": 80}]}}, namespace="default")
    patched = services.patch(
        body={"metadata": {"labels": {"a": "b"}}},
        name="found",
        namespace="default",
        content_type="application/merge-patch+json",
    )
    assert patched.metadata.labels.a == "b"
    applied = services.server_side_apply(
        body={"apiVersion": "v1", "kind": "Service", "metadata": {"name": "found", "labels": {"c": "d"}}},
        name="found",
        namespace="default",
        field_manager="m",
    )
    assert applied.metadata.labels.to_dict() == {"a": "b", "c": "d"}
    assert "found" in {one.metadata.name for one in services.get(namespace="default").items}
    assert client.resources.get(api_version="apps/v1", kind="Deployment").namespaced
    services.delete(name="found", namespace="default")


@pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")  # kr8s knows of those up to 1.35
def test_kr8s_lists_watches_and_patches(k: Kubectl) -> None:
    api = kr8s.api(kubeconfig=str(k.kubeconfig))
    deployment = kr8s.objects.Deployment({**body("quick")}, api=api)
    deployment.create()
    deployment.wait("condition=Available", timeout=60)
    pods = list(api.get("pods", label_selector={"app": "quick"}))
    assert len(pods) == 2 and all(pod.status.phase == "Running" for pod in pods)
    deployment.patch({"metadata": {"annotations": {"a": "b"}}})
    deployment.refresh()
    assert deployment.annotations["a"] == "b"
    deployment.scale(3)
    until(lambda: len(list(api.get("pods", label_selector={"app": "quick"}))) == 3)
    kinds = []
    for kind, pod in api.watch("pods", label_selector={"app": "quick"}):
        kinds.append((kind, pod.name))
        if len(kinds) == 3:
            break
    assert {kind for kind, _ in kinds} <= {"ADDED", "MODIFIED"} and len({name for _, name in kinds}) >= 1
    assert {"pods", "services", "deployments"} <= {one["name"] for one in api.api_resources()}
    deployment.delete()
    until(lambda: not list(api.get("pods", label_selector={"app": "quick"})))


def test_an_operator_of_twenty_lines_runs(k: Kubectl, official: Any, tmp_path: Path) -> None:
    core, apps = kubernetes.client.CoreV1Api(official), kubernetes.client.AppsV1Api(official)
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", "default", str(OPERATOR)]
    log = tmp_path / "log"
    environment = {**k.environment, "PATH": os.environ["PATH"]}
    with log.open("w") as file, subprocess.Popen(command, env=environment, stdout=file, stderr=file) as running:
        try:
            shop = {"metadata": {"name": "books", "labels": {"shop": "yes"}}, "data": {"size": "2"}}
            core.create_namespaced_config_map("default", shop)
            until(lambda: ready(apps) == 2 or running.poll() is not None)
            assert running.poll() is None, log.read_text()
            core.patch_namespaced_config_map("books", "default", {"data": {"size": "3"}})
            until(lambda: ready(apps) == 3)
            until(lambda: "books has 3 pods" in {e.message for e in core.list_namespaced_event("default").items})
            assert core.read_namespaced_config_map("books", "default").metadata.finalizers
            core.delete_namespaced_config_map("books", "default")
            until(lambda: not core.list_namespaced_pod("default", label_selector="app=books").items)
            until(lambda: "books is closed" in log.read_text())
        finally:
            running.terminate()
    assert "Traceback" not in log.read_text()


def ready(apps: Any) -> int:
    found = [one for one in apps.list_namespaced_deployment("default").items if one.metadata.name == "books"]
    return (found[0].status.ready_replicas or 0) if found else 0
