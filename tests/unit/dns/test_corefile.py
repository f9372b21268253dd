"""Corefiles as kubeadm and its users write them, and what of them is not served."""

from __future__ import annotations

import pytest

from k8snetlab.api.core import Service, ServiceSpec
from k8snetlab.api.dns import Dns
from k8snetlab.api.lab import Lab, LabSpec, Underlay
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns import addon, nodelocal
from k8snetlab.dns.caching import Cache
from k8snetlab.dns.corefile import Block, Forward, Hosts, block_of, parse
from k8snetlab.dns.lines import CorefileError
from k8snetlab.dns.zones import Zones

KUBEADM = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
REVERSE = ("in-addr.arpa.", "ip6.arpa.")


def test_kubeadms_own_is_read() -> None:
    assert parse(KUBEADM) == (
        Block(
            zones=(".",),
            cluster=Zones(domain="cluster.local", ttl=30, pods="insecure"),
            fallthrough=REVERSE,
            forwards=(Forward(".", own=True, at_once=1000),),
            cache=Cache(30, 30, no_success=("cluster.local.",), no_denial=("cluster.local.",)),
            loop=True,
            loadbalance=True,
            plugins=("errors", "health", "ready", "kubernetes", "prometheus", "forward", "cache")
            + ("loop", "reload", "loadbalance"),
        ),
    )


def test_a_stub_domain_and_hosts_are_read() -> None:
    text = """
    # the company's
    corp.example:53 {
        errors
        cache 10
        forward . 10.1.0.53 10.1.0.54:5353 [fd00::53]:53 {
            except secret.corp.example
        }
    }
    . {
        hosts {
            192.0.2.7 db.corp.example DB2.corp.example
            192.0.2.8 db.corp.example
            ttl 60
            fallthrough
        }
        kubernetes lab.example { # no addresses
        }
    }
    """
    stub, main = parse(text)
    servers = (("10.1.0.53", 53), ("10.1.0.54", 5353), ("fd00::53", 53))
    assert stub == Block(
        ("corp.example.",),
        forwards=(Forward(".", servers, ("secret.corp.example.",)),),
        cache=Cache(10, 10),
        plugins=("errors", "cache", "forward"),
    )
    addresses = {"db.corp.example.": ("192.0.2.7", "192.0.2.8"), "db2.corp.example.": ("192.0.2.7",)}
    assert main.hosts == Hosts(addresses, 60, fallthrough=True)
    assert main.cluster == Zones(domain="lab.example", reverse=())
    assert block_of((stub, main), "x.corp.example.") is stub
    assert block_of((stub, main), "xcorp.example.") is main
    assert block_of((stub,), "example.") is None


def test_options_of_forward_and_cache_are_read() -> None:
    text = """
    . {
        forward . 192.0.2.1 192.0.2.2 {
            policy round_robin
            max_concurrent 7
            health_check 5s domain example.com
            force_tcp
        }
        cache 60 {
            prefetch 10
            servfail 1m
        }
    }
    """
    (block,) = parse(text)
    servers = (("192.0.2.1", 53), ("192.0.2.2", 53))
    assert block.forwards == (Forward(".", servers, tcp=True, policy="round_robin", at_once=7),)
    assert block.cache == Cache(60, 60, servfail=60, prefetch=10, gap=60, percentage=10)


def test_a_hosts_block_may_leave_addresses_names_out() -> None:
    (block,) = parse(". {\n hosts {\n  192.0.2.7 db.example\n  no_reverse\n }\n}")
    assert block.hosts == Hosts({"db.example.": ("192.0.2.7",)}, reverse=False)


