"""A matrix in words: which policies deny and allow what comes into its ends and goes out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from k8snetlab.policies.matrix import Check

MOST = 30
"""Lines; of more ends it is only said how many they are."""
FEW = 12
"""Numbers, and ranges of them, that are written out."""

Group = tuple[bool, tuple[str, ...], tuple[int, ...]]
"""Whether it is allowed, by which policies, and the numbers of the ends at the other side, counted from 1."""


def legend(checks: Sequence[Check], size: int) -> Iterator[str]:
    """Of one port's checks among `size` ends: a line for all ends of which the same is to be said. None for an end that
    no policy has a say of."""
    lines: list[str] = []
    for way, inward in (("into", True), ("out of", False)):
        alike: dict[tuple[Group, ...], list[int]] = {}
        for number in range(size):
            own = checks[number::size] if inward else checks[number * size : (number + 1) * size]
            if groups := tuple(_groups(own, inward)):
                alike.setdefault(groups, []).append(number + 1)
        lines += [f"{way} {_numbers(ends)}: {_said(groups, inward)}" for groups, ends in alike.items()]
    yield from lines[:MOST]
    if len(lines) > MOST:
        yield f"and {len(lines) - MOST} lines more: `-o json` and `-o FILE.svg` name the policies of each pair"


def decided(check: Check) -> str:
    """By which policies a pair is allowed or denied, as the end of a sentence; "" where none has a say."""
    sides = (("ingress", check.ingressBy), ("egress", check.egressBy))
    return "".join(f"; {side} by {', '.join(by)}" for side, by in sides if by)


def _groups(checks: Sequence[Check], inward: bool) -> Iterator[Group]:
    found: dict[tuple[bool, tuple[str, ...]], list[int]] = {}
    for number, check in enumerate(checks, 1):
        allowed, by = (check.ingress, check.ingressBy) if inward else (check.egress, check.egressBy)
        if by:
            found.setdefault((allowed, by), []).append(number)
    for (allowed, by), numbers in sorted(found.items(), key=lambda one: one[0][0]):
        yield allowed, by, tuple(numbers)


def _said(groups: Sequence[Group], inward: bool) -> str:
    """Where one thing denies all that is denied, its numbers stand in the table."""
    one = sum(not allowed for allowed, _, _ in groups) == 1
    found, way = [], "in" if inward else "out"
    for allowed, by, numbers in groups:
        policies = ", ".join(by)
        if not allowed:
            found.append(f"denied by {policies}" + ("" if one else f": {_numbers(numbers)}"))
        else:
            found.append(f"{_numbers(numbers)} let {way} by {policies}")
    return "; ".join(found)


def _numbers(numbers: Sequence[int]) -> str:
    """1-3, 5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in runs]
    rest = f" and {len(texts) - FEW} more" if len(texts) > FEW + 1 else ""
    return ", ".join(texts[:FEW] if rest else texts) + rest
