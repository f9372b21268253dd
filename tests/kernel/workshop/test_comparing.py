"""compare: one scenario under several networks, with real packets, and nothing left of any."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from k8snetlab.kernel import features, netns
from k8snetlab.testing import Lab, eventually

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("bird"), reason="bird is missing")]


def test_networks_differ_in_what_is_around_the_packet_and_in_who_made_the_route(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    code = 0 if features.has_ipip() else 1
    found = lab.json("compare", "two-nodes", "--backends", "vxlan,calico-ipip,bgp,calico-bgp", code=code)
    by = {one["backend"]: one for one in found["results"]}
    assert (found["source"], found["target"]) == ("client", "web:8080")
    assert {name: one["fate"] for name, one in by.items()} == {
        "vxlan": "answered",
        "calico-ipip": "answered" if features.has_ipip() else "",
        "bgp": "answered",
        "calico-bgp": "answered",
    }
    if code:
        assert "ipPools[0].ipipMode needs IP in IP, and this kernel has no module ipip" in by["calico-ipip"]["problem"]
    assert by["vxlan"]["outer"] == "192.168.0.21 → 192.168.0.22" and by["bgp"]["outer"] == ""
    assert (by["vxlan"]["mtu"], by["bgp"]["mtu"]) == (1450, 1500)
    assert by["vxlan"]["encapsulation"] == "VXLAN 1, UDP 8472" and by["bgp"]["encapsulation"] == ""
    assert "router:node1" in by["vxlan"]["carried"] and not {*by["bgp"]["carried"]}
    assert all(one["megabits"] > 1 and one["milliseconds"] for one in by.values() if not one["problem"])
    (leaving, *_) = [one for one in by["vxlan"]["routes"] if one["place"] == "node1"]
    assert (leaving["entry"], leaving["owner"]) == (by["vxlan"]["route"], "flannel, for Node node2")
    assert "node1:flannel.1" in by["vxlan"]["way"] and len(by["bgp"]["way"]) == len(by["vxlan"]["way"]) - 2
    assert by["calico-bgp"]["route"].endswith("/26 via 192.168.0.22 dev eth0 proto bird")
    assert not any("cni0" in device for device in by["calico-bgp"]["way"])
    assert "proto bird" in by["bgp"]["route"] and by["bgp"]["owner"].startswith("BIRD, by BGP")
    assert not [one for one in lab.run_directory.glob("*") if one.name.startswith("compare-")]


def test_a_comparison_that_is_ended_takes_its_lab_along(tmp_path: Path) -> None:
    lab = Lab(tmp_path)

    def labs() -> list[str]:
        return [one.name for one in lab.run_directory.glob("compare-*")]

    with lab.start("compare", "two-nodes", "--backends", "vxlan,bgp") as process:
        eventually(lambda: any(name.startswith(one) for one in labs() for name in netns.names()))
        (own,) = labs()
        process.terminate()
        said = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert labs() == [] and not [name for name in netns.names() if name.startswith(own)]
