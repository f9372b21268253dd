"""What is counted, and under which of CoreDNS' names and labels: its plugins prometheus, cache and forward."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode
import dns.rrset

from k8snetlab.nameserver import answering
from k8snetlab.nameserver.counters import Counters, Kind

LABELS = {
    "coredns_dns_requests_total": ["server", "zone", "view", "proto", "family", "type"],
    "coredns_dns_responses_total": ["server", "zone", "view", "rcode", "plugin"],
    "coredns_dns_do_requests_total": ["server", "zone", "view"],
    "coredns_dns_request_duration_seconds_bucket": ["server", "zone", "view", "le"],
    "coredns_dns_request_size_bytes_bucket": ["server", "zone", "view", "proto", "le"],
    "coredns_dns_response_size_bytes_bucket": ["server", "zone", "view", "proto", "le"],
    "coredns_plugin_enabled": ["server", "zone", "view", "name"],
    "coredns_panics_total": [],
    "coredns_cache_entries": ["server", "type", "zones", "view"],
    "coredns_cache_hits_total": ["server", "type", "zones", "view"],
    "coredns_cache_requests_total": ["server", "zones", "view"],
    "coredns_cache_misses_total": ["server", "zones", "view"],
    "coredns_cache_prefetch_total": ["server", "zones", "view"],
    "coredns_proxy_request_duration_seconds_bucket": ["proxy_name", "to", "rcode", "le"],
    "coredns_forward_max_concurrent_rejects_total": [],
}
"""As CoreDNS' source has them."""
WEB = "web.default.svc.cluster.local."


def labels_of(line: str) -> list[str]:
    return re.findall(r'(\w+)="', line.partition("{")[2])


def lines_of(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(rf"{name}[ {{]", line)]


def test_questions_are_counted_by_zone_family_type_and_the_plugin_that_answered(server: Callable[..., Any]) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        upstream, _ = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
        to = upstream.get_extra_info("sockname")[1]
        one = server(
            "cluster.local {\n kubernetes cluster.local\n}\n"
            f". {{\n hosts {{\n 192.0.2.7 a.example\n fallthrough\n }}\n forward . 127.0.0.1:{to}\n cache 30\n}}"
        )
        one.counters.plugins = one.configured.plugins
        async with one.running():
            for name in (WEB, "no." + WEB, "a.example.", "x.example.", "x.example.", "none.example.", "none.example."):
                query = dns.message.make_query(name, "A", want_dnssec=name == WEB)
                await dns.asyncquery.udp(query, "127.0.0.1", port=one.port, timeout=10)
            await dns.asyncquery.tcp(dns.message.make_query(WEB, "TYPE65280"), "127.0.0.1", port=one.port, timeout=10)
        one.answering.now(dns.message.make_query(WEB, "AAAA").to_wire(), answering.UDP6)
        upstream.close()
        text = one.counters.text()
        head = 'server="dns://:53",zone="cluster.local.",view="",'
        assert lines_of(text, "coredns_dns_requests_total") == [
            'coredns_dns_requests_total{server="dns://:53",zone=".",view="",proto="udp",family="1",type="A"} 5',
            f'coredns_dns_requests_total{{{head}proto="tcp",family="1",type="other"}} 1',
            f'coredns_dns_requests_total{{{head}proto="udp",family="1",type="A"}} 2',
            f'coredns_dns_requests_total{{{head}proto="udp",family="2",type="AAAA"}} 1',
        ]
        assert one.counters.by("zone", "rcode", "plugin") == {
            ("cluster.local.", "NOERROR", "kubernetes"): 3,
            ("cluster.local.", "NXDOMAIN", "kubernetes"): 1,
            (".", "NOERROR", "hosts"): 1,
            (".", "NOERROR", "forward"): 1,
            (".", "NOERROR", "cache"): 1,
            (".", "NXDOMAIN", "forward"): 1,
            (".", "NXDOMAIN", "cache"): 1,
        }
        assert lines_of(text, "coredns_dns_do_requests_total") == [
            'coredns_dns_do_requests_total{server="dns://:53",zone="cluster.local.",view=""} 1'
        ]
        counts = one.counters.cache((".",))
        assert (counts.hits, counts.misses) == ({"success": 1, "denial": 1}, 2)
        assert counts.entries == {"success": 1, "denial": 1}
        answered = f'coredns_proxy_request_duration_seconds_count{{proxy_name="forward",to="127.0.0.1:{to}",'
        assert f'{answered}rcode="NOERROR"}} 1\n' in text
        for name, labels in LABELS.items():
            found = lines_of(text, name)
            assert found, name
            assert all(labels_of(line) == labels for line in found), found[0]

    asyncio.run(asyncio.wait_for(work(), 60))


class Upstream(asyncio.DatagramProtocol):
    """Has an address for all names but those that begin with `none`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = dns.message.make_response(dns.message.from_wire(data))
        name = reply.question[0].name
        if name.to_text().startswith("none"):
            reply.set_rcode(dns.rcode.NXDOMAIN)
            reply.authority.append(dns.rrset.from_text("example.", 60, "IN", "SOA", "ns. root. 1 2 3 4 60"))
        else:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.80"))
        self._transport.sendto(reply.to_wire(), addr)  # type: ignore[attr-defined]


def test_a_bound_server_is_called_by_its_address_and_labels_are_escaped() -> None:
    counters = Counters("169.254.20.10")
    counters.of(Kind('a"\\.', "udp", "1", "A", "NOERROR", "hosts", False)).add(0.001, 30, 60)
    said = r'{server="dns://169.254.20.10:53",zone="a\"\\.",view="",proto="udp",family="1",type="A"} 1'
    assert f"coredns_dns_requests_total{said}\n" in counters.text()
    six = Counters("fd00::1")
    six.dropped["no query"] += 1
    assert 'server="dns://[fd00::1]:53"' in six.text()


def test_an_error_of_ours_is_a_failure_that_is_counted_and_no_silence(server: Callable[..., Any]) -> None:
    one = server()
    one.answering._decide = lambda question: 1 / 0
    reply = dns.message.from_wire(one.answering.now(dns.message.make_query(WEB, "A").to_wire(), answering.UDP))
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert "coredns_panics_total 1\n" in one.counters.text()
