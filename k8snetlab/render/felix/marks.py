"""Felix' bits of a packet's mark, and what is done with them. Source: Calico felix/rules/endpoints.go, policy.go."""

from __future__ import annotations

from k8snetlab.dataplane.names import CALI_ACCEPT_MARK, CALI_DROP_MARK, CALI_PASS_MARK, CALI_SCRATCH_MARKS

ACCEPT, PASS, DROP = CALI_ACCEPT_MARK, CALI_PASS_MARK, CALI_DROP_MARK
ALL_BLOCKS, THIS_BLOCK = CALI_SCRATCH_MARKS
"""All blocks of a rule so far match, and the one that is being asked does."""
EVERY = ACCEPT | PASS | DROP | ALL_BLOCKS | THIS_BLOCK
RETURN, DENY, ALLOW = "--jump RETURN", "--jump DROP", "--jump ACCEPT"


def is_set(bit: int) -> str:
    return f"-m mark --mark {bit:#x}/{bit:#x}"


def is_clear(bits: int) -> str:
    return f"-m mark --mark 0/{bits:#x}"


def not_clear(bits: int) -> str:
    return f"-m mark ! --mark 0/{bits:#x}"


def put(bits: int, mask: int = 0) -> str:
    """Sets `bits`, and clears the others of `mask`."""
    if not bits and mask:
        return f"--jump MARK --set-mark {bits:#x}/{mask:#x}"
    return f"--jump MARK --set-mark {bits:#x}/{mask or bits:#x}"


def clear(bits: int) -> str:
    return f"--jump MARK --set-mark 0/{bits:#x}"
