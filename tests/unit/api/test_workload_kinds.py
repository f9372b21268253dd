"""DaemonSets, StatefulSets, ReplicationControllers and Jobs: what is refused in a server's words, and filled in."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from k8snetlab.api.body import decode
from k8snetlab.api.scheme import BY_KIND, encode
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.admission import admit
from k8snetlab.errors import ManifestError

POD = "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}"
JOB = "template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}"
SELECTOR = "selector: {matchLabels: {a: b}}"


def made(kind: str, spec: str) -> Any:
    version = BY_KIND[kind].type.API_VERSION
    body = {"apiVersion": version, "kind": kind, "metadata": {"name": "w"}, "spec": yaml.safe_load(f"{{{spec}}}")}
    return admit(decode(body), None, Snapshot())


REFUSED = [
    ("DaemonSet", POD, "spec.selector: Invalid value: {}: empty selector is invalid for daemonset"),
    ("StatefulSet", POD, "spec.selector: Invalid value: {}: empty selector is invalid for statefulset"),
    ("DaemonSet", f"selector: {{matchLabels: {{a: c}}}}, {POD}", 'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`'),
    ("DaemonSet", f"{SELECTOR}, {POD.replace('{containers', '{restartPolicy: Never, containers')}", 'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'),
    ("DaemonSet", f"{SELECTOR}, {POD}, minReadySeconds: -1", "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"),
    ("DaemonSet", f"{SELECTOR}, {POD}, updateStrategy: {{rollingUpdate: {{maxUnavailable: 0}}}}", "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0 when `maxSurge` is 0"),
    ("DaemonSet", f"{SELECTOR}, {POD}, updateStrategy: {{type: Recreate}}", 'spec.updateStrategy.type: Unsupported value: "Recreate": supported values: "OnDelete", "RollingUpdate"'),
    ("StatefulSet", f"{SELECTOR}, {POD}, podManagementPolicy: Serial", 'spec.podManagementPolicy: Unsupported value: "Serial": supported values: "OrderedReady", "Parallel"'),
    ("StatefulSet", f"{SELECTOR}, {POD}, ordinals: {{start: -1}}", "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"),
    ("StatefulSet", f"{SELECTOR}, {POD}, updateStrategy: {{rollingUpdate: {{partition: -2}}}}", "spec.updateStrategy.rollingUpdate.partition: Invalid value: -2: must be greater than or equal to 0"),
    ("StatefulSet", f"{SELECTOR}, {POD}, updateStrategy: {{type: OnDelete, rollingUpdate: {{partition: 1}}}}", "spec.updateStrategy.rollingUpdate: Invalid value: only allowed for updateStrategy 'RollingUpdate'"),
    ("StatefulSet", f"{SELECTOR}, {POD}, serviceName: A_b", 'spec.serviceName: Invalid value: "A_b": a lowercase RFC 1123 label must consist of'),
    ("ReplicationController", "template: {spec: {containers: [{name: c, image: x}]}}", "spec.selector: Required value"),
    ("ReplicationController", f"selector: {{a: c}}, {POD}", 'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`'),
    ("Job", POD, 'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'),
    ("Job", f"backoffLimit: -1, {JOB}", "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"),
    ("Job", f"completionMode: Indexed, parallelism: 1, {JOB}", "spec.completions: Required value: when completion mode is Indexed"),
    ("Job", f"manualSelector: true, {JOB}", "spec.selector: Required value"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "words"), REFUSED)
def test_what_a_server_refuses_is_refused_in_its_words(kind: str, spec: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        made(kind, spec)
    said = [line.removeprefix(f'{kind} "w" is invalid: ').removeprefix(f"{kind}: ") for line in caught.value.problems]
    assert any(line.startswith(words) for line in said), said


FILLED = [
    ("DaemonSet", f"{SELECTOR}, {POD}", {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}, "revisionHistoryLimit": 10}),
    ("StatefulSet", f"{SELECTOR}, {POD}", {"replicas": 1, "podManagementPolicy": "OrderedReady", "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}}),
    ("ReplicationController", POD, {"replicas": 1, "selector": {"a": "b"}}),
    ("Job", JOB, {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False, "podReplacementPolicy": "TerminatingOrFailed"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "filled"), FILLED)
def test_what_a_server_fills_in_is_filled_in(kind: str, spec: str, filled: dict[str, Any]) -> None:
    found = json.loads(encode(made(kind, spec)))["spec"]
    assert {key: found.get(key) for key in filled} == filled
    if kind == "Job":
        assert "completions" not in json.loads(encode(made(kind, f"parallelism: 3, {spec}")))["spec"]
