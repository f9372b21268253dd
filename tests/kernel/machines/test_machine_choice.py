"""Which interface of a machine is its node's, and which machines are refused before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from k8snetlab.testing.machines import Machine, Wire

STORE = "http://192.168.56.99:2379"  # nobody answers there; all of this happens before anybody is asked
CA = "/etc/ssl/certs/ca-certificates.crt"
UP = ("up", "machines", "--node", "node1", "--store", STORE, "--insecure")


@pytest.fixture
def machine(namespace: Callable[[str], str], tmp_path: Path) -> Machine:
    return Wire(namespace, tmp_path).machine()


def complaint(machine: Machine, *words: str, code: int = 2) -> str:
    """What the refusal says; nothing has become of the machine."""
    machine.settle()
    before = machine.state()
    said = machine.run(*words, code=code)
    assert machine.state() == before
    assert not list(machine.run_directory.glob("*/ledger"))
    assert "Traceback" not in said
    return said


def test_vagrants_nat_interface_is_refused_and_the_right_one_named(machine: Machine) -> None:
    said = complaint(machine, *UP, "--iface", "eth0")
    assert "10.0.2.15" in said
    assert "NAT" in said
    assert "eth1 (192.168.56.11/24)" in said
    assert "eth0 (" not in said


def test_a_machine_with_nothing_but_nat_is_told_what_it_lacks(machine: Machine) -> None:
    machine.here("ip", "address", "del", "192.168.56.11/24", "dev", "eth1")
    said = complaint(machine, *UP)
    assert "10.0.2.15" in said
    assert "private_network" in said


def test_an_interface_that_is_not_there_is_refused_and_the_right_one_named(machine: Machine) -> None:
    said = complaint(machine, *UP, "--iface", "eth7", code=1)
    assert "eth7" in said
    assert "eth1 (192.168.56.11/24)" in said
    assert "10.0.2.15" not in said


def test_two_interfaces_of_which_nothing_tells_are_both_named(machine: Machine) -> None:
    machine.here("ip", "link", "add", "eth2", "type", "veth", "peer", "name", "far")
    machine.here("ip", "link", "set", "eth2", "up")
    machine.here("ip", "address", "add", "172.16.5.1/24", "dev", "eth2")
    said = complaint(machine, "up", "machines", "--node", "node1", "--store", "http://127.0.0.1:2379", "--insecure")
    assert "eth1 (192.168.56.11/24)" in said
    assert "eth2 (172.16.5.1/24)" in said
    assert "--iface" in said


def test_an_address_of_the_lab_file_that_the_machine_lacks_is_refused(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(
        "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec:\n"
        "  machines: true\n  nodes: [{name: node1, address: 192.168.56.77}]\n"
    )
    said = complaint(machine, "up", str(file), *UP[2:], code=1)
    assert "192.168.56.77" in said
    assert "eth1 (192.168.56.11/24)" in said


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("ip link add cni0 type bridge", "cni0"),
        ("ip link add flannel.1 type vxlan id 1 dev eth1 dstport 8472", "flannel.1"),
        ("iptables-nft -t nat -N KUBE-SERVICES", "nat/KUBE-SERVICES"),
        ("iptables-legacy -t filter -N KUBE-FORWARD", "filter/KUBE-FORWARD"),
        ("ip6tables-nft -t nat -N FLANNEL-POSTRTG", "nat/FLANNEL-POSTRTG"),
        ("ip route add 10.244.3.0/24 via 192.168.56.12", "10.244.3.0/24"),
    ],
)
def test_a_machine_of_another_cluster_is_refused_with_what_it_holds(machine: Machine, command: str, named: str) -> None:
    machine.here(*command.split())
    said = complaint(machine, *UP, code=1)
    assert named in said
    assert "already" in said


def test_a_network_that_overlaps_the_machines_own_is_refused(machine: Machine) -> None:
    machine.here("ip", "address", "add", "10.100.0.7/24", "dev", "eth1")
    said = complaint(machine, *UP)
    assert "serviceCIDR 10.96.0.0/12 overlaps 10.100.0.7/24 on eth1" in said


def test_an_interface_too_small_for_the_labs_packets_is_refused(machine: Machine) -> None:
    machine.here("ip", "link", "set", "eth1", "mtu", "1400")
    assert "spec.underlay.mtu: 1400" in complaint(machine, *UP)


def test_up_with_a_part_of_the_options_of_a_machine_names_the_others(machine: Machine) -> None:
    assert "--node" in complaint(machine, "up", "two-nodes", "--iface", "eth1")
    assert "--node NAME" in complaint(machine, "up", "machines")
    assert "--store" in complaint(machine, "up", "machines", "--node", "node1")


def test_a_join_whose_store_does_not_answer_is_refused(machine: Machine) -> None:
    words = ("--store", "http://192.168.56.11:1", "--insecure", "--name", "node2")
    said = complaint(machine, "node", "join", *words, code=1)
    assert "192.168.56.11:1" in said


@pytest.mark.parametrize("words", [("http://192.168.56.11:1", "--insecure"), ("https://192.168.56.11:1", "--ca", CA)])
def test_a_lab_whose_store_does_not_answer_has_not_begun(machine: Machine, words: tuple[str, ...]) -> None:
    said = complaint(machine, "up", "machines", "--node", "node1", "--store", *words, code=1)
    assert words[0] in said
    assert not list(machine.run_directory.glob("*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("http://192.168.56.11:2379",), "plain http lets anybody who reaches the store"),
        (("https://192.168.56.11:2379",), "wants a certificate of this machine's"),
        (("https://192.168.56.11:2379", "--insecure", "--ca", CA), "--insecure is for http://"),
        (("http://192.168.56.11:2379", "--insecure", "--ca", CA), "--ca, --cert and --key are for https://"),
    ],
)
def test_a_store_without_certificates_is_refused_unless_that_is_said(
    machine: Machine, words: tuple[str, ...], said: str
) -> None:
    assert said in complaint(machine, "node", "join", "--name", "node2", "--store", *words)
    assert said in complaint(machine, "up", "machines", "--node", "node2", "--store", *words)
    assert not list(machine.run_directory.glob("*"))


@pytest.mark.parametrize("node", ["Bad Name", "-x", "router", "a\nb", "ü", "n" * 64])
def test_a_name_that_no_node_can_have_is_refused(machine: Machine, node: str) -> None:
    said = complaint(machine, "up", "machines", f"--node={node}", "--store", STORE, "--insecure")
    assert "the node's name" in said
    assert "--name NAME" in said
