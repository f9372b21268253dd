"""The command line: its verbs, and what becomes of an error.

Start-up is kept short: only typer is imported here, of the verbs' modules the one that is asked for, and everything
else inside the verb that needs it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from k8snetlab import __version__
from k8snetlab.cli import outlet, screen
from k8snetlab.cli.options import complete_lab
from k8snetlab.client import early
from k8snetlab.errors import K8sNetLabError
from k8snetlab.wording import nearest

ROOMS = {
    "lifecycle": ("up", "down", "status", "pause", "resume"),
    "doctor": ("doctor",),
    "objects": ("apply", "delete", "get", "scale"),
    "pods": ("exec", "shell", "logs"),
    "probe": ("probe",),
    "trace": ("trace",),
    "dig": ("dig",),
    "schedule": ("schedule",),
    "follow": ("follow",),
    "diagnose": ("diagnose",),
    "fault": ("fault",),
    "process": ("process",),
    "drill": ("drill",),
    "capture": ("capture",),
    "inspect": ("rules", "tables"),
    "policy": ("policy",),
    "graph": ("graph",),
    "misses": ("misses",),
    "routing": ("routing",),
    "calicoctl": ("calicoctl", "birdc", "vtysh"),
    "nginx": ("nginx-conf",),
    "render": ("render",),
    "store": ("store",),
    "controlplane": ("controlplane",),
    "snapshot": ("snapshot",),
    "token": ("token",),
    "node": ("node",),
    "guest": ("guest",),
    "attach": ("attach", "detach"),
    "link": ("link",),
    "kubeconfig": ("kubeconfig",),
    "scenario": ("scenario",),
    "compare": ("compare",),
    "lesson": ("lesson",),
    "classes": ("class",),
    "audit": ("audit",),
}
"""The verbs, by the module of this package that registers them, in the order of the help (groups come last)."""
CHANGING = frozenset(
    {
        "process",
        "up",
        "down",
        "apply",
        "delete",
        "scale",
        "node",
        "token",
        "attach",
        "detach",
        "fault",
        "drill",
        "snapshot",
        "class",
    }
)
"""Verbs that, interrupted, have done a part of their work."""
_LONG = re.compile(r"(\S{120})\S{200,}")
"""Words that nobody reads to their end."""
_verb: list[str] = []
"""The verb that the command line names, once it has been read so far."""


def verb_of(words: Sequence[str]) -> str:
    """The verb that a command line without its first word names: what follows --lab NAME; "" where there is none."""
    rest = list(words)
    while rest and rest[0].partition("=")[0] == "--lab":
        del rest[: 1 if "=" in rest[0] else 2]
    return rest[0] if rest else ""


def app_of(word: str = "") -> typer.Typer:
    """The command line that begins with `word`: with that verb alone, since to build all of them takes as long as most
    verbs do. Where `word` is none, such as --help and what completion asks, all are there."""
    app = typer.Typer(
        name="k8snetlab",
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        epilog="Example: sudo k8snetlab up business-manager",
    )
    app.callback()(root)
    named = [room for room, verbs in ROOMS.items() if word in verbs]
    for room in named or ROOMS:
        import_module(f"k8snetlab.cli.{room}").register(app)
    if named:
        app.registered_commands = [info for info in app.registered_commands if _name(info) == word]
        app.registered_groups = [info for info in app.registered_groups if info.name == word]
    return app


def _name(info: Any) -> str:
    named: str = info.name or info.callback.__name__
    return named


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"k8snetlab {__version__}")
        raise typer.Exit


def root(
    context: typer.Context,
    lab: Annotated[
        str | None,
        typer.Option(
            "--lab",
            metavar="NAME",
            envvar="K8SNETLAB_LAB",
            autocompletion=complete_lab,
            help="The lab meant, where several run.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The network of a Kubernetes cluster, built from real Linux kernel objects."""
    _verb[:] = [context.invoked_subcommand or ""]
    if not CHANGING.isdisjoint(_verb):
        outlet.keep_working()


def main() -> NoReturn:
    """Run one verb. Exit codes: 0 done, 1 the thing asked for is not so, 2 wrong input, 130 interrupted."""
    outlet.install()
    try:
        done = app_of(verb_of(sys.argv[1:]))(prog_name="k8snetlab", standalone_mode=False)
        code = done if isinstance(done, int) else 0
        if code == 130:
            _interrupted()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except typer.TyperException as error:
        _misused(error)
        code = 2
    except (KeyboardInterrupt, typer.Abort):  # Abort: the same at a question, and where the input ends there
        code = 130
    except Exception as error:
        if outlet.is_of_output(error):
            sys.exit(outlet.finish(1))
        if os.environ.get("K8SNETLAB_DEBUG"):
            raise
        code = _failed(error)
    sys.exit(outlet.finish(code))


def _failed(error: Exception) -> int:
    """Says why the verb failed; the exit code."""
    match error:
        case K8sNetLabError():
            _say(f"error: {error.message}", error.hint)
            return error.exit_code
        case PermissionError():
            _say(f"error: permission denied ({error.filename or error})", "run it as root: sudo k8snetlab …")
            return 2
        case _:
            _say(
                f"error: this is a bug in k8snetlab: {type(error).__name__}: {error}",
                f"please report it with {_keep_traceback()} and the daemon's log in /run/k8snetlab/LAB/",
            )
            return 1


def _interrupted() -> None:
    """`down` would take the lab from everybody: it is the way back from `up` only."""
    if CHANGING.isdisjoint(_verb) and not early.has_changed():
        _say("interrupted", "")
    else:
        back = "; down removes it" if "up" in _verb else ""
        _say("interrupted: what was begun stays as it is", f"the same command again finishes it{back}")


def _misused(error: typer.TyperException) -> None:
    """Says what typer found wrong with the command line; a group without a verb gets its help."""
    message, context = str(getattr(error, "format_message", error.__str__)()), getattr(error, "ctx", None)
    if message.startswith("Usage: "):
        typer.echo(message, err=True)
        return
    command = context.command_path if context else " ".join(("k8snetlab", *_verb))
    hint = _meant(message, context) or f"{command} -h shows what it takes"
    message = re.sub(r"\.? ?(\(Possible options: .*\)|Did you mean .*\?)$", "", message)
    _say(f"error: {message[:1].lower()}{message[1:].rstrip('.')}", hint)


def _meant(message: str, context: Any) -> str:
    """The verb, option or value that is nearest to the one that typer does not know."""
    if found := re.search(r"No such command '(.*?)'", message):
        known = list(getattr(context.command, "commands", ())) if context else []
    elif found := re.search(r"No such option: (\S+)", message):
        known = (
            [name for option in context.command.params if not option.hidden for name in option.opts] if context else []
        )
    elif found := re.search(r"'([^']*)' is not one of (.*)", message):
        known = re.findall(r"'([^']*)'", found[2])
    else:
        return ""
    return nearest(found[1], known)


def _say(message: str, hint: str) -> None:
    screen.say(_LONG.sub(r"\1…", message), err=True)
    if hint:
        screen.say(f"hint: {hint}", err=True)


def _keep_traceback() -> str:
    """Write the traceback of the error being handled to a file of its own; the file's path."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="k8snetlab-bug-", suffix=".log", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name
