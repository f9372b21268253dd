"""Objects that no API server let through, found in the store: each is named by its field."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.stored import problem_of

Json = dict[str, Any]


def obj(kind: str, name: str = "web", namespace: str = "default", **fields: Any) -> Any:
    resource = BY_KIND[kind]
    metadata = {"name": name, **fields.pop("metadata", {})}
    if resource.type.namespaced:
        metadata["namespace"] = namespace
    return msgspec.convert({"metadata": metadata, **fields}, resource.type)


def pod(container: Json | None = None, **spec: Any) -> Any:
    return obj("Pod", spec={"containers": [{"name": "c", **(container or {})}], **spec})


GOOD = [
    obj("Namespace", "default"),
    obj("Node", "ip-10-0-11-22.ec2.internal", spec={"podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]}),
    pod({"command": ["sh", "-c", "echo 'x\n\"'"], "env": [{"name": "A.b-C", "value": "='"}]}, nodeName="node.1"),
    obj("Pod", metadata={"annotations": {"a/b": "any\ntext\0"}}, status={"podIPs": [{"ip": "fd00::1"}]}),
    obj("Service", spec={"clusterIP": "None", "ports": [{"port": 80, "name": "http", "targetPort": "web"}]}),
    obj("Service", spec={"type": "ExternalName", "externalName": "Example.com."}),
    obj("EndpointSlice", addressType="FQDN", endpoints=[{"addresses": ["example.com"]}]),
    obj("Lab", spec={"podCIDR": "10.244.0.0/16,fd00:244::/56", "nodes": [{"name": "a.b"}]}),
    obj("Lab", spec={"underlay": {"outside": ""}}),
    obj("KubeProxyConfiguration", nodePortAddresses=["primary"], clusterCIDR="10.244.0.0/16"),
]
BAD = {
    "a path as name": obj("Pod", "../../etc/passwd"),
    "a path as namespace": obj("Pod", namespace="../x"),
    "a path as uid": obj("Pod", metadata={"uid": "../../../../home"}),
    "a NUL in a uid": obj("Pod", metadata={"uid": "a\0b"}),
    "a uid that no file can be called": obj("Pod", metadata={"uid": "a" * 300}),
    "a line as name": obj("Service", "a\n-A INPUT -j DROP"),
    "a quote as name": obj("Service", 'a" -j ACCEPT'),
    "no name": obj("Pod", ""),
    "a label with an escape character": obj("Pod", metadata={"labels": {"a": "\x1b[2J"}}),
    "a container's path": pod({"name": "../../x"}),
    "NUL in a command": pod({"command": ["a\0b"]}),
    "NUL in an environment": pod({"env": [{"name": "A", "value": "\0"}]}),
    "an environment's name with =": pod({"env": [{"name": "A=B"}]}),
    "a node's path": pod(nodeName="../router"),
    "a host name": pod(hostname="a b"),
    "a host port": pod({"ports": [{"containerPort": 1, "hostPort": 70000}]}),
    "a host address": pod({"ports": [{"containerPort": 1, "hostIP": "-j"}]}),
    "a pod's address": obj("Pod", status={"podIPs": [{"ip": "10.0.0.1 dev x"}]}),
    "a template": obj("Deployment", spec={"template": {"spec": {"containers": [{"name": "/"}]}}, "selector": {}}),
    "a cluster IP": obj("Service", spec={"clusterIP": "10.0.0.0/8", "ports": []}),
    "a port's name": obj("Service", spec={"ports": [{"port": 1, "name": 'a" --to'}]}),
    "a target port": obj("Service", spec={"ports": [{"port": 1, "targetPort": "\n"}]}),
    "a node port": obj("Service", spec={"ports": [{"port": 1, "nodePort": -1}]}),
    "a source range": obj("Service", spec={"loadBalancerSourceRanges": ["x"]}),
    "an external address": obj("Service", spec={"externalIPs": ["fe80::1%eth0"]}),
    "an endpoint": obj("Endpoints", subsets=[{"addresses": [{"ip": "x"}]}]),
    "an endpoint of a slice": obj("EndpointSlice", endpoints=[{"addresses": ["1.2.3"]}]),
    "an endpoint behind good ones": obj(
        "EndpointSlice", endpoints=[{"addresses": [ip]} for ip in ("10.0.0.1", "::1", "-j")]
    ),
    "an endpoint's second address": obj("EndpointSlice", endpoints=[{"addresses": ["10.0.0.1", "10.0.0.1\0"]}]),
    "a zone of an endpoint": obj("EndpointSlice", addressType="IPv6", endpoints=[{"addresses": ["fe80::1%eth0"]}]),
    "a slice's node": obj("EndpointSlice", endpoints=[{"addresses": ["10.0.0.1"], "nodeName": "../router"}]),
    "a slice's node, behind a good one": obj(
        "EndpointSlice", endpoints=[{"addresses": ["10.0.0.1"], "nodeName": name} for name in ("node1", "a\nb")]
    ),
    "a slice's Service": obj("EndpointSlice", metadata={"labels": {"kubernetes.io/service-name": "../x"}}),
    "a slice's port": obj("EndpointSlice", ports=[{"name": "A b"}]),
    "a node's subnet": obj("Node", spec={"podCIDR": "10.0.0.0/33"}),
    "a lab's network": obj("Lab", spec={"podCIDR": "10.0.0.0/16,x"}),
    "a bridge": obj("KubeProxyConfiguration", detectLocal={"bridgeInterface": "a/../b"}),
}


@pytest.mark.parametrize("good", GOOD)
def test_what_an_api_server_takes_is_taken(good: Any) -> None:
    assert problem_of(good) == ""


@pytest.mark.parametrize("what", BAD)
def test_what_no_api_server_takes_is_named(what: str) -> None:
    problem = problem_of(BAD[what])
    assert problem and problem.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "",
        " 10.0.0.1",
        "10.0.0.1 ",
        "10.0.0.1\n",
    ]
    + [
        "10.0.0.1\0",
        "10.0.0",
        "10.0.0.256",
        "010.0.0.1",
        "0x7f.0.0.1",
        "10.0.0.1%eth0",
        "fe80::1%eth0",
        "fe80::1%",
        "\u0661.0.0.1",
    ],
)
def test_an_address_is_what_the_library_takes_and_has_no_zone(text: str) -> None:
    try:
        right = bool(ip_address(text)) and "%" not in text
    except ValueError:
        right = False
    assert (problem_of(obj("EndpointSlice", endpoints=[{"addresses": [text]}])) == "") is right
    assert (problem_of(obj("Pod", status={"podIPs": [{"ip": text}]})) == "") is right
