"""Faults of names: which is the reason of which, and what is too many."""

from __future__ import annotations

import pytest

from k8snetlab.api.core import Pod, PodSpec
from k8snetlab.api.dns import LOCAL
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.diagnose import resolving
from k8snetlab.diagnose.finding import DNS, Finding, ordered
from k8snetlab.diagnose.resolving import Storm
from k8snetlab.dns import nodelocal
from k8snetlab.dns.lines import CorefileError
from k8snetlab.dns.resolv import Resolv, read

COREDNS = Pod(metadata=ObjectMeta(name="coredns-x", namespace="kube-system"), spec=PodSpec(nodeName="node2"))
NAME = "www.example.com.default.svc.cluster.local."


def of_pod(name: str, consequence: str) -> Finding:
    said = f"pod {name}: it waits"
    return Finding(
        kind="pod", fault="waiting", node="node2", object=name, message=said, consequence=consequence, show=""
    )


def endpoints() -> Finding:
    return Finding(kind="resolver", fault="endpoints", node="", object=DNS, message="none", consequence="", show="")


UNREADY = of_pod("p", f"it is no endpoint of Service {DNS}, and whoever asks it hears nothing")
OTHER = of_pod("other", "it is no endpoint of Service default/kube-dns, and whoever asks it hears nothing")


@pytest.mark.parametrize(
    "cause",
    [
        resolving.looping(("10.96.0.10", 53), ".", "which is Service kube-system/kube-dns"),
        resolving.misread(CorefileError(2, "no")),
    ],
)
def test_a_corefile_that_ends_servers_is_the_reason_of_all_that_follows(cause: Finding) -> None:
    (one,) = ordered([UNREADY, cause, endpoints()])
    assert one.fault == cause.fault
    assert set(one.explains) == {"pod p: it waits", "none"}


def test_a_dns_pod_that_is_not_ready_goes_with_its_service_and_another_pod_does_not() -> None:
    first, second = ordered([OTHER, UNREADY, endpoints()])
    assert (first.fault, first.explains) == ("endpoints", ("pod p: it waits",))
    assert second.consequence == OTHER.consequence
    silent = resolving.upstream_silent(COREDNS, "ns", ("192.0.2.1", 53), ".", "")
    assert len(ordered([UNREADY, silent])) == 2


def test_an_upstream_is_named_with_its_zone_and_with_what_was_heard() -> None:
    silent = resolving.upstream_silent(COREDNS, "ns", ("fd00::53", 5353), "corp.example.", "")
    assert silent.object == "[fd00::53]:5353"
    assert "which pod kube-system/coredns-x asks for names in corp.example, is silent" in silent.message
    assert silent.show == "ip netns exec ns dig @fd00::53 -p 5353 . NS"
    refused = resolving.upstream_silent(COREDNS, "ns", ("192.0.2.1", 53), ".", "connection refused", tcp=True)
    assert refused.show.endswith(" +tcp")
    assert "asks for names outside, says `connection refused`" in refused.message


def test_a_server_that_stands_still_is_shown_by_a_query_to_itself() -> None:
    one = resolving.silent(COREDNS, "ns", "10.244.2.2", "corp.example", 2)
    assert one.show == "ip netns exec ns dig @10.244.2.2 kubernetes.default.svc.corp.example"
    assert "which kube-dns leads to" in one.message
    assert one.consequence.startswith("lookups that chance gives to it")
    metadata = ObjectMeta(name="cache", namespace="kube-system", labels=nodelocal.LABELS)
    cache = resolving.silent(Pod(metadata=metadata, spec=COREDNS.spec), "node", LOCAL, "cluster.local", 2)
    assert "@169.254.20.10 " in cache.show
    assert "which the pods of node2 ask" in cache.message
    assert cache.consequence == "lookups of the pods of node2 fail, after 10 s"


@pytest.mark.parametrize(
    ("replies", "searched", "named"),
    [
        (100, {"default/a": 60}, "pod default/a asks"),
        (130, {"default/a": 40, "default/b": 30}, "pods default/a, default/b ask"),
        (200, {"default/a": 50, "default/b": 40, "default/c": 30, "default/d": 25}, "default/c and 1 more ask"),
        (100, {"default/a": 49}, ""),  # few
        (300, {"default/a": 60}, ""),  # a small part of what is asked
        (100, {f"default/{number}": 5 for number in range(20)}, ""),  # many pods that ask little
    ],
)
def test_a_storm_is_much_by_few(replies: int, searched: dict[str, int], named: str) -> None:
    found = [*resolving.storm(COREDNS, Storm(replies, searched, NAME, "www.example.com"))]
    assert [named in finding.message for finding in found] == ([True] if named else [])
    if found:
        assert found[0].show == "k8snetlab dig default/a www.example.com"


@pytest.mark.parametrize("options", [("ndots:5",), ("ndots:1",), (), ("single-request-reopen", "ndots:2")])
def test_what_a_pods_dnsconfig_says_of_ndots_is_no_fault(options: tuple[str, ...]) -> None:
    wanted = Resolv(("10.96.0.10",), ("default.svc.cluster.local", "cluster.local"), options)
    assert [*resolving.edited(COREDNS, "ns", read(wanted.text), wanted)] == []
    other = Resolv(wanted.nameservers, wanted.searches, ("ndots:9",))
    (finding,) = resolving.edited(COREDNS, "ns", read(other.text), wanted)
    assert (finding.kind, finding.fault) == ("resolver", "ndots")
