"""docs/json.md tells what every verb prints with -o json, and tells it of the types as they are.

`python tests/unit/messages/test_docs_json.py` writes what is below its mark anew.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer
from msgspec import inspect as shapes

from k8snetlab.checkup.audit import AuditReport, BaselineWritten
from k8snetlab.checkup.peer import PeerReport
from k8snetlab.classroom.looking import ClassState
from k8snetlab.classroom.opening import ClassOpened, Opened
from k8snetlab.classroom.sheet import ClassReport
from k8snetlab.cli.main import app_of
from k8snetlab.kernel.features import Feature
from k8snetlab.messages.attach import PluggedIn
from k8snetlab.messages.capture import CapturedPacket
from k8snetlab.messages.changes import Outcome
from k8snetlab.messages.controlplane import CONTROL_PLANE
from k8snetlab.messages.diagnose import Diagnosis
from k8snetlab.messages.dig import DIG
from k8snetlab.messages.drills import DRILL
from k8snetlab.messages.faults import CLEAR, INJECT, INJECTED, DeclaredFault
from k8snetlab.messages.follow import FOLLOW
from k8snetlab.messages.guests import GUESTS, GuestState
from k8snetlab.messages.ingress import HTTP_TRACE, NGINX_CONF
from k8snetlab.messages.kubeconfig import KUBECONFIG
from k8snetlab.messages.links import LINK, LINKS
from k8snetlab.messages.machines import Down, Joined, Left
from k8snetlab.messages.nodes import PAUSE, RESUME, START, STOP, AnsweredMiss
from k8snetlab.messages.probe import PROBE
from k8snetlab.messages.processes import KILL
from k8snetlab.messages.routing import ROUTING
from k8snetlab.messages.rules import DIFFERENCE, RULES
from k8snetlab.messages.schedule import SCHEDULE
from k8snetlab.messages.snapshots import Restored, SnapshotDeleted, SnapshotInfo, SnapshotList
from k8snetlab.messages.status import STATUS
from k8snetlab.messages.store import DUMP, LEASES, STORE_STATUS, SubnetLease
from k8snetlab.messages.tables import TABLES
from k8snetlab.messages.tokens import TokenCreated, TokenDeleted, TokenList
from k8snetlab.messages.trace import TRACE
from k8snetlab.policies.lint import PolicySurprises
from k8snetlab.policies.matrix import PolicyMatrix
from k8snetlab.policies.sentences import PolicyExplanation, PolicyReason
from k8snetlab.render.picture_boxes import Picture
from k8snetlab.workshop.checking import CheckReport
from k8snetlab.workshop.comparing import Comparison
from k8snetlab.workshop.scenes import Scenario, Scenarios
from k8snetlab.workshop.teaching import Lessons, LessonState

PAGE = Path(__file__).parents[3] / "docs" / "json.md"
MARK = "<!-- types -->\n"


class Printed(NamedTuple):
    """What `words`, a command line, prints: a value of `type_`; `form` says how."""

    words: str
    type_: type[msgspec.Struct]
    form: str = "an object"


_OF_A_LAB = "an object: `lab`, its name, and the fields of the type"

PRINTED = (
    Printed("apply", Outcome),
    Printed("attach", PluggedIn),
    Printed("audit", AuditReport),
    Printed("audit --baseline FILE", BaselineWritten, "an object, where FILE was not there"),
    Printed("capture", CapturedPacket, "an object a line"),
    Printed("class report", ClassReport),
    Printed("class reset", Opened),
    Printed("class start", ClassOpened),
    Printed("class status", ClassState),
    Printed("class status --watch", ClassState, "an object a look, a line each"),
    Printed("compare", Comparison),
    Printed("controlplane status", CONTROL_PLANE.answer),
    Printed("delete", Outcome),
    Printed("detach", Outcome),
    Printed("diagnose", Diagnosis),
    Printed("dig", DIG.answer),
    Printed("doctor", Feature, "a list of objects"),
    Printed("doctor --peer ADDRESS", PeerReport),
    Printed("down", Down),
    Printed("drill answer", DRILL.answer),
    Printed("drill check", DRILL.answer),
    Printed("drill give-up", DRILL.answer),
    Printed("drill grade", DRILL.answer),
    Printed("drill hint", DRILL.answer),
    Printed("drill start", DRILL.answer),
    Printed("fault clear", CLEAR.answer),
    Printed("fault inject", INJECT.answer),
    Printed("fault list", DeclaredFault, "a list of objects"),
    Printed("fault list --injected", INJECTED.answer),
    Printed("fault random", INJECT.answer),
    Printed("fault show", DeclaredFault),
    Printed("get subnet", LEASES.answer),
    Printed("get subnet NODE", SubnetLease),
    Printed("graph", Picture),
    Printed("follow", FOLLOW.answer, "an object a line"),
    Printed("guest list", GUESTS.answer),
    Printed("guest start", GuestState),
    Printed("guest stop", Outcome),
    Printed("kubeconfig", KUBECONFIG.answer),
    Printed("lesson check", LessonState),
    Printed("lesson list", Lessons),
    Printed("lesson next", LessonState),
    Printed("lesson reset", LessonState),
    Printed("lesson show", LessonState),
    Printed("lesson solve", LessonState),
    Printed("lesson start", LessonState),
    Printed("lesson status", LessonState),
    Printed("link clear", LINK.answer),
    Printed("link down", LINK.answer),
    Printed("link set", LINK.answer),
    Printed("link show", LINKS.answer),
    Printed("link up", LINK.answer),
    Printed("misses", AnsweredMiss, "an object a line"),
    Printed("nginx-conf", NGINX_CONF.answer),
    Printed("node join", Joined, _OF_A_LAB),
    Printed("node leave", Left),
    Printed("node start", START.answer),
    Printed("node stop", STOP.answer),
    Printed("pause", PAUSE.answer),
    Printed("policy explain", PolicyExplanation),
    Printed("policy lint", PolicySurprises),
    Printed("policy matrix", PolicyMatrix),
    Printed("policy why", PolicyReason),
    Printed("probe", PROBE.answer),
    Printed("process kill", KILL.answer),
    Printed("resume", RESUME.answer),
    Printed("routing", ROUTING.answer),
    Printed("rules", RULES.answer),
    Printed("rules --diff NODE1 NODE2", DIFFERENCE.answer),
    Printed("scenario check", CheckReport),
    Printed("scenario list", Scenarios),
    Printed("scenario show", Scenario),
    Printed("snapshot delete", SnapshotDeleted),
    Printed("snapshot list", SnapshotList),
    Printed("snapshot restore", Restored),
    Printed("snapshot save", SnapshotInfo),
    Printed("schedule", SCHEDULE.answer),
    Printed("status", STATUS.answer),
    Printed("store dump", DUMP.answer, "an object a line"),
    Printed("store status", STORE_STATUS.answer),
    Printed("tables", TABLES.answer),
    Printed("token create", TokenCreated),
    Printed("token delete", TokenDeleted),
    Printed("token list", TokenList),
    Printed("trace", TRACE.answer),
    Printed("trace of a URL that an Ingress has", HTTP_TRACE.answer),
    Printed("up", Outcome, _OF_A_LAB),
)

KUBERNETES = {"get", "scale", "calicoctl get"}
"""They print objects of Kubernetes, or of Calico."""


# --- the page ---------------------------------------------------------------------------------------------------------


def page() -> str:
    return PAGE.read_text().split(MARK)[0] + MARK + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| Command, with `-o json` | prints | of type |"
    yield "|---|---|---|"
    for words, type_, form in PRINTED:
        yield f"| `{words}` | {form} | {_link(type_)} |"
    for type_ in _types():
        yield from ("", f"## {type_.__name__}", "", *textwrap.wrap(_text(type_.__doc__), 120), "")
        yield "| Field | Type | |"
        yield "|---|---|---|"
        described = described_fields(type_)
        for field in shapes.type_info(type_).fields:  # type: ignore[attr-defined]
            shown = _shown(field.type) + (", or left out" if _may_be_left_out(type_, field) else "")
            yield f"| `{field.encode_name}` | {shown} | {_text(described[field.name])} |"


def _types() -> list[type[msgspec.Struct]]:
    """All that are printed, each once, after what holds it."""
    found: dict[type[msgspec.Struct], None] = {}

    def add(type_: type[msgspec.Struct]) -> None:
        if type_ not in found:
            found[type_] = None
            for field in shapes.type_info(type_).fields:  # type: ignore[attr-defined]
                for held in _structs(field.type):
                    add(held)

    for printed in PRINTED:
        add(printed.type_)
    return list(found)


def _structs(shape: shapes.Type) -> Iterator[type[msgspec.Struct]]:
    match shape:
        case shapes.StructType():
            yield shape.cls
        case shapes.UnionType():
            for one in shape.types:
                yield from _structs(one)
        case shapes.TupleType():
            for one in shape.item_types:
                yield from _structs(one)
        case shapes.VarTupleType() | shapes.ListType():
            yield from _structs(shape.item_type)
        case shapes.DictType():
            yield from _structs(shape.value_type)
        case shapes.Metadata():
            yield from _structs(shape.type)


def _shown(shape: shapes.Type) -> str:
    """A type in JSON's words."""
    match shape:
        case shapes.StructType():
            return _link(shape.cls)
        case shapes.UnionType():
            return " or ".join(_shown(one) for one in shape.types if not isinstance(one, shapes.CustomType))
        case shapes.LiteralType():
            return " or ".join(f'`"{value}"`' if isinstance(value, str) else f"`{value}`" for value in shape.values)
        case shapes.TupleType():
            return f"[{', '.join(_shown(one) for one in shape.item_types)}]"
        case shapes.VarTupleType() | shapes.ListType():
            return f"list of {_shown(shape.item_type)}"
        case shapes.DictType():
            return f"object of {_shown(shape.value_type)}"
        case shapes.Metadata():
            return _shown(shape.type)
    return _WORDS[type(shape)]


