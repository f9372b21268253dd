"""What a diagnosis of a large lab looks at: a part that is spread, all that is odd, and it says what it left out."""

from __future__ import annotations

from k8snetlab.diagnose import sampling
from k8snetlab.diagnose.sampling import ENDPOINTS, some, spread
from k8snetlab.iptables.matching import Packet
from k8snetlab.trace.tracer import Outcome, Verdict

KNOWN = [f"10.244.{n // 250}.{n % 250}:80" for n in range(1000)]


def way(endpoint: str, verdict: Verdict = "sent") -> Outcome:
    return Outcome(1.0, verdict, Packet("10.244.9.9", endpoint.partition(":")[0]), endpoint, False, ())


def test_a_few_are_all_looked_at() -> None:
    assert spread([1, 2, 3], 3) == [1, 2, 3]
    ways = [way(one) for one in KNOWN[:ENDPOINTS]]
    assert some(KNOWN, 0)(ways) == ways


def test_of_many_each_turn_takes_others_from_the_beginning_to_the_end() -> None:
    first, second = spread(range(1000), 20), spread(range(1000), 20, 1)
    assert len({*first}) == len({*second}) == 20 and not {*first} & {*second}
    assert first[0] == 0 and first[-1] >= 950
    assert {one for turn in range(50) for one in spread(range(1000), 20, turn)} == {*range(1000)}


def test_what_leads_elsewhere_or_nowhere_is_always_followed() -> None:
    odd = [way("10.9.9.9:80"), way(KNOWN[5], "dropped"), way("")]
    chosen = some(KNOWN, 3)([*map(way, KNOWN[:500]), *odd, *map(way, KNOWN[500:])])
    assert len(chosen) == ENDPOINTS + len(odd) and all(one in chosen for one in odd)


def test_what_was_passed_by_is_said() -> None:
    assert sampling.of_namespaces(0, 30) == sampling.of_pairs(900, 900) == sampling.of_ruled(64) == []
    assert sampling.of_ruled(65) == ["of 65 pods with iptables rules of their own, 64 had theirs read"]
    paths = [("default/web", ENDPOINTS), ("default/large", 1000), ("default/large", 3), ("", 99)]
    (said,) = sampling.of_endpoints(paths)
    assert said.startswith("Service default/large: each path to it was followed to 20 of its 1000 endpoints")
    (said,) = sampling.of_namespaces(936, 1000)
    assert said.startswith("936 of 1000 pods were not looked into")
    assert said.endswith("their sysctls, ip rules and processes, of which it tells nothing, were not looked at")
    assert sampling.of_pairs(240, 1_000_000) == [
        "of 1,000,000 pairs of who may ask and what may be asked, 240 were probed"
    ]
    assert sampling.of_pairs(240, 1_000_000, 760)[0].endswith("240 were probed; 760 targets were asked by nobody")
