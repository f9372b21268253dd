"""When neighbour tables were full, as the kernel's counters tell."""

from __future__ import annotations

from k8snetlab.dataplane.rules import Family
from k8snetlab.kernel.neighbours import lifting, overflows
from k8snetlab.running.overflows import Overflows

ARP = """\
entries  allocs   lookups  unresolved_discards table_fulls
0000001d 00077181 0026ab4d 00000000            0000000a
0000001d 000734a5 00362a91 00000000            00000010
"""


def test_the_refused_entries_of_all_processors_are_counted_in_hexadecimal() -> None:
    def read(file: str) -> str:
        if file != "/proc/net/stat/arp_cache":
            raise FileNotFoundError(file)
        return ARP

    assert overflows(read) == {"ipv4": 26}, "and a family of which the kernel does not tell is left out"
    assert overflows(lambda _: "what no kernel says\n") == {}


def test_the_last_overflow_is_dated_and_what_was_before_is_none() -> None:
    counts: dict[Family, int] = {"ipv4": 7, "ipv6": 3}
    now = 100.0
    watched = Overflows(lambda: counts, lambda: now)
    assert watched.ago("ipv4") is None
    counts = {"ipv4": 9, "ipv6": 3}
    watched.look()
    now = 112.0
    assert (watched.ago("ipv4"), watched.ago("ipv6")) == (12.0, None)
    counts = {"ipv4": 10, "ipv6": 3}
    assert watched.ago("ipv4") == 0.0, "a question looks itself"


def test_the_table_is_lifted_in_three_steps() -> None:
    key = "net.ipv6.neigh.default.gc_thresh"
    assert lifting("ipv6", 4000) == f"sysctl -w {key}1=1000 {key}2=2000 {key}3=4000"
