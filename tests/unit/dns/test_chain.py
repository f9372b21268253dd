"""Which part of a Corefile answers a question, or has another server asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden import objects

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns.answers import Answer, Question
from k8snetlab.dns.chain import Onward, answer
from k8snetlab.dns.corefile import parse

WORLD = Snapshot.of(objects((Path(__file__).parent / "worlds/cluster.yaml").read_text()), revision=1)
BLOCKS = parse("""
.:53 {
    hosts {
        192.0.2.7 db.lab.example
        fd00::7 db.lab.example
        192.0.2.9 web.default.svc.cluster.local
        fallthrough
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        fallthrough in-addr.arpa ip6.arpa
    }
    forward . 203.0.113.10 {
        except private.example
    }
    cache 30
}
corp.example:53 {
    forward . 10.1.0.53
}
""")


def told(name: str, type_: str = "A") -> str:
    """The status and what the records say, or whom to ask."""
    found = answer(BLOCKS, Question(name, type_), WORLD)
    if isinstance(found, Onward):
        before = "".join(f"{record.data} " for record in found.before.records) if found.before else ""
        return f"{before}? {found.question.name} {found.forward.to[0][0]} {found.block.cache.success}"
    return " ".join([found.status, *(record.data for record in found.records)])


@pytest.mark.parametrize(
    "name, type_, expected",
    [
        ("web.default.svc.cluster.local.", "A", "NOERROR 192.0.2.9"),
        ("both.default.svc.cluster.local.", "A", "NOERROR 10.96.0.22"),
        ("db.lab.example.", "A", "NOERROR 192.0.2.7"),
        ("DB.lab.example.", "AAAA", "NOERROR fd00::7"),
        ("db.lab.example.", "MX", "NODATA"),
        ("7.2.0.192.in-addr.arpa.", "PTR", "NOERROR db.lab.example."),
        ("nothing.default.svc.cluster.local.", "A", "NXDOMAIN"),
        ("22.0.96.10.in-addr.arpa.", "PTR", "NOERROR both.default.svc.cluster.local."),
        ("1.0.0.127.in-addr.arpa.", "PTR", "? 1.0.0.127.in-addr.arpa. 203.0.113.10 30"),
        ("www.example.com.", "A", "? www.example.com. 203.0.113.10 30"),
        ("www.corp.example.", "A", "? www.corp.example. 10.1.0.53 0"),
        ("x.private.example.", "A", "SERVFAIL"),
        ("outside.default.svc.cluster.local.", "A", "www.example.com. ? www.example.com. 203.0.113.10 30"),
        ("cluster.local.", "AXFR", "REFUSED"),
        ("www.example.com.", "AXFR", "REFUSED"),
        ("www.corp.example.", "IXFR", "REFUSED"),
    ],
)
def test_a_question_goes_where_the_corefile_sends_it(name: str, type_: str, expected: str) -> None:
    assert told(name, type_) == expected


def test_hosts_never_keeps_an_address_without_a_name_from_what_follows() -> None:
    blocks = parse(". {\n hosts {\n 192.0.2.7 a.example\n }\n kubernetes cluster.local in-addr.arpa\n}")
    found = answer(blocks, Question("22.0.96.10.in-addr.arpa.", "PTR"), WORLD)
    assert isinstance(found, Answer)
    assert [record.data for record in found.records] == ["both.default.svc.cluster.local."]


def test_what_is_said_lives_no_longer_than_the_cache_before_it_would_keep_it() -> None:
    """CoreDNS' cache says so of what it keeps not, too: of names of the cluster, and of hosts."""

    def ttls(cache: str, name: str, type_: str) -> set[int]:
        blocks = parse(
            f". {{\n hosts {{\n 192.0.2.7 a.example\n fallthrough\n }}\n kubernetes cluster.local\n{cache}\n}}"
        )
        found = answer(blocks, Question(name, type_), WORLD)
        assert isinstance(found, Answer)
        return {record.ttl for record in (*found.records, *found.authority, *found.additional)}

    kept = "cache 30 {\n disable success cluster.local\n disable denial cluster.local\n}"
    asked = [("a.example.", "A"), ("dns-version.cluster.local.", "TXT"), ("web.default.svc.cluster.local.", "SRV")]
    assert [ttls("", *one) for one in asked] == [{3600}, {28800}, {5}]
    assert [ttls(kept, *one) for one in asked] == [{30}, {30}, {5}]
    assert ttls("cache 3", "nothing.default.svc.cluster.local.", "A") == {3}


def test_hosts_without_fallthrough_fails_for_what_it_has_not() -> None:
    blocks = parse(". {\n hosts {\n 192.0.2.7 a.example\n }\n forward . 203.0.113.10\n}")
    assert answer(blocks, Question("b.example.", "A"), WORLD) == Answer("SERVFAIL")


def test_a_name_that_no_block_serves_is_refused() -> None:
    blocks = parse("cluster.local:53 {\n kubernetes cluster.local\n}")
    assert answer(blocks, Question("www.example.com.", "A"), WORLD) == Answer("REFUSED")
    found = answer(blocks, Question("outside.default.svc.cluster.local.", "A"), WORLD)
    assert isinstance(found, Answer)
    assert (found.rcode, [record.data for record in found.records]) == ("NOERROR", ["www.example.com."])


def test_an_alias_into_another_block_is_followed_there() -> None:
    blocks = parse("""
    cluster.local {
        kubernetes cluster.local
    }
    www.example.com {
        hosts {
            192.0.2.80 www.example.com
        }
    }
    """)
    found = answer(blocks, Question("outside.default.svc.cluster.local.", "A"), WORLD)
    assert isinstance(found, Answer)
    assert [record.data for record in found.records] == ["www.example.com.", "192.0.2.80"]
