"""What a diagnosis reads in objects: ignored kinds, named ports, endpoints written by hand, pods that do not run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Condition, LoadBalancerIngress, LoadBalancerStatus, Pod, Service
from k8snetlab.api.ignored import Ignored
from k8snetlab.api.load import load
from k8snetlab.api.selection import services_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose import emptiness, objects, pods
from k8snetlab.diagnose.emptiness import empty
from k8snetlab.diagnose.usual import usual_paths
from k8snetlab.testing import fake_cluster


def snapshot_of(text: str, ready: Callable[[Pod], bool] = lambda pod: True) -> Snapshot:
    return fake_cluster.FakeCluster(fake_cluster.LAB % 2 + text).settle().kubelet(ready).settle().snapshot


def said(snapshot: Snapshot) -> list[str]:
    return [f.message for f in (*objects.services(snapshot), *pods.pods(snapshot))]


# --- kinds that are ignored -------------------------------------------------------------------------------------------

TEMPLATE = "template: {metadata: {labels: {app: agent, tier: x}}, spec: {containers: [{name: c, image: i}]}}"
KINDS = {
    "CronJob": ("batch/v1", f"{{schedule: '* * * * *', jobTemplate: {{spec: {{{TEMPLATE}}}}}}}"),
    "DeploymentConfig": ("apps.openshift.io/v1", f"{{replicas: 2, {TEMPLATE}}}"),
    "Rollout": ("argoproj.io/v1alpha1", f"{{{TEMPLATE}}}"),
}
NEAR = """
---
{apiVersion: v1, kind: Pod, metadata: {name: other, labels: {app: agents, tier: x}},
 spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}}
