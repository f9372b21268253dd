"""What is said of a request's answer."""

from __future__ import annotations

import pytest

from k8snetlab.cli import requested as views
from k8snetlab.explain import requested
from k8snetlab.messages.ingress import HttpAnswer, HttpRoute, HttpTrace
from k8snetlab.messages.trace import Trace

ROUTE = HttpRoute("shop.example", endpoints=("10.244.1.5:8080",))


def connection(address: str, behind: Trace | None = None) -> Trace:
    return Trace("outside", "", address, "address", address, 80, "tcp", (), 0, None, "", behind=behind)


def test_a_request_that_comes_by_haproxy_is_told_with_its_second_connection() -> None:
    second = connection("192.168.0.21")
    first = connection("192.168.0.200", second)
    answer = HttpAnswer(status=404)
    found = HttpTrace("outside", "http://shop.example/", "192.168.0.200", 80, first, ROUTE, answer, None, "404")
    told = list(views._parts(found))
    assert told[0][1] is first and told[1] == (
        "   haproxy in the router answers, and opens a connection of its own to 192.168.0.21:80",
        second,
    )


@pytest.mark.parametrize(
    ("status", "inner", "route", "said"),
    [
        (200, 200, ROUTE, "default/web answered with 200"),
        (503, 503, ROUTE, "default/web answered with 503"),
        (500, 500, ROUTE, "default/web answered with 500"),
        (502, 502, ROUTE, f"502: {requested.MEANT[502]}"),
        (503, 0, ROUTE, f"503: {requested.LIMITED}"),
        (503, 0, HttpRoute("shop.example"), f"503: {requested.MEANT[503]}"),
    ],
)
def test_a_status_is_the_pods_or_nginx_own_with_its_reason(
    status: int, inner: int, route: HttpRoute, said: str
) -> None:
    upstream, pod = ("10.244.1.5:8080", "default/web") if inner else ("", "")
    answer = HttpAnswer(status=status, upstream=upstream, upstreamStatus=inner, pod=pod)
    assert requested._verdict(answer, route, requested.MEANT) == said
