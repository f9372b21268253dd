"""Routes by BIRD: netlink's messages as they are read, and the configurations that are written by hand."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from benchmarks import arrivals, routes
from benchmarks.floors import birds
from k8snetlab.addons import routing
from k8snetlab.render.routing.speakers import wanted
from k8snetlab.testing.fake_cluster import FakeCluster


def message(kind: int, network: str, length: int) -> bytes:
    attribute = struct.pack("=HH4s", 8, arrivals.RTA_DST, bytes(map(int, network.split("."))))
    gateway = struct.pack("=HH4s", 8, 5, bytes((192, 168, 0, 2)))
    body = struct.pack("=8BI", 2, length, 0, 0, 254, 12, 0, 1, 0) + gateway + attribute
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def lab_of(nodes: int, network: routes.Network) -> FakeCluster:
    lab = {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "metadata": {"name": "lab"}}
    spec = {"dns": {"enabled": False}, **routes.spec(nodes, network)}
    return FakeCluster(json.dumps({**lab, "spec": spec})).run()


def timers(text: str) -> list[str]:
    """All that a configuration says of time, but for Calico's looks at the kernel's routes."""
    text = re.sub("protocol kernel .*", "", text)
    return re.findall(r"(?:connect|hold|keepalive|error|scan) (?:\w+ )?time [\d, ]+;", text)


def test_each_route_of_a_datagram_is_read() -> None:
    data = (
        message(arrivals.NEW, "10.244.2.0", 24) + message(arrivals.GONE, "10.244.3.64", 26) + message(20, "1.2.3.4", 8)
    )
    assert list(arrivals.routes(data)) == [(arrivals.NEW, "10.244.2.0/24"), (arrivals.GONE, "10.244.3.64/26")]


@pytest.mark.skipif(not shutil.which("bird", path="/usr/sbin:/usr/bin"), reason="bird is missing")
@pytest.mark.parametrize(("shape", "number", "sessions"), [("mesh", 2, 11), ("reflector", 1, 11), ("reflector", 2, 1)])
def test_bird_reads_what_is_written_by_hand(tmp_path: Path, shape: birds.Shape, number: int, sessions: int) -> None:
    file = tmp_path / "bird.conf"
    file.write_text(birds.configuration(number, 12, shape))
    done = subprocess.run(["/usr/sbin/bird", "-p", "-c", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = file.read_text()
    assert (
        text.count("neighbor") == sessions
        and "hold time 9;" in text
        and ("rr client" in text) is (sessions == 11 and shape != "mesh")
    )


@pytest.mark.parametrize("network", ["bgp", "mesh", "reflector"])
def test_the_labs_are_good_ones_and_have_the_networks_that_are_waited_for(network: routes.Network) -> None:
    world = lab_of(12, network)
    length = 24 if network == "bgp" else 26
    names = [f"node{number}" for number in range(1, 13)]
    for name, expected in birds.wanted(names, length).items():
        assert {route.dst for route in wanted(world.snapshot, name)} == expected


@pytest.mark.parametrize("nodes", [3, 12, 40])
@pytest.mark.parametrize("network", ["bgp", "mesh"])
def test_what_is_written_by_hand_waits_as_long_as_a_lab_does(network: routes.Network, nodes: int) -> None:
    (bird,) = routing.programs(lab_of(nodes, network).snapshot, "node2")
    by_hand = timers(birds.configuration(2, nodes, "mesh"))
    assert len(by_hand) == 6 and timers(bird.files["bird.conf"]) == by_hand