_WORDS: dict[type[shapes.Type], str] = {
    shapes.StrType: "string",
    shapes.IntType: "integer",
    shapes.FloatType: "number",
    shapes.BoolType: "true or false",
    shapes.NoneType: "null",
    shapes.AnyType: "anything",
}


def _may_be_left_out(type_: type[msgspec.Struct], field: shapes.Field) -> bool:
    unset = not field.required and field.default is field.default_factory is msgspec.NODEFAULT
    return unset or (type_.__struct_config__.omit_defaults and not field.required)


def _link(type_: type[msgspec.Struct]) -> str:
    return f"[{type_.__name__}](#{type_.__name__.lower()})"


def _text(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


# --- what is said of fields -------------------------------------------------------------------------------------------


def described_fields(type_: type[msgspec.Struct]) -> dict[str, str]:
    """By name of the attribute: the string that stands after the field, in the class or in one that it is made of."""
    found: dict[str, str] = {}
    for cls in reversed(type_.__mro__):
        if issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct:
            found |= _classes(inspect.getmodule(cls))[cls.__name__]
    return found


@cache
def _classes(module: types.ModuleType) -> dict[str, dict[str, str]]:
    tree = ast.parse(inspect.getsource(module))
    return {node.name: dict(_described(node)) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def _described(cls: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, after in zip(cls.body, cls.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            text: Any = getattr(after.value, "value", None)
            if isinstance(text, str):
                yield field.target.id, text


# --- tests ------------------------------------------------------------------------------------------------------------


def test_the_page_says_what_is_printed() -> None:
    assert PAGE.read_text() == page()


def test_every_field_that_is_printed_says_what_it_means() -> None:
    for type_ in _types():
        assert type_.__doc__, type_
        silent = set(type_.__struct_fields__) - set(described_fields(type_))
        assert not silent, f"{type_.__name__}: {sorted(silent)}"


def test_no_two_types_have_one_name() -> None:
    names = [type_.__name__ for type_ in _types()]
    assert len(names) == len(set(names))


def test_every_command_with_json_is_on_the_page() -> None:
    commands = set(_with_json(typer.main.get_command(app_of())))
    told = {one for one in commands for printed in PRINTED if f"{printed.words} ".startswith(f"{one} ")}
    assert told | KUBERNETES == commands
    assert all(any(f"{printed.words} ".startswith(f"{one} ") for one in commands) for printed in PRINTED)


def _with_json(command: Any, *path: str) -> Iterator[str]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _with_json(inner, *path, name)
    if any("--output" in parameter.opts for parameter in command.params):
        yield " ".join(path)


if __name__ == "__main__":
    PAGE.write_text(page())
