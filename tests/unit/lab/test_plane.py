"""A lab's own control plane that begins anew."""

from __future__ import annotations

import pytest

from k8snetlab.lab.plane import revived
from k8snetlab.testing.fake_cluster import FakeCluster

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: l}
spec: {nodes: 1, controlPlane: {replicas: 3, etcd: 3}}
"""


@pytest.mark.parametrize(
    ("off", "back"),
    [
        ((), ()),
        (("node1", "control-plane2"), ()),
        (("control-plane1", "node1", "control-plane3"), ("control-plane1", "control-plane3")),
    ],
)
def test_a_daemon_that_begins_has_more_than_half_of_the_members(off: tuple[str, ...], back: tuple[str, ...]) -> None:
    assert revived(FakeCluster(LAB).snapshot.lab, off) == back
