"""What policies say, resolved: peers, ports by name, and what is kept while nothing changes."""

from __future__ import annotations

from k8snetlab.api.core import Pod
from k8snetlab.api.load import load
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.policies.resolve import Resolver, resolved
from k8snetlab.policies.shapes import OPEN, NamedPort, PortRange

WORLD = """
kind: List
apiVersion: v1
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: red}}}
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: shop, labels: {app: web}}
  spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: old, namespace: shop, labels: {app: web}}
  spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: host, namespace: shop, labels: {app: web}}
  spec: {hostNetwork: true, containers: [{name: c}]}
- {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {containers: [{name: c}]}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: web, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
    - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}}]
      ports: [{port: http}, {port: 9000, endPort: 9009, protocol: UDP}]
"""


def _snapshot() -> Snapshot:
    return Snapshot.of(load([("world.yaml", WORLD)]).objects)


def test_a_named_port_is_each_selected_pods_own_number() -> None:
    found = resolved(_snapshot())
    policy = found.policies["shop", "web"]
    assert list(policy.selected) == [("shop", "old"), ("shop", "web")]
    assert policy.egress is None and policy.ingress is not None
    named, numbers = policy.ingress[0].ports or ()
    assert isinstance(named, NamedPort) and named.numbers == {("shop", "old"): (80,), ("shop", "web"): (8080,)}
    assert numbers == PortRange(("spec", "ingress", 0, "ports", 1), "UDP", 9000, 9009)
    applied = found.of(("shop", "old")).ingress
    assert applied is not None
    assert applied[0].rules[0].ports == (PortRange(("spec", "ingress", 0, "ports", 0), "TCP", 80, 80), numbers)
    assert list(applied[0].rules[0].pods) == [("default", "client")]


def test_pods_in_the_hosts_network_and_those_no_policy_selects_are_open() -> None:
    found = resolved(_snapshot())
    assert found.of(("shop", "host")) is OPEN
    assert found.of(("default", "client")) is OPEN


def test_only_what_a_changed_pod_is_in_is_made_anew() -> None:
    snapshot, resolver = _snapshot(), Resolver()
    first = resolver.update(snapshot)
    assert resolver.update(snapshot) is first
    client = snapshot.all(Pod)["default", "client"]
    later = snapshot.changed([(Pod, ("default", "other"), client)], 2).changed([(Pod, ("shop", "old"), None)], 3)
    second = resolver.update(later)
    assert list(second.policies["shop", "web"].selected) == [("shop", "web")]
    assert second.policies.keys() == resolved(later).policies.keys()
    assert (
        resolver.update(later.changed([(Pod, ("x", "y"), client)], 4)).policies["shop", "web"]
        is (second.policies["shop", "web"])
    )
