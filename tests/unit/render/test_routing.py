"""The configurations of routing daemons: BIRD reads what is written for it, and what cannot be is refused."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from k8snetlab.addons.programs import programs
from k8snetlab.addons.routing import PACKAGES
from k8snetlab.api.core import Node
from k8snetlab.api.flannel import BACKEND_TYPE
from k8snetlab.api.lab import ROUTED
from k8snetlab.api.load import load
from k8snetlab.dataplane.routing import Route
from k8snetlab.errors import ManifestError
from k8snetlab.render import node as render_node
from k8snetlab.render.routing.speakers import lacking, wanted
from k8snetlab.render.routing.timers import CALM, CALMEST_FROM
from k8snetlab.testing.fake_cluster import FakeCluster

DUAL = (
    ' podCIDR: "10.244.0.0/16,fd00:244::/56", serviceCIDR: "10.96.0.0/16,fd00:96::/112",'
    ' underlay: {cidr: "192.168.0.0/24,fd00:1::/64", outside: "203.0.113.10/24,fd00:2::10/64"},'
)
SIX = " podCIDR: fd00:244::/56, serviceCIDR: fd00:96::/112, underlay: {cidr: fd00:1::/64, outside: fd00:2::10/64},"


def manifest(network: str, more: str = "", nodes: int = 3) -> str:
    spec = f"{{nodes: {nodes},{more} dns: {{enabled: false}}, network: {network}}}"
    return f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {{name: lab}}, spec: {spec}}}\n"


def world(network: str, more: str = "", nodes: int = 3) -> FakeCluster:
    return FakeCluster(manifest(network, more, nodes)).run()


def text(network: str, more: str = "", nodes: int = 3) -> str:
    (program,) = programs(world(network, more, nodes).snapshot, "node1")
    return program.files["bird.conf"]


@pytest.mark.skipif(not shutil.which(PACKAGES["bird"][0], path="/usr/sbin:/usr/bin"), reason="bird is missing")
@pytest.mark.parametrize(
    ("backend", "timers", "more"), [*itertools.product(ROUTED, ("fast", "textbook"), ("", DUAL, SIX))], ids=str
)
def test_bird_reads_what_is_written_for_it(tmp_path: Path, backend: str, timers: str, more: str) -> None:
    file = tmp_path / "bird.conf"
    password = "" if more and backend != "bgp" else ", password: s3cret"
    file.write_text(
        text(f"{{backend: {backend}, routing: {{daemon: bird, timers: {timers}, bfd: true{password}}}}}", more)
    )
    assert file.read_text().count("bfd on;") >= 1 and "min rx interval 300 ms" in file.read_text()
    assert ('password "s3cret"' in file.read_text()) is bool(password)
    done = subprocess.run(["/usr/sbin/bird", "-p", "-c", file], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "prone to replay attacks" not in line]  # a hello a second
    assert (done.returncode, said) == (0, [])


def test_bgp_is_a_mesh_of_one_autonomous_system() -> None:
    found = text("{backend: bgp, routing: {asNumber: 65001}}")
    assert "protocol bgp Node_192_168_0_22 from nodes_ipv4 {\n  neighbor 192.168.0.22 as 65001;\n}\n" in found
    assert "local 192.168.0.21 as 65001;" in found and "Node_192_168_0_21" not in found
    assert found.count("protocol bgp ") == 3, "the other two nodes, and the router"


@pytest.mark.parametrize(("nodes", "hold"), [(CALM, 3), (CALM + 1, 9), (CALMEST_FROM, 9), (CALMEST_FROM + 1, 30)])
def test_a_large_mesh_has_calmer_timers(nodes: int, hold: int) -> None:
    assert f"hold time {hold};" in text("{backend: bgp}", nodes=nodes)


@pytest.mark.parametrize("backend", ROUTED)
def test_the_router_speaks_too_and_has_no_pods_to_tell_of(backend: str) -> None:
    held = world(f"{{backend: {backend}, routing: {{daemon: bird}}}}").snapshot
    (program,) = programs(held, "router")
    found = program.files["bird.conf"]
    assert "router id 192.168.0.1;" in found and '"underlay0"' in found and "stubnet" not in found
    assert [route.dst for route in wanted(held, "router")] == ["10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"]


@pytest.mark.parametrize("daemon", ["bird", "frr"])
@pytest.mark.parametrize("backend", ROUTED)
def test_the_host_outside_takes_part_when_asked(tmp_path: Path, backend: str, daemon: str) -> None:
    if (backend, daemon) == ("bgp", "frr"):
        return
    snapshot = world(f"{{backend: {backend}, routing: {{daemon: {daemon}, outside: true}}}}").snapshot
    assert [str(route.dst) for route in wanted(snapshot, "outside")] == [f"10.244.{n}.0/24" for n in (1, 2, 3)]
    assert {route.via for route in wanted(snapshot, "outside")} == {"203.0.113.1"}
    of_node, of_router, own = (programs(snapshot, name) for name in ("node1", "router", "outside"))
    files = {name: text for program in (*of_router, *own) for name, text in program.files.items()}
    assert "203.0.113" not in "".join(text for one in of_node for text in one.files.values())
    if daemon == "frr":
        assert f"ip protocol {backend} route-map pods" in files["zebra.conf"]
        (said,) = (one.files[f"{backend}d.conf"] for one in of_router if one.name != "zebra")
        assert " network 203.0.113.0/24 area 0" in said or " network outside" in said
    for number, program in enumerate((*of_router, *own) if daemon == "bird" else ()):
        file = tmp_path / str(number)
        file.write_text(program.files["bird.conf"])
        done = subprocess.run(["/usr/sbin/bird", "-p", "-c", file], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    if backend == "bgp":
        assert "neighbor 192.168.0.1" not in files["bird.conf"], "the last file is the one outside"
        assert "local 203.0.113.10 as 64514;" in files["bird.conf"] and "export where false" in files["bird.conf"]
    assert not programs(world(f"{{backend: {backend}}}").snapshot, "outside")


def test_bfd_is_a_daemon_of_frrs_and_is_calmer_in_large_labs() -> None:
    asked = "{backend: ospf, routing: {bfd: true}}"
    few, many = (programs(world(asked, nodes=n).snapshot, "node1") for n in (3, CALM + 1))
    assert [one.name for one in few] == ["zebra", "bfdd", "ospfd"]
    assert "  transmit-interval 300\n" in few[1].files["bfdd.conf"]
    assert "  transmit-interval 1000\n" in many[1].files["bfdd.conf"]
    assert " ip ospf bfd profile lab\n" in few[2].files["ospfd.conf"]
    assert "bfd" not in "".join(
        file for one in programs(world("{backend: ospf}").snapshot, "node1") for file in one.files
    )


def test_frr_is_told_of_no_neighbour_so_that_a_node_that_joins_changes_no_file() -> None:
    few, many = (
        [program.files for program in programs(world("{backend: ospf}", nodes=n).snapshot, "node1")] for n in (2, 5)
    )
    assert few == many and [*few[0], *few[1]] == ["zebra.conf", "ospfd.conf"]


def test_a_route_by_another_next_hop_is_missing_unless_that_is_link_local() -> None:
    asked = (Route("10.244.2.0/24", via="192.168.0.22"), Route("fd00:244:0:2::/64"))
    assert lacking(asked, [Route("10.244.2.0/24", "eth0", "192.168.0.9", metric=32)]) == asked
    assert not lacking(asked, [Route("fd00:244:0:2::/64", "eth0", "fe80::1"), replace(asked[0], metric=32)])


@pytest.mark.parametrize("more", ["", DUAL])
def test_the_routes_that_are_waited_for_lead_to_every_other_node(more: str) -> None:
    held = world("{backend: bgp}", more).snapshot
    four = (Route("10.244.2.0/24", via="192.168.0.22"), Route("10.244.3.0/24", via="192.168.0.23"))
    six = (Route("fd00:244:0:2::/64", via="fd00:1::16"), Route("fd00:244:0:3::/64", via="fd00:1::17"))
    found = wanted(held, "node1")
    assert found[:2] == four and len(found) == (4 if more else 2)
    assert [route.dst for route in found[2:]] == [route.dst for route in six[: len(found) - 2]]
    assert wanted(world("{backend: host-gw}").snapshot, "node1") == ()


@pytest.mark.parametrize("backend", ROUTED)
def test_flannel_gives_out_subnets_and_no_route(backend: str) -> None:
    snapshot = world(f"{{backend: {backend}}}").snapshot
    assert {node.metadata.annotations[BACKEND_TYPE] for node in snapshot.all(Node).values()} == {"alloc"}
    state = render_node.render(snapshot, "node1").node
    assert [route.dst for route in state.routes] == ["default"] and state.learns
    assert not render_node.render(world("{}").snapshot, "node1").node.learns


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{network: {backend: bgp, routing: {daemon: frr}}}", "spec.network.routing.daemon: frr would end"),
        ("{machines: true, network: {backend: ospf}}", "spec.network.backend: ospf is for labs of namespaces"),
        ("{network: {backend: eigrp}}", "spec.network.backend"),
        ("{network: {backend: rip, routing: {daemon: frr, bfd: true}}}", "spec.network.routing.bfd: frr's RIP"),
        ("{network: {backend: calico, routing: {outside: true}}}", "spec.network.routing.outside: is not for calico"),
        (
            "{network: {backend: bgp, routing: {outside: true, asNumber: 4294967294}}}",
            "routing.asNumber: leaves no number for outside",
        ),
        ("{network: {backend: calico, routing: {bfd: true}}}", "spec.network.routing.bfd: is not in what Calico's"),
        ("{network: {backend: bgp, routing: {asNumber: 0}}}", "spec.network.routing.asNumber"),
        ("{network: {backend: bgp, routing: {asNumber: 4294967295}}}", "spec.network.routing.asNumber"),
        ("{network: {backend: bgp, routing: {daemon: quagga}}}", "spec.network.routing.daemon"),
        ("{network: {backend: bgp, routing: {password: 'a b'}}}", "password: is to have 1 to 16 of the letters"),
        ("{network: {backend: bgp, routing: {password: seventeen-letters}}}", "password: is to have 1 to 16"),
        ("{network: {backend: calico, routing: {password: x}}}", "password: is not for calico"),
        (f"{{{DUAL} network: {{backend: rip, routing: {{password: x}}}}}}", "rip signs by MD5 in IPv4 alone"),
        (f"{{{DUAL} network: {{backend: rip, routing: {{daemon: frr}}}}}}", "frr is configured for IPv4 only"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(spec: str, words: str) -> None:
    with pytest.raises(ManifestError) as refused:
        load([("lab.yaml", f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {spec}}}\n")])
    assert "lab.yaml:1" in str(refused.value) and words in str(refused.value)


def test_daemons_mean_nothing_to_flannels_backends() -> None:
    lab = "{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {network: {routing: {daemon: bird}}}}\n"
    (warning,) = load([("f.yaml", lab)]).warnings
    assert "spec.network.routing: means nothing with backend vxlan" in warning
