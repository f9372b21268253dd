"""What `doctor` tries in the kernel: all rules at once, and where one is refused each by itself."""

from __future__ import annotations

import os

import pytest

from k8snetlab.kernel import features, netns

pytestmark = pytest.mark.root


def test_a_rule_that_the_kernel_refuses_is_the_only_one_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"k8snetlab-doctor-{os.getpid()}-"
    all_there = {feature.name for feature in features.probe() if feature.present}
    rules = {**features._RULES, "unheard-of": ("-m mark --mark 1 -j K8SNETLAB-NO-SUCH-CHAIN", "nothing")}
    monkeypatch.setattr(features, "_RULES", rules)
    found = {feature.name: feature.present for feature in features.probe()}
    variants = [name for name in ("iptables-nft", "iptables-legacy") if found[name]]
    assert variants
    assert not any(found[f"{variant}: unheard-of"] for variant in variants)
    assert {name for name, present in found.items() if present} == all_there
    assert not [name for name in netns.names() if name.startswith(own)]
