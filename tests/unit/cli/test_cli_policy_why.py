"""policy why: what TO may be, and what is refused; from manifests alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from k8snetlab.cli.main import app_of
from k8snetlab.errors import InputError, NotFoundError

WORLD = """
apiVersion: v1
kind: List
items:
- {apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: l}, spec: {nodes: 2CONTROLLER}}
- {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}},
   spec: {nodeName: node1, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: web2, labels: {app: web}},
   spec: {nodeName: node2, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: friend, labels: {app: friend}},
   spec: {nodeName: node2, containers: [{name: c}]}}
- {apiVersion: v1, kind: Service, metadata: {name: web},
   spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: http, nodePort: 30080}]}}
- {apiVersion: v1, kind: Service, metadata: {name: bare},
   spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: far}, spec: {type: ExternalName, externalName: example.com}}
- {apiVersion: v1, kind: Service, metadata: {name: none}, spec: {selector: {app: none}, ports: [{port: 80}]}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: p}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
    - from: [{podSelector: {matchLabels: {app: friend}}}]
      ports: [{port: http}]
    - from: [{ipBlock: {cidr: 10.244.1.0/32}}]
"""


def why(tmp_path: Path, source: str, target: str, world: str = WORLD.replace("CONTROLLER", "")) -> tuple[int, Any]:
    file = tmp_path / "w.yaml"
    file.write_text(world)
    words = ["policy", "why", source, target, "-f", str(file), "-o", "json"]
    done = CliRunner().invoke(app_of(), words, standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.return_value if isinstance(done.return_value, int) else done.exit_code, json.loads(done.stdout)


@pytest.mark.parametrize(
    "target", ["svc/web:80", "web:80", "web.default:80", "web.default.svc:80", "web.default.svc.cluster.local:80"]
)
def test_a_service_is_judged_at_each_of_its_endpoints(tmp_path: Path, target: str) -> None:
    code, found = why(tmp_path, "friend", target)
    assert code == 0 and (found["to"], found["service"], found["port"]) == ("default/web", "default/web", 80)
    assert [(one["to"], one["port"], one["allowed"]) for one in found["endpoints"]] == [
        ("default/web", 8080, True),
        ("default/web2", 8080, True),
    ]


def test_of_a_pod_and_a_service_of_one_name_the_pod_is_meant_where_it_has_the_port(tmp_path: Path) -> None:
    code, found = why(tmp_path, "friend", "web:8080")
    assert code == 0 and found["to"] == "default/web" and "service" not in found and "endpoints" not in found
    assert why(tmp_path, "friend", "pod/web:80")[0] == 1


def test_a_node_port_shows_each_endpoint_the_source_that_it_comes_with(tmp_path: Path) -> None:
    code, found = why(tmp_path, "outside", "node1:30080")
    seen = {one["to"]: (one["source"], one["allowed"]) for one in found["endpoints"]}
    # web's own node translates: it still sees who asks; the other node sees node1's tunnel, which the policy lets in
    assert code == 1 and seen == {"default/web": ("203.0.113.10", False), "default/web2": ("10.244.1.0", True)}
    assert not found["allowed"] and "203.0.113.10/32" in found["ingress"]["wanted"]


def test_by_a_headless_services_name_the_endpoints_are_asked_at_the_port_itself(tmp_path: Path) -> None:
    code, found = why(tmp_path, "friend", "bare.default.svc:8080")
    assert code == 0 and {one["port"] for one in found["endpoints"]} == {8080}


def test_a_headless_service_of_both_families_is_asked_by_both(tmp_path: Path) -> None:
    both = "nodes: 2, underlay: {cidr: '192.168.0.0/24,fd00:1::/64'}, podCIDR: '10.244.0.0/16,fd00:244::/56'"
    both += ", serviceCIDR: '10.96.0.0/16,fd00:96::/112'"
    world = WORLD.replace("CONTROLLER", "").replace("nodes: 2", both)
    world = world.replace("clusterIP: None,", "clusterIP: None, ipFamilyPolicy: PreferDualStack,")
    _, found = why(tmp_path, "friend", "bare:8080", world)
    sources = [(one["to"], ":" in one["source"]) for one in found["endpoints"]]
    assert sorted(sources) == [(f"default/{pod}", six) for pod in ("web", "web2") for six in (False, True)]


def test_a_node_that_has_no_such_node_port_is_asked_itself(tmp_path: Path) -> None:
    code, found = why(tmp_path, "friend", "node1:22")
    assert code == 0 and found["to"] == "node1" and "service" not in found


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("friend", "svc/web:81", "has no port 81/TCP"),
        ("outside", "svc/web:80", "outside reaches no cluster IP"),
        ("friend", "svc/far:80", "is a name of example.com"),
        ("friend", "svc/none:80", "has no endpoints"),
        ("friend", "svc/wbe:80", "no Service is called 'wbe'"),
        ("friend", "nobody:80", "pod 'nobody' not found"),
        ("freind", "web:80", "pod 'freind' not found"),
        ("friend", "web", "no port"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_the_reason(tmp_path: Path, source: str, target: str, words: str) -> None:
    with pytest.raises((InputError, NotFoundError), match=words):
        why(tmp_path, source, target)


def test_without_a_controller_it_is_said_that_nothing_comes_of_it(tmp_path: Path) -> None:
    none = WORLD.replace("CONTROLLER", ", networkPolicy: {controller: none}")
    _, found = why(tmp_path, "friend", "web:8080", none)
    assert found["withoutEffect"].startswith("1 NetworkPolicy is stored and without effect: networkPolicy.controller")
    assert "withoutEffect" not in why(tmp_path, "friend", "web:8080")[1]


GIVEN = """
- {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}},
   spec: {containers: [{name: c}]}, status: {podIP: 10.1.0.1}}
