"""Ingresses of class alb: which backend a request reaches, and that nothing a user writes becomes syntax."""

from __future__ import annotations

import base64
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from doors import certificate
from msgspec.structs import replace

from k8snetlab.api.config import Secret
from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.api.load_balancer import LoadBalancer
from k8snetlab.api.networking import Ingress, IngressClass, IngressTLS
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


def cluster(*ingresses: Ingress | Secret, mode: Any = "cloud") -> Snapshot:
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


def secret(name: str, certificate: str, key: str) -> Secret:
    data = {"tls.crt": certificate, "tls.key": key}
    encoded = {entry: base64.b64encode(text.encode()).decode() for entry, text in data.items()}
    return msgspec.convert({"metadata": {"name": name, "namespace": "default"}, "data": encoded}, Secret)


def with_tls(*names: str) -> Ingress:
    made = ingress("i", {"": [("/", "Prefix", "a")]})
    return replace(made, spec=replace(made.spec, tls=tuple(IngressTLS(secretName=name) for name in names)))


ONE, OTHER = certificate("one.example"), certificate("other.example")


@needs_haproxy
def test_certificates_of_secrets_open_port_443_and_a_new_one_is_another_file(tmp_path: Path) -> None:
    made = with_tls("one", "other")
    secrets = [secret("one", *ONE[:2]), secret("other", *OTHER[:2])]
    before = cluster(made, *secrets)
    assert not list(alb.problems(made, before)) and len(alb.files(before)) == 2
    (tmp_path / "conf").mkdir()
    for name, text in {**alb.files(before), "haproxy.cfg": haproxy.configuration(before)}.items():
        (tmp_path / "conf" / name).write_text(text)
    command = ["haproxy", "-c", "-f", "conf/haproxy.cfg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "bind 192.168.0.201:443 ssl" in haproxy.configuration(before), done.stderr
    after = cluster(made, secrets[0], secret("other", *ONE[:2]))
    assert haproxy.configuration(after) != haproxy.configuration(before)


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (None, "secret default/one does not exist"),
        (("", ""), "it has no tls.crt and tls.key"),
        (("x", ONE[1]), "its tls.crt is no certificate"),
        ((ONE[0], "x"), "its tls.key is no key"),
        ((ONE[0], OTHER[1]), "its tls.key is not that of its tls.crt"),
    ],
)
def test_a_secret_that_is_no_certificate_is_named_and_harms_no_other(pair: tuple[str, str] | None, why: str) -> None:
    secrets = [secret("one", *pair)] if pair else []
    alone, both = with_tls("one"), with_tls("one", "other")
    (problem,) = alb.problems(alone, cluster(alone, *secrets))
    assert why in problem and "port 443 is closed" in problem
    assert ":443" not in haproxy.configuration(cluster(alone, *secrets))
    beside = cluster(both, *secrets, secret("other", *OTHER[:2]))
    (problem,) = alb.problems(both, beside)
    assert why in problem and "closed" not in problem and ":443 ssl" in haproxy.configuration(beside)
    assert list(alb.problems(with_tls(""), cluster())) == [
        "an entry of spec.tls names no Secret, so port 443 is closed"
    ]


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
