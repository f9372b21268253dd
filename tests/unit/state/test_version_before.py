"""What a lab of the version before has left behind is read by this one: `version_before/` is what commit ca04872 wrote.

Its files must not be written anew: labs run that have just these. A later version adds its own beside them.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest

from k8snetlab.agent.additions import (
    AddedAddresses,
    AddedCounters,
    AddedDevice,
    AddedFile,
    AddedRoute,
    AddedRules,
    ChangedSysctl,
)
from k8snetlab.api.core import ContainerStatus
from k8snetlab.api.lab import StoreSpec
from k8snetlab.api.workload import KubeletResponse
from k8snetlab.state import machine
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.machine import Machine
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.store_spec import read_spec
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer

LEFT = Path(__file__).parent / "version_before"


def test_its_ledger_is_read_to_the_last_line(tmp_path: Path) -> None:
    shutil.copy(LEFT / "ledger", tmp_path / "ledger")
    ledger = Ledger(tmp_path / "ledger")
    assert {one.name: (one.uid, one.node) for one in ledger.namespaces.values()} == {
        "docsold.node1": ("eef211e1-cd6f-50f0-9e87-f9742ae1b798", "node1"),
        "docsold.router": ("", "router"),
    }
    assert [(one.role, one.process.pid) for one in ledger.processes] == [("daemon", 6577), ("kubelet", 6588)]
    assert ledger.made_netns_directory and ledger.loaded_bridge_filter
    assert ledger.cgroup == "/sys/fs/cgroup/unified/k8snetlab/docsold/40890c57"
    assert ledger.additions == [
        ChangedSysctl("net.ipv4.ip_forward", "0", "1", {"net.ipv4.conf.all.accept_redirects": "1"}),
        AddedDevice("flannel.1"),
        AddedRoute("10.244.2.0/24", "eth1"),
        AddedRules("nft", (("ipv4", "filter"),), ((("ipv4", "nat"), "POSTROUTING"),)),
        AddedCounters(("ct_state_invalid_dropped_pkts",)),
        AddedAddresses(("10.244.0.0/16", "10.96.0.0/12")),
        AddedFile("/run/flannel/subnet.env", ("/run/flannel",)),
    ]


def test_its_machine_and_the_place_of_its_store_are_read() -> None:
    paths = LabPaths("docsold")
    paths.machine, paths.store_spec = LEFT / "machine.json", LEFT / "store.json"
    assert machine.read(paths) == Machine("node1", "eth1", ("192.168.56.11",), "vm1", "192.168.56.0/24")
    assert read_spec(paths) == StoreSpec()


@pytest.mark.anyio
async def test_every_object_of_its_store_is_taken_into_the_snapshot(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.executescript((LEFT / "store.sql").read_text())
    store = EmbeddedStore(file)
    informer = Informer(store)
    snapshot = await informer.start()
    assert not informer.problems
    assert {(kind.KIND, name) for kind, objects in snapshot.objects.items() for _, name in objects} == {
        ("EndpointSlice", "a-zdm5b"),
        ("Endpoints", "a"),
        ("Lab", "docsold"),
        *(("Namespace", name) for name in ("default", "kube-node-lease", "kube-public", "kube-system")),
        *(("Node", name) for name in ("node1", "node2")),
        *(("Pod", name) for name in ("a", "b")),
        ("Service", "a"),
        ("IPAddress", "10.107.15.134"),  # follows from the Service: no store has it
    }
    assert snapshot.revision == 25
    await informer.close()
    await store.close()


def test_what_its_kubelet_says_is_understood() -> None:
    answer = msgspec.json.decode((LEFT / "kubelet.jsonl").read_bytes(), type=KubeletResponse)
    assert len(answer.states) == 2 and all(state.ready for state in answer.states)


def test_the_statuses_beside_its_logs_are_read() -> None:
    (status,) = msgspec.json.decode((LEFT / "statuses.json").read_bytes(), type=tuple[ContainerStatus, ...])
    assert status.ready and status.state.running
