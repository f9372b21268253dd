"""Every policy of tests/policies_cases does what its truth table says, by single verdicts and as a matrix."""

from __future__ import annotations

import msgspec
import pytest
from policycases import Case, cases

from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.policies.matrix import matrix
from k8snetlab.policies.resolve import resolved
from k8snetlab.policies.verdict import allowed

CASES = list(cases())


def test_there_are_more_than_150() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 600


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_policy_allows_what_its_table_says(case: Case) -> None:
    found = resolved(Snapshot.of(with_defaults(msgspec.convert(o, BY_KIND[o["kind"]].type), "") for o in case.objects))
    ends = tuple(found.pods.values())
    ports = [(port.split("/")[1], int(port.split("/")[0])) for port in case.ports]
    one_by_one = {
        (a.name, b.name, f"{at[1]}/{at[0]}"): allowed(found, a, b, at).allowed
        for at in ports
        for a in ends
        for b in ends
    }
    assert one_by_one == case.allowed
    table = matrix(found, ends, ports)
    assert {(c.from_, c.to, f"{c.port}/{c.protocol}"): c.allowed for c in table.checks} == case.allowed
