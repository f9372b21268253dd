"""Every kind of Service in a running lab: real packets go where the tracer says, with both variants of iptables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from labs import Lab
from live import Live, Responder, Target

pytestmark = pytest.mark.root

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  proxy: {iptables: VARIANT, layout: LAYOUT}
  nodes:
  - {name: node1, labels: {topology.kubernetes.io/zone: a}}
  - {name: node2, labels: {topology.kubernetes.io/zone: b}}
---
apiVersion: v1
kind: Pod
metadata: {name: client1}
spec: {nodeName: node1, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client2}
spec: {nodeName: node2, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web1, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9090}, {containerPort: 5353, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web2, labels: {app: web, side: far}}
spec: {nodeName: node2, containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9090}, {containerPort: 5353, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web3, labels: {app: web, side: far}}
spec: {nodeName: node2, containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9090}, {containerPort: 5353, protocol: UDP}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: cluster}
spec: {clusterIP: 10.96.0.11, selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: nodeport}
spec:
  type: NodePort
  clusterIP: 10.96.0.12
  selector: {app: web}
  ports: [{name: web, port: 80, targetPort: http, nodePort: 30012}, {name: admin, port: 90, targetPort: admin, nodePort: 30013}]
---
apiVersion: v1
kind: Service
metadata: {name: balancer}
spec: {type: LoadBalancer, clusterIP: 10.96.0.14, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30014}]}
status: {loadBalancer: {ingress: [{ip: 198.51.100.14}, {ip: 198.51.100.114, ipMode: Proxy}]}}
---
apiVersion: v1
kind: Service
metadata: {name: guarded}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.15
  selector: {app: web}
  loadBalancerSourceRanges: [192.0.2.0/24, 10.244.2.0/24]
  ports: [{port: 80, targetPort: 8080, nodePort: 30015}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.15}]}}
---
apiVersion: v1
kind: Service
metadata: {name: open}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.16
  selector: {app: web}
  loadBalancerSourceRanges: [0.0.0.0/0]
  ports: [{port: 80, targetPort: 8080, nodePort: 30016}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.16}]}}
---
apiVersion: v1
kind: Service
metadata: {name: outer}
spec: {clusterIP: 10.96.0.17, externalIPs: [198.51.100.17], selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: 31018
  clusterIP: 10.96.0.18
  externalIPs: [198.51.100.118]
  selector: {side: far}
  ports: [{port: 80, targetPort: 8080, nodePort: 30018}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.18}]}}
---
apiVersion: v1
kind: Service
metadata: {name: inner}
spec: {internalTrafficPolicy: Local, clusterIP: 10.96.0.19, selector: {side: far}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  type: NodePort
  sessionAffinity: ClientIP
  clusterIP: 10.96.0.20
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30020}]
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.21
  externalIPs: [198.51.100.121]
  selector: {app: nobody}
  ports: [{name: tcp, port: 80, nodePort: 30021}, {name: udp, port: 80, protocol: UDP, nodePort: 30021}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.21}]}}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: example.org, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: mysql}
spec: {clusterIP: 10.96.0.24, ports: [{port: 3306}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: mysql}
subsets: [{addresses: [{ip: 203.0.113.10}], ports: [{port: 3306}]}]
---
apiVersion: v1
kind: Service
metadata: {name: dns}
spec:
  type: NodePort
  clusterIP: 10.96.0.25
  selector: {app: web}
  ports: [{port: 53, targetPort: 5353, protocol: UDP, nodePort: 30025}]
---
apiVersion: v1
kind: Service
metadata: {name: ending}
spec: {clusterIP: 10.96.0.26, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ending-a, labels: {kubernetes.io/service-name: ending}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
- {addresses: [10.244.1.3], nodeName: node1, conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.244.2.3], nodeName: node2, conditions: {ready: false, serving: false, terminating: true}}
"""
CONFIGURATION = """
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
"""
NODES = {"node1": "192.168.0.21", "node2": "192.168.0.22"}


class Services:
    """The lab of all Services, to be put up in one configuration after another."""

    def __init__(self, directory: Path, variant: str) -> None:
        self.lab, self.variant, self.file = Lab(directory), variant, directory / "lab.yaml"

    def up(self, layout: str = "current", configuration: str = "") -> Live:
        text = LAB.replace("VARIANT", self.variant).replace("LAYOUT", layout)
        self.file.write_text(text + (CONFIGURATION + configuration if configuration else ""))
        self.lab.run("up", str(self.file))
        return Live(self.lab)


@pytest.fixture(scope="module", params=["nft", "legacy"])
def services(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    services = Services(tmp_path_factory.mktemp("services"), request.param)
    services.up()
    with Responder(services.lab.netns("outside"), 3306):
        yield services
    services.lab.run("down")


def tcp(name: str, address: str, port: int = 80) -> Target:
    return Target(name, address, port)


CLUSTER_IPS = [
    tcp(name, f"10.96.0.{number}")
    for name, number in {
        "cluster": 11,
        "nodeport": 12,
        "balancer": 14,
        "guarded": 15,
        "open": 16,
        "outer": 17,
        "local": 18,
        "inner": 19,
        "empty": 21,
        "ending": 26,
    }.items()
] + [tcp("admin", "10.96.0.12", 90), tcp("mysql", "10.96.0.24", 3306), Target("dns", "10.96.0.25", 53, "udp")]
CLUSTER_IPS += [Target("empty", "10.96.0.21", 80, "udp"), tcp("no such port", "10.96.0.11", 81)]
NODE_PORTS = [
    tcp(f"{name}@{node}", address, port)
    for node, address in NODES.items()
    for name, port in {
        "nodeport": 30012,
        "admin": 30013,
        "balancer": 30014,
        "guarded": 30015,
        "local": 30018,
        "empty": 30021,
        "nobody's": 30099,
    }.items()
] + [Target(f"dns@{node}", address, 30025, "udp") for node, address in NODES.items()]
EXTERNAL = [
    tcp(name, f"198.51.100.{number}")
    for name, number in {
        "balancer": 14,
        "ipMode Proxy": 114,
        "guarded": 15,
        "open": 16,
        "outer": 17,
        "local": 18,
        "local external": 118,
        "empty": 21,
        "empty external": 121,
    }.items()
]
LOCALHOST = [tcp("localhost nodeport", "127.0.0.1", 30012), tcp("localhost local", "127.0.0.1", 30018)]
PODS, EVERYWHERE = ("client1", "client2", "web1", "web2"), ("client1", "client2", "web1", "web2", "node1", "node2")


def everything() -> list[tuple[str, Target]]:
    cases = [(place, target) for place in EVERYWHERE for target in CLUSTER_IPS + NODE_PORTS + EXTERNAL]
    cases += [("outside", target) for target in NODE_PORTS + EXTERNAL]
    return cases + [(node, target) for node in NODES for target in LOCALHOST]


@pytest.mark.parametrize("layout", ["current", "classic"])
def test_packets_go_where_the_tracer_says(services: Services, layout: str) -> None:
    services.up(layout).check(everything())
