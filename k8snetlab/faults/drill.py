"""A drill: a hidden fault to be found and mended in a time, and what that is worth. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k8snetlab.faults.catalogue import FAULTS
from k8snetlab.faults.fault import Fault
from k8snetlab.faults.injected import Injected

DETECTED, NODE, OBJECT, CAUSE, REPAIRED, TIME = 10, 10, 15, 25, 25, 15
"""Points at most, 100 together."""
HINT, RETRY = 5, 2
"""Points that a hint costs, and each answer after the first."""
UNSUITED = frozenset({"nat-flushed", "pool-leaked", "clock-jumped"})
"""Faults that no person mends by hand in time, or that show in what comes later alone."""


class Answer(msgspec.Struct, frozen=True):
    """What a learner says: on which node, which object, as tools name it, and the fault, as `fault list` has it."""

    node: str = ""
    object: str = ""
    cause: str = ""


class Drill(msgspec.Struct, frozen=True):
    """What is known of one while it runs and afterwards; times in epoch seconds. `before` is what `diagnose` found
    before it began, as identities; `repaired` is when the lab was whole again, `ended` when it was over, else 0."""

    fault: Injected
    level: int
    minutes: float
    began: float
    before: tuple[tuple[str, ...], ...] = ()
    diagnose: bool = False
    hints: int = 0
    answers: tuple[Answer, ...] = ()
    checks: int = 0
    repaired: float = 0.0
    ended: float = 0.0
    gave_up: bool = False

    @property
    def due(self) -> float:
        return self.began + 60 * self.minutes


class Points(msgspec.Struct, frozen=True):
    """What one thing is worth."""

    what: str
    """detected, node, object, cause, repaired, time, hints or answers."""
    points: int
    most: int
    """0 for what costs points."""
    why: str
    """In a few words."""


def may_be_hidden(fault: Fault) -> bool:
    """Whether it shows by itself and a person can mend it."""
    return fault.group != "programs" and fault.name not in UNSUITED and fault.said.kind != "conntrack"


def hints(fault: Injected) -> tuple[str, ...]:
    """From the mildest to the plainest; none says the fault's name."""
    declared = FAULTS[fault.name]
    return (
        f"this shows it: {fault.damage.seen}",
        f"it is one of: {declared.group}" + (f", on {fault.node}" if fault.damage.does else ""),
        f"what is damaged: {declared.touches}",
    )


def graded(drill: Drill, now: float) -> Iterator[Points]:
    """Each thing that counts. Of several answers the last one does."""
    fault, declared = drill.fault, FAULTS[drill.fault.name]
    said = drill.answers[-1] if drill.answers else Answer()
    seen = bool(drill.answers) or bool(drill.repaired)
    yield Points("detected", DETECTED * seen, DETECTED, "an answer or a mend" if seen else "neither answer nor mend")
    right = said.node == fault.node
    yield Points("node", NODE * right, NODE, f"it was {fault.node}" + ("" if right else f", not {said.node or 'none'}"))
    right = is_object(said.object, fault)
    wrong = f", not {said.object or 'none'}"
    yield Points("object", OBJECT * right, OBJECT, f"it was {fault.damage.object}" + ("" if right else wrong))
    given = FAULTS.get(said.cause)
    same = said.cause == fault.name
    near = given is not None and not same and (given.group == declared.group or given.said == declared.said)
    points = CAUSE if same else CAUSE // 2 if near else 0
    why = f"it was {fault.name}" + ("" if same else f", not {said.cause or 'none'}")
    yield Points("cause", points, CAUSE, why + (", which is near" if near else ""))
    mended = bool(drill.repaired)
    yield Points("repaired", REPAIRED * mended, REPAIRED, "the lab is whole" if mended else "not mended by hand")
    took = (drill.repaired or drill.ended or now) - drill.began
    left = max(0.0, 1 - took / (60 * drill.minutes)) if mended else 0.0
    yield Points("time", round(TIME * left), TIME, f"{took / 60:.1f} of {drill.minutes:g} minutes")
    if drill.hints:
        yield Points("hints", -HINT * drill.hints, 0, f"{drill.hints} asked for")
    if len(drill.answers) > 1:
        yield Points("answers", -RETRY * (len(drill.answers) - 1), 0, f"{len(drill.answers)} given")


def is_object(said: str, fault: Injected) -> bool:
    """Whether a learner means the damaged object: its name as a tool prints it, with or without table, device, rule's
    number or namespace."""
    words, wanted = said.replace("->", " ").split(), fault.damage.object.replace("->", " ").split()
    names = {name for word in wanted for name in (word, *_short(word))} - GENERAL
    return any(word in names and (len(wanted) == 1 or not word.isdigit()) for word in words)


GENERAL = frozenset({"nat", "filter", "udp", "tcp"})
"""Words that name no object by themselves."""


def _short(word: str) -> tuple[str, ...]:
    """Of "default/web:80" what people say as well: default/web, web:80 and web. Addresses have one name."""
    if "/" not in word or word[0].isdigit():
        return ()
    last = word.rpartition("/")[2]
    return (word.partition(":")[0], last, last.partition(":")[0])


def total(points: tuple[Points, ...]) -> int:
    return max(0, sum(one.points for one in points))
