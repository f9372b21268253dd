"""What `link` has set is named first, and packets that get lost are laid to it where it loses so much."""

from __future__ import annotations

import pytest

from k8snetlab.api.link_settings import LinkSetting, with_setting
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.shaping import parsed
from k8snetlab.diagnose import shaped
from k8snetlab.diagnose.finding import Finding
from k8snetlab.testing.fake_cluster import LAB, FakeCluster


def lab(words: str, down: bool = False) -> Snapshot:
    cluster = FakeCluster(LAB % 2).run()
    cluster.store(with_setting(cluster.snapshot.node("node2"), "eth0", LinkSetting(parsed(words), down)))
    return cluster.snapshot


def lost(path: str = "client web:80") -> Finding:
    return Finding(
        kind="path", fault="lost", node="node1", object=path, message=f"{path} gets lost", consequence="", show="",
        broken=(path,),
    )  # fmt: skip


@pytest.mark.parametrize("words", ["loss 100%", "loss 10%", "delay 1s"])
def test_lost_packets_are_laid_to_a_device_that_loses_or_holds_back_so_much(words: str) -> None:
    [found] = shaped.laid([lost(), lost("node1 web:80")], lab(words))
    assert (found.kind, found.node, found.mend) == ("qdisc", "node2", "k8snetlab link clear node2:eth0")
    assert found.broken == ("client web:80", "node1 web:80") and "client web:80 gets lost" in found.explains


@pytest.mark.parametrize("words", ["loss 1%", "delay 50ms", "rate 8kbit"])
def test_they_are_not_laid_to_one_that_hardly_can_be_the_reason(words: str) -> None:
    snapshot = lab(words)
    assert shaped.laid([lost()], snapshot) == [lost()] and len([*shaped.shaped(snapshot)]) == 1


def test_a_device_that_is_down_on_purpose_is_told_with_what_brings_it_up() -> None:
    down = Finding(
        kind="link", fault="down", node="node2", object="eth0", message="node2: eth0 is down", consequence="", show="",
        mend="ip link set eth0 up", device="eth0",
    )  # fmt: skip
    [found] = shaped.named([down], lab("", down=True))
    assert found.mend == "k8snetlab link up node2:eth0" and "`k8snetlab link down`" in found.message
    assert [*shaped.named([down], FakeCluster(LAB % 2).run().snapshot)] == [down]
