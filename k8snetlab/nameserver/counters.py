"""What a name server counts, as CoreDNS' metrics.

Source: CoreDNS, plugin/metrics/vars, plugin/cache/metrics.go, plugin/pkg/proxy/metrics.go (names and labels); the text
format of Prometheus, version 0.0.4.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

SECONDS = tuple(0.00025 * 2**n for n in range(16))
SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000)
"""Upper bounds, CoreDNS' own."""
_TYPES = frozenset(
    ("A", "AAAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NSEC", "NSEC3")
    + ("NS", "PTR", "RRSIG", "SOA", "SRV", "TXT", "IXFR", "AXFR", "ANY")
)
OUTSIDE = "dropped"
"""The zone of what no server block has been asked."""


class Histogram:
    __slots__ = ("_bounds", "buckets", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds, self.buckets, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self.buckets[bisect.bisect_left(self._bounds, value)] += 1
        self.sum += value

    def lines(self, name: str, labels: dict[str, object]) -> Iterator[str]:
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self.buckets, strict=True):
            total += count
            yield _line(f"{name}_bucket", total, **labels, le=bound)
        yield _line(f"{name}_sum", self.sum, **labels)
        yield _line(f"{name}_count", total, **labels)


class Kind(NamedTuple):
    """Of a question and its reply. `family` is 1 for IPv4, 2 for IPv6; `do`: signatures are asked for."""

    zone: str
    proto: str
    family: str
    type: str
    rcode: str
    plugin: str
    do: bool


class Tally:
    """Of questions of one kind. Octets and seconds."""

    __slots__ = ("_asked", "_replied", "_took", "count")

    def __init__(self, took: Histogram, asked: Histogram, replied: Histogram) -> None:
        self.count, self._took, self._asked, self._replied = 0, took, asked, replied

    def add(self, seconds: float, asked: int, replied: int) -> None:
        self.count += 1
        self._took.add(seconds)
        self._asked.add(asked)
        self._replied.add(replied)


class CacheCounts:
    """Of the names of one server block; by "success" or "denial" where there are two."""

    def __init__(self) -> None:
        self.hits, self.entries = Counter[str](), Counter[str]()
        self.misses, self.prefetches = 0, 0


