"""A Service's endpoints are alike to a node's rules only where all of its rules are the lab's own."""

from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec.structs import replace

from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.dataplane.view import View
from k8snetlab.diagnose.finding import Finding, Where
from k8snetlab.errors import NotFoundError
from k8snetlab.explain.drift import RULE_KINDS, tidy

OWN = View("lab.n1", "n1", "node", chains={ChainKey("filter", "FORWARD"): ("-j KUBE-FORWARD", "-j FLANNEL-FWD")})
FOREIGN = {ChainKey("filter", "FORWARD"): ("-d 10.244.1.9/32 -j DROP", "-j KUBE-FORWARD")}


class Kernel:
    """Of `Kernels` one node, as it is read."""

    families = ("ipv4",)

    def __init__(self, view: View | None, elsewhere: tuple[str, ...] = ()) -> None:
        self.wheres, self.elsewhere, self._view = {"lab.n1": Where("lab.n1", "n1", "node", "n1")}, elsewhere, view

    def __getitem__(self, family: str) -> dict[str, View]:
        if self._view is None:
            raise NotFoundError("there is no network namespace named lab.n1")
        return {"lab.n1": self._view}


def is_tidy(kernel: Kernel, *found: Finding) -> bool:
    return tidy(cast(Any, kernel), found)


def finding(kind: str) -> Finding:
    return cast(
        Finding, Finding(kind=cast(Any, kind), fault="x", node="n1", object="x", message="", consequence="", show="")
    )


def test_a_node_with_the_labs_rules_only_is() -> None:
    assert is_tidy(Kernel(OWN)) and is_tidy(Kernel(OWN), finding("link"), finding("route"))


@pytest.mark.parametrize(
    "kernel",
    [
        Kernel(replace(OWN, chains=FOREIGN)),
        Kernel(replace(OWN, beside="legacy")),
        Kernel(OWN, ("n2",)),
        Kernel(None),
    ],
    ids=["a rule that is nobody's", "both variants of iptables", "a node on another machine", "a node that is gone"],
)
def test_another_is_not(kernel: Kernel) -> None:
    assert not is_tidy(kernel)


@pytest.mark.parametrize("kind", RULE_KINDS)
def test_nor_is_one_whose_rules_are_not_as_they_should_be(kind: str) -> None:
    assert not is_tidy(Kernel(OWN), finding(kind))
