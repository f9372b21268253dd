"""A real kubectl with Calico's own policies, beside the Kubernetes kind of the same name."""

from __future__ import annotations

from collections.abc import Iterator

import kubectl
import pytest
from kubectl import Kubectl

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)

POLICY = """
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: allow-web}
spec:
  order: 100
  selector: role == 'db'
  ingress: [{action: Allow, protocol: TCP, source: {selector: role == 'web'}, destination: {ports: [6379, "1:5"]}}]
"""
GLOBAL = """
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: deny}
spec: {selector: all(), types: [Ingress, Egress]}
"""
SETS = """
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: friends, labels: {who: friends}}
spec: {nets: [203.0.113.0/24]}
"""
KUBERNETES = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: allow-web}\nspec: {podSelector: {}}\n"
)
OLD = '{"spec": {"network": {"backend": "vxlan"}}}'


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with kubectl.against_face(tmp_path_factory.mktemp("kubectl")) as one:
        yield one


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_calicos_policies_are_made_shown_and_changed(k: Kubectl) -> None:
    refused = k.run("apply", "-f", "-", stdin=POLICY, code=1)
    assert "is enforced by Calico's network alone (spec.network.backend: calico), and this lab's is vxlan" in refused
    k.run("patch", "labs", "l", "--type=merge", "-p", '{"spec": {"network": {"backend": "calico"}}}')
    assert "networkpolicy.projectcalico.org/allow-web created" in k.run("apply", "-f", "-", stdin=POLICY)
    assert "globalnetworkpolicy.projectcalico.org/deny created" in k.run("apply", "-f", "-", stdin=GLOBAL)
    assert "networkpolicy.networking.k8s.io/allow-web created" in k.run("apply", "-f", "-", stdin=KUBERNETES)
    assert "globalnetworkset.projectcalico.org/friends created" in k.run("create", "-f", "-", stdin=SETS)
    title, row = words(k.run("get", "networkpolicies.p"))
    assert (title, row) == (["NAME", "TIER", "ORDER"], ["allow-web", "default", "100"])
    title, row = words(k.run("get", "gnp"))
    assert title == ["NAME", "TIER", "ORDER", "AGE"] and row[:2] == ["deny", "default"]
    assert k.run("get", "networkpolicies") == k.run("get", "networkpolicies.networking.k8s.io")
    title, row = words(k.run("get", "netpol"))
    assert title == ["NAME", "POD-SELECTOR", "AGE"] and row[0] == "allow-web"
    assert "unchanged" in k.run("apply", "-f", "-", stdin=POLICY)
    assert "configured" in k.run("apply", "-f", "-", stdin=POLICY.replace("100", "99.5"))
    assert (
        k.run("get", "caliconetworkpolicy", "allow-web", "-o", "jsonpath={.spec.order} {.spec.types}")
        == '99.5 ["Ingress"]'
    )
    said = k.run("describe", "networkpolicies.p", "allow-web")
    assert "API Version:  projectcalico.org/v3" in said and "Selector:      role == 'db'" in said
    assert "Allow and Deny are final" in " ".join(k.run("explain", "gnp.spec.ingress.action").split())


def test_what_calico_refuses_is_refused_with_its_field(k: Kubectl) -> None:
    k.run("patch", "labs", "l", "--type=merge", "-p", '{"spec": {"network": {"backend": "calico"}}}')
    bad = k.run("apply", "-f", "-", stdin=GLOBAL.replace("all()", "a = 'b'").replace("deny", "bad"), code=1)
    assert "spec.selector: Invalid value: \"a = 'b'\": expected ==" in bad
    assert "unknown field" in k.run("apply", "-f", "-", stdin=GLOBAL.replace("selector", "podSelector"), code=1)
    k.run("apply", "-f", "-", stdin=GLOBAL)
    kept = k.run("patch", "labs", "l", "--type=merge", "-p", OLD, code=1)
    assert "spec.network.backend: " in kept and "enforced by Calico's network alone" in kept and "delete" in kept
    k.run("delete", "gnp,networkpolicies.p,globalnetworksets", "--all")
    k.run("patch", "labs", "l", "--type=merge", "-p", OLD)
