"""ipsets by netlink: what is brought is what is held, whatever was there, and wherever it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from k8snetlab.dataplane.names import TEMPORARY_SET
from k8snetlab.dataplane.sets import IPSet, by_name
from k8snetlab.kernel import fault, ipsets

PREFIXES = ("KUBE-", "inet6:", TEMPORARY_SET)
MANY = frozenset(f"10.{a}.{b}.{c}" for a in range(3) for b in range(10) for c in range(1, 101))
BEFORE = (
    IPSet("KUBE-SRC-A", "hash:ip", "ipv4", frozenset({"10.0.0.1", "10.0.0.2"})),
    IPSet("KUBE-SRC-B", "hash:net", "ipv4", frozenset({"10.0.0.0/8", "10.1.0.0/16 nomatch", "192.0.2.7"})),
    IPSet("inet6:KUBE-SRC-C", "hash:ip", "ipv6", frozenset({"fd00::1"})),
)
AFTER = (
    IPSet("KUBE-SRC-A", "hash:ip", "ipv4", MANY),
    IPSet("KUBE-SRC-B", "hash:net", "ipv4", frozenset({"10.0.0.0/8 nomatch", "0.0.0.0/1", "192.0.2.7"})),
    IPSet("inet6:KUBE-SRC-C", "hash:net", "ipv6", frozenset({"fd00::/64", "fd00::7"})),
    IPSet("KUBE-DST-D", "hash:ip", "ipv4", frozenset({"10.0.0.9"})),
)


class Crash(Exception):
    """As if the process had been killed."""


def test_what_is_brought_is_held(namespace: Callable[[str], str]) -> None:
    name = namespace("sets")
    for wanted in (BEFORE, AFTER, BEFORE):
        assert ipsets.bring(name, wanted, ipsets.held(name, PREFIXES)) == {}
        held = ipsets.held(name, PREFIXES)
        assert {key: held[key] for key in by_name(wanted)} == by_name(wanted)
    assert sorted(ipsets.destroy(name, held)) == sorted(held)
    assert ipsets.held(name, PREFIXES) == {}


def test_wherever_a_change_is_interrupted_the_next_one_ends_it(
    namespace: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = namespace("sets")
    for steps in range(20):
        ipsets.destroy(name, ipsets.held(name, PREFIXES))
        ipsets.bring(name, BEFORE, {})
        left = iter([None] * steps)

        def point(left: Iterator[None] = left) -> None:
            if next(left, Crash) is Crash:
                raise Crash

        with monkeypatch.context() as patched:
            patched.setattr(fault, "point", point)
            try:
                ipsets.bring(name, AFTER, ipsets.held(name, PREFIXES))
                break
            except Crash:
                pass
        standing = ipsets.held(name, PREFIXES)
        for key, one in standing.items():
            assert one in (*BEFORE, *AFTER) or key.startswith(TEMPORARY_SET), "no half of a set is seen"
        assert ipsets.bring(name, AFTER, standing) == {}
        held = ipsets.held(name, PREFIXES)
        assert {key: held[key] for key in by_name(AFTER)} == by_name(AFTER)
    assert steps > 3
