"""What `probe --all` sees, for a diagnosis that has found nothing: what is broken there is never "nothing is wrong"."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import end
from k8snetlab.diagnose import sampling
from k8snetlab.diagnose.finding import Finding
from k8snetlab.explain import probe
from k8snetlab.explain.drift import Tell
from k8snetlab.explain.intended import Intents
from k8snetlab.explain.places import Place, all_places
from k8snetlab.explain.targets import Target, all_targets
from k8snetlab.kernel.patience import patience
from k8snetlab.messages.probe import ProbeResult

MOST, LARGE = 800, 120
"""Pairs that are tried: all of so many, of a larger lab some targets, each from some places in turn."""
CLOSED_TIMEOUT = 0.7
"""Seconds that a probe waits where nothing should answer."""
ALL, ALL_OF_LARGE = 2500, 400
"""The same of `probe --all`. Each leaves two neighbour entries, of which a machine has room for 1,024 by default."""
AT_ONCE = 160
"""Pairs between two words of progress."""

_NAMED = re.compile(r"(?:Service|pod) ([a-z0-9.-]+/[a-z0-9.-]+)")

Pair = tuple[Place, Target]


class Left(NamedTuple):
    """Left out: the nodes of other machines, and addresses that are known to be silent."""

    elsewhere: Collection[str]
    silent: Collection[str] = ()


def broken(snapshot: Snapshot, left: Left, tell: Tell, turn: int = 0) -> tuple[list[Finding], int, list[str]]:
    """A finding for each cause, the number of pairs tried, and notes on those that were not. Another `turn` tries
    others of a large lab."""
    places = [place for place in all_places(snapshot) if not (place.node and place.node in left.elsewhere)]
    targets = [target for target in all_targets(snapshot) if target.address not in left.silent]
    pairs = [*chosen(places, targets, turn)]
    intents, failed = Intents(snapshot), list[ProbeResult]()
    open_, shut = list[Pair](), list[Pair]()
    for pair in pairs:
        (open_ if intents.of(*pair).expected == "answered" else shut).append(pair)
    for group, timeout in ((open_, probe.TIMEOUT), (shut, CLOSED_TIMEOUT)):
        for start in range(0, len(group), AT_ONCE):
            tell("probes", start + (len(open_) if group is shut else 0), len(pairs))
            part = group[start : start + AT_ONCE]
            doubtful = [p for p, r in zip(part, _tried(snapshot, part, timeout), strict=True) if not r.ok]
            failed += [r for r in _tried(snapshot, doubtful, patience(timeout)) if not r.ok]  # chance
    unasked = len({*targets} - {target for _, target in pairs})
    return [*_findings(failed)], len(pairs), sampling.of_pairs(len(pairs), len(places) * len(targets), unasked)


def everyone(places: list[Place], targets: list[Target]) -> list[Pair]:
    """The pairs that `probe --all` tries, others of a large lab each time."""
    return [*chosen(places, targets, int(time.time()), most=ALL, large=ALL_OF_LARGE)]


def chosen(
    places: list[Place], targets: list[Target], turn: int = 0, *, most: int = MOST, large: int = LARGE
) -> Iterator[Pair]:
    """All pairs; of many so many that each target is asked, or of more targets a part, from places in turn. Another
    `turn` takes others."""
    if len(places) * len(targets) <= most:
        yield from ((place, target) for place in places for target in targets)
        return
    kept = sampling.spread(targets, large, turn)
    share = max(1, large // len(kept))
    for number, target in enumerate(kept, turn):
        first = number * share
        yield from ((places[(first + step) % len(places)], target) for step in range(min(share, len(places))))


def laid(found: list[Finding], more: list[Finding]) -> list[Finding]:
    """`found` with the paths of those of `more` that concern the same Service or pod, and the others."""
    for new in more:
        named = set(_NAMED.findall(new.message))
        for number, finding in enumerate(found):
            mentioned = {*_NAMED.findall(f"{finding.message} {finding.consequence}"), finding.object.split(" ")[0]}
            if named & mentioned:
                found[number] = replace(finding, broken=(*finding.broken, *new.broken))
                break
        else:
            found.append(new)
    return found


def _tried(snapshot: Snapshot, pairs: Iterable[Pair], timeout: float) -> list[ProbeResult]:
    wanted = list(pairs)
    return asyncio.run(probe.probe(snapshot, wanted, timeout)) if wanted else []


def _findings(failed: list[ProbeResult]) -> Iterator[Finding]:
    for why in dict.fromkeys(result.why for result in failed):
        alike = [result for result in failed if result.why == why]
        nodes = {result.sourceNode for result in alike}
        asked = [f"{r.source} {end(r.address, r.port)}{'' if r.protocol == 'TCP' else ' -p udp'}" for r in alike]
        yield Finding(
            kind="path",
            fault="broken",
            node=nodes.pop() if len(nodes) == 1 else "",
            object=why,
            message=why,
            consequence=f"{len(alike)} {'probe is' if len(alike) == 1 else 'probes are'} not as intended",
            show=f"k8snetlab trace {asked[0]}",
            broken=tuple(f"{words}: {r.error or 'answered'}" for words, r in zip(asked, alike, strict=True)),
        )
