"""Names made of names: as long as the kernel takes them, and never one for two things."""

from __future__ import annotations

import pytest

from k8snetlab.api.load import load
from k8snetlab.dataplane import names
from k8snetlab.errors import ManifestError

NODES = ("node1", "a.b", "a-b", "a.b.c", "ip-10-0-11-22.ec2.internal", "ab.c", "1.2.3.4")


def lab(node: str) -> str:
    return f"apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {{nodes: [{{name: '{node}'}}]}}\n"


def test_no_node_has_the_namespace_of_another_or_of_a_pod() -> None:
    nodes = {names.node_netns("lab", node) for node in NODES}
    pods = {names.pod_netns("lab", *node.split(".", 1)) for node in NODES if "." in node}
    assert len(nodes) == len(NODES) and not nodes & pods
    assert names.node_netns("lab", "node1") == "lab.node1"
    assert names.node_netns("lab", "ip-10-0-11-22.ec2.internal") == "lab.ip-10-0-11-22_ec2_internal"


def test_a_routers_port_is_named_as_the_kernel_and_its_sysctls_take_it() -> None:
    ports = [names.underlay_veth(node) for node in NODES]
    assert len(set(ports)) == len(NODES)
    assert all(len(port) <= 15 and "." not in port for port in ports)
    assert names.underlay_veth("node1") == "node1"


@pytest.mark.parametrize("node", NODES)
def test_node_names_are_dns_names(node: str) -> None:
    assert load([("lab.yaml", lab(node))]).objects


@pytest.mark.parametrize(
    ("node", "said"),
    [("a..b", "is no DNS name"), (".a", "is no DNS name"), ("a.", "is no DNS name"), ("A.b", "is no DNS name"),
     ("a/b", "is no DNS name"),
     ("router", "is taken by the lab itself"), (f"{'a' * 40}.{'b' * 40}", "kubernetes.io/hostname")],
)  # fmt: skip
def test_what_no_node_is_called(node: str, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        load([("lab.yaml", lab(node))])
