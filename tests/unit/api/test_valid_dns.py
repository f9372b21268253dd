"""Which caches of nodes a Lab cannot have."""

from __future__ import annotations

import pytest

from k8snetlab.api.load import load
from k8snetlab.errors import ManifestError

LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {%s}\n"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("dns: {nodeLocal: true, enabled: false}", "is a cache before cluster DNS, and spec.dns.enabled is false"),
        ("machines: true, dns: {nodeLocal: true}", "would put rules without a chain of their own on real machines"),
        ("podCIDR: 'fd00:1::/56', serviceCIDR: 'fd00:2::/112', dns: {nodeLocal: true}", "spec.podCIDR is IPv6 first"),
        ("dns: {nodeLocal: true, upstream: ['192.0.2.53:5353']}", "resolv.conf, which names no port"),
    ],
)
def test_a_nodes_cache_that_cannot_be_is_refused(spec: str, why: str) -> None:
    with pytest.raises(ManifestError, match=r"f\.yaml:3: spec\.dns\.nodeLocal") as refused:
        load([("f.yaml", LAB % spec)])
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("zone", "why"), [("cluster.local", "is the cluster's domain"), ("db.example", "is a name of spec.dns.hosts")]
)
def test_a_stub_domain_that_is_somebody_elses_is_refused(zone: str, why: str) -> None:
    dns = f"dns: {{hosts: {{db.example: [192.0.2.7]}}, stubDomains: {{{zone}: [192.0.2.53]}}}}"
    with pytest.raises(ManifestError, match=why):
        load([("f.yaml", LAB % dns)])


def test_a_nodes_cache_that_can_be_is_not() -> None:
    load([("f.yaml", LAB % "nodes: 2, dns: {nodeLocal: true, upstream: [192.0.2.53]}")])
