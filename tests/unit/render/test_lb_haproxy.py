"""The configuration of the cloud's load balancer: haproxy reads it, whatever Services say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from k8snetlab.addons.programs import programs
from k8snetlab.api.core import Service
from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.api.load_balancer import EXCLUDED, PROXY_PROTOCOL, LoadBalancer
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.checkup import programs as installed
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.errors import UnsupportedError
from k8snetlab.render import underlay
from k8snetlab.render.lb import haproxy
from k8snetlab.testing.services import endpoint, node, service, slice_of

IP, SIX = "192.168.0.200", "fd00:1::c8"
PORTS: list[dict[str, Any]] = [{"name": "http", "port": 80, "nodePort": 30080}]
needs_haproxy = pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is missing")


def cluster(*services: Service) -> Snapshot:
    nodes = [node("node1", "192.168.0.21", "fd00:1::15"), node("node2", "192.168.0.22", "fd00:1::16")]
    out = node("node3", "192.168.0.23")
    out = replace(out, metadata=replace(out.metadata, labels={EXCLUDED: ""}))
    lab = Lab(spec=LabSpec(loadBalancer=LoadBalancer("cloud", (f"{IP}-{IP}",))))
    return Snapshot.of([lab, *nodes, out, *services, slice_of("web", endpoint("10.244.1.5", "node1"))])


def web(*ips: str, ports: Any = PORTS, annotations: Any = (), **spec: Any) -> Service:
    made = service("web", ports, ingress=ips or [IP], **{"type": "LoadBalancer", **spec})
    return replace(made, metadata=replace(made.metadata, annotations=dict(annotations)))


def lines(*services: Service) -> list[str]:
    return [line.strip() for line in haproxy.configuration(cluster(*services)).splitlines()]


def test_a_port_is_a_section_that_sends_to_the_node_ports_of_nodes_that_are_not_kept_out() -> None:
    text = haproxy.configuration(cluster(web()))
    assert "listen default:web:80\n    bind 192.168.0.200:80\n" in text
    assert [line.strip() for line in text.splitlines() if "    server " in line] == [
        "server node1 192.168.0.21:30080 check",
        "server node2 192.168.0.22:30080 check",
    ]


def test_with_local_nodes_are_asked_at_the_health_check_node_port() -> None:
    found = lines(web(externalTrafficPolicy="Local", healthCheckNodePort=32000))
    assert "server node1 192.168.0.21:30080 check port 32000" in found and "option httpchk GET /healthz" in found


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (web(IP, SIX), "bind ipv6@fd00:1::c8:80"),
        (web(SIX), "server node2 ipv6@fd00:1::16:30080 check"),
        (web(annotations={PROXY_PROTOCOL: "v2"}), "server node1 192.168.0.21:30080 check send-proxy-v2"),
        (web(loadBalancerSourceRanges=["10.0.0.0/8", " 192.0.2.0/24"]), "acl let-in src 10.0.0.0/8 192.0.2.0/24\n"),
        (web(loadBalancerSourceRanges=[f"10.0.0.{n}" for n in range(200)]), "reject unless let-in\n"),
        (web(loadBalancerSourceRanges=["fd00::/8"]), "tcp-request connection reject\n"),
        (web(sessionAffinity="ClientIP"), "balance source"),
    ],
)
@needs_haproxy
def test_what_a_service_asks_for_is_in_a_file_that_haproxy_takes(one: Service, line: str, tmp_path: Path) -> None:
    text = haproxy.configuration(cluster(one))
    assert line in text
    taken(text, tmp_path)


def taken(text: str, directory: Path) -> None:
    (directory / "haproxy.cfg").write_text(text)
    done = subprocess.run(
        ["haproxy", "-c", "-f", "haproxy.cfg"], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stderr, done.stderr


@needs_haproxy
def test_services_without_addresses_make_a_file_that_haproxy_takes(tmp_path: Path) -> None:
    taken(haproxy.configuration(cluster()), tmp_path)


UDP = [{"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053}]


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (web(), ""),
        (web(ports=UDP), "haproxy balances TCP alone, and port 53 is UDP"),
        (web(ports=[{"port": 80}], allocateLoadBalancerNodePorts=False), "port 80 has no nodePort"),
        (web(annotations={PROXY_PROTOCOL: "v2\n bind :1"}), f"annotation {PROXY_PROTOCOL} is v1 or v2"),
    ],
)
def test_what_haproxy_cannot_do_is_said_and_not_written(one: Service, why: str) -> None:
    snapshot = cluster(one)
    assert haproxy.unbalanced(one, snapshot).startswith(why) and bool(haproxy.unbalanced(one, snapshot)) == bool(why)
    assert "UDP" not in haproxy.configuration(snapshot) and "bind :1" not in haproxy.configuration(snapshot)


def test_names_that_are_none_are_refused() -> None:
    made = web()
    with pytest.raises(ValueError, match="names nothing"):
        haproxy.configuration(cluster(replace(made, metadata=replace(made.metadata, name="web\n bind :1"))))


def test_the_description_is_another_one_for_other_files() -> None:
    texts = [haproxy.configuration(cluster()), haproxy.configuration(cluster(web()))]
    assert len({haproxy.description(text) for text in texts}) == 2
    assert all(f"    description {haproxy.description(text)}\n" in text for text in texts)


def test_the_router_has_the_addresses_and_the_outside_knows_the_way() -> None:
    rendered = underlay.render(cluster(web()))
    assert f"{IP}/32" in [one.address for one in rendered.node.addresses]
    assert f"{IP}/32" in [route.dst for route in rendered.pods[0].routes]
    assert [one.name for one in programs(cluster(web()), ROUTER)] == ["haproxy"]
    assert not programs(cluster(web()), "node1")


def test_a_machine_without_haproxy_is_told_which_package_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UnsupportedError, match="haproxy, which is not installed") as refused:
        installed.needed(cluster().lab)
    assert refused.value.hint == "apt-get install haproxy"
