"""scenario: what ships, what stands in one, a new one, and whether a running lab is as its scenario expects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    LabOption,
    OutputOption,
    client_of,
    complete_scenario,
    example,
    print_json,
    write,
)
from k8snetlab.errors import InputError
from k8snetlab.wording import counted

if TYPE_CHECKING:
    from k8snetlab.client.client import Client
    from k8snetlab.workshop.checking import CheckReport

ScenarioArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SCENARIO|DIR",
        autocompletion=complete_scenario,
        help="Left out: the current directory if it has an expect.yaml, else what the lab was built from.",
    ),
]


def register(app: typer.Typer) -> None:
    scenario = typer.Typer(
        help="Folders with a lab, and what is expected of it.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("scenario check two-nodes"),
    )
    scenario.command("list", epilog=example("scenario list"))(list_)
    scenario.command(epilog=example("scenario show two-nodes"))(show)
    scenario.command(epilog=example("scenario new my-lab"))(new)
    scenario.command(epilog=example("scenario check two-nodes --junit report.xml"))(check)
    app.add_typer(scenario, name="scenario")


def list_(output: OutputOption = None) -> None:
    """List the scenarios that ship with k8snetlab."""
    from k8snetlab.workshop import scenes

    found = scenes.shipped()
    if output:
        print_json(found)
        return
    rows = [(one.name, str(one.expectations), one.title) for one in found.scenarios]
    typer.echo(screen.table(("NAME", "EXPECTED", ""), rows, screen.columns()))


def show(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO|DIR", autocompletion=complete_scenario, help="A name, or a path.")
    ],
    output: OutputOption = None,
) -> None:
    """Show a scenario's opening drawing, its files and what is expected of it."""
    from k8snetlab.workshop import scenes

    found = scenes.of(scenario)
    if output:
        print_json(found)
        return
    if opening := scenes.opening(scenario):
        typer.echo(f"{opening}\n")
    screen.say(f"{found.path}: {', '.join(found.files)}", hang=2)
    if found.expectations:
        from k8snetlab.workshop.checking import expected

        screen.say("expected:")
        for placed in scenes.expectations(scenario):
            one = placed.expectation
            pair = f"{', '.join(one.sources)} -> {', '.join(_shown(*target) for target in one.targets)}"
            said = f"  {pair} {one.protocol}: {expected(one)}"
            screen.say(f"{said} ({one.name})" if one.name else said, hang=4)


def _shown(name: str, port: int | None) -> str:
    return name if port is None else f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def new(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that is new or empty.")],
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=50, help="How many nodes.")] = 2,
    pods: Annotated[int, typer.Option("--pods", min=1, max=50, help="How many pods behind the Service.")] = 2,
) -> None:
    """Write a working scenario: a lab, a client, a Service with pods, and what is expected of them."""
    from k8snetlab.workshop import scenes

    files = scenes.new(directory, nodes, pods)
    screen.say(f"{directory}: {', '.join(files)}")
    screen.say(f"next: sudo k8snetlab up {directory} && sudo k8snetlab scenario check {directory}")


def check(
    scenario: ScenarioArgument = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the result as JUnit's XML, for CI.")
    ] = None,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Send the packets that a scenario tells of, and say what is as expected.

    The exit code is 1 when something is not.
    """
    from k8snetlab.cli import progress
    from k8snetlab.workshop import checking, scenes
    from k8snetlab.workshop import junit as junit_xml

    if scenario:
        placed = scenes.expectations(scenario)  # what is wrong there is said before a lab is looked for
    client = client_of(lab)
    if not scenario:
        scenario = built_from(client)
        placed = scenes.expectations(scenario)
    with progress.patient(f"{counted(len(placed), 'expectation')} of {scenario}", quiet=output is not None):
        report = checking.check(client, placed, scenario)
    if junit:
        write(junit, junit_xml.xml(report))
    if output:
        print_json(report)
    else:
        _tell(report)
    if not report.ok:
        raise typer.Exit(1)


def _tell(report: CheckReport) -> None:
    rows = [
        (
            "ok" if one.ok else "WRONG",
            one.source,
            one.target if one.protocol == "TCP" else f"{one.target} {one.protocol}",
            one.found,
        )
        for one in report.checks
    ]
    typer.echo(screen.table(("", "FROM", "TO", "FOUND"), rows, screen.columns()))
    wrong = [one for one in report.checks if not one.ok]
    for one in wrong:
        about = f" ({one.name})" if one.name else ""
        screen.say(f"{one.where}: {one.source} -> {one.target}{about}: {one.why}; expected {one.expected}", hang=2)
    all_said = f"all {len(report.checks)} as expected" if len(report.checks) > 1 else "as expected"
    screen.say(f"{len(wrong)} of {len(report.checks)} not as expected" if wrong else all_said)


def built_from(client: Client) -> str:
    """The scenario here, or the one that the lab's files are of."""
    from k8snetlab.api.meta import SOURCE
    from k8snetlab.state import scenarios
    from k8snetlab.workshop.expectations import FILE

    if Path(FILE).is_file():
        return "."
    written = str(client.get("lab", client.lab)["metadata"].get("annotations", {}).get(SOURCE, ""))
    name = written.rpartition(":")[0].rpartition("/")[0]
    if name and (name in (*scenarios.names(), *scenarios.lessons()) or (Path(name) / FILE).is_file()):
        return name
    raise InputError(
        f"scenario check: which scenario? lab {client.lab} is of no folder with an {FILE}",
        "name it: k8snetlab scenario check SCENARIO|DIR",
    )