WRONG = {
    ". {\n bind eth0\n}": "Corefile:2: bind: eth0 is no address",
    ". {\n bind 127.0.0.1\n}\nx {\n errors\n}": "Corefile:1: bind: all server blocks listen at the same addresses",
    ". {\n cache 30 {\n  success many\n }\n}": "Corefile:3: cache: success many is not served here",
    ". {\n cache {\n  serve_stale\n }\n}": "Corefile:3: cache: serve_stale is not served here",
    ". {\n cache {\n  prefetch 3 1m 5%\n }\n}": "Corefile:3: cache: prefetch 3 1m 5% is not served here",
    ". {\n cache {\n  prefetch\n }\n}": "Corefile:3: cache: prefetch is not served here",
    ". {\n cache {\n  prefetch 3 soon\n }\n}": "Corefile:3: cache: prefetch 3 soon is not served here",
    ". {\n cache {\n  disable failure\n }\n}": "Corefile:3: cache: disable failure is not served here",
    ". {\n cache {\n  servfail\n }\n}": "Corefile:3: cache: servfail is not served here",
    ". {\n cache 30 example.com\n}": "Corefile:2: cache: only for some zones (example.com) is not served here",
    ". {\n forward . 1.1.1.1 {\n  policy best\n }\n}": "Corefile:3: forward: policy best is not served here",
    ". {\n forward . 1.1.1.1 {\n  max_concurrent many\n }\n}": "Corefile:3: forward: max_concurrent many is not",
    ". {\n hosts {\n  fallthrough example.com\n }\n}": "Corefile:3: hosts: fallthrough example.com is not served",
    ". {\n cache {\n  denial 10 9999\n }\n}": "Corefile:3: cache: denial 10 9999 is not served here",
    ".:53 {\n  rewrite name a b\n}": "Corefile:2: the plugin rewrite is not served here; these are: bind, ",
    ".:53 {\n  template IN A {\n  }\n}": "Corefile:2: the plugin template is not served here",
    ".:53 {\n  kubernetes cluster.local {\n    pods sometimes\n  }\n}": "Corefile:3: kubernetes: pods sometimes is not",
    ".:53 {\n  kubernetes cluster.local {\n    ttl 9999\n  }\n}": "Corefile:3: kubernetes: ttl: 9999 is no number of",
    ".:53 {\n  kubernetes in-addr.arpa\n}": "Corefile:2: kubernetes: takes one zone that is none of addresses",
    ".:53 {\n  kubernetes a.example b.example\n}": "Corefile:2: kubernetes: takes one zone",
    ".:53 {\n  forward .\n}": "Corefile:2: forward: needs a zone and the servers for it",
    ".:53 {\n  forward . tls://1.1.1.1\n}": "Corefile:2: tls://1.1.1.1: is no name server",
    ".:53 {\n  forward . 1.1.1.1:99999\n}": "Corefile:2: 1.1.1.1:99999: is no name server",
    ".:53 {\n  forward . 1.1.1.1 {\n    tls_servername x\n  }\n}": "Corefile:3: forward: tls_servername x is not",
    ".:53 {\n  hosts /etc/hosts\n}": "Corefile:2: hosts: a file (/etc/hosts) is not read here",
    ".:53 {\n  hosts {\n    one two\n  }\n}": "Corefile:3: hosts: one is neither an address nor an option",
    ".:53 {\n  cache forever\n}": "Corefile:2: cache: forever is no number of seconds from 0 to 3600",
    ".:53 {\n  loadbalance weighted\n}": "Corefile:2: loadbalance: weighted is not served here",
    ".:53 {\n  errors\n": "Corefile:3: ends within a block: a } is missing",
    ".:53\n{\n}": "Corefile:1: .:53: a server block begins with its zones and a { in one line",
    "tls://.:853 {\n}": "Corefile:1: tls://.:853: only plain DNS on port 53 is served here",
    ".:5353 {\n}": "Corefile:1: .:5353: only plain DNS on port 53 is served here",
    ". {\n}\n. {\n}": "Corefile:1: has two server blocks for .",
    '. {\n  log "x\n}': "Corefile:2: a quotation mark is not closed",
    f". {{\n cache {'9' * 5000}\n}}": "Corefile:2: cache: 9",
    f". {{\n forward . 1.1.1.1 {{\n  max_concurrent {'9' * 5000}\n }}\n}}": "Corefile:3: forward: max_concurrent 9",
    "": "Corefile:1: has no server block",
    "# nothing\n": "Corefile:1: has no server block",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_not_served_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(CorefileError) as refused:
        parse(text)
    assert str(refused.value).startswith(WRONG[text])


def test_the_file_that_a_lab_asks_for_is_read_as_it_was_meant() -> None:
    dns = Dns(
        enabled=True,
        ttl=7,
        pods="verified",
        upstream=("203.0.113.10",),
        stubDomains={"corp.example": ("10.1.0.53", "10.1.0.54:5353")},
        hosts={"db.lab.example": ("192.0.2.7", "192.0.2.8")},
    )
    main, stub = parse(addon.corefile(Lab(spec=LabSpec(dns=dns))))
    assert main.cluster == Zones(ttl=7, pods="verified")
    assert (main.zones, main.fallthrough) == ((".",), REVERSE)
    assert main.forwards == (Forward(".", (("203.0.113.10", 53),), at_once=1000),)
    assert main.hosts is not None
    assert main.hosts.addresses == {"db.lab.example.": ("192.0.2.7", "192.0.2.8")}
    assert stub.forwards == (Forward(".", (("10.1.0.53", 53), ("10.1.0.54", 5353))),)


@pytest.mark.parametrize(
    ("spec", "servers"),
    [
        (LabSpec(), ("203.0.113.10",)),
        (LabSpec(dns=Dns(upstream=("192.0.2.53",))), ("192.0.2.53",)),
        (LabSpec(dns=Dns(upstream=())), ()),
        (LabSpec(machines=True), ()),
        (LabSpec(underlay=Underlay(outside="")), ()),
        (LabSpec(podCIDR="fd00:1::/56", underlay=Underlay(outside="203.0.113.10/24,2001:db8::9/64")), ("2001:db8::9",)),
    ],
)
def test_names_outside_are_asked_of_the_host_outside_unless_the_lab_says_whom(
    spec: LabSpec, servers: tuple[str, ...]
) -> None:
    blocks = parse(addon.corefile(Lab(spec=spec)))
    assert [to for forward in blocks[0].forwards for to, _ in forward.to] == list(servers)


def test_with_an_empty_upstream_only_the_clusters_names_are_served() -> None:
    (block,) = parse(addon.corefile(Lab(spec=LabSpec(dns=Dns(upstream=(), domain="lab.example")))))
    assert block.zones == ("lab.example.", *REVERSE)
    assert block.forwards == ()


def test_the_file_of_a_nodes_cache_is_read_once_its_pillars_are_filled() -> None:
    upstream = Service(
        metadata=ObjectMeta(name="kube-dns-upstream", namespace="kube-system"), spec=ServiceSpec(clusterIP="10.96.0.77")
    )
    text = nodelocal.corefile(Dns(hosts={"db.example": ("192.0.2.7",)}))
    with pytest.raises(CorefileError, match="__PILLAR__CLUSTER__DNS__"):
        parse(nodelocal.filled(text, Snapshot(), "kube-dns-upstream"))
    own, *_, lab, others = parse(nodelocal.filled(text, Snapshot.of([upstream]), "kube-dns-upstream"))
    assert (own.zones, own.bind, own.cache) == (("cluster.local.",), ("169.254.20.10",), Cache(30, 5))
    assert own.forwards == (Forward(".", (("10.96.0.77", 53),), tcp=True),)
    assert (lab.zones, lab.forwards) == (("db.example.",), own.forwards)
    assert (others.forwards, others.cache) == ((Forward(".", own=True),), Cache(30, 30))


def test_a_name_of_the_labs_own_within_a_stub_domain_is_answered_by_the_cluster() -> None:
    dns = Dns(upstream=("192.0.2.1",), hosts={"db.corp": ("192.0.2.7",)}, stubDomains={"corp": ("192.0.2.53",)})
    main, stub = parse(addon.corefile(Lab(spec=LabSpec(dns=dns))))
    assert main.zones == (".", "db.corp.")
    assert block_of((main, stub), "db.corp.") is main
    assert block_of((main, stub), "git.corp.") is stub