class Counters:
    """Of one server, which listens at `address`. Counted and printed in one thread."""

    def __init__(self, address: str = "") -> None:
        self._server = f"dns://{f'[{address}]' if ':' in address else address}:53"
        self._tallies: dict[Kind, Tally] = {}
        self._took: dict[str, Histogram] = {}
        self._sizes: dict[tuple[str, str], tuple[Histogram, Histogram]] = {}
        self._caches: dict[tuple[str, ...], CacheCounts] = {}
        self._upstreams: dict[tuple[str, str], Histogram] = {}
        self.failed: Counter[str] = Counter()
        """Questions that an upstream has not answered, where CoreDNS counts failed health checks."""
        self.rejected = 0
        """Questions that were refused as too many waited."""
        self.dropped: Counter[str] = Counter()
        """What was answered by nothing, by why."""
        self.panics = 0
        """Errors of ours."""
        self.plugins: tuple[tuple[str, str], ...] = ()
        """Those of the Corefile, with the zone that each is for."""

    def of(self, kind: Kind) -> Tally:
        """`kind.type` may be any."""
        if kind.type not in _TYPES:
            kind = kind._replace(type="other")
        tally = self._tallies.get(kind)
        if tally is None:
            took = self._took.setdefault(kind.zone, Histogram(SECONDS))
            sizes = self._sizes.setdefault((kind.zone, kind.proto), (Histogram(SIZES), Histogram(SIZES)))
            tally = self._tallies[kind] = Tally(took, *sizes)
        return tally

    def by(self, *labels: str) -> Counter[tuple[str, ...]]:
        """So many questions, by these of `Kind`'s fields."""
        found: Counter[tuple[str, ...]] = Counter()
        for kind, tally in list(self._tallies.items()):
            found[tuple(getattr(kind, label) for label in labels)] += tally.count
        return found

    def cache(self, zones: tuple[str, ...]) -> CacheCounts:
        return self._caches.setdefault(zones, CacheCounts())

    def emptied(self) -> None:
        """All caches begin anew; what still comes for one before is not counted."""
        for counts in self._caches.values():
            counts.entries = Counter()

    def forwarded(self, to: str, rcode: str, seconds: float) -> None:
        self._upstreams.setdefault((to, rcode), Histogram(SECONDS)).add(seconds)

    def text(self) -> str:
        return "".join(f"{line}\n" for lines in (self._questions(), self._elsewhere(), self._own()) for line in lines)

    def _questions(self) -> Iterator[str]:
        name = "coredns_dns_requests_total"
        yield from self._counted(name, ("zone", "proto", "family", "type"), self.by("zone", "proto", "family", "type"))
        name, labels = "coredns_dns_responses_total", ("zone", "rcode", "plugin")
        yield from self._counted(name, labels, self.by(*labels))
        signed: Counter[tuple[str, ...]] = Counter(
            {(zone,): count for (zone, do), count in self.by("zone", "do").items() if do}
        )
        yield from self._counted("coredns_dns_do_requests_total", ("zone",), signed)
        took = (((zone,), histogram) for zone, histogram in self._took.items())
        yield from self._measured("coredns_dns_request_duration_seconds", ("zone",), took)
        for number, what in enumerate(("request", "response")):
            sizes = ((key, both[number]) for key, both in self._sizes.items())
            yield from self._measured(f"coredns_dns_{what}_size_bytes", ("zone", "proto"), sizes)

    def _counted(self, name: str, labels: tuple[str, ...], counts: Counter[tuple[str, ...]]) -> Iterator[str]:
        yield f"# TYPE {name} counter"
        for values, count in sorted(counts.items()):
            yield _line(name, count, server=self._server, **_with_view(labels, values))

    def _measured(
        self, name: str, labels: tuple[str, ...], found: Iterable[tuple[tuple[str, ...], Histogram]]
    ) -> Iterator[str]:
        yield f"# TYPE {name} histogram"
        for values, histogram in sorted(found, key=lambda one: one[0]):
            yield from histogram.lines(name, {"server": self._server, **_with_view(labels, values)})

    def _elsewhere(self) -> Iterator[str]:
        """What is asked of others, and remembered."""
        caches = [({"zones": ",".join(zones), "view": ""}, counts) for zones, counts in sorted(self._caches.items())]
        for name, type_ in (("entries", "gauge"), ("hits_total", "counter")):
            yield f"# TYPE coredns_cache_{name} {type_}"
            for labels, counts in caches:
                for what in ("denial", "success"):
                    number = (counts.entries if name == "entries" else counts.hits)[what]
                    yield _line(f"coredns_cache_{name}", number, server=self._server, type=what, **labels)
        for name in ("requests", "misses", "prefetch"):
            yield f"# TYPE coredns_cache_{name}_total counter"
            for labels, counts in caches:
                requests = counts.misses + counts.hits.total()
                number = {"requests": requests, "misses": counts.misses, "prefetch": counts.prefetches}[name]
                yield _line(f"coredns_cache_{name}_total", number, server=self._server, **labels)
        yield "# TYPE coredns_proxy_request_duration_seconds histogram"
        for (to, rcode), histogram in sorted(self._upstreams.items()):
            whom: dict[str, object] = {"proxy_name": "forward", "to": to, "rcode": rcode}
            yield from histogram.lines("coredns_proxy_request_duration_seconds", whom)
        yield "# TYPE coredns_proxy_healthcheck_failures_total counter"
        for to, number in sorted(self.failed.items()):
            yield _line("coredns_proxy_healthcheck_failures_total", number, proxy_name="forward", to=to)
        yield "# TYPE coredns_forward_max_concurrent_rejects_total counter"
        yield _line("coredns_forward_max_concurrent_rejects_total", self.rejected)

    def _own(self) -> Iterator[str]:
        yield "# TYPE coredns_plugin_enabled gauge"
        for zone, name in self.plugins:
            yield _line("coredns_plugin_enabled", 1, server=self._server, zone=zone, view="", name=name)
        yield "# TYPE coredns_panics_total counter"
        yield _line("coredns_panics_total", self.panics)
        yield "# TYPE k8snetlab_dns_dropped_total counter"
        for why, number in sorted(self.dropped.items()):
            yield _line("k8snetlab_dns_dropped_total", number, server=self._server, why=why)


def _with_view(labels: tuple[str, ...], values: tuple[str, ...]) -> dict[str, object]:
    """Behind the zone the view, of which there is none here."""
    (zone, of_zone), *others = zip(labels, values, strict=True)
    return {zone: of_zone, "view": "", **dict(others)}


def _line(name: str, value: float, /, **labels: object) -> str:
    said = ",".join(f'{label}="{_escaped(str(text))}"' for label, text in labels.items())
    return f"{name}{{{said}}} {value}" if said else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
