"""From a pod's device to its chains: cali-to-wl-dispatch and cali-from-wl-dispatch, with a chain for each next letter.

Source: Calico felix/rules/dispatch.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby

from k8snetlab.dataplane import felix_names as names
from k8snetlab.dataplane.rules import Rules
from k8snetlab.policies.shapes import Direction
from k8snetlab.render.felix import marks
from k8snetlab.render.felix.hashed import Line, hashed

UNKNOWN = Line("", marks.DENY, ("Unknown interface",))


@lru_cache(maxsize=256)
def chains(devices: tuple[str, ...], direction: Direction) -> tuple[tuple[str, Rules], ...]:
    """Those of `devices` alone, which are sorted; what comes to the root for another device is dropped."""
    return tuple(_chains(devices, direction))


def _chains(found: Sequence[str], direction: Direction) -> Iterator[tuple[str, Rules]]:
    root, option = names.dispatch_chain(direction), "out" if direction == "ingress" else "in"
    common = _common(found)
    lines: list[Line] = []
    for letter, some in groupby(found, key=lambda device: device[len(common) : len(common) + 1]):
        mine = list(some)
        if len(mine) == 1:
            lines.append(_goto(option, mine[0], direction))
            continue
        child = f"{root}-{letter}"
        lines.append(Line(f"--{option}-interface {common}{letter}+", f"--goto {child}"))
        yield child, hashed(child, [*(_goto(option, one, direction) for one in mine), UNKNOWN])
    yield root, hashed(root, [*lines, UNKNOWN])


def _common(devices: Sequence[str]) -> str:
    """What all their names begin with, of a sorted list."""
    if not devices:
        return ""
    first, last = devices[0], devices[-1]
    return first[: next((n for n, pair in enumerate(zip(first, last, strict=False)) if len({*pair}) > 1), len(first))]


def _goto(option: str, device: str, direction: Direction) -> Line:
    return Line(f"--{option}-interface {device}", f"--goto {names.endpoint_chain(device, direction)}")
