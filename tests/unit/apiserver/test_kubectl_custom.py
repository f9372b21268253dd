"""A real kubectl brings kinds of its own, by CustomResourceDefinitions, and has what a real cluster makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import kubectl
import pytest
from kubectl import Kubectl

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)

CRONTABS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1beta1
    served: true
    storage: false
    schema:
      openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {cronSpec: {type: string}}}}}
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas,
                                       labelSelectorPath: .status.selector}}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec, description: The cron spec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    - {name: Image, type: string, jsonPath: .spec.image, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, pattern: '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$'}
              image: {type: string, default: busybox}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
              mode: {type: string, enum: [Fast, Slow]}
              port: {x-kubernetes-int-or-string: true}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              steps:
                type: array
                maxItems: 3
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, run: {type: string}}}
          status:
            type: object
            properties:
              replicas: {type: integer}
              selector: {type: string}
              conditions:
                type: array
                items: {type: object, properties: {type: {type: string}, status: {type: string}}}
"""
CRONTAB = """
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: %s, finalizers: [%s]}
spec: {cronSpec: "* * * * */5", replicas: 2, junk: 1, free: {any: [1]}, steps: [{name: a, run: x}]}
"""


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with kubectl.against_face(tmp_path_factory.mktemp("kubectl")) as one:
        one.run("apply", "-f", "-", stdin=CRONTABS)
        one.run("wait", "--for=condition=established", "crd/crontabs.stable.example.com", "--timeout=20s")
        yield one


def made(k: Kubectl, name: str, finalizer: str = "") -> None:
    k.run("apply", "--validate=ignore", "-f", "-", stdin=CRONTAB % (name, finalizer))


