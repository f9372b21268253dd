"""A neighbour table that is full is a finding, one that is too small for the lab a note, and never both."""

from __future__ import annotations

from k8snetlab.diagnose.neighbours import Table, full, small


def table(wanted: int, ago: float | None) -> Table:
    return Table("ipv4", limit=1024, wanted=wanted, ago=ago, lift="sysctl -w it")


def test_a_table_that_was_full_lately_is_found_with_what_lifts_it() -> None:
    [finding] = full([table(2000, 4.2)])
    assert (finding.kind, finding.fault, finding.object) == ("neighbour", "full", "net.ipv4.neigh.default.gc_thresh3")
    assert "1,024 entries, and 4 s ago" in finding.message and finding.mend == "sysctl -w it"
    assert small([table(2000, 4.2)]) == []


def test_one_that_was_full_long_ago_is_none_and_a_small_one_is_noted() -> None:
    for ago in (None, 31.0):
        assert list(full([table(2000, ago)])) == []
        [note] = small([table(2000, ago)])
        assert "takes 1,024 entries, and the lab's pods 2,000" in note and "sysctl -w it" in note
    assert small([table(1024, None)]) == []
