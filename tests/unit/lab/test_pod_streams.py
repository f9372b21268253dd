"""What `exec` of a client asks of the lab's own verbs."""

from __future__ import annotations

from k8snetlab.api.core import Container, Pod, PodSpec
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.apiserver.paths import parse
from k8snetlab.lab.pod_streams import execution


def test_a_pod_with_a_nodes_name_is_the_place_of_its_commands() -> None:
    target = parse("/api/v1/namespaces/default/pods/node1/exec")
    question = execution(
        target,
        Pod(metadata=ObjectMeta(name="node1"), spec=PodSpec(containers=(Container(name="c"),))),
        {"command": ["true"]},
    )
    assert question.name == "pod/default/node1"
