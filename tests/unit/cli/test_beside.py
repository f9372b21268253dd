"""Networks side by side: lines of a terminal of 80 columns, and a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from k8snetlab.cli import beside, compare, screen
from k8snetlab.workshop.comparing import BACKENDS, Compared, Comparison, UsedRoute

WAY = ("client:eth0", "node1:veth1", "node1:cni0", "node1:flannel.1", "node1:eth0", "router:node1", "web:eth0")
TUNNEL = Compared(
    backend="vxlan",
    fate="answered",
    seconds=1.0,
    way=WAY,
    carried=("node1:eth0", "router:node1"),
    encapsulation="VXLAN 1, UDP 8472",
    outer="192.168.0.21 → 192.168.0.22",
    mtu=1450,
    route="10.244.2.0/24 via 10.244.2.0 dev flannel.1",
    owner="flannel, for Node node2",
    routes=(UsedRoute("node1", "10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink", "flannel, for Node node2"),),
    rules=3,
    microseconds=154.2,
    megabits=15_400.0,
)
LACKING = Compared(backend="calico-ipip", problem="up: spec.network.ipPools[0].ipipMode needs <IP in IP>")
FOUND = Comparison("client", "web:80", (TUNNEL, LACKING))


def test_a_terminal_shows_them_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "columns", lambda err=False: 80)
    rows = [Compared(**{**{f: getattr(TUNNEL, f) for f in TUNNEL.__struct_fields__}, "backend": b}) for b in BACKENDS]
    text = compare.text(Comparison("client", "web:80", (*rows, LACKING)))
    assert max(map(len, text.splitlines())) <= 80
    titles, *table = [line.split() for line in text.split("\n\n")[1].splitlines()]
    assert titles == [*beside.TITLES] and len(table) == len(BACKENDS)
    assert table[0] == ["vxlan", "answered", "7", "VXLAN", "1450", "3", "154", "µs", "15.4", "Gb/s", "1.0", "s"]
    assert "vxlan: in VXLAN 1, UDP 8472, 192.168.0.21 → 192.168.0.22" in text
    assert "client:eth0 → node1:veth1,cni0,flannel.1,eth0 → router:node1 → web:eth0" in " ".join(text.split())
    assert "calico-ipip: up: spec.network.ipPools[0].ipipMode needs" in text


def test_a_picture_has_a_column_for_each_and_the_tunnel_in_it() -> None:
    root = ET.fromstring(beside.svg(FOUND))
    said = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"client → web:80", "vxlan", "calico-ipip", "flannel.1", "by flannel, for Node node2"} <= {*said}
    dashed = [line for line in root.iter("{http://www.w3.org/2000/svg}line") if line.get("stroke-dasharray")]
    assert len(dashed) == 2  # from node1 to the router, and on
    assert any("<IP in IP>" in (text or "") for text in said)


def test_where_nothing_could_be_had_there_is_a_picture_too() -> None:
    assert "no packet was sent" in beside.svg(Comparison("", "", (LACKING,)))
