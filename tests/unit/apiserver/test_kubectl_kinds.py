"""A real kubectl with the kinds beside pods and Services: made, shown, described and refused as by a real cluster."""

from __future__ import annotations

from collections.abc import Iterator

import kubectl
import pytest
from kubectl import Kubectl

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db}
spec:
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{ipBlock: {cidr: 172.17.0.0/16, except: [172.17.1.0/24]}}, {podSelector: {matchLabels: {role: web}}}]
    ports: [{port: 6379}]
"""
LEASE = """
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: turn}
spec: {holderIdentity: me, leaseDurationSeconds: 15, renewTime: "2026-01-01T00:00:00.000000Z"}
"""
CIDR = "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: more}\nspec: {cidrs: [10.77.0.0/24]}\n"
ADDRESS = """
apiVersion: networking.k8s.io/v1
kind: IPAddress
metadata: {name: 10.96.0.200}
spec: {parentRef: {resource: loadbalancers, group: example.com, name: mine}}
"""


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with kubectl.against_face(tmp_path_factory.mktemp("kubectl")) as one:
        yield one


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_an_ingress_is_made_and_described(k: Kubectl) -> None:
    k.run("create", "service", "clusterip", "web", "--tcp=80:80")
    made = k.try_("create", "ingress", "web", "--class=mine", "--rule=shop.example.com/*=web:80,tls=cert")
    assert made.returncode == 0 and "ingress.networking.k8s.io/web created" in made.stdout, made.stderr
    assert "Warning: Ingress web: it is stored, and opens no door" in made.stderr
    title, row = words(k.run("get", "ing"))
    assert title == ["NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE"]
    assert row[:3] == ["web", "mine", "shop.example.com"] and row[3:5] == ["80,", "443"]
    said = k.run("describe", "ingress", "web")
    assert "Ingress Class:    mine" in said and "cert terminates shop.example.com" in said and "web:80" in said
    status = '{"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}'
    k.run("patch", "ing", "web", "--subresource=status", "--type=merge", "-p", status)
    assert k.run("get", "ing", "web", "--no-headers").split()[3] == "192.0.2.7"
    assert k.json("get", "ing", "web")["metadata"]["generation"] == 1
    wrong = k.run("patch", "ing", "web", "--type=merge", "-p", '{"spec": {"rules": null}}', code=1)
    assert 'Ingress "web" is invalid: spec: Invalid value: "": either `defaultBackend` or `rules` must be' in wrong


def test_an_ingress_without_a_class_gets_the_default_one(k: Kubectl) -> None:
    k.run("create", "-f", "-", stdin="""
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: usual, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}
spec: {controller: example.com/controller}
""")  # fmt: skip
    k.run("create", "ingress", "plain", "--default-backend=web:80")
    assert k.run("get", "ing", "plain", "-o", "jsonpath={.spec.ingressClassName}") == "usual"
    title, row = words(k.run("get", "ingressclass"))
    assert title == ["NAME", "CONTROLLER", "PARAMETERS", "AGE"]
    assert row[:3] == ["usual", "example.com/controller", "<none>"]
    assert "Controller:   example.com/controller" in k.run("describe", "ingressclass", "usual")
    changed = k.run("patch", "ingressclass", "usual", "-p", '{"spec": {"controller": "b.io/c"}}', code=1)
    assert 'spec.controller: Invalid value: "b.io/c": field is immutable' in changed


def test_applied_and_described(k: Kubectl) -> None:
    done = k.try_("apply", "-f", "-", stdin=POLICY)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert words(k.run("get", "netpol"))[0] == ["NAME", "POD-SELECTOR", "AGE"]
    assert words(k.run("get", "netpol"))[1][:2] == ["db", "role=db"]
    said = k.run("describe", "netpol", "db")
    for line in ("To Port: 6379/TCP", "CIDR: 172.17.0.0/16", "Except: 172.17.1.0/24", "Policy Types: Ingress, Egress"):
        assert line in said
    wrong = k.run("apply", "-f", "-", stdin=POLICY.replace("172.17.1.0/24", "10.0.0.0/24"), code=1)
    field = "spec.ingress[0].from[0].ipBlock.except[0]"
    assert f'{field}: Invalid value: "10.0.0.0/24": must be a strict subset of `cidr`' in wrong


def test_a_lease_is_kept_and_each_node_has_one_that_is_renewed(k: Kubectl) -> None:
    k.run("apply", "-f", "-", stdin=LEASE)
    title, row = words(k.run("get", "lease"))
    assert title == ["NAME", "HOLDER", "AGE"] and row[:2] == ["turn", "me"]
    node = k.json("get", "lease", "node1", "-n", "kube-node-lease")
    assert node["spec"]["holderIdentity"] == "node1" and node["spec"]["leaseDurationSeconds"] == 40
    assert node["spec"]["renewTime"] >= node["metadata"]["creationTimestamp"][:-1]
    assert node["metadata"]["ownerReferences"][0]["kind"] == "Node"
    said = k.run("describe", "node", "node1")
    assert "HolderIdentity:  node1" in said and "RenewTime:       <unset>" not in said
    refused = k.run("delete", "lease", "node1", "-n", "kube-node-lease", code=1)
    assert "the lab itself keeps Lease node1" in refused
    k.run("label", "lease", "turn", "a=b")
    assert "is the lab's own" in k.run("annotate", "lease", "turn", "k8snetlab/renewed-every=1", code=1)
    own = LEASE.replace("name: turn", 'name: mine, annotations: {k8snetlab/renewed-every: "1"}')
    assert "is the lab's own" in k.run("create", "-f", "-", stdin=own, code=1)
    k.run("delete", "lease", "turn")


def test_the_service_network_and_its_addresses_are_objects(k: Kubectl) -> None:
    title, *rows = words(k.run("get", "servicecidr"))
    assert title == ["NAME", "CIDRS", "AGE"] and rows[0][:2] == ["kubernetes", "10.96.0.0/12"]
    assert k.run("get", "servicecidr", "kubernetes", "-o", "jsonpath={.status.conditions[0].type}") == "Ready"
    k.run("create", "service", "clusterip", "taken", "--clusterip=10.96.7.7", "--tcp=80:80")
    rows = words(k.run("get", "ipaddresses"))
    assert rows[0] == ["NAME", "PARENTREF", "AGE"]
    assert ["10.96.7.7", "services/default/taken"] in [row[:2] for row in rows]
    one = k.json("get", "ip", "10.96.7.7")
    assert one["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert one["spec"] == {"parentRef": {"resource": "services", "namespace": "default", "name": "taken"}}
    assert "Resource:   services" in k.run("describe", "ip", "10.96.7.7")
    assert "is Service default/taken's" in k.run("delete", "ip", "10.96.7.7", code=1)
    with k.begin("get", "ip", "10.96.7.7", "-w", "--no-headers", "--output-watch-events") as watch:
        assert watch.readline().split()[:2] == ["ADDED", "10.96.7.7"]
        k.run("delete", "service", "taken")
        assert watch.readline().split()[:2] == ["DELETED", "10.96.7.7"]
    assert "NotFound" in k.run("get", "ip", "10.96.7.7", code=1)


def test_an_address_that_somebody_reserves_is_given_to_no_service(k: Kubectl) -> None:
    k.run("create", "-f", "-", stdin=ADDRESS)
    assert words(k.run("get", "ip", "10.96.0.200"))[1][1] == "loadbalancers.example.com/mine"
    refused = k.run("create", "service", "clusterip", "greedy", "--clusterip=10.96.0.200", "--tcp=80:80", code=1)
    assert "10.96.0.200" in refused and "already allocated" in refused
    k.run("delete", "ip", "10.96.0.200")
    k.run("create", "service", "clusterip", "greedy", "--clusterip=10.96.0.200", "--tcp=80:80")
    k.run("delete", "service", "greedy")


def test_another_service_cidr_is_told_that_nothing_comes_of_it(k: Kubectl) -> None:
    k.run("create", "-f", "-", stdin=CIDR)
    k.run("wait", "servicecidr/more", "--for=jsonpath={.status.conditions[0].status}=False", "--timeout=20s")
    assert "10.77.0.0/24" in k.run("describe", "servicecidr", "more")
    changed = k.run(
        "patch", "servicecidr", "more", "--type=merge", "-p", '{"spec": {"cidrs": ["10.78.0.0/24"]}}', code=1
    )
    assert 'spec.cidrs[0]: Invalid value: "10.78.0.0/24": field is immutable' in changed
    outside = k.run("create", "service", "clusterip", "outside", "--clusterip=10.77.0.5", "--tcp=80:80", code=1)
    assert "10.77.0.5 is not in the lab's serviceCIDR" in outside
    k.run("create", "service", "clusterip", "usual", "--tcp=80:80")
    assert not k.json("get", "service", "usual")["spec"]["clusterIP"].startswith("10.77.")
    k.run("delete", "service", "usual")
    k.run("delete", "servicecidr", "more")


def test_priority_classes_are_there_and_are_made(k: Kubectl) -> None:
    rows = words(k.run("get", "pc"))
    assert rows[0] == ["NAME", "VALUE", "GLOBAL-DEFAULT", "AGE", "PREEMPTIONPOLICY"]
    assert {row[0]: row[1] for row in rows[1:]} == {
        "system-cluster-critical": "2000000000",
        "system-node-critical": "2000001000",
    }
    k.run("create", "priorityclass", "high", "--value=1000", "--description=mine", "--preemption-policy=Never")
    assert k.run("get", "pc", "high", "--no-headers").split()[:3] == ["high", "1000", "false"]
    assert "Value:             1000" in k.run("describe", "priorityclass", "high")
    assert "value: Forbidden: may not be changed" in k.run(
        "patch", "pc", "high", "--type=merge", "-p", '{"value": 7}', code=1
    )


EVENT = """
apiVersion: events.k8s.io/v1
kind: Event
metadata: {name: told.1, namespace: default}
eventTime: "2026-01-01T00:00:00.000000Z"
reportingController: example.com/me
reportingInstance: me-1
action: Looked
reason: Seen
type: Normal
note: it is there
regarding: {apiVersion: v1, kind: Service, name: kept, namespace: default}
series: {count: 2, lastObservedTime: "2026-01-01T00:00:01.000000Z"}
"""


def test_events_are_of_both_versions_and_told_of_their_objects(k: Kubectl) -> None:
    rows = [row for row in words(k.run("api-resources", "--no-headers")) if row[0] == "events"]
    assert sorted(row[2] for row in rows) == ["events.k8s.io/v1", "v1"] and {row[1] for row in rows} == {"ev"}
    done = k.try_("create", "-f", "-", stdin=EVENT)
    assert done.returncode == 0 and not done.stderr, done.stderr
    old = k.json("get", "events.v1.", "told.1")
    assert old["message"] == "it is there" and old["involvedObject"]["name"] == "kept" and old["action"] == "Looked"
    new = k.json("get", "events.v1.events.k8s.io", "told.1")
    assert new["apiVersion"] == "events.k8s.io/v1" and new["note"] == "it is there" and "message" not in new
    assert new["regarding"]["kind"] == "Service" and new["series"]["count"] == 2
    chosen = k.run("get", "events", "--field-selector", "involvedObject.kind=Service,involvedObject.name=kept")
    assert "it is there" in chosen and len(words(chosen)) == 2
    assert "it is there" in k.run("events", "--for", "service/kept")
    k.run("create", "service", "clusterip", "kept", "--tcp=80:80")
    assert "Seen" in k.run("events", "--types=Normal")
    wrong = EVENT.replace("name: told.1", "name: told.2").replace(
        "name: kept, namespace: default", "name: kept, namespace: x"
    )
    refused = k.run("create", "-f", "-", stdin=wrong, code=1)
    assert 'involvedObject.namespace: Invalid value: "x": does not match event.namespace' in refused
    k.run("delete", "service", "kept")
