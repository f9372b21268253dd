"""The lab as a picture: what is in it, that nothing lies on anything else, and that other programs can read it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace
from pictured import manifest
from typer.testing import CliRunner

from k8snetlab.api.load import load
from k8snetlab.cli.main import app_of
from k8snetlab.errors import InputError
from k8snetlab.lab.render import settle
from k8snetlab.render.canvas import CHAR, SIZE
from k8snetlab.render.picture import picture
from k8snetlab.render.picture_boxes import Picture
from k8snetlab.render.picture_svg import svg
from k8snetlab.render.picture_text import dot, mermaid

SVG = "{http://www.w3.org/2000/svg}"
DUAL = """
  podCIDR: 10.244.0.0/16,fd00:10:244::/56
  serviceCIDR: 10.96.0.0/12,fd00:10:96::/112
  underlay: {cidr: '192.168.0.0/24,fd00:168::/64', outside: '203.0.113.10/24,2001:db8::10/64'}
"""


OUTER = """---
apiVersion: v1
kind: Service
metadata: {name: mysql}
spec: {ports: [{port: 3306}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: mysql}
subsets: [{addresses: [{ip: 192.168.0.103}], ports: [{port: 3306}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: proxy}
spec: {nodeName: node1, hostNetwork: true, containers: [{name: c}]}
"""


def pictured(text: str) -> Picture:
    return picture(settle(load([("f.yaml", text)]).objects))


def test_a_picture_holds_what_the_lab_has() -> None:
    found = pictured(manifest(2, 2) + OUTER)
    assert (found.outside, found.router, found.underlay) == (("203.0.113.10",), ("192.168.0.1",), ("192.168.0.0/24",))
    assert found.backend == "VXLAN 1, UDP 8472, between every two nodes"
    one = found.nodes[0]
    assert (one.bridge, one.tunnel) == (("10.244.1.1/24",), ("flannel.1 10.244.1.0",))
    assert [pod.services for pod in one.pods if not pod.host] == [(0,), (1,)]
    assert [pod.name for pod in one.pods if pod.host] == ["proxy"]
    services = {service.name: service for service in found.services}
    assert services["a0"].endpoints == ("10.244.1.2:80", "10.244.2.2:80")
    assert services["nobody"].endpoints == ()
    assert services["mysql"].foreign == ("192.168.0.103:3306",)
    assert any(text.startswith("NodePort 3") for text in services["a0"].addresses)


def test_host_gw_has_no_tunnel() -> None:
    found = pictured(manifest(2, 1, "  network: {backend: host-gw}"))
    assert not found.tunnelled and found.nodes[0].tunnel == ()
    assert "flannel" not in svg(found) + mermaid(found) + dot(found)


RACKS = """
  network: {backend: BACKEND}
  underlay:
    cidr: 192.168.0.0/16
    routers: [leaf1, leaf2, spine]
    links:
      - {name: rack1, cidr: 192.168.1.0/24, routers: [leaf1], nodes: [node1, node2]}
      - {name: rack2, cidr: 192.168.2.0/24, routers: [leaf2], nodes: [node3]}
      - {name: up1, cidr: 192.168.11.0/30, routers: [spine, leaf1]}
      - {name: up2, cidr: 192.168.12.0/30, routers: [spine, leaf2]}
      - {name: up3, cidr: 192.168.13.0/30, routers: [router, leaf1]}
      - {name: up4, cidr: 192.168.14.0/24, routers: [router, leaf2, spine]}
"""
LABS = [(nodes, pods, more) for nodes in range(1, 7) for pods in (0, 1, 7, 12) for more in ("", DUAL)]
LABS += [(3, pods, RACKS.replace("BACKEND", backend)) for pods in (0, 7) for backend in ("bgp", "ospf", "vxlan")]


@pytest.mark.parametrize(("nodes", "pods", "more"), LABS)
def test_no_text_leaves_its_box_and_no_box_lies_across_another(nodes: int, pods: int, more: str) -> None:
    root = ElementTree.fromstring(svg(pictured(manifest(nodes, pods, more) + OUTER)))
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    boxes = [_box(rect) for rect in root.iter(f"{SVG}rect")]
    for x, y, right, bottom in boxes:
        assert 0 <= x < right <= width and 0 <= y < bottom <= height
    for one, other in itertools.combinations(boxes, 2):
        assert _apart(one, other) or _within(one, other) or _within(other, one), (one, other)
    texts = [text for text in root.iter(f"{SVG}text") if text.get("font-size") is None]
    areas = [_area(text) for text in texts]
    for text, area in zip(texts, areas, strict=True):
        assert any(_within(area, box) for box in boxes), f"{text.text} stands on the background"
        crossed = [box for box in boxes if not (_apart(area, box) or _within(area, box))]
        assert not crossed, f"{text.text} crosses the edge of a box"
    for (one, a), (other, b) in itertools.combinations(zip(texts, areas, strict=True), 2):
        assert _apart(a, b), f"{one.text} lies on {other.text}"


Box = tuple[float, float, float, float]


def _box(rect: ElementTree.Element) -> Box:
    x, y, width, height = (float(rect.get(name, "0")) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def _area(text: ElementTree.Element) -> Box:
    """Where a text stands, in a monospaced font."""
    x, y, width = float(text.get("x", "0")), float(text.get("y", "0")), len(text.text or "") * CHAR
    left = x - width / 2 if text.get("text-anchor") == "middle" else x
    return left, y - SIZE * 0.8, left + width, y + SIZE * 0.2


def _apart(one: Box, other: Box) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def _within(inner: Box, outer: Box) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def test_links_are_lines_between_routers_and_nodes_that_pass_no_box() -> None:
    found = pictured(manifest(3, 2, RACKS.replace("BACKEND", "ospf")))
    root = ElementTree.fromstring(svg(found))
    boxes = [_box(rect) for rect in root.iter(f"{SVG}rect")][1:]  # the first is the paper
    ends = [tuple(float(line.get(name, "0")) for name in ("x1", "y1", "x2", "y2")) for line in root.iter(f"{SVG}line")]
    for x1, y1, x2, y2 in ends:
        points = [(x1 + (x2 - x1) * n / 50, y1 + (y2 - y1) * n / 50) for n in range(1, 50)]
        inside = [box for box in boxes for x, y in points if box[0] < x < box[2] and box[1] < y < box[3]]
        assert all(box[3] - box[1] > 150 or box[3] - box[1] < 30 for box in inside), "within a node, or none"
    said = [text.text for text in root.iter(f"{SVG}text")]
    assert {"leaf1", "spine", "rack1", "192.168.11.0/30", "cost 10, area 0", "up1 192.168.11.2"} <= {*said}
    assert 'stroke="#b91c1c"' not in svg(found)
    hurt = replace(found, links=tuple(replace(o, down=("leaf1",) if o.name == "up1" else ()) for o in found.links))
    assert svg(hurt).count('stroke="#b91c1c"') == 2, "from leaf1 to the link, and around the row that it is in"


def test_each_session_of_bgp_is_drawn_once() -> None:
    racks = pictured(manifest(3, 0, RACKS.replace("BACKEND", "bgp")))
    pairs = [(one.one, one.other) for one in racks.sessions]
    assert len({*map(frozenset, pairs)}) == len(pairs) == 9
    assert ("router", "leaf1") in pairs and ("node1", "node2") in pairs and ("node1", "node3") not in pairs
    assert [box.number for box in racks.routers] == [64513, 64514, 64515, 64516]
    assert 'node0eth0 -. "iBGP, AS 64512" .- node1eth0' in mermaid(racks)
    assert "other0 -- node0eth0 [style=dashed" in dot(racks) and 'stroke="#15803d"' in svg(racks)
    mesh = pictured(manifest(3, 0, "  network: {backend: bgp}"))
    assert len(mesh.sessions) == 6 and "iBGP sessions: every two nodes and the router" in svg(mesh)
    assert not pictured(manifest(3, 0, "  network: {backend: ospf}")).sessions


def test_more_pods_than_can_be_drawn_are_counted() -> None:
    text = svg(pictured(manifest(1, 40)))
    assert "and 4 more pods" in text
    assert text.count('fill="#ecfdf5"') == 36


def test_mermaid_and_dot_name_every_pod_and_lead_to_every_endpoint() -> None:
    found = pictured(manifest(3, 2) + OUTER)
    for text, arrow in ((mermaid(found), r"  (service\d+) --> (\w+)"), (dot(found), r"  (service\d+) -- (\w+) \[dir")):
        for node in found.nodes:
            assert all(pod.name in text for pod in node.pods)
        ends = re.findall(arrow, text)
        assert len(ends) == 3 + 3 + 1
        assert len(re.findall(r"^  node\dtunnel ", text, re.MULTILINE)) == 3, "one tunnel between every two of three"
        assert text.count("{") == text.count("}")


def test_graph_draws_manifests_without_a_lab(tmp_path: Path) -> None:
    source = tmp_path / "lab.yaml"
    source.write_text(manifest(2, 1))
    target = tmp_path / "lab.svg"
    drawn = CliRunner().invoke(app_of(), ["graph", "-f", str(source), "-o", str(target)])
    assert (drawn.exit_code, drawn.stdout) == (0, "")
    assert ElementTree.fromstring(target.read_text()).tag == f"{SVG}svg"
    assert CliRunner().invoke(app_of(), ["graph", "-f", str(source)]).stdout.startswith("flowchart TB\n")


def test_graph_refuses_other_kinds_of_pictures_and_places_it_cannot_write(tmp_path: Path) -> None:
    source = tmp_path / "lab.yaml"
    source.write_text(manifest(1, 0))
    for name in ("lab.png", "nowhere/lab.svg"):
        refused = CliRunner().invoke(app_of(), ["graph", "-f", str(source), "-o", str(tmp_path / name)])
        assert isinstance(refused.exception, InputError)