- {apiVersion: v1, kind: Pod, metadata: {name: friend, labels: {"on": "true", v: "1.10"}},
   spec: {containers: [{name: c}]}, status: {podIP: 10.1.0.2}}
- {apiVersion: v1, kind: Service, metadata: {name: s}, spec: {selector: {app: web}, ports: [{port: 80}]}}
- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {podSelector: {}}}
"""


@pytest.mark.parametrize("lab", ["- {apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: l}}", ""])
def test_a_service_leads_to_the_addresses_that_a_manifest_gives_its_pods(tmp_path: Path, lab: str) -> None:
    code, found = why(tmp_path, "friend", "svc/s:80", f"apiVersion: v1\nkind: List\nitems:\n{lab}{GIVEN}")
    assert code == 1 and [one["to"] for one in found["endpoints"]] == ["default/web"]
    wanted = yaml.safe_load(f"{{{found['ingress']['wanted']}}}")
    labels = wanted["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert labels == {"on": "true", "v": "1.10"}, "what YAML would read as something else stays a string"


def test_of_a_service_without_addresses_it_is_said_that_those_are_missing(tmp_path: Path) -> None:
    lab = "- {apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: l}, spec: {nodes: 2CONTROLLER}}\n"
    alone = WORLD.replace(lab, "")
    with pytest.raises(InputError) as refused:
        why(tmp_path, "friend", "svc/web:80", alone)
    assert refused.value.message == "default/web has no endpoints: pod web and 1 more, which it selects, has no address"
    assert refused.value.hint and "add a Lab" in refused.value.hint and "podIP" in refused.value.hint


@pytest.mark.parametrize("written", ["10.244.1.2", "10.244.2.2", "10.244.2.3"])
def test_nobody_is_given_an_address_that_a_manifest_says_another_has(tmp_path: Path, written: str) -> None:
    world = WORLD.replace("CONTROLLER", "") + (
        "- {apiVersion: v1, kind: Pod, metadata: {name: written, labels: {app: friend}},"
        f" spec: {{nodeName: node1, containers: [{{name: c}}]}}, status: {{podIP: {written}}}}}\n"
    )
    _, found = why(tmp_path, "written", "svc/web:80", world)
    assert [one["to"] for one in found["endpoints"]] == ["default/web", "default/web2"]
    assert {one["source"] for one in found["endpoints"]} == {written} and found["allowed"]


def test_an_endpoint_is_the_pod_that_its_slice_names_where_two_are_written_with_one_address(
    tmp_path: Path,
) -> None:
    world = WORLD.replace("CONTROLLER", "") + (
        "- {apiVersion: v1, kind: Pod, metadata: {name: twin, labels: {app: friend}},"
        " spec: {nodeName: node1, containers: [{name: c}]}, status: {podIP: 10.0.0.7}}\n"
        "- {apiVersion: v1, kind: Pod, metadata: {name: asked, labels: {app: asked}},"
        " spec: {nodeName: node1, containers: [{name: c}]}, status: {podIP: 10.0.0.7}}\n"
        "- {apiVersion: v1, kind: Service, metadata: {name: asked},"
        " spec: {selector: {app: asked}, ports: [{port: 80}]}}\n"
    )
    _, found = why(tmp_path, "web", "svc/asked:80", world)
    assert [one["to"] for one in found["endpoints"]] == ["default/asked"]
