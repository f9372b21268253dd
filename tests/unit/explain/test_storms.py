"""Which names that are not there a search list has made of names outside."""

from __future__ import annotations

import pytest

from k8snetlab.api.core import Pod, Service
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.explain import storms

CLIENT = Pod(metadata=ObjectMeta(name="client", namespace="default"))
SHOP = Service(metadata=ObjectMeta(name="web", namespace="shop"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("www.example.com.default.svc.cluster.local.", "www.example.com"),
        ("Example.com.svc.cluster.local.", "example.com"),
        ("example.com.cluster.local.", "example.com"),
        ("nothing.default.svc.cluster.local.", ""),  # a Service that is not there
        ("nothing.svc.cluster.local.", ""),
        ("nothing.cluster.local.", ""),
        ("web.shop.default.svc.cluster.local.", ""),  # one of another namespace, found with the next question
        ("db-0.web.shop.default.svc.cluster.local.", ""),
        ("www.example.com.", ""),
    ],
)
def test_a_name_outside_is_told_from_one_of_the_cluster(name: str, meant: str) -> None:
    world = Snapshot.of([Lab(), CLIENT, SHOP])
    assert storms.searched_for(name, CLIENT, world) == meant
