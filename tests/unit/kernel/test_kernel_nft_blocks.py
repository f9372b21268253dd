"""How many chains iptables-nft-restore is given in one transaction."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.kernel.iptables.nft import NftIptables

FEW = {ChainKey("nat", "OUTPUT"): ("-j KUBE-SERVICES",)}
MANY = {ChainKey("nat", "KUBE-SERVICES"): ("-j KUBE-SVC-A",) * 5000}


@pytest.mark.parametrize(
    ("held", "chunk", "size"),
    [
        ({}, None, NftIptables.FIRST),
        (FEW, None, NftIptables.FIRST),
        (MANY, None, NftIptables.CHUNK),
        (None, None, NftIptables.CHUNK),
        ({}, 2, 2),
        ({}, 0, 0),
    ],
    ids=("nothing held", "few held", "many held", "not known what is held", "fewer asked for", "no limit"),
)
def test_blocks_are_smaller_where_the_kernel_has_next_to_no_rules_to_walk(
    held: dict[ChainKey, Rules] | None, chunk: int | None, size: int
) -> None:
    table = NftIptables("nowhere", "ipv4", Path("/run/none"), chunk)
    assert table._chunk(held) == size
