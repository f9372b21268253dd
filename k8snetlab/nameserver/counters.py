"""What a name server counts, as CoreDNS' metrics.

Source: CoreDNS, plugin/metrics (names and labels); the text format of Prometheus, version 0.0.4.
"""

from __future__ import annotations

import bisect
from collections import Counter

BUCKETS = tuple(0.00025 * 2**n for n in range(16))
"""Upper bounds in seconds, CoreDNS' own."""
_KNOWN = frozenset(
    ("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "HTTPS", "SVCB", "ANY", "NAPTR", "DS")
)


class Counters:
    """Of one server. Counted from the event loop's thread, printed from any."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        """By protocol ("udp", "tcp") and type."""
        self.responses: Counter[str] = Counter()
        """By rcode."""
        self.dropped = 0
        """Packets that were answered by nothing."""
        self.forwarded: Counter[str] = Counter()
        """Requests by upstream server."""
        self.hits, self.misses, self.prefetches = 0, 0, 0
        """Of the cache of names outside."""
        self.rejected = 0
        """Questions that were refused as too many waited."""
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def asked(self, protocol: str, type_: str) -> None:
        self.requests[protocol, type_ if type_ in _KNOWN else "other"] += 1

    def answered(self, rcode: str, seconds: float) -> None:
        self.responses[rcode] += 1
        self._buckets[bisect.bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def text(self) -> str:
        lines = ["# TYPE coredns_dns_requests_total counter"]
        lines += [
            _line("coredns_dns_requests_total", n, server="dns://:53", proto=proto, type=type_)
            for (proto, type_), n in sorted(self.requests.items())
        ]
        lines.append("# TYPE coredns_dns_responses_total counter")
        lines += [
            _line("coredns_dns_responses_total", n, server="dns://:53", rcode=rcode)
            for rcode, n in sorted(self.responses.items())
        ]
        lines.append("# TYPE coredns_dns_request_duration_seconds histogram")
        total = 0
        for bound, count in zip((*BUCKETS, "+Inf"), self._buckets, strict=True):
            total += count
            lines.append(_line("coredns_dns_request_duration_seconds_bucket", total, server="dns://:53", le=bound))
        lines.append(_line("coredns_dns_request_duration_seconds_sum", self._seconds, server="dns://:53"))
        lines.append(_line("coredns_dns_request_duration_seconds_count", total, server="dns://:53"))
        lines.append("# TYPE coredns_cache_hits_total counter")
        lines.append(_line("coredns_cache_hits_total", self.hits, server="dns://:53"))
        lines.append("# TYPE coredns_cache_misses_total counter")
        lines.append(_line("coredns_cache_misses_total", self.misses, server="dns://:53"))
        lines.append("# TYPE coredns_cache_prefetch_total counter")
        lines.append(_line("coredns_cache_prefetch_total", self.prefetches, server="dns://:53"))
        lines.append("# TYPE coredns_proxy_requests_total counter")
        lines += [_line("coredns_proxy_requests_total", n, to=to) for to, n in sorted(self.forwarded.items())]
        lines.append("# TYPE coredns_forward_max_concurrent_rejects_total counter")
        lines.append(_line("coredns_forward_max_concurrent_rejects_total", self.rejected))
        lines.append("# TYPE k8snetlab_dns_dropped_total counter")
        lines.append(_line("k8snetlab_dns_dropped_total", self.dropped, server="dns://:53"))
        return "\n".join(lines) + "\n"


def _line(name: str, value: float, **labels: object) -> str:
    said = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{said}}} {value}" if said else f"{name} {value}"
