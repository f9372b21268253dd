"""Manifests as books print them, in group versions of old times: a real kubectl applies them, and is warned."""

from __future__ import annotations

import json
from collections.abc import Iterator

import kubectl
import pytest
from kubectl import Kubectl

from k8snetlab.api.load import load
from k8snetlab.errors import ManifestError

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)

INGRESS = """
apiVersion: %s
kind: Ingress
metadata: {name: web}
spec:
  backend: {serviceName: rest, servicePort: 80}
  rules:
  - host: foo.example.com
    http:
      paths:
      - {path: /a, backend: {serviceName: web, servicePort: http}}
      - {backend: {serviceName: b, servicePort: 81}}
"""
DEPLOYMENT = """
apiVersion: %s
kind: Deployment
metadata: {name: old-%s}
spec:
  replicas: 1
  template:
    metadata: {labels: {app: old}}
    spec: {containers: [{name: c, image: "nginx:1.7.9", ports: [{containerPort: 80}]}]}
"""
CRONTABS = """
apiVersion: apiextensions.k8s.io/v1beta1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  versions: [{name: v1, served: true, storage: true}]
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct]}
  additionalPrinterColumns: [{name: Spec, type: string, JSONPath: .spec.cronSpec}]
  preserveUnknownFields: false
  validation:
    openAPIV3Schema:
      type: object
      properties: {spec: {type: object, properties: {cronSpec: {type: string}, image: {type: string}}}}
"""


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with kubectl.against_face(tmp_path_factory.mktemp("kubectl")) as one:
        yield one


def warned(k: Kubectl, *arguments: str, stdin: str = "") -> str:
    done = k.try_(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("version", ["extensions/v1beta1", "networking.k8s.io/v1beta1"])
def test_an_ingress_of_old_times_is_todays(k: Kubectl, version: str) -> None:
    said = warned(k, "apply", "-f", "-", stdin=INGRESS % version)
    since = "1.14" if version.startswith("ext") else "1.19"
    warning = f"{version} Ingress is deprecated in v{since}+, unavailable in v1.22+; use networking.k8s.io/v1 Ingress"
    assert f"Warning: {warning}" in said
    spec = k.json("get", "ing", "web")["spec"]
    assert spec["defaultBackend"] == {"service": {"name": "rest", "port": {"number": 80}}}
    first, second = spec["rules"][0]["http"]["paths"]
    assert first["backend"] == {"service": {"name": "web", "port": {"name": "http"}}} and first["path"] == "/a"
    assert first["pathType"] == "ImplementationSpecific" and second["backend"]["service"]["port"] == {"number": 81}
    changed = (INGRESS % version).replace("servicePort: 81", "servicePort: 82")
    assert "web configured" in k.run("apply", "-f", "-", stdin=changed)
    assert k.json("get", "ing", "web")["spec"]["rules"][0]["http"]["paths"][1]["backend"]["service"]["port"] == {
        "number": 82
    }
    old = k.json("get", "ingresses.v1beta1." + version.split("/")[0], "web")
    assert old["apiVersion"] == version and old["spec"]["backend"] == {"serviceName": "rest", "servicePort": 80}
    assert old["spec"]["rules"][0]["http"]["paths"][1]["backend"] == {"serviceName": "b", "servicePort": 82}
    k.run("delete", "-f", "-", stdin=INGRESS % version)
    assert k.run("get", "ing", "-o", "name") == ""


@pytest.mark.parametrize(("number", "version"), [(1, "extensions/v1beta1"), (2, "apps/v1beta1")])
def test_a_deployment_of_old_times_needs_no_selector(k: Kubectl, number: int, version: str) -> None:
    said = warned(k, "apply", "-f", "-", stdin=DEPLOYMENT % (version, number))
    assert f"{version} Deployment is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 Deployment" in said
    spec = k.json("get", "deploy", f"old-{number}")["spec"]
    assert spec["selector"] == {"matchLabels": {"app": "old"}}
    k.run("rollout", "status", f"deploy/old-{number}", "--timeout=60s")
    assert "unchanged" in k.run("apply", "-f", "-", stdin=DEPLOYMENT % (version, number))
    k.run("scale", f"deployment.v1beta1.{version.split('/')[0]}/old-{number}", "--replicas=2")
    assert k.json("get", "deploy", f"old-{number}")["spec"]["replicas"] == 2
    k.run("delete", "-f", "-", stdin=DEPLOYMENT % (version, number))


def test_what_is_wrong_in_an_old_manifest_is_refused(k: Kubectl) -> None:
    text = (DEPLOYMENT % ("apps/v1beta2", 3)).replace("replicas: 1", "replicas: 1\n  nothing: 2")
    assert 'unknown field "spec.nothing"' in k.run("create", "-f", "-", stdin=text, code=1)
    text = DEPLOYMENT % ("apps/v1beta2", 3)
    assert "spec.selector" in k.run("create", "-f", "-", stdin=text, code=1)


def test_a_definition_of_old_times_makes_its_kind(k: Kubectl) -> None:
    assert "apiextensions.k8s.io/v1beta1 CustomResourceDefinition is deprecated in v1.16+" in warned(
        k, "apply", "-f", "-", stdin=CRONTABS
    )
    k.run("wait", "--for=condition=established", "crd/crontabs.stable.example.com", "--timeout=20s")
    text = "{apiVersion: stable.example.com/v1, kind: CronTab, metadata: {name: a}, spec: {cronSpec: x}}"
    k.run("create", "-f", "-", stdin=text)
    assert k.run("get", "ct", "--no-headers").split() == ["a", "x"]
    old = json.loads(k.run("get", "--raw", "/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions"))["items"][0]
    assert old["spec"]["version"] == "v1"
    assert old["spec"]["versions"][0]["additionalPrinterColumns"][0]["JSONPath"] == ".spec.cronSpec"


def test_todays_versions_are_preferred(k: Kubectl) -> None:
    rows = {tuple(line.split()[:2]): line.split() for line in k.run("api-resources", "--no-headers").splitlines()}
    assert rows["ingresses", "ing"][2] == "networking.k8s.io/v1" and rows["deployments", "deploy"][2] == "apps/v1"
    assert "Warning" not in warned(k, "get", "ingresses,deployments,replicasets,networkpolicies")


def test_the_labs_own_command_line_reads_them_too() -> None:
    found = load([("old.yaml", (DEPLOYMENT % ("extensions/v1beta1", 1)) + "---" + INGRESS % "extensions/v1beta1")])
    assert [obj.KIND for obj in found.objects] == ["Deployment", "Ingress"]
    assert any(
        warning == "old.yaml:2: extensions/v1beta1 Deployment is deprecated in v1.8+, unavailable in v1.16+; "
        "use apps/v1 Deployment"
        for warning in found.warnings
    )
    with pytest.raises(ManifestError, match="a Deployment is of apps/v1, not apps/v1alpha1"):
        load([("old.yaml", DEPLOYMENT % ("apps/v1alpha1", 1))])
