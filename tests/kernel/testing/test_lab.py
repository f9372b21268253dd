"""What the fixture `lab` hands out, asked of the smallest lab with a Service."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import netns
from k8snetlab.testing import Lab, running

pytestmark = pytest.mark.lab("two-nodes", scope="module")
SECOND = """
apiVersion: v1
kind: Service
metadata: {name: second}
spec: {clusterIP: 10.96.10.11, selector: {app: web}, ports: [{port: 81, targetPort: 8080}]}
"""


def test_objects_are_kubernetes_json(lab: Lab) -> None:
    assert lab.get("pod", "client")["spec"]["nodeName"] == "node1"
    assert [pod["metadata"]["name"] for pod in lab.list("pods", "default")] == ["client", "web"]
    assert [pod["metadata"]["name"] for pod in lab.list("pods", labels="app=web")] == ["web"]
    with pytest.raises(NotFoundError):
        lab.get("pod", "nobody")


def test_addresses_and_namespaces_have_names(lab: Lab) -> None:
    assert lab.address_of("svc/web") == "10.96.10.10"
    assert lab.address_of("node/node1") == "192.168.0.21"
    assert lab.address_of("pod/web") in lab.exec("web", "ip", "-o", "address", "show", "eth0")
    assert {lab.netns("node1"), lab.netns("router"), lab.netns("default", "web")} < set(lab.namespaces())
    assert set(lab.namespaces()) <= set(netns.names())


def test_a_pair_that_is_reached_and_one_that_is_not_are_both_answers(lab: Lab) -> None:
    assert lab.probe("client", "web").answeredBy == "web"
    shut = lab.probe("client", "web:7")
    assert not shut.reached and not shut.ok and shut.verdict == "broken"
    assert all(result.ok for result in lab.probe_all()) and lab.whole()


def test_what_a_verb_refuses_fails_with_its_words(lab: Lab) -> None:
    with pytest.raises(AssertionError, match=r"k8snetlab probe client nobody .*exit 1[\s\S]*nobody"):
        lab.probe("client", "nobody")


def test_trace_and_diagnosis_are_values(lab: Lab) -> None:
    trace = lab.trace("client", "web")
    assert trace.address == "10.96.10.10" and trace.observed and trace.observed.agrees
    assert lab.diagnose().findings == ()


def test_what_is_applied_is_in_the_kernel_when_it_returns(lab: Lab, tmp_path: Path) -> None:
    lab.apply(SECOND)
    assert lab.probe("client", "second:81").answeredBy == "web"
    (tmp_path / "second.yaml").write_text(SECOND.replace("port: 81", "port: 82"))
    lab.apply(tmp_path / "second.yaml")
    assert lab.probe("client", "second:82").answeredBy == "web"


def test_nothing_of_it_is_where_other_labs_are(lab: Lab) -> None:
    assert "K8SNETLAB_RUN" not in os.environ or os.environ["K8SNETLAB_RUN"] != str(lab.run_directory)
    assert lab.raw("/api/v1/namespaces/default/pods/client")["metadata"]["name"] == "client"
    with running("two-nodes") as other:
        assert other.name != lab.name and not set(other.namespaces()) & set(lab.namespaces())
        assert other.probe("client", "web").ok
    assert not other.namespaces() and lab.probe("client", "web").ok
