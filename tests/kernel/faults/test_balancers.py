"""Faults of load balancers: in a lab whose nodes announce addresses, and in one with a cloud's balancer."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.client.client import Client
from k8snetlab.faults.catalogue import FAULTS
from k8snetlab.messages.diagnose import DIAGNOSE, DiagnosisDone, DiagnosisQuestion
from k8snetlab.messages.faults import CLEAR, INJECT, InjectQuestion
from k8snetlab.messages.probe import PROBE, ProbeQuestion
from k8snetlab.messages.verb import Nothing
from k8snetlab.testing import Lab, eventually

HERE = Path(__file__).parent
POOLS = {"bgp": "pool: [198.51.100.0/28]"}
"""Where it is not of the nodes' own network."""
OF_MODE = {
    "l2": ("vip-answered-twice", "vip-not-in-pool"),
    "bgp": ("vip-session-dropped",),
    "cloud": ("source-ranges-narrow", "health-check-dropped"),
}
LOOKS = 40
"""Probes, a tenth of a second apart, by which a fault is to be seen: a health check is dropped twice first."""
LOCAL = """
---
apiVersion: v1
kind: Service
metadata: {name: outer}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: far}
  ports: [{port: 80, targetPort: http}]
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Path]]:
    directory = tmp_path_factory.mktemp("balanced")
    lab = Lab(directory)
    yield lab, directory / "lab.yaml"
    lab.run("down", code=None)


def answered(client: Client, probe: str) -> bool:
    *_, target = probe.split()
    address, _, port = target.rpartition(":")
    return client.call(PROBE, ProbeQuestion("outside", address, int(port), ("TCP",))).results[0].answeredBy == "far"


def seen(lab: Lab, name: str, node: str) -> str:
    """Injects a fault until it is seen, and returns by which probe. For five seconds after a takeover a speaker
    announces its address unasked, and a second one that answers is not heard."""
    probes: list[str] = []

    def hurts() -> bool:
        (fault,) = lab.client.call(INJECT, InjectQuestion(name, node, "")).faults
        probes.append(fault.probe)
        for _ in range(LOOKS):
            if not answered(lab.client, fault.probe):
                return True
            time.sleep(0.1)
        lab.client.call(CLEAR, Nothing())
        return False

    eventually(hurts)
    return probes[-1]


def first(client: Client) -> tuple[str, str, str]:
    """What `diagnose` says first: kind, fault, object."""
    *_, done = client.stream(DIAGNOSE, DiagnosisQuestion())
    assert isinstance(done, DiagnosisDone)
    found = next(iter((*done.findings, *done.closed)), None)
    assert found is not None, "nothing is wrong"
    return found.kind, found.fault, found.object


@pytest.mark.parametrize("mode", OF_MODE)
def test_faults_of_load_balancers_are_seen_named_and_cleared(places: tuple[Lab, Path], mode: str) -> None:
    if mode == "cloud" and not shutil.which("haproxy"):
        pytest.skip("haproxy is missing")
    lab, file = places
    balancer = f"loadBalancer: {{mode: {mode}, {POOLS.get(mode, 'pool: [192.168.0.200-192.168.0.209]')}}}"
    file.write_text((HERE / "faulty.yaml").read_text().replace("  nodes: 2", f"  nodes: 2\n  {balancer}") + LOCAL)
    lab.run("up", str(file))
    for name in OF_MODE[mode]:
        node = "node2" if name in ("health-check-dropped", "vip-session-dropped") else "node1"
        probe = seen(lab, name, node)
        said = FAULTS[name].said
        found = first(lab.client)
        assert found[:2] == (said.kind, said.fault) and (said.kind == "rule" or found[2] == "default/outer"), name
        cleared = lab.client.call(CLEAR, Nothing())
        assert [one.name for one in cleared.faults] == [name] and cleared.notes == ()
        eventually(lambda probe=probe: answered(lab.client, probe))  # type: ignore[misc]
