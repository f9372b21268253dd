"""What real requests to Ingresses show, and what the access log tells, from values alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.api.load_balancer import ALB_CONTROLLER, LoadBalancer
from k8snetlab.api.networking import Ingress, IngressClass
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose import doors, refused_requests
from k8snetlab.diagnose.doors import Reply
from k8snetlab.render.ingress import collect
from k8snetlab.testing.services import endpoint, service, slice_of

HOME = "http://shop.example/"
SAFE = "https://shop.example/"
OK, OWN, POD = Reply(200, False), True, False


def snapshot(**annotations: str) -> Snapshot:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": "shop.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    said = {f"nginx.ingress.kubernetes.io/{name.replace('_', '-')}": text for name, text in annotations.items()}
    metadata = {"name": "shop", "namespace": "default", "annotations": said}
    shop: Any = {"metadata": metadata, "spec": {"ingressClassName": "nginx", "rules": [rule]}}
    known: Any = {"metadata": {"name": "nginx"}, "spec": {"controller": collect.CONTROLLER}}
    own = (msgspec.convert(known, IngressClass, strict=False), msgspec.convert(shop, Ingress))
    return Snapshot.of([*own, service("web"), slice_of("web", endpoint("10.244.1.5"))])


def tried(answers: dict[str, Reply], **annotations: str) -> list[tuple[str, str]]:
    now = snapshot(**annotations)
    return [(one.fault, one.message) for one in doors.tried(now, collect.site(now), answers.get)]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({HOME: Reply(301, OWN, HOME)}, "by annotation permanent-redirect"),
        ({HOME: Reply(308, OWN, SAFE), SAFE: Reply(301, POD, HOME)}, "by nginx itself (ssl-redirect)"),
        ({HOME: Reply(308, OWN, SAFE), SAFE: Reply(302, POD, "/#top")}, "X-Forwarded-Proto: https"),
        ({HOME: Reply(302, POD, "in"), f"{HOME}in": Reply(302, POD, "/")}, "by the Service's own program"),
    ],
)
def test_redirects_in_a_circle_are_named_with_who_sends_them(answers: dict[str, Reply], told: str) -> None:
    annotations = {"permanent_redirect": "http://shop.example/"} if "permanent" in told else {}
    [(fault, message)] = tried(answers, **annotations)
    assert fault == "loop" and told in message and "default/shop" in message


@pytest.mark.parametrize(
    "answers",
    [
        {HOME: OK},
        {HOME: Reply(308, OWN, SAFE), SAFE: OK},
        {HOME: Reply(302, POD, "/in"), f"{HOME}in": Reply(404, POD)},
        {HOME: Reply(302, POD, "https://elsewhere.example/")},
        {HOME: Reply(302, POD, "/in")},
        {HOME: Reply(302, POD, "http://[::1/")},
        {HOME: Reply(502, POD)},
        {},
    ],
)
def test_redirects_that_end_and_answers_of_pods_are_well(answers: dict[str, Reply]) -> None:
    assert not tried(answers)


def test_an_answer_that_nginx_gives_for_a_pod_is_named() -> None:
    [(fault, message)] = tried({HOME: Reply(502, OWN)})
    assert fault == "protocol" and "http://shop.example/ is answered with 502" in message


def in_front() -> list[Any]:
    """The cloud's balancer ends TLS of the shop before nginx."""
    backend = {"service": {"name": "ingress-nginx-controller", "port": {"number": 80}}}
    rule = {"host": "shop.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec = {"ingressClassName": "alb", "rules": [rule], "tls": [{"secretName": "shop"}]}
    front: Any = {"metadata": {"name": "front", "namespace": "ingress-nginx"}, "spec": spec}
    alb: Any = {"metadata": {"name": "alb"}, "spec": {"controller": ALB_CONTROLLER}}
    lab = Lab(spec=LabSpec(loadBalancer=LoadBalancer("cloud", ("192.168.0.200-192.168.0.201",))))
    return [lab, msgspec.convert(alb, IngressClass, strict=False), msgspec.convert(front, Ingress)]


@pytest.mark.parametrize(
    ("annotations", "looped"), [({"force_ssl_redirect": "true"}, True), ({"ssl_redirect": "true"}, False), ({}, False)]
)
def test_tls_that_a_balancer_ends_and_nginx_asks_for_is_a_circle(annotations: dict[str, str], looped: bool) -> None:
    """Without a certificate of the host's own nginx redirects nobody."""
    now = snapshot(**annotations)
    now = now.changed([(type(one), one.key, one) for one in in_front()], 1)
    loops = [one for one in doors.doors(now, collect.site(now)) if one.fault == "loop"]
    assert [one.object for one in loops] == (["ingress-nginx/front"] if looped else [])
    assert all("default/shop needs no nginx.ingress.kubernetes.io/force-ssl-redirect" in one.message for one in loops)


# --- the access log ---------------------------------------------------------------------------------------------------

NOW = 1764450731.0
TIME = "29/Nov/2025:21:12:11 +0000"


def line(request: str, status: int, upstream: str, asked: str, at: str = TIME) -> str:
    named = f'192.168.0.1 - - [{at}] "{request}" {status} 190 "-" "a [b] \\x22c" 60 0.000 [{upstream}] []'
    return f"{named} {asked} - - - e61c572d21b53fa694ae58a075620d39"


def notes(*lines: str) -> list[str]:
    return list(refused_requests.notes(lines, NOW))


def test_requests_for_nobody_and_bodies_too_large_are_noted_with_what_would_let_them_in() -> None:
    nobody = line("GET /carrt HTTP/1.1", 404, "upstream-default-backend", "127.0.0.1:8181")
    nowhere, large = notes(nobody, nobody, line("POST /up HTTP/1.1", 413, "-", "-"))
    assert "2 requests of the last 5 minutes (the last: GET /carrt) with 404" in nowhere
    assert "1 request " in large and "POST /up" in large and "proxy-body-size" in large


@pytest.mark.parametrize(
    "text",
    [
        line("GET / HTTP/1.1", 404, "default-web-80", "10.244.1.5:8080"),
        line("GET / HTTP/1.1", 413, "default-web-80", "10.244.1.5:8080"),
        line("GET / HTTP/1.1", 404, "upstream-default-backend", "127.0.0.1:8181", "29/Nov/2025:21:00:00 +0000"),
        line("GET / HTTP/1.1", 404, "upstream-default-backend", "127.0.0.1:8181", "29/Nov/2025:21:12:11 +0100"),
        line("GET / HTTP/1.1", 404, "upstream-default-backend", "127.0.0.1:8181", "yesterday"),
        line("GET / HTTP/1.1", 404, "upstream-default-backend", "127.0.0.1:8181").replace("a [b] \\x22c", "k8snetlab"),
        "",
        '"GET / HTTP/1.1" 404',
    ],
)
def test_what_pods_answer_and_what_is_long_ago_is_not_noted(text: str) -> None:
    assert not notes(text)
