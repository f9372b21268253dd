"""drill: a hidden fault, in the words of the API."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.faults import InjectedFault
from k8snetlab.messages.timeouts import LONG
from k8snetlab.messages.verb import Call, Nothing


class DrillStart(msgspec.Struct, frozen=True):
    """What drill is wanted."""

    seed: str = ""
    """The same seed means the same fault in the same lab."""
    level: int = 0
    """1 to 3; 0 for any."""
    minutes: float = 15
    """For how long time counts."""
    diagnose: bool = False
    """Whether diagnose may be asked meanwhile."""


class DrillAnswer(msgspec.Struct, frozen=True):
    """What the learner says; what is left out counts as not known."""

    node: str = ""
    """The node that the fault is on."""
    object: str = ""
    """What is damaged, as tools name it: flannel.1, 10.244.2.0/24, default/web."""
    cause: str = ""
    """The fault, as `fault list` names it."""


class DrillCheck(msgspec.Struct, frozen=True):
    """What was checked already."""

    scenario: bool | None = None
    """Whether the scenario's expectations hold; left out where there are none."""


class GradeRow(msgspec.Struct, frozen=True):
    """What one thing is worth."""

    what: str
    """detected, node, object, cause, repaired, time, hints or answers."""
    points: int
    """Those given, less than 0 for what costs some."""
    most: int
    """Those that can be had."""
    why: str
    """In a few words."""


class DrillState(msgspec.Struct, frozen=True):
    """How far a drill is. What is hidden is "" and empty until it is over."""

    running: bool
    """Whether it is not over."""
    level: int
    """1 to 3, the hardest."""
    minutes: float
    """For how long time counts."""
    left: float
    """Seconds of them that are left."""
    symptom: str
    """What users complain of."""
    hints: tuple[str, ...]
    """Those asked for so far."""
    answers: int
    """How many were given."""
    repaired: bool
    """Whether the lab was found whole again."""
    still: str = ""
    """Why the last check found that it is not, in words that tell nothing of the fault."""
    fault: InjectedFault | None = None
    """What it was."""
    grade: tuple[GradeRow, ...] = ()
    """What each thing is worth."""
    points: int = 0
    """Of 100."""
    notes: tuple[str, ...] = ()
    """What of the fault could not be taken out as the drill ended just now, in sentences."""


State = DrillState
DRILL_START: Call[DrillStart, State] = Call("drill start", "POST", "drill/start", DrillStart, State, silence=LONG)
DRILL_HINT: Call[Nothing, State] = Call("drill hint", "POST", "drill/hint", Nothing, State)
DRILL_ANSWER: Call[DrillAnswer, State] = Call("drill answer", "POST", "drill/answer", DrillAnswer, State)
DRILL_CHECK: Call[DrillCheck, State] = Call("drill check", "POST", "drill/check", DrillCheck, State, silence=LONG)
DRILL_GIVE_UP: Call[Nothing, State] = Call("drill give-up", "POST", "drill/giveup", Nothing, State, silence=LONG)
DRILL: Call[Nothing, State] = Call("drill grade", "GET", "drill", Nothing, State)
