"""Ingresses of class alb: which backend a request reaches, and that nothing a user writes becomes syntax."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.api.load_balancer import LoadBalancer
from k8snetlab.api.networking import Ingress, IngressClass
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import NOTHING
from k8snetlab.controllers.reconcile import work_out
from k8snetlab.render.lb import alb, haproxy
from k8snetlab.testing.services import node, service

needs_haproxy = pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is missing")
Path_ = tuple[str, str, str]
"""A path, its type, and the Service that it leads to."""


def ingress(name: str, hosts: dict[str, list[Path_]], ip: str = "192.168.0.201", default: str = "") -> Ingress:
    def to(target: str) -> Any:
        return {"service": {"name": target, "port": {"number": 80}}}

    rules = [
        {"host": host, "http": {"paths": [{"path": p, "pathType": kind, "backend": to(b)} for p, kind, b in paths]}}
        for host, paths in hosts.items()
    ]
    spec: dict[str, Any] = {"ingressClassName": "alb", "rules": rules}
    if default:
        spec["defaultBackend"] = to(default)
    status = {"loadBalancer": {"ingress": [{"ip": ip}] if ip else []}}
    body = {"metadata": {"name": name, "namespace": "default"}, "spec": spec, "status": status}
    return msgspec.convert(body, Ingress)


def cluster(*ingresses: Ingress, mode: Any = "cloud") -> Snapshot:
    lab = Lab(spec=LabSpec(loadBalancer=LoadBalancer(mode, ("192.168.0.200-192.168.0.202",))))
    services = [
        service(name, [{"port": 80, "nodePort": 30080 + number}], type="NodePort") for number, name in enumerate("abc")
    ]
    return Snapshot.of([lab, node("node1", "192.168.0.21"), *services, *ingresses])


def chosen(*ingresses: Ingress) -> list[str]:
    text = haproxy.configuration(cluster(*ingresses))
    return [line.strip() for line in text.splitlines() if "_backend " in line]


def test_hosts_and_paths_are_tried_in_the_order_of_kubernetes() -> None:
    hosts: dict[str, list[Path_]] = {
        "": [("/", "Prefix", "c")],
        "*.example": [("/", "Prefix", "b")],
        "shop.example": [("/", "Prefix", "a"), ("/cart", "Prefix", "b"), ("/cart", "Exact", "c")],
    }
    shop, wild = "{ var(txn.host) -m str shop.example }", "{ var(txn.wild) -m str *.example }"
    assert chosen(ingress("i", hosts)) == [
        f"use_backend alb:default:c:80 if {shop} {{ path -m str /cart }}",
        f"use_backend alb:default:b:80 if {shop} {{ path -m str /cart }}",
        f"use_backend alb:default:b:80 if {shop} {{ path -m beg /cart/ }}",
        f"use_backend alb:default:a:80 if {shop} {{ path -m beg / }}",
        f"use_backend alb-404 if {shop}",
        f"use_backend alb:default:b:80 if {wild} {{ path -m beg / }}",
        f"use_backend alb-404 if {wild}",
        "use_backend alb:default:c:80 if { path -m beg / }",
        "default_backend alb-404",
    ]


def test_a_default_backend_takes_what_nothing_matches_and_a_missing_service_is_503() -> None:
    lines = chosen(ingress("i", {"": [("/x", "Exact", "nobody")]}, default="a"))
    assert lines == ["use_backend alb-503 if { path -m str /x }", "default_backend alb:default:a:80"]
    found = ingress("i", {"": [("/x", "Exact", "nobody")]})
    assert list(alb.problems(found, cluster(found))) == [
        "its backend nobody is no Service with such a port and a NodePort: 503"
    ]


def test_each_ingress_gets_an_address_of_its_own_and_the_class_is_there() -> None:
    rules: dict[str, list[Path_]] = {"": [("/", "Prefix", "a")]}
    before = cluster(ingress("one", rules, ""), ingress("two", rules, "192.168.0.200"), ingress("three", rules, ""))
    made = {write.object.name: write.object for write in work_out(before, None, NOTHING).writes}
    given = {name: made[name].status.loadBalancer.ingress[0].ip for name in ("one", "three")}  # type: ignore[attr-defined]
    assert given == {"one": "192.168.0.201", "three": "192.168.0.202"}
    assert isinstance(made["alb"], IngressClass) and made["alb"].spec.controller == "k8snetlab/alb"
    assert "frontend" not in haproxy.configuration(cluster(ingress("i", rules), mode="l2"))


HOSTILE = (
    "'",
    '"',
    "\n",
    "\r",
    ";",
    "{",
    "}",
    "#",
    "\\",
    "$",
    "%",
    " ",
    "\t",
    "[",
    "]",
    "(",
    ")",
    ",",
    "é",
    "\0",
    "a",
    "/",
)


@needs_haproxy
def test_no_path_or_host_becomes_syntax(tmp_path: Path) -> None:
    dice = random.Random(19)
    ingresses = []
    for number in range(500):
        host = "".join(dice.choice("ab.-" + "".join(HOSTILE)) for _ in range(dice.randrange(8)))
        paths: list[Path_] = [
            ("/" + "".join(dice.choice(HOSTILE) for _ in range(dice.randrange(9))), kind, dice.choice("abx"))
            for kind in ("Exact", "Prefix", "ImplementationSpecific")
        ]
        paths.append(("/$(date)\n    bind :1\nfrontend x", "Exact", "a"))
        ingresses.append(ingress(f"i{number}", {host: paths}, "192.168.0.201"))
    text = haproxy.configuration(cluster(*ingresses))
    assert text.count("\nfrontend ") == 500 and text.count("bind ") == 500
    (tmp_path / "haproxy.cfg").write_text(text)
    done = subprocess.run(
        ["haproxy", "-c", "-f", "haproxy.cfg"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[:2000]
