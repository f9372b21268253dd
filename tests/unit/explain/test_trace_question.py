"""What a trace is asked for is found among the objects, or refused in words, before anything of the kernel is read."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Pod, PodStatus
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.explain.tracing import trace
from k8snetlab.messages.trace import TraceQuestion
from k8snetlab.state.paths import LabPaths
from k8snetlab.testing import fake_cluster

OBJECTS = fake_cluster.deployment("web", 1) + fake_cluster.service("web")
SECLUDED = '{nodes: 1, underlay: {outside: ""}}'


def snapshot(spec: str = "{nodes: 1}") -> Snapshot:
    lab = f"---\n{{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {{name: lab}}, spec: {spec}}}\n"
    return fake_cluster.FakeCluster(lab + OBJECTS).run().snapshot


def refused(objects: Snapshot, question: TraceQuestion) -> str:
    with pytest.raises((InputError, NotFoundError)) as caught:
        trace(objects, LabPaths("lab"), question)
    return f"{caught.value.message} / {caught.value.hint}"


@pytest.mark.parametrize(
    ("spec", "question", "said"),
    [
        ("{nodes: 1}", TraceQuestion("node1", "web", protocol="gre"), "'gre' cannot be traced / use tcp"),
        ("{nodes: 1}", TraceQuestion("nobody", "web"), "no pod or node is called 'nobody'"),
        ("{nodes: 1}", TraceQuestion("outside", "web", node="node7"), "node 'node7' not found / nodes: node1"),
        ("{nodes: 1}", TraceQuestion("outside", "web", node="node1"), "web is no Service with a tcp node port"),
        ("{nodes: 1}", TraceQuestion("node1", "10.0.0.1"), "10.0.0.1: an address needs a port"),
        (SECLUDED, TraceQuestion("node1", "outside"), "this lab has no host outside"),
    ],
)
def test_a_question_that_leads_nowhere_is_refused(spec: str, question: TraceQuestion, said: str) -> None:
    assert said in refused(snapshot(spec), question)


def test_a_pod_without_an_address_is_no_target_yet() -> None:
    objects = snapshot()
    (pod,) = objects.all(Pod).values()
    waiting = objects.changed([(Pod, pod.key, replace(pod, status=PodStatus()))], objects.revision + 1)
    assert f"pod {pod.name} has no address (yet)" in refused(waiting, TraceQuestion("node1", f"pod/{pod.name}", 80))
