"""Selectors of requests: what the language says, and what it does not."""

from __future__ import annotations

import pytest

from k8snetlab.api.core import (
    Node,
    NodeSpec,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    Service,
)
from k8snetlab.api.events import Event
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.selectors import parse_fields, parse_labels

LABELS = {"app": "web", "tier": "2", "example.com/a-b": "", "env": "prod"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        (" ", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=2", True),
        ("app=web,tier=3", False),
        ("app!=web", False),
        ("none!=web", True),
        ("app", True),
        ("none", False),
        ("!none", True),
        ("! app", False),
        ("app in (web, db)", True),
        ("app in(db)", False),
        ("app notin (db),tier notin (1,3)", True),
        ("none notin (db)", True),
        ("example.com/a-b=", True),
        ("example.com/a-b", True),
        ("example.com/a-b in ()", True),
        ("tier>1", True),
        ("tier > 2", False),
        ("tier<10", True),
        ("app<10", False),
        ("none>1", False),
        ("in in (in)", False),
    ],
)
def test_a_label_selector_matches_as_kubernetes_says(text: str, matches: bool) -> None:
    assert parse_labels(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a b",
            "a=b c",
            "=b",
            "a=b=c",
            ",",
            "a,",
            ",a",
            "a,,b",
            "a in",
            "a in b",
            "a in (b",
            "a in (b c)",
            "a in ((b))",
        ),
        *(
            "!",
            "!=b",
            "a!",
            "a>b",
            "a<",
            "a=(b)",
            "-a",
            "a=-",
            "a/b/c",
            "A.b/c",
            "a=" + "x" * 64,
            "x" * 64,
            "\x00",
            "ä=b",
        ),
    ],
)
def test_a_label_selector_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_labels(text)


POD = Pod(
    metadata=ObjectMeta(name="a", namespace="n"),
    spec=PodSpec(nodeName="node1", hostNetwork=True),
    status=PodStatus(podIP="10.0.0.1", podIPs=(PodIP(ip="10.0.0.1"),)),
)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("metadata.name=a,metadata.namespace==n", True),
        ("metadata.name!=a", False),
        ("spec.nodeName=", False),
        ("spec.nodeName=node1,status.phase=Pending", True),
        ("status.podIP=10.0.0.1,spec.hostNetwork=true", True),
        ("spec.restartPolicy=Never", False),
        ("spec.schedulerName=default-scheduler", True),
        ("metadata.name=a\\,b", False),
    ],
)
def test_a_field_selector_matches_a_pods_fields(text: str, matches: bool) -> None:
    assert parse_fields(text, Pod).matches(POD) is matches


@pytest.mark.parametrize("text", ["metadata.labels=a", "spec.clusterIP=None", "a", "metadata.name=a=b", "=", "a\\"])
def test_fields_that_a_pod_has_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"selector|not supported"):
        parse_fields(text, Pod)


def test_a_field_selector_matches_the_fields_of_other_kinds() -> None:
    assert parse_fields("spec.clusterIP!=None", Service).matches(Service())
    assert parse_fields("spec.unschedulable=true", Node).matches(Node(spec=NodeSpec(unschedulable=True)))
    event = Event(metadata=ObjectMeta(name="e"), reason="Failed", type="Warning")
    assert parse_fields("type=Warning,reason!=Started,involvedObject.name=", Event).matches(event)