def spec_of(k: Kubectl, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(k.run("get", "ct", name, "-o", "json"))["spec"]
    return found


def test_a_definition_is_discovered_with_its_names(k: Kubectl) -> None:
    rows = {line.split()[0]: line.split() for line in k.run("api-resources", "--no-headers").splitlines()}
    assert rows["crontabs"] == ["crontabs", "ct", "stable.example.com/v1", "true", "CronTab"]
    assert {"stable.example.com/v1", "stable.example.com/v1beta1"} <= set(k.run("api-versions").split())
    said = json.loads(k.run("get", "crd", "crontabs.stable.example.com", "-o", "json"))
    assert {c["type"]: c["status"] for c in said["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert all(c["lastTransitionTime"] for c in said["status"]["conditions"])
    assert said["spec"]["names"]["listKind"] == "CronTabList" and said["status"]["storedVersions"] == ["v1"]


RULED = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: doors.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: doors, kind: Door}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations: [{rule: self.low <= self.high, message: low is too high}]
            properties: {low: {type: integer}, high: {type: integer}}
"""
DOOR = "{apiVersion: example.com/v1, kind: Door, metadata: {name: d}, spec: {low: 2, high: 1}}"


def test_rules_in_cel_are_named_wherever_they_would_count(k: Kubectl) -> None:
    done = k.try_("create", "-f", "-", stdin=RULED)
    assert (
        done.returncode == 0
        and (
            "Warning: spec.versions[0].schema.openAPIV3Schema.properties.spec.x-kubernetes-validations: "
            "rules in CEL are not evaluated here: objects that break them are taken"
        )
        in done.stderr
    )
    k.run("wait", "--for=condition=established", "crd/doors.example.com", "--timeout=20s")
    said = "Warning: rules in CEL (x-kubernetes-validations) of a Door are not evaluated here"
    for arguments in (("create", "-f", "-"), ("apply", "--server-side", "-f", "-"), ("label", "-f", "-", "a=b")):
        done = k.try_(*arguments, stdin=DOOR)
        assert done.returncode == 0 and said in done.stderr, arguments


def test_an_object_with_owners_of_its_fields_and_finalizers_is_patched_like_any_other(k: Kubectl) -> None:
    junk = CRONTAB % ("tended", "example.com/mine")
    applied = ("apply", "--server-side", "--validate=ignore", "-f", "-")
    said = k.run(*applied, stdin=junk, code=1)
    assert "stable.example.com/v1, Kind=CronTab): .spec.junk: field not declared in schema" in said
    k.run(*applied, stdin=junk.replace("junk: 1, ", ""))
    k.run("label", "ct", "tended", "a=b")
    added = '[{"op":"add","path":"/metadata/finalizers/-","value":"b.c/d"}]'
    k.run("patch", "ct", "tended", "--type=json", "-p", added)
    metadata = k.json("get", "ct", "tended", "--show-managed-fields")["metadata"]
    assert metadata["labels"] == {"a": "b"} and metadata["finalizers"] == ["example.com/mine", "b.c/d"]
    assert {one["manager"] for one in metadata["managedFields"]} >= {"kubectl", "kubectl-label"}
    k.run("patch", "ct", "tended", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_an_object_is_pruned_and_given_its_defaults(k: Kubectl) -> None:
    made(k, "pruned")
    assert spec_of(k, "pruned") == {
        "cronSpec": "* * * * */5",
        "replicas": 2,
        "image": "busybox",
        "free": {"any": [1]},
        "steps": [{"name": "a", "run": "x"}],
    }
    assert "crontab.stable.example.com/pruned" in k.run("get", "all", "-o", "name")


def test_columns_are_those_of_the_definition(k: Kubectl) -> None:
    made(k, "shown")
    lines = k.run("get", "crontabs", "shown").splitlines()
    assert lines[0].split() == ["NAME", "SPEC", "REPLICAS", "READY", "AGE"]
    k.run(
        "patch",
        "ct",
        "shown",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}',
    )
    cells = k.run("get", "ct", "shown", "-o", "wide", "--no-headers").split()
    assert cells[:8] == ["shown", "*", "*", "*", "*", "*/5", "2", "True"] and cells[-1] == "busybox"


def test_an_object_that_breaks_its_schema_is_refused_in_kubernetes_words(k: Kubectl) -> None:
    wrong = {
        "spec: {cronSpec: '* *'}": "spec.cronSpec in body should match",
        "spec: {cronSpec: '* * * * *', replicas: 0}": "spec.replicas in body should be greater than or equal to 1",
        "spec: {cronSpec: '* * * * *', replicas: 11}": "spec.replicas in body should be less than or equal to 10",
        "spec: {cronSpec: '* * * * *', replicas: x}": 'spec.replicas in body must be of type integer: "string"',
        "spec: {cronSpec: '* * * * *', mode: Odd}": 'Unsupported value: "Odd": supported values: "Fast", "Slow"',
        "spec: {cronSpec: '* * * * *', port: 1.5}": 'spec.port in body must be of type integer,string: "number"',
        "spec: {cronSpec: '* * * * *', steps: [{name: a}, {name: a}]}": 'spec.steps[1]: Duplicate value: {"name": "a"}',
        "spec: {cronSpec: '* * * * *', steps: [{name: a}, {name: b}, {name: c}, {name: d}]}": "spec.steps: Too many: 4",
        "spec: {cronSpec: '* * * * *', steps: [{}]}": "spec.steps[0].name: Required value",
        "spec: {}": "spec.cronSpec: Required value",
        "metadata: {name: x}": "spec: Required value",
    }
    for text, words in wrong.items():
        head = "apiVersion: stable.example.com/v1\nkind: CronTab\n"
        head += "" if text.startswith("metadata") else "metadata: {name: x}\n"
        said = k.run("create", "--validate=false", "-f", "-", stdin=head + text, code=1)
        assert words in said and 'The CronTab "x" is invalid' in said, said
    assert k.run("get", "ct", "x", "--ignore-not-found") == ""


def test_unknown_fields_are_told_by_a_strict_kubectl(k: Kubectl) -> None:
    said = k.run("create", "-f", "-", stdin=CRONTAB % ("strict", ""), code=1)
    assert 'strict decoding error: unknown field "spec.junk"' in said
    done = k.try_("create", "--validate=warn", "-f", "-", stdin=CRONTAB % ("warned", ""))
    assert 'Warning: unknown field "spec.junk"' in done.stderr and done.returncode == 0


def test_explain_shows_the_schema(k: Kubectl) -> None:
    said = k.run("explain", "crontab.spec")
    assert "GROUP:      stable.example.com" in said and "cronSpec\t<string> -required-" in said
    assert "enum: Fast, Slow" in said and "steps\t<[]Object>" in said
    assert "openAPIV3Schema" in k.run("explain", "crd.spec.versions.schema")


def test_a_strategic_merge_patch_is_refused_and_others_work(k: Kubectl) -> None:
    made(k, "patched")
    said = k.run("patch", "ct", "patched", "--type=strategic", "-p", '{"spec":{"replicas":3}}', code=1)
    assert "application/strategic-merge-patch+json is not supported" in said or "UnsupportedMediaType" in said, said
    k.run("patch", "ct", "patched", "--type=merge", "-p", '{"spec":{"replicas":3}}')
    k.run("patch", "ct", "patched", "--type=json", "-p", '[{"op":"replace","path":"/spec/image","value":"i"}]')
    assert spec_of(k, "patched")["replicas"] == 3 and spec_of(k, "patched")["image"] == "i"
    said = k.run("patch", "ct", "patched", "--type=merge", "-p", '{"spec":{"replicas":30}}', code=1)
    assert "less than or equal to 10" in said


def test_scale_is_read_and_written_where_the_definition_says(k: Kubectl) -> None:
    made(k, "scaled")
    assert "crontab.stable.example.com/scaled scaled" in k.run("scale", "ct/scaled", "--replicas=5")
    assert spec_of(k, "scaled")["replicas"] == 5
    assert "less than or equal to 10" in k.run("scale", "ct/scaled", "--replicas=50", code=1)


def test_status_is_written_at_its_own_path_alone(k: Kubectl) -> None:
    made(k, "stated")
    before = json.loads(k.run("get", "ct", "stated", "-o", "json"))
    k.run("patch", "ct", "stated", "--type=merge", "-p", '{"status":{"replicas":7}}')
    assert "status" not in json.loads(k.run("get", "ct", "stated", "-o", "json"))
    both = '{"status":{"replicas":7},"spec":{"replicas":9}}'
    k.run("patch", "ct", "stated", "--subresource=status", "--type=merge", "-p", both)
    after = json.loads(k.run("get", "ct", "stated", "-o", "json"))
    assert after["status"] == {"replicas": 7} and after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] == 1
    k.run("patch", "ct", "stated", "--type=merge", "-p", '{"spec":{"replicas":9}}')
    assert json.loads(k.run("get", "ct", "stated", "-o", "json"))["metadata"]["generation"] == 2


def test_every_served_version_shows_the_same_objects(k: Kubectl) -> None:
    made(k, "versions")
    old = json.loads(k.run("get", "crontabs.v1beta1.stable.example.com", "versions", "-o", "json"))
    assert old["apiVersion"] == "stable.example.com/v1beta1" and old["spec"] == {"cronSpec": "* * * * */5"}
    text = (
        'apiVersion: stable.example.com/v1beta1\nkind: CronTab\nmetadata: {name: older}\nspec: {cronSpec: "* * * * 1"}'
    )
    k.run("create", "-f", "-", stdin=text)
    new = json.loads(k.run("get", "ct", "older", "-o", "json"))
    assert new["apiVersion"] == "stable.example.com/v1" and new["spec"]["image"] == "busybox"


def test_server_side_apply_knows_lists_with_keys(k: Kubectl) -> None:
    text = "apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {name: owned}\n"
    first = text + 'spec: {cronSpec: "* * * * 1", steps: [{name: a, run: x}]}'
    k.run("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=first)
    second = text + "spec: {cronSpec: '* * * * 1', steps: [{name: b, run: z}]}"
    k.run("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=second)
    assert [step["name"] for step in spec_of(k, "owned")["steps"]] == ["a", "b"]  # type: ignore[attr-defined]
    third = text + 'spec: {cronSpec: "* * * * 2"}'
    said = k.run("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=third, code=1)
    assert 'conflict with "one": .spec.cronSpec' in said
    assert "serverside-applied" in k.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=third)


def test_a_watch_tells_of_custom_objects(k: Kubectl) -> None:
    with k.begin("get", "ct", "-w", "--no-headers", "-o", "name", "--field-selector=metadata.name=watched") as lines:
        made(k, "watched")
        assert lines.readline().strip() == "crontab.stable.example.com/watched"


def test_finalizers_keep_an_object_and_its_definition(k: Kubectl) -> None:
    widgets = CRONTABS.replace("crontab", "widget").replace("CronTab", "Widget").replace("[ct]", "[wd]")
    k.run("apply", "-f", "-", stdin=widgets)
    k.run("wait", "--for=condition=established", "crd/widgets.stable.example.com", "--timeout=20s")
    text = (CRONTAB % ("kept", "example.com/mine")).replace("CronTab", "Widget")
    k.run("apply", "--validate=ignore", "-f", "-", stdin=text)
    k.run("delete", "crd", "widgets.stable.example.com", "--wait=false")
    k.run("wait", "--for=condition=Terminating", "crd/widgets.stable.example.com", "--timeout=20s")
    assert json.loads(k.run("get", "widgets", "kept", "-o", "json"))["metadata"]["deletionTimestamp"]
    said = k.run("create", "--validate=ignore", "-f", "-", stdin=text.replace("kept", "late"), code=1)
    assert "create not allowed while custom resource definition is terminating" in said
    k.run("patch", "widgets", "kept", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    k.run("wait", "--for=delete", "crd/widgets.stable.example.com", "--timeout=20s")
    assert "could not find the requested resource" in k.run("get", "widgets", code=1)
    assert "widgets" not in k.run("api-resources", "--cached=false", "-o", "name")


def test_a_name_that_another_definition_has_is_not_accepted(k: Kubectl) -> None:
    other = CRONTABS.replace("crontabs", "cronjobs").replace("CronTab", "CronOther").replace("crontab", "cronother")
    k.run("apply", "-f", "-", stdin=other)
    k.run("wait", "--for=condition=NamesAccepted=false", "crd/cronjobs.stable.example.com", "--timeout=20s")
    said = k.run("get", "crd", "cronjobs.stable.example.com", "-o", "jsonpath={.status.conditions[*].reason}")
    assert said.split() == ["ShortNamesConflict", "NotAccepted"]
    k.run(
        "patch", "crd", "cronjobs.stable.example.com", "--type=merge", "-p", '{"spec":{"names":{"shortNames":["co"]}}}'
    )
    k.run("wait", "--for=condition=established", "crd/cronjobs.stable.example.com", "--timeout=20s")
    k.run("delete", "crd", "cronjobs.stable.example.com")


def test_an_owner_takes_its_custom_objects_with_it(k: Kubectl) -> None:
    made(k, "owner")
    uid = json.loads(k.run("get", "ct", "owner", "-o", "json"))["metadata"]["uid"]
    text = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned, ownerReferences: "
        f"[{{apiVersion: stable.example.com/v1, kind: CronTab, name: owner, uid: {uid}}}]}}"
    )
    k.run("create", "-f", "-", stdin=text)
    k.run("delete", "ct", "owner")
    k.run("wait", "--for=delete", "cm/owned", "--timeout=20s")
