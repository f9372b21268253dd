"""helm 4 installs a chart, upgrades it, rolls it back and takes it away."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubectl
import pytest
from kubectl import Kubectl

CHART = Path(__file__).parent / "chart"
pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with kubectl.against_face(tmp_path_factory.mktemp("helm")) as one:
        yield one


class Helm:
    def __init__(self, program: str, k: Kubectl) -> None:
        self._program, self._k = program, k

    def run(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [self._program, *words], env=self._k.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, f"helm {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "-o", "json"))


@pytest.fixture(scope="module")
def h(helm: str, k: Kubectl) -> Helm:
    return Helm(helm, k)


def color(k: Kubectl, name: str) -> str:
    return str(k.json("get", "cm", f"{name}-settings")["data"]["color"])


def test_a_chart_is_installed_upgraded_rolled_back_and_taken_away(h: Helm, k: Kubectl) -> None:
    assert "STATUS: deployed" in h.run("install", "shop", str(CHART), "--wait", "--timeout", "60s")
    assert k.json("get", "deploy", "shop")["status"]["readyReplicas"] == 2
    assert k.json("get", "secret", "shop-password")["data"]["password"] == "c3dvcmRmaXNo"
    assert color(k, "shop") == "blue"
    assert k.json("get", "svc", "shop")["spec"]["ports"][0]["targetPort"] == "http"

    upgraded = h.run("upgrade", "shop", str(CHART), "--set", "color=red,replicas=3", "--wait", "--timeout", "60s")
    assert "REVISION: 2" in upgraded
    assert (color(k, "shop"), k.json("get", "deploy", "shop")["status"]["readyReplicas"]) == ("red", 3)
    assert len(k.json("get", "rs")["items"]) == 2  # its template is another
    assert k.json("get", "svc", "shop")["spec"]["ports"][0]["targetPort"] == "http"

    assert "Rollback was a success" in h.run("rollback", "shop", "1", "--wait", "--timeout", "60s")
    assert (color(k, "shop"), k.json("get", "deploy", "shop")["spec"]["replicas"]) == ("blue", 2)
    assert [one["revision"] for one in h.json("history", "shop")] == [1, 2, 3]
    assert [(one["name"], one["status"]) for one in h.json("list")] == [("shop", "deployed")]
    assert "kind: Deployment" in h.run("get", "manifest", "shop")

    assert 'release "shop" uninstalled' in h.run("uninstall", "shop", "--wait", "--timeout", "60s")
    assert k.run("get", "deploy,rs,svc,cm,secret,pod", "-l", "app.kubernetes.io/name=shop", "-o", "name") == ""
    assert k.run("get", "deploy,svc,secret", "-o", "name") in ("", "service/kubernetes\n")


def test_a_dry_run_stores_nothing(h: Helm, k: Kubectl) -> None:
    said = h.run("install", "dry", str(CHART), "--dry-run=server")
    assert "STATUS: pending-install" in said and "kind: Deployment" in said
    assert k.run("get", "deploy,cm", "-l", "app.kubernetes.io/instance=dry", "-o", "name") == ""


def test_what_the_api_refuses_helm_says(h: Helm, k: Kubectl) -> None:
    said = h.run("install", "wrong", str(CHART), "--set", "replicas=-1", code=1)
    assert "spec.replicas" in said and "-1" in said
    h.run("uninstall", "wrong")
    assert k.run("get", "cm", "-l", "app.kubernetes.io/instance=wrong", "-o", "name") == ""


def test_a_release_in_a_namespace_of_its_own(h: Helm, k: Kubectl) -> None:
    h.run("upgrade", "--install", "one", str(CHART), "-n", "own", "--create-namespace", "--rollback-on-failure")
    assert k.run("get", "deploy", "-n", "own", "-o", "name") == "deployment.apps/one\n"
    assert ("one", "own") in {(one["name"], one["namespace"]) for one in h.json("list", "-A")}
    h.run("uninstall", "one", "-n", "own", "--wait")
