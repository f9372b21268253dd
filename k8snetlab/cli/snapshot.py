"""snapshot: what a lab holds, kept in a file and brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    LabOption,
    OutputOption,
    TimeoutOption,
    client_of,
    example,
    need_root,
    print_json,
    untagged,
)
from k8snetlab.errors import ConflictError, InputError, UnsupportedError
from k8snetlab.messages.timeouts import CHANGE_TIMEOUT
from k8snetlab.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8snetlab.controllers.returning import Kept
    from k8snetlab.messages.changes import Outcome
    from k8snetlab.messages.snapshots import SnapshotInfo


def complete_snapshot(ctx: typer.Context, incomplete: str) -> list[str]:
    from k8snetlab.state import snapshots

    lab = ctx.params.get("lab") or ctx.find_root().params.get("lab")
    return [one.name for one in snapshots.listing(lab) if one.name.startswith(incomplete)]


NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and -.")]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=complete_snapshot, help="`snapshot list` has all.")
]


def register(app: typer.Typer) -> None:
    snapshot = typer.Typer(
        help="Keep what a lab holds, and bring it back.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("snapshot save before"),
    )
    snapshot.command(epilog=example("snapshot save before"))(save)
    snapshot.command(epilog=example("snapshot restore before"))(restore)
    snapshot.command("list", epilog=example("snapshot list"))(list_)
    snapshot.command(epilog=example("snapshot delete before"))(delete)
    app.add_typer(snapshot, name="snapshot")


def save(
    name: NewNameArgument,
    force: Annotated[bool, typer.Option("--force", help="In the place of one that has the name.")] = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Keep all objects of the running lab in a file that outlives it.

    Names, addresses, subnets, cluster IPs and node ports are kept with them; Secrets too, so the file is root's alone.
    """
    need_root("snapshot")
    from k8snetlab.cli import progress
    from k8snetlab.controllers.returning import Kept
    from k8snetlab.messages.snapshots import KEPT, KeptObject
    from k8snetlab.messages.verb import Nothing
    from k8snetlab.state import snapshots

    client = client_of(lab)
    snapshots.file_of(client.lab, name)
    if not force:
        snapshots.refuse_known(client.lab, name)
    with progress.patient("the lab's objects, which are kept", quiet=output is not None):
        told = client.stream(KEPT, Nothing())
        info = snapshots.write(client.lab, name, [Kept(e.key, e.value) for e in told if isinstance(e, KeptObject)])
    if output:
        print_json(info)
    else:
        screen.say(f"lab {info.lab} is kept as {name}: {counted(info.objects, 'object')} in {info.file}")
        screen.say(f"`k8snetlab snapshot restore {name}` brings it back")


def restore(
    name: NameArgument,
    timeout: TimeoutOption = CHANGE_TIMEOUT,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Bring the lab back to what was kept, or build it anew where it does not run.

    Objects that came since then go, and those that went or changed are as they were. Pods that still run run on.
    """
    need_root("snapshot")
    import msgspec

    from k8snetlab.cli import progress
    from k8snetlab.messages.snapshots import Restored
    from k8snetlab.state import snapshots

    chosen = _lab_with(name, lab)
    outcome = _restored(chosen, snapshots.read(chosen, name), timeout, quiet=output is not None)
    if output:
        print_json(msgspec.convert({"lab": chosen, "snapshot": name, **untagged(outcome)}, Restored))
    else:
        done = ((outcome.created, "created"), (outcome.updated, "changed"), (outcome.deleted, "deleted"))
        said = ", ".join(f"{len(titles)} {what}" for titles, what in done if titles) or "nothing had changed"
        screen.say(f"lab {chosen} is as {name} has it: {said}, in {outcome.seconds:.2f} s")
    progress.refuse_failed(outcome)


def list_(lab: LabOption = None, output: OutputOption = None) -> None:
    """List the snapshots of this machine, of one lab with --lab."""
    need_root("snapshot")
    from k8snetlab.cli.views import table
    from k8snetlab.messages.snapshots import SnapshotList
    from k8snetlab.state import snapshots

    found = snapshots.listing(lab)
    if output:
        print_json(SnapshotList(found))
        return
    if not found:
        screen.say("no snapshot is kept; `k8snetlab snapshot save NAME` keeps one")
        return
    screen.say(table(("LAB", "NAME", "MADE", "OBJECTS", "NODES", "PODS"), map(_row, found)))
    for one in found:
        if one.problem:
            screen.say(f"{one.lab}/{one.name} {one.problem}")


def delete(name: NameArgument, lab: LabOption = None, output: OutputOption = None) -> None:
    """Delete a snapshot. The lab stays as it is."""
    need_root("snapshot")
    from k8snetlab.messages.snapshots import SnapshotDeleted
    from k8snetlab.state import snapshots

    chosen = _lab_with(name, lab)
    snapshots.delete(chosen, name)
    if output:
        print_json(SnapshotDeleted(chosen, name))
    else:
        screen.say(f"snapshot {name} of lab {chosen} is deleted")


def _lab_with(name: str, lab: str | None) -> str:
    """The lab that is meant: the one that is named, the only one that runs, else the only one with such a snapshot."""
    from k8snetlab.state import labs, snapshots

    if lab is not None:
        return lab
    having, running = snapshots.labs_with(name), labs.running()
    if len(running) == 1 or not having:
        return labs.choose(None)
    there = [one for one in having if one in running] or having
    if len(there) == 1:
        return there[0]
    raise InputError(f"{len(there)} labs have a snapshot {name}", f"choose one with --lab: {', '.join(there)}")


def _restored(lab: str, entries: Sequence[Kept], timeout: float, *, quiet: bool) -> Outcome:
    """What the file holds is looked at before anything of the lab is touched."""
    from k8snetlab.api.lab import Lab
    from k8snetlab.cli import progress
    from k8snetlab.controllers.returning import objects_of
    from k8snetlab.lab.down import remove_from_machine
    from k8snetlab.lab.up import start
    from k8snetlab.messages.snapshots import RESTORE, Restore
    from k8snetlab.state.paths import LabPaths

    own = next(obj for obj in objects_of(entries) if isinstance(obj, Lab))
    fresh = LabPaths(lab).fresh
    with progress.patient("the lab's daemon, which starts", quiet=quiet):
        client = start(lab, own.spec.store if fresh else None)
    try:
        return progress.follow(client.stream(RESTORE, Restore(objects=list(entries), timeout=timeout)), quiet=quiet)
    except (ConflictError, InputError, UnsupportedError):
        if fresh:
            for _ in remove_from_machine(lab):
                pass
        raise


def _row(one: SnapshotInfo) -> tuple[str, ...]:
    import time

    if one.problem:
        return (one.lab, one.name, "-", "-", "-", "-")
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.at))
    return (one.lab, one.name, made, str(one.objects), str(one.nodes), str(one.pods))
