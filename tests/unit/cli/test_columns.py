"""`get` prints as kubectl's printers do."""

from __future__ import annotations

from typing import Any

import pytest

from k8snetlab.api.ages import duration
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.cli.ages import now
from k8snetlab.cli.columns import columns_of
from k8snetlab.cli.views import objects


def row(kind: str, wide: bool = False, **fields: Any) -> dict[str, str]:
    """The cells of an object by their columns' titles."""
    import msgspec

    resource = BY_KIND[kind]
    obj = msgspec.convert({"metadata": {"name": "x"}, **fields}, resource.type)
    return {column.title: str(column.of(obj, now())) for column in columns_of(resource, wide)}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (10860, "3h1m"),
        (8 * 3600, "8h"),
        (48 * 3600 - 1, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (731 * 86400, "2y1d"),
        (3000 * 86400, "8y"),
    ],
)
def test_ages_are_kubectls(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_endpoint_slices_are_printed_as_kubectl_prints_them() -> None:
    shown = row("EndpointSlice", endpoints=[], ports=[])
    assert (shown["PORTS"], shown["ENDPOINTS"]) == ("<unset>", "<unset>")
    ports = [{"port": 1}, {"name": "dns"}, {"name": ""}, {"port": 4}]
    endpoints = [{"addresses": ["a"]}, {"addresses": ["b", "c"]}, {"addresses": ["d"]}, {"addresses": ["e"]}]
    shown = row("EndpointSlice", endpoints=endpoints, ports=ports)
    assert (shown["PORTS"], shown["ENDPOINTS"]) == ("1,dns, + 1 more...", "a,b,c + 2 more...")
    assert "web" in objects(BY_KIND["EndpointSlice"], [{"metadata": {"name": "web"}, "endpoints": None, "ports": None}])


def test_endpoints_are_printed_as_kubectl_prints_them() -> None:
    assert row("Endpoints")["ENDPOINTS"] == "<none>"
    waiting = [{"notReadyAddresses": [{"ip": "1.1.1.1"}], "ports": [{"port": 1}]}]
    assert row("Endpoints", subsets=waiting)["ENDPOINTS"] == ""
    bare = [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "fd00::1"}]}]
    assert row("Endpoints", subsets=bare)["ENDPOINTS"] == "1.1.1.1,fd00::1"
    many = [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]}]
    assert row("Endpoints", subsets=many)["ENDPOINTS"] == "1.1.1.1:80,[fd00::1]:80,1.1.1.1:81 + 1 more..."


def test_services_are_printed_as_kubectl_prints_them() -> None:
    def external(wide: bool = False, ingress: Any = (), **spec: Any) -> str:
        status = {"loadBalancer": {"ingress": [*ingress]}}
        return row("Service", wide, spec=spec, status=status)["EXTERNAL-IP"]

    assert external() == "<none>"
    assert external(type="NodePort", externalIPs=["2.2.2.2", "1.1.1.1"]) == "2.2.2.2,1.1.1.1"
    assert external(type="ExternalName", externalName="example.com") == "example.com"
    assert external(type="LoadBalancer") == "<pending>"
    assert external(type="LoadBalancer", externalIPs=["1.1.1.1"]) == "1.1.1.1"
    two = [{"ip": "203.0.113.9"}, {"hostname": "a.example.com"}]
    assert external(ingress=two, type="LoadBalancer") == "203.0.113.9,a..."
    assert external(True, two, type="LoadBalancer", externalIPs=["1.1.1.1"]) == "203.0.113.9,a.example.com,1.1.1.1"
    shown = row("Service", wide=True, spec={"clusterIP": "None", "selector": {"b": "1", "a": "2"}})
    assert (shown["CLUSTER-IP"], shown["PORT(S)"], shown["SELECTOR"]) == ("None", "<none>", "a=2,b=1")
    ports = [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]
    assert row("Service", spec={"ports": ports})["PORT(S)"] == "80:30080/TCP,53/UDP"


def test_nodes_are_printed_as_kubectl_prints_them() -> None:
    assert list(row("Node"))[:5] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    info = {"kubeletVersion": "v1.36.0", "kernelVersion": "6.1"}
    conditions = [{"type": "Ready", "status": "Unknown"}]
    status = {"nodeInfo": info, "conditions": conditions}
    labels = {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}
    shown = row("Node", True, metadata={"name": "n", "labels": labels}, spec={"unschedulable": True}, status=status)
    assert (shown["STATUS"], shown["ROLES"]) == ("NotReady,SchedulingDisabled", "control-plane,worker")
    assert (shown["VERSION"], shown["KERNEL-VERSION"], shown["OS-IMAGE"]) == ("v1.36.0", "6.1", "<unknown>")
    assert (shown["INTERNAL-IP"], shown["EXTERNAL-IP"]) == ("<none>", "<none>")
    assert row("Node")["STATUS"] == "Unknown"


def test_workloads_are_printed_as_kubectl_prints_them() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "nginx:1"}, {"name": "b", "image": "redis"}]}}
    selector = {
        "matchLabels": {"b": "1"},
        "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["y", "x"]},
            {"key": "c", "operator": "Exists"},
            {"key": "d", "operator": "DoesNotExist"},
        ],
    }
    spec = {"replicas": 3, "template": template, "selector": selector}
    shown = row("Deployment", True, spec=spec, status={"readyReplicas": 1})
    assert list(shown)[:8] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert (shown["READY"], shown["CONTAINERS"], shown["IMAGES"]) == ("1/3", "a,b", "nginx:1,redis")
    assert shown["SELECTOR"] == "a in (x,y),b=1,c,!d"
    assert list(row("ReplicaSet", True)) == [
        "NAME",
        "DESIRED",
        "CURRENT",
        "READY",
        "AGE",
        "CONTAINERS",
        "IMAGES",
        "SELECTOR",
    ]


def test_events_and_namespaces_are_printed_as_kubectl_prints_them() -> None:
    about = {"kind": "Pod", "name": "a"}
    shown = row("Event", True, involvedObject=about, eventTime="2020-01-01T00:00:00Z", source={"component": "kubelet"})
    assert (shown["OBJECT"], shown["COUNT"], shown["SOURCE"]) == ("pod/a", "1", "kubelet")
    assert shown["LAST SEEN"] == shown["FIRST SEEN"] != "<unknown>"
    assert row("Event")["LAST SEEN"] == "<unknown>"
    assert row("Namespace")["STATUS"] == "Active"
    assert (
        row("Namespace", metadata={"name": "n", "deletionTimestamp": "2020-01-01T00:00:00Z"})["STATUS"] == "Terminating"
    )
