"""Every scenario that ships is as it expects, and once damaged it is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from k8snetlab.testing import Lab, running

DAMAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "two-nodes": (("pause", "node1"), ("exec", "node1", "--", "ip", "link", "set", "flannel.1", "down")),
    "business-manager": (("scale", "deploy/data-product", "--replicas", "0"),),
    "flannel-on-miss": (
        ("pause", "node1"),
        ("exec", "node1", "--", "ip", "neigh", "flush", "dev", "flannel.1"),
    ),
    "ingress": (("scale", "deploy/business-manager", "--replicas", "0"),),
    "network-policy": (("delete", "networkpolicy", "allow-nginxclient"),),
    "outside-database": (("delete", "endpoints", "mysql"),),
    "calico": (("pause", "k8s-node-1"), ("exec", "k8s-node-1", "--", "ip", "link", "set", "eth0", "down")),
    "mysql-and-myweb": (("delete", "service", "mysql"),),
    "racks": (("link", "down", "leaf2"),),
    "ha": (("node", "stop", "control-plane3"),),
    "three-tiers": (("delete", "networkpolicy", "app", "-n", "shop"),),
}


@pytest.mark.parametrize("scenario", DAMAGES)
def test_a_scenario_is_as_it_expects_until_it_is_damaged(scenario: str) -> None:
    if scenario == "ha" and not (shutil.which("etcd") and shutil.which("haproxy")):
        pytest.skip("etcd and haproxy are wanted")
    with running(scenario) as lab:
        report = lab.check(scenario)
        assert report.ok, [one for one in report.checks if not one.ok]
        for words in DAMAGES[scenario]:
            lab.run(*words)
        found = json.loads(lab.run("scenario", "check", scenario, "-o", "json", code=1))
        wrong = [one for one in found["checks"] if not one["ok"]]
        assert wrong and all(one["why"] for one in wrong)


def test_a_new_scenario_works_as_it_is_written(tmp_path: Path) -> None:
    Lab(tmp_path).run("scenario", "new", str(tmp_path / "mine"), "--nodes", "1", "--pods", "3")
    with running(tmp_path / "mine") as lab:
        report = lab.check(tmp_path / "mine")
        assert report.ok, [one for one in report.checks if not one.ok]
