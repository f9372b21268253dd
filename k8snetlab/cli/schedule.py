"""schedule: why a pod is on its node, or waits for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    LabOption,
    NamespaceOption,
    OutputOption,
    client_of,
    complete_pod,
    example,
    print_json,
)

if TYPE_CHECKING:
    from k8snetlab.messages.schedule import Schedule, ScheduleNode

TITLES = {
    "NodeUnschedulable": "CORDON",
    "TaintToleration": "TAINTS",
    "NodeAffinity": "NODES",
    "NodePorts": "PORTS",
    "NodeResourcesFit": "ROOM",
    "PodTopologySpread": "SPREAD",
    "InterPodAffinity": "PODS",
}
"""What a filter looks at, in a word."""
_PASSED = {"yes": "ok", "no": "no", "unasked": "-"}


def register(app: typer.Typer) -> None:
    app.command(epilog=example("schedule client"))(schedule)


def schedule(
    pod: Annotated[str, typer.Argument(metavar="POD", autocompletion=complete_pod, help="A pod, bound or not.")],
    namespace: NamespaceOption = "default",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Show how the scheduler sees a pod: which nodes its filters leave, and how it ranks them."""
    from k8snetlab.messages.schedule import SCHEDULE, ScheduleQuestion

    found = client_of(lab).call(SCHEDULE, ScheduleQuestion(pod, namespace))
    if output:
        print_json(found)
    else:
        screen.say(text(found))


def text(found: Schedule) -> str:
    """What became of the pod, the filters' table, why nodes were refused, and the table of ranks."""
    width = screen.columns()
    titles = ("NODE", *(TITLES.get(name, name) for name in (found.nodes[0].filters if found.nodes else ())))
    rows = [(one.node, *(_PASSED[passed] for passed in one.filters.values())) for one in found.nodes]
    fit = sorted((one for one in found.nodes if one.rank), key=lambda one: one.rank)
    parts = [
        _head(found),
        screen.table(titles, rows, width) if rows else "",
        "\n".join(_refused(one) for one in found.nodes if one.reasons),
        screen.table(("RANK", "NODE", "PREFERRED", "OF-ITS-OWNER", "PODS"), map(_ranked, fit), width) if fit else "",
        _end(found),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(found: Schedule) -> str:
    where = f"on {found.node}" if found.node else "on no node yet"
    who = (
        "" if found.scheduler == "default-scheduler" else f"; {found.scheduler} is to bind it, not the lab's scheduler"
    )
    important = f", priority {found.priority}" if found.priority else ""
    return f"pod {found.pod}: {where}{important}{who}"


def _refused(one: ScheduleNode) -> str:
    by = next((name for name, passed in one.filters.items() if passed == "no"), "")
    return f"{one.node}: {by}: {', '.join(one.reasons)}"


def _ranked(one: ScheduleNode) -> tuple[str, ...]:
    parts = ", ".join(f"{name} {value}" for name, value in one.scores.items() if value)
    preferred = f"{one.preference} ({parts})" if parts else str(one.preference)
    return str(one.rank), one.node, preferred, str(one.siblings), str(one.pods)


def _end(found: Schedule) -> str:
    if found.best:
        return f"best: {found.best}" + ("" if found.node else ", which it is about to be bound to")
    if found.preempts:
        return f"{found.message}\nfor it must go from {found.preemptsOn}: {', '.join(found.preempts)}"
    return found.message
