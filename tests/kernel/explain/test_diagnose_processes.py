"""`diagnose` where daemon, kubelet or store are gone: it works without them, and says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from repository import SCENARIOS

from k8snetlab.explain import diagnosing
from k8snetlab.explain.desired import without_daemon
from k8snetlab.kernel import neighbours
from k8snetlab.messages.diagnose import Diagnosis, DiagnosisQuestion
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.serve import serve
from k8snetlab.testing import Lab, eventually, kill
from k8snetlab.testing.etcd import free_port


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("processes"))
    yield lab
    lab.run("down")


@pytest.fixture
def lab(shared: Lab) -> Lab:
    """A lab that is whole, whatever the test before has killed."""
    shared.run("up", str(SCENARIOS / "two-nodes"))
    eventually(shared.whole)
    return shared


def named(lab: Lab, *words: str) -> list[tuple[str, str]]:
    return [(f["kind"], f["fault"]) for f in lab.json("diagnose", *words, code=1)["findings"]]


def test_a_dead_daemon_is_said_and_does_not_hide_what_is_broken(lab: Lab) -> None:
    pids = lab.pids()
    lab.kill("daemon")
    answer = lab.json("diagnose", code=1)
    assert [(f["kind"], f["fault"]) for f in answer["findings"]] == [("daemon", "dead")]
    assert answer["findings"][0]["mend"].startswith("k8snetlab up ")
    assert answer["paths"]["walked"] and answer["paths"]["tried"]
    lab.shell("node1", "ip", "route", "del", "10.244.2.0/24")
    assert named(lab) == [("route", "missing"), ("daemon", "dead")]
    lab.shell("node1", "ip", "route", "add", "10.244.2.0/24", "via", "10.244.2.0", "dev", "flannel.1", "onlink")
    kill(pids["kubelet"])
    found = lab.json("diagnose", code=1)["findings"]
    assert [(f["kind"], f["fault"]) for f in found] == [("kubelet", "dead"), ("daemon", "dead")]
    assert found[0]["paths"], "nobody listens, and that is why"
    lab.run(*found[0]["mend"].split()[1:])
    assert lab.json("diagnose")["findings"] == []


def test_a_daemon_that_ends_in_order_leaves_its_pods_ready(lab: Lab) -> None:
    os.kill(lab.pids()["daemon"], signal.SIGTERM)
    eventually(lambda: named(lab) == [("daemon", "dead")])
    assert lab.json("diagnose", code=1)["paths"]["walked"], "the pods are ready, as the store says"


def test_a_halted_daemon_or_kubelet_is_named_as_halted(lab: Lab) -> None:
    pids = lab.pids()
    for role in ("daemon", "kubelet"):
        os.kill(pids[role], signal.SIGSTOP)
        try:
            assert named(lab)[0] == (role, "halted")
        finally:
            os.kill(pids[role], signal.SIGCONT)
        assert lab.json("diagnose")["findings"] == []


def test_a_store_whose_file_is_gone_is_named_with_a_daemon_and_without(lab: Lab) -> None:
    store = lab.run_directory / lab.name / "store.db"
    store.rename(store.with_suffix(".away"))
    assert named(lab) == [("store", "gone")]
    store.with_suffix(".away").rename(store)
    assert lab.json("diagnose")["findings"] == []
    lab.kill("daemon")
    store.rename(store.with_suffix(".away"))
    assert named(lab) == [("daemon", "dead"), ("store", "gone")]
    store.with_suffix(".away").rename(store)


def test_diagnose_without_a_daemon_leaves_nothing_in_the_way_of_a_new_one(lab: Lab) -> None:
    lab.kill("daemon")
    before = sorted(path.name for path in (lab.run_directory / lab.name).iterdir())
    assert named(lab) == [("daemon", "dead")]
    assert sorted(path.name for path in (lab.run_directory / lab.name).iterdir()) == before
    lab.run("up", str(SCENARIOS / "two-nodes"))
    assert lab.whole()


def test_a_neighbour_table_that_was_full_is_named_and_one_too_small_is_noted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is one for the whole machine: here it is only said to have been full."""
    monkeypatch.setenv("K8SNETLAB_RUN", lab.environment["K8SNETLAB_RUN"])
    paths = LabPaths(lab.name)

    def said(ago: float) -> Diagnosis:
        desired = msgspec.structs.replace(without_daemon(paths), daemon="runs", overflowed={"ipv4": ago})
        return diagnosing.diagnose(lambda: desired, paths, DiagnosisQuestion(), lambda *_: None)

    [finding] = said(3.0).findings
    assert (finding.kind, finding.fault) == ("neighbour", "full")
    assert f"takes {neighbours.limit('ipv4'):,} entries" in finding.message
    assert finding.mend.startswith("sysctl -w net.ipv4.neigh.default.gc_thresh1=")
    assert said(300.0).findings == ()
    monkeypatch.setattr(diagnosing, "limit", lambda _: 1)
    assert any("neighbours takes 1 entries, and the lab's pods" in note for note in said(300.0).notes)


@pytest.mark.etcd
def test_an_etcd_that_has_stopped_is_named_with_the_command_that_starts_it(tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    etcd = serve(tmp_path / "etcd", endpoint)
    lab = Lab(tmp_path)
    file = tmp_path / "lab.yaml"
    pods = (SCENARIOS / "two-nodes" / "pods.yaml").read_text()
    head = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\n"
    store = f'{{type: etcd, endpoints: ["{endpoint}"], insecure: true}}'
    file.write_text(f"{head}spec: {{nodes: 2, dns: {{enabled: false}}, store: {store}}}\n---\n{pods}")
    try:
        etcd.wait_ready()
        lab.run("up", str(file))
        assert lab.json("diagnose")["findings"] == []
        etcd.stop()
        eventually(lambda: not lab.json("status")["store"]["healthy"])
        found = lab.json("diagnose", code=1)["findings"]
        assert [(f["kind"], f["object"]) for f in found] == [("store", endpoint)]
        assert endpoint in found[0]["message"]
        assert found[0]["mend"] == f"k8snetlab store serve --listen {endpoint} --insecure"
        lab.run("pause", "node1", code=None)
        lab.kill("daemon")
        assert named(lab) == [("daemon", "dead"), ("store", "gone")]
    finally:
        etcd.stop()
        lab.run("down", code=None)