"""


@pytest.mark.parametrize("kind", KINDS)
def test_pods_that_an_ignored_kind_would_make_are_said_to_be_its(kind: str) -> None:
    version, spec = KINDS[kind]
    maker = f"---\n{{apiVersion: {version}, kind: {kind}, metadata: {{name: shipper}}, spec: {spec}}}\n"
    service = fake_cluster.service("agent", ports="[{port: 80, targetPort: 8080}]")
    with_it, without = snapshot_of(maker + NEAR + service), snapshot_of(NEAR + service)
    assert [f.fault for f in objects.services(without)] == ["selector"], "else the near pod is meant"
    assert said(with_it) == []
    (note,) = objects.lonely(with_it)
    assert f"its pods would be those of {kind} shipper (f.yaml:" in note and "a kind that is ignored here" in note


def test_an_ignored_kind_of_another_namespace_or_with_other_labels_explains_nothing() -> None:
    version, spec = KINDS["Rollout"]
    for changed in ("namespace: other, name: shipper", "name: shipper"):
        labels = spec if "other" in changed else spec.replace("app: agent", "app: elsewhere")
        maker = f"---\n{{apiVersion: {version}, kind: Rollout, metadata: {{{changed}}}, spec: {labels}}}\n"
        snapshot = snapshot_of(maker + NEAR + fake_cluster.service("agent", ports="[{port: 80, targetPort: 8080}]"))
        assert [f.fault for f in objects.services(snapshot)] == ["selector"], changed


@pytest.mark.parametrize(
    "text",
    [
        "{apiVersion: a.io/v1, kind: Rollout, metadata: [], spec: 3}",
        "{apiVersion: a.io/v1, kind: Rollout, metadata: {name: [x]}, spec: {template: {metadata: {labels: {a: b}}}}}",
        "{apiVersion: a.io/v1, kind: Rollout, metadata: {name: x, namespace: 7}, spec: {template: {}}}",
        "{apiVersion: a.io/v1, kind: Rollout, metadata: {name: x}, spec: {template: [1]}}",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: b}}",
    ],
)
def test_what_is_no_proper_object_is_not_remembered(text: str) -> None:
    assert load([("f.yaml", text)], whole=False).ignored == ()


def test_a_record_has_a_name_that_any_store_takes() -> None:
    text = (
        '{apiVersion: a.io/v1, kind: "Job", metadata: {name: "../A b\\n"},'
        " spec: {template: {metadata: {labels: {a: 1}}}}}"
    )
    (record,) = load([("f.yaml", text)], whole=False).ignored
    assert (record.name, record.spec.podLabels) == ("job.default.a-b", {}), "labels are texts"
    assert load([("f.yaml", f"apiVersion: {Ignored.API_VERSION}\nkind: Ignored\nmetadata: {{name: x}}")]).objects == ()


# --- names of ports ---------------------------------------------------------------------------------------------------


def pod(name: str, ports: str, labels: str = "app: web") -> str:
    return (
        f"---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{{labels}}}}}, "
        f"spec: {{nodeName: node1, containers: [{{name: c, ports: {ports}}}]}}}}\n"
    )


def test_a_pod_without_the_named_port_gets_nothing() -> None:
    named = "[{port: 80, targetPort: http}]"
    both = pod("one", "[{name: http, containerPort: 80}]") + pod("two", "[{name: htpp, containerPort: 80}]")
    (message,) = said(snapshot_of(both + fake_cluster.service("web", ports=named)))
    assert message == (
        "Pod default/two is selected by Service default/web but gets nothing of port 80: it has no TCP port named http "
        "(names: htpp)"
    )
    udp = pod("one", "[{name: http, containerPort: 80}]") + pod(
        "two", "[{name: http, containerPort: 80, protocol: UDP}]"
    )
    (message,) = said(snapshot_of(udp + fake_cluster.service("web", ports=named)))
    assert "its port of that name is a UDP one" in message


@pytest.mark.parametrize(("own", "asked"), [("UDP", "TCP"), ("TCP", "UDP"), ("SCTP", "TCP")])
def test_a_named_port_of_another_protocol(own: str, asked: str) -> None:
    text = pod("dns", f"[{{name: dns, containerPort: 53, protocol: {own}}}]")
    ports = f"[{{port: 53, protocol: {asked}, targetPort: dns}}]"
    (found,) = objects.services(snapshot_of(text + fake_cluster.service("web", ports=ports)))
    assert f"sends {asked} port 53 to the port named dns, which is a {own} port of its pods" in found.message
    assert f"protocol: {own}" in found.mend


# --- endpoints that a person wrote ------------------------------------------------------------------------------------


def written(addresses: str, port: str = "{port: 80}", ready: str = "true") -> str:
    return (
        "---\n{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {ports: [{port: 80}]}}\n"
        "---\n{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, "
        "metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}, "
        f"ports: [{port}], endpoints: [{{addresses: [{addresses}], conditions: {{ready: {ready}}}}}]}}\n"
    )


def test_written_endpoints_are_walked_to() -> None:
    client = pod("client", "[]", "app: client")
    snapshot = snapshot_of(client + written("198.18.0.254"))
    paths = [p for p in usual_paths(snapshot, "ipv4") if p.service == "default/db"]
    assert paths and all(p.written == ("198.18.0.254:80",) for p in paths)
    one = objects.astray(snapshot, "default/db", "198.18.0.254:80", "no route", "client db:80")
    assert one and one.message == (
        "Service default/db has the endpoint 198.18.0.254:80, which does not answer: no route"
    )
    inside = snapshot_of(client + written("10.244.1.77"))
    one = objects.astray(inside, "default/db", "10.244.1.77:80", "nobody answers", "client db:80")
    assert one and one.fault == "stale" and one in [*objects.services(inside)], "it is one finding, not two"


def test_a_headless_name_that_leads_to_written_addresses_is_walked_to() -> None:
    text = pod("client", "[]", "app: client") + written("198.18.0.254").replace("spec: {", "spec: {clusterIP: None, ")
    (path,) = [p for p in usual_paths(snapshot_of(text), "ipv4") if p.service == "default/db"]
    assert (path.flow.dst, path.written, path.endpoints) == ("198.18.0.254", ("198.18.0.254:80",), ())


def test_written_endpoints_that_no_port_leads_to() -> None:
    (message,) = said(snapshot_of(written("198.18.0.254", "{name: sql, port: 80}")))
    assert message.endswith("its EndpointSlices have no TCP port without a name (ports: sql (TCP))")
    (message,) = said(snapshot_of(written("198.18.0.254", "{port: 80, protocol: UDP}")))
    assert "(ports: unnamed (UDP))" in message
    snapshot = snapshot_of(written("198.18.0.254", ready="false"))
    assert said(snapshot) == [] and "written as not ready" in next(objects.lonely(snapshot))
    alone = "---\n{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {ports: [{port: 80}]}}\n"
    (note,) = objects.lonely(snapshot_of(alone))
    assert "it has no selector, and nobody wrote endpoints for it" in note
    lost = written("198.18.0.254").partition("---\n{apiVersion: discovery")
    (note,) = objects.lonely(snapshot_of("---\n{apiVersion: discovery" + lost[2]))
    assert "is of Service default/db, which there is not" in note


def test_an_alias_of_a_service_that_is_not_there() -> None:
    alias = "---\n{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: ExternalName, externalName: %s}}\n"
    (message,) = said(snapshot_of(alias % "db.prod.svc.cluster.local"))
    assert message.endswith("stands for db.prod.svc.cluster.local, and there is no Service prod/db")
    assert said(snapshot_of(alias % "example.org")) == []


# --- pods -------------------------------------------------------------------------------------------------------------


def test_pods_that_are_not_ready_are_named_and_why() -> None:
    web = pod("web", "[{containerPort: 80}]")
    snapshot = snapshot_of(web + fake_cluster.service("web", ports="[{port: 80}]"), ready=lambda pod: False)
    (found,) = pods.pods(snapshot)
    assert found.message == "pod default/web: is Pending"
    assert "no endpoint of Service default/web" in found.consequence
    assert [*objects.services(snapshot)] == [], "the pod is the reason"
    picky = (
        "---\n{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeSelector: {a: b}, containers: [{name: c}]}}\n"
    )
    (found,) = pods.pods(snapshot_of(picky))
    assert (found.fault, found.object) == ("pending", "default/p")
    assert "is Pending: 0/2 nodes are available" in found.message


@pytest.mark.parametrize(("phase", "meant"), [("Succeeded", True), ("Failed", False)])
def test_pods_that_have_ended_behind_a_service(phase: str, meant: bool) -> None:
    snapshot = snapshot_of(pod("once", "[{containerPort: 80}]") + fake_cluster.service("web", ports="[{port: 80}]"))
    (once,) = snapshot.all(Pod).values()
    status = replace(once.status, phase=phase, conditions=(Condition(type="Ready", status="False"),))
    ended = fake_cluster.FakeCluster("")
    ended.snapshot = snapshot.changed([(Pod, once.key, replace(once, status=status))], snapshot.revision + 1)
    snapshot = ended.settle().snapshot
    (service,) = (s for s in snapshot.all(Service).values() if s.name == "web")
    reason = empty(snapshot, service, service.spec.ports[0])
    assert reason and reason.on_purpose == meant and f"its pods have ended: once ({phase})" in reason.why
    assert bool(said(snapshot)) != meant
    assert bool([*objects.lonely(snapshot)]) == meant


def test_written_endpoints_of_a_family_that_the_service_has_not() -> None:
    six = written('"fd00::9"').replace("addressType: IPv4", "addressType: IPv6")
    (message,) = said(snapshot_of(six))
    assert message.endswith(
        "its EndpointSlices hold IPv6 addresses, and its cluster IP is IPv4: kube-proxy uses none of them"
    )
    (message,) = said(snapshot_of(written("db.example").replace("addressType: IPv4", "addressType: FQDN")))
    assert "hold FQDN addresses" in message


def test_written_endpoints_that_are_nobodys() -> None:
    unlabelled = written("198.18.0.254").replace(", labels: {kubernetes.io/service-name: db}", "")
    snapshot = snapshot_of(unlabelled)
    (message,) = said(snapshot)
    assert message.endswith(
        "EndpointSlice default/db-1 is not its own: it lacks the label kubernetes.io/service-name: db"
    )
    assert any("is of no Service: it lacks the label" in note for note in objects.lonely(snapshot))
    subset = "subsets: [{addresses: [{ip: 198.18.0.254}], ports: [{port: 80}]}]"
    text = "---\n{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {ports: [{port: 80}]}}\n---\n"
    other = f"{{apiVersion: v1, kind: Endpoints, metadata: {{name: dbs}}, {subset}}}\n"
    notes = [*objects.lonely(snapshot_of(text + other))]
    assert len(notes) == 2 and "is of no Service, as there is none of its name" in notes[1]
    skipped = "metadata: {name: db, labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}}"
    (note,) = objects.lonely(snapshot_of(text + other.replace("metadata: {name: dbs}", skipped)))
    assert "no EndpointSlice is made of Endpoints default/db" in note


def test_many_pods_of_one_controller_with_one_trouble_are_one_finding() -> None:
    lab = fake_cluster.LAB % "[{name: a, podCIDR: 10.244.9.0/29}]"
    snapshot = fake_cluster.FakeCluster(lab + fake_cluster.deployment("many", 12)).run().snapshot
    (finding,) = pods.pods(snapshot)
    assert finding.message.startswith("pod default/many-")
    assert " and 6 more of ReplicaSet many-" in finding.message
    assert finding.message.endswith(": no free address in 10.244.9.0/29")


def test_a_load_balancer_without_an_address_is_closed_to_nobody() -> None:
    more = "type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/8]"
    text = pod("web", "[{containerPort: 80}]", "app: web") + fake_cluster.service("web", more)
    assert [*objects.closed(snapshot_of(text))] == []
    (service,) = (s for s in snapshot_of(text).all(Service).values())
    given = LoadBalancerStatus(ingress=(LoadBalancerIngress(ip="203.0.113.77"),))
    announced = replace(service, status=replace(service.status, loadBalancer=given))
    (told,) = objects.closed(snapshot_of(text).changed([(Service, service.key, announced)], 99))
    assert "closed to all but 10.0.0.0/8" in told.message


# --- large labs -------------------------------------------------------------------------------------------------------


def test_who_may_have_been_meant_is_compared_once_for_all_pods_of_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = "\n---\n{apiVersion: v1, kind: Pod, metadata: {name: web-%d, labels: {app: web, hash: x1}}, spec: {%s}}"
    container = "containers: [{name: c, ports: [{containerPort: 8080}]}]"
    pods_of_it = "".join(pod % (number, container) for number in range(120))
    lonely = "".join(fake_cluster.service(f"nobody-{number}") for number in range(7))
    snapshot, asked = snapshot_of(f"{pods_of_it}\n{fake_cluster.service('web')}{lonely}"), Counter[str]()

    def counted(pod: Pod, held: Snapshot) -> list[Service]:
        asked[pod.name] += 1
        return services_of(pod, held)

    monkeypatch.setattr(emptiness, "services_of", counted)
    assert (said(snapshot), len([*objects.lonely(snapshot)])) == ([], 7)
    assert 7 <= asked.total() <= 7 * 3, "one at each look at a Service without endpoints, not one for each pod"
