"""Every policy of tests/policies_cases does what its truth table says, by single verdicts and as a matrix."""

from __future__ import annotations

import msgspec
import pytest
from policycases import Case, calico_cases, cases

from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import resource_of_kind
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.validate import validate
from k8snetlab.policies.matrix import matrix
from k8snetlab.policies.resolve import resolved
from k8snetlab.policies.shapes import named
from k8snetlab.policies.verdict import Decision, allowed

CASES = list(cases())
CALICO = list(calico_cases())


def test_there_are_more_than_150() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 600


@pytest.mark.parametrize("case", [*CASES, *CALICO], ids=[case.name for case in [*CASES, *CALICO]])
def test_policy_allows_what_its_table_says(case: Case) -> None:
    found = resolved(Snapshot.of(_objects(case)))
    ends = tuple(found.pods.values())
    ports = [(port.split("/")[1], int(port.split("/")[0])) for port in case.ports]
    one_by_one = {
        (a.name, b.name, f"{at[1]}/{at[0]}"): allowed(found, a, b, at) for at in ports for a in ends for b in ends
    }
    assert {pair: verdict.allowed for pair, verdict in one_by_one.items()} == case.allowed
    table = {(c.from_, c.to, f"{c.port}/{c.protocol}"): c for c in matrix(found, ends, ports).checks}
    assert {pair: check.allowed for pair, check in table.items()} == case.allowed
    for pair, verdict in one_by_one.items():
        assert table[pair].ingressBy == _policies(verdict.ingress)
        assert table[pair].egressBy == _policies(verdict.egress)


@pytest.mark.parametrize("case", CALICO, ids=[case.name for case in CALICO])
def test_calico_takes_the_policies_of_these_tables(case: Case) -> None:
    assert [str(one) for one in validate(_objects(case)) if one.severity == "error"] == []


def _objects(case: Case) -> list[Object]:
    found = []
    for one in case.objects:
        resource = resource_of_kind(one["apiVersion"], one["kind"])
        assert resource is not None
        found.append(with_defaults(msgspec.convert(one, resource.type), ""))
    return found


def _policies(decision: Decision) -> tuple[str, ...]:
    """Those that decide, as a verdict names them."""
    keys = [match.policy for match in decision.by] or (() if decision.allowed else decision.isolated_by)
    return tuple(dict.fromkeys(map(named, keys)))
