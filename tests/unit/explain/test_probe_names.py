"""What the names in `probe` and `trace` mean: namespaces, kinds, and pings, which have no port."""

from __future__ import annotations

import pytest

from k8snetlab.api.core import Pod, Service
from k8snetlab.cli.probed import line
from k8snetlab.errors import NotFoundError
from k8snetlab.explain.places import find_place, within
from k8snetlab.explain.targets import all_targets, find_targets, no_echo
from k8snetlab.messages.probe import ProbeResult
from k8snetlab.testing import fake_cluster

LAB = "---\n{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: 1}}\n"
POD = "---\n{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: %s}, spec: {containers: [{name: c}]}}\n"
OTHER = "---\n{apiVersion: v1, kind: Namespace, metadata: {name: other}}\n"
OBJECTS = LAB + OTHER + POD % ("web", "other") + POD % ("client", "default") + fake_cluster.service("api")
SNAPSHOT = fake_cluster.FakeCluster(OBJECTS).run().snapshot


@pytest.mark.parametrize(
    ("name", "namespace", "meant"),
    [
        ("web", "", "web"),
        ("web", "other", "other/web"),
        ("pod/web", "other", "pod/other/web"),
        ("svc/api", "default", "svc/default/api"),
        ("a/web", "other", "a/web"),
        ("api.default", "other", "api.default"),
        ("node1", "other", "node1"),
        ("outside", "other", "outside"),
        ("10.1.2.3", "other", "10.1.2.3"),
        ("fd00::1", "other", "fd00::1"),
    ],
)
def test_a_namespace_is_that_of_names_without_one(name: str, namespace: str, meant: str) -> None:
    assert within(SNAPSHOT, name, namespace) == meant


def test_a_name_is_not_found_in_the_wrong_namespace() -> None:
    assert find_place(SNAPSHOT, within(SNAPSHOT, "web", "other")).name == "other/web"
    with pytest.raises(NotFoundError):
        find_place(SNAPSHOT, within(SNAPSHOT, "client", "other"))


def test_a_ping_has_no_port_and_goes_to_what_has_the_address() -> None:
    client, node = SNAPSHOT.get(Pod, "client", "default"), SNAPSHOT.node("node1")
    service = SNAPSHOT.get(Service, "api", "default")
    assert client and service
    found = {name: find_targets(SNAPSHOT, name, None, "ICMP")[0] for name in ("client", "node1", "api", "10.1.2.3")}
    assert {name: (t.kind, t.address, t.port) for name, t in found.items()} == {
        "client": ("pod", client.ips[0], 0),
        "node1": ("node", node.addresses[0], 0),
        "api": ("clusterIP", service.clusterIPs[0], 0),
        "10.1.2.3": ("address", "10.1.2.3", 0),
    }
    assert "on no device" in no_echo(SNAPSHOT, service.clusterIPs[0])
    assert no_echo(SNAPSHOT, client.ips[0]) == ""
    assert {t.kind for t in all_targets(SNAPSHOT, ["ICMP"])} == {"pod", "node"}


def test_a_ping_is_told_without_a_port() -> None:
    said = ProbeResult(
        source="a",
        sourceNode="m",
        target="b",
        kind="pod",
        address="fd00::2",
        port=0,
        protocol="ICMP",
        reached=True,
        seen="answered",
        answeredBy="b",
        answeredNode="n",
        answeredIP="fd00::2",
        milliseconds=1.0,
    )
    assert line(said) == "a → b fd00::2 icmp: answered by b (fd00::2 on n) in 1.0 ms"
