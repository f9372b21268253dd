"""A lab with IPv6 is up when `up` says so: no address waits for duplicates, and the first packet arrives."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import backlog
import pytest
from repository import MANIFESTS

from k8snetlab.kernel import netns
from k8snetlab.testing import Lab

MANIFEST = (MANIFESTS / "dual.yaml").read_text().replace("VARIANT", "auto")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.run("down")


def asked(namespace: str, address: str, port: int) -> bytes:
    """The answer to one UDP packet, which is sent once; again only where the machine has lost packets meanwhile."""
    with netns.inside(namespace):
        end = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with end:
        end.settimeout(30)
        while True:
            before = backlog.lost()
            end.sendto(b"hello", (address, port))
            try:
                return end.recv(2000)
            except TimeoutError:
                if backlog.lost() == before:
                    raise


def tentative(lab: Lab) -> list[str]:
    shown = (["ip", "-n", name, "-6", "-o", "addr", "show", "tentative"] for name in lab.namespaces())
    return [line for one in shown for line in subprocess.run(one, capture_output=True, text=True).stdout.splitlines()]


def test_right_after_up_the_first_packet_of_either_family_arrives(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(MANIFEST)
    lab.run("up", str(file))
    waiting = tentative(lab)
    far = lab.json("get", "pod", "web2")["status"]["podIPs"]
    for address in (one["ip"] for one in far):
        assert b"hello" in asked(lab.netns("default", "client1"), address, 5353)
    for address in ("192.168.0.21", "fd00:1::21"):
        assert b"hello" in asked(lab.netns("outside"), address, 30011)
    assert not waiting


def test_a_new_pod_need_not_wait_either(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(MANIFEST)
    lab.run("up", str(file))
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: late}, spec: {nodeName: node1, containers: [{name: c}]}}"
    (tmp_path / "pod.yaml").write_text(pod)
    lab.run("apply", "-f", str(tmp_path / "pod.yaml"))
    assert not tentative(lab)
    address = lab.json("get", "pod", "web2")["status"]["podIPs"][1]["ip"]
    assert b"hello" in asked(lab.netns("default", "late"), address, 5353)
