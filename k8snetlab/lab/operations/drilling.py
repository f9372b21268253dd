"""Drills: a hidden fault in this lab, what its learner says, and whether the lab is whole again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from k8snetlab.errors import InputError, NotFoundError, StoreError
from k8snetlab.faults.catalogue import FAULTS
from k8snetlab.faults.drill import Answer, Drill, graded, hints, total
from k8snetlab.lab.operations.faulting import Faulting, shown
from k8snetlab.lab.table import answers
from k8snetlab.messages.diagnose import Diagnosis
from k8snetlab.messages.drills import (
    DRILL,
    DRILL_ANSWER,
    DRILL_CHECK,
    DRILL_GIVE_UP,
    DRILL_HINT,
    DRILL_START,
    DrillAnswer,
    DrillCheck,
    DrillStart,
    DrillState,
    GradeRow,
)
from k8snetlab.messages.verb import Nothing
from k8snetlab.state import drills
from k8snetlab.state.paths import LabPaths

LONGEST = 24 * 60.0
"""Minutes that a drill may take."""
SHOWS = 12.0
"""Seconds in which every fault has begun to show: those of routing daemons do when a session is given up."""
STILL, UNEXPECTED = "something is still not as it should be", "not all that the scenario expects is so"


class Drilling:
    """One drill at a time; what is known of it stands sealed in the lab's directory before it is done."""

    def __init__(self, paths: LabPaths, faulting: Faulting, look: Callable[[], Awaitable[Diagnosis]]) -> None:
        """`look` diagnoses the lab, whoever may ask."""
        self._paths, self._faulting, self._look = paths, faulting, look
        self._turn = asyncio.Lock()

    @answers(DRILL_START)
    async def start(self, asked: DrillStart) -> DrillState:
        if not 0 < asked.minutes <= LONGEST:
            raise InputError(f"minutes: {asked.minutes:g} is not more than 0 and at most {LONGEST:g}")
        async with self._turn, self._faulting.turn:
            if drills.running(self._paths):
                raise InputError("a drill is under way", "`k8snetlab drill check`, or `drill give-up`")
            fault = self._faulting.hidden(asked.seed, asked.level)
            seen = await self._look()
            if seen.findings:
                raise InputError("the lab is not whole before the drill", "`k8snetlab diagnose` says what is wrong")
            level, now = FAULTS[fault.name].level, time.time()
            drill = Drill(fault, level, asked.minutes, now, before=_identities(seen), diagnose=asked.diagnose)
            drills.write(self._paths, drill)
            try:
                await self._faulting.do(fault)
            except BaseException:
                self._paths.drill.unlink(missing_ok=True)
                raise
            return _state(drill)

    @answers(DRILL_HINT)
    async def hint(self, _: Nothing) -> DrillState:
        async with self._turn:
            drill = self._running()
            if drill.hints == len(hints(drill.fault)):
                raise NotFoundError("there is no more hint", "`k8snetlab drill give-up` tells what it was")
            return self._kept(replace(drill, hints=drill.hints + 1))

    @answers(DRILL_ANSWER)
    async def answer(self, asked: DrillAnswer) -> DrillState:
        if not (asked.node or asked.object or asked.cause):
            raise InputError("an answer says something", "--node NODE, --object OBJECT, --cause NAME of `fault list`")
        if asked.cause and asked.cause not in FAULTS:
            raise NotFoundError(f"there is no fault {asked.cause!r}", "`k8snetlab fault list` has all of them")
        async with self._turn:
            drill = self._running()
            said = Answer(asked.node, asked.object, asked.cause)
            return self._kept(replace(drill, answers=(*drill.answers, said)))

    @answers(DRILL_CHECK)
    async def check(self, asked: DrillCheck) -> DrillState:
        """Over once nothing is wrong that was not so before."""
        async with self._turn:
            drill = self._running()
            left = await self._left(drill)
            if not left and (early := drill.began + SHOWS - time.time()) > 0:
                await asyncio.sleep(min(early, SHOWS))
                left = await self._left(drill)
            drill = replace(drill, checks=drill.checks + 1)
            if left or asked.scenario is False:
                self._kept(drill)
                return _state(drill, STILL if left else UNEXPECTED)
            return await self._over(replace(drill, repaired=time.time()))

    @answers(DRILL_GIVE_UP)
    async def give_up(self, _: Nothing) -> DrillState:
        async with self._turn:
            try:
                drill = self._running()
            except StoreError as damaged:
                left = await self._given_back()
                told = f"not mended: {'; '.join(left)}" if left else "its fault is taken out, and there is no grade"
                raise StoreError(damaged.message, told) from None
            return await self._over(replace(drill, gave_up=True))

    @answers(DRILL)
    async def grade(self, _: Nothing) -> DrillState:
        drill = drills.read(self._paths)
        if drill is None:
            raise NotFoundError("there was no drill in this lab", "k8snetlab drill start")
        return _state(drill)

    async def _left(self, drill: Drill) -> set[tuple[str, ...]]:
        return set(_identities(await self._look())) - set(drill.before)

    def _running(self) -> Drill:
        drill = drills.running(self._paths)
        if drill is None:
            raise NotFoundError("no drill is under way", "k8snetlab drill start")
        return drill

    def _kept(self, drill: Drill) -> DrillState:
        drills.write(self._paths, drill)
        return _state(drill)

    async def _over(self, drill: Drill) -> DrillState:
        async with self._faulting.turn:
            left = await self._faulting.undo((drill.fault,))
        return replace(self._kept(replace(drill, ended=time.time())), notes=left)

    async def _given_back(self) -> tuple[str, ...]:
        """Ends a drill of which nothing can be read any more; what of its fault could not be taken out."""
        async with self._faulting.turn:
            left = await self._faulting.undo(self._faulting.concealed)
        self._paths.drill.unlink(missing_ok=True)
        return left


def _identities(seen: Diagnosis) -> tuple[tuple[str, ...], ...]:
    return tuple((one.kind, one.fault, one.node, one.object) for one in (*seen.findings, *seen.closed))


def _state(drill: Drill, still: str = "") -> DrillState:
    now, fault = time.time(), drill.fault
    over = bool(drill.ended)
    points = tuple(graded(drill, now)) if over else ()
    return DrillState(
        running=not over,
        level=drill.level,
        minutes=drill.minutes,
        left=0.0 if over else round(max(0.0, drill.due - now), 1),
        symptom=FAULTS[fault.name].symptom,
        hints=hints(fault)[: drill.hints],
        answers=len(drill.answers),
        repaired=bool(drill.repaired),
        still=still,
        fault=shown(fault) if over else None,
        grade=tuple(GradeRow(one.what, one.points, one.most, one.why) for one in points),
        points=total(points),
    )
