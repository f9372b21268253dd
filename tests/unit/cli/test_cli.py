"""The command line as a process: start-up, help, exit codes, and that no input ends in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from k8snetlab.cli.main import ROOMS, app_of, verb_of

VERBS = ["doctor", "up", "down", "status", "apply", "delete", "get", "scale"]
VERBS += [
    "exec",
    "shell",
    "logs",
    "probe",
    "trace",
    "diagnose",
    "rules",
    "tables",
    "graph",
    "pause",
    "resume",
    "render",
]
HEAVY = ("pyroute2", "iptc", "yaml", "msgspec", "httpx", "uvicorn", "asyncio", "rich", "http.client", "ssl")


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "k8snetlab", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment in which no lab runs."""
    return {"K8SNETLAB_RUN": str(tmp_path / "run")}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['k8snetlab', '--help']\n"
        "from k8snetlab.cli.main import main\n"
        "try: main()\n"
        f"except SystemExit: print('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize(
    ("modules", "never"),
    [
        (
            "cli.views, k8snetlab.cli.columns, k8snetlab.client.client, k8snetlab.api.scheme",
            ("yaml", "hashlib", "asyncio", "http", "email", "ssl"),
        ),
        ("render.picture, k8snetlab.render.picture_text", ("yaml", "hashlib", "asyncio", "http", "email", "ssl")),
        ("lab.render, k8snetlab.api.load", ("asyncio", "ssl", "logging")),
        ("lab.up, k8snetlab.api.load", ("asyncio", "logging", "k8snetlab.kernel.read", "k8snetlab.lab.down")),
        ("lab.down", ("asyncio", "logging", "k8snetlab.kernel.read", "yaml")),
        ("lab.main", ("k8snetlab.lab.daemon", "k8snetlab.api.scheme", "uvicorn", "typer")),
        ("lab.daemon", ("k8snetlab.explain.diagnosing", "k8snetlab.trace.path", "yaml", "typer")),
    ],
    ids=["get and status", "graph", "render", "up", "down", "before the kubelet starts", "the daemon"],
)
def test_a_verb_loads_what_it_needs_only(modules: str, never: tuple[str, ...]) -> None:
    heavy = (*never, "httpx", "cryptography")
    code = f"import sys, k8snetlab.{modules}; print('LOADED', *[m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "LOADED"


def test_the_verb_that_is_named_is_the_only_one_that_is_built() -> None:
    code = (
        "from k8snetlab.cli.main import app_of; import typer.main as t, sys; "
        "print(*t.get_command(app_of('store')).commands); print('k8snetlab.cli.trace' in sys.modules); "
        "print(len(t.get_command(app_of('--lab')).commands) > 20)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["store", "False", "True"]


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        ("get nodes", "get"),
        ("--lab one get nodes", "get"),
        ("--lab=one get nodes --lab two", "get"),
        ("--lab one --lab=two status", "status"),
        ("--lab up status", "status"),
        ("--lab", ""),
        ("--lab one", ""),
        ("--help", "--help"),
        ("", ""),
    ],
)
def test_the_verb_is_found_behind_the_labs_name(words: str, verb: str) -> None:
    assert verb_of(words.split()) == verb


def test_each_verb_is_found_in_the_module_that_registers_it() -> None:
    named = {verb for verbs in ROOMS.values() for verb in verbs}
    assert set(get_command(app_of()).commands) == named  # type: ignore[attr-defined]
    assert all(list(get_command(app_of(verb)).commands) == [verb] for verb in named)  # type: ignore[attr-defined]


def test_help_names_every_verb_of_the_design() -> None:
    shown = run("--help").stdout
    assert all(f"\n  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verbs_help_ends_with_one_example(verb: str) -> None:
    done = run(verb, "--help")
    assert done.returncode == 0
    assert done.stdout.strip().splitlines()[-1].strip().startswith(f"Example: k8snetlab {verb}")


def test_version_prints_name_and_version() -> None:
    from k8snetlab import __version__

    assert run("--version").stdout == f"k8snetlab {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("conjure",),
        ("get",),
        ("get", "gadgets"),
        ("get", "pods", "pod/a"),
        ("get", "pods", "-o", "xml"),
        ("scale", "deployment/a"),
        ("scale", "pod/a", "--replicas", "2"),
        ("scale", "deployment/a", "--replicas", "-1"),
        ("delete",),
        ("delete", "pods"),
        ("apply",),
        ("apply", "-f", "/nowhere.yaml"),
        ("up", "no-such-scenario"),
        ("probe", "client"),
        ("probe", "client", "service:http"),
        ("probe", "client", "service:0"),
        ("probe", "client", "[fd00::1:80"),
        ("render", "--node", "node1"),
        ("render", "-f", "/nowhere.yaml", "--node", "node1"),
    ],
    ids=" ".join,
)
def test_wrong_input_is_refused_in_words(arguments: tuple[str, ...], nowhere: dict[str, str]) -> None:
    done = run(*arguments, **nowhere)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and "\nhint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("get", "pods"),
        ("probe", "--all"),
        ("pause", "node1"),
        ("logs", "client"),
        ("get", "pods", "--lab", "elsewhere"),
        ("--lab", "elsewhere", "get", "pods"),
    ],
    ids=" ".join,
)
def test_without_a_lab_a_verb_says_so(arguments: tuple[str, ...], nowhere: dict[str, str]) -> None:
    done = run(*arguments, **nowhere)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no lab")
    assert "\nhint: " in done.stderr
    assert ("elsewhere" in done.stderr) == ("elsewhere" in arguments)


def test_a_bug_is_called_one_and_kept(tmp_path: Path, nowhere: dict[str, str]) -> None:
    script = (
        "from k8snetlab.cli import main, options\n"
        "from k8snetlab.client import client\n"
        "client.Client.find = staticmethod(lambda lab: 1 / 0)\n"
        "import sys; sys.argv = ['k8snetlab', 'status']; main.main()"
    )
    environment = {**os.environ, **nowhere, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "bug in k8snetlab: ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr
    [kept] = tmp_path.glob("k8snetlab-bug-*.log")
    assert "ZeroDivisionError" in kept.read_text()
    assert str(kept) in done.stderr
    debugged = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "K8SNETLAB_DEBUG": "1"},
    )
    assert "ZeroDivisionError" in debugged.stderr


@pytest.mark.parametrize(("verb", "changes"), [(("status",), False), (("scale", "deploy/web", "--replicas=1"), True)])
def test_interruption_is_said_and_ends_with_130(verb: tuple[str, ...], changes: bool) -> None:
    """How to go on is said only where something was begun, and `down`, which ends the whole lab, of `up` only."""
    script = (
        "from k8snetlab.cli import main\n"
        "from k8snetlab.client import client\n"
        "def interrupted(lab): raise KeyboardInterrupt\n"
        "client.Client.find = staticmethod(interrupted)\n"
        f"import sys; sys.argv = ['k8snetlab', *{verb!r}]; main.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.startswith("interrupted")
    assert ("the same command again" in done.stderr) == changes
    assert "down" not in done.stderr


def test_a_wrong_option_is_explained_by_the_verbs_own_help() -> None:
    words = [sys.executable, "-m", "k8snetlab", "rules", "--diff", "node1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "k8snetlab rules -h" in done.stderr


@pytest.mark.parametrize("verb", [("down",), ("shell", "node1"), ("exec", "node1", "--", "true")], ids=" ".join)
def test_without_root_one_clear_sentence(verb: tuple[str, ...], nowhere: dict[str, str]) -> None:
    script = (
        "import os, sys\n"
        "from k8snetlab.cli import main\n"
        "os.geteuid = lambda: 1000\n"
        f"sys.argv = ['k8snetlab', *{verb!r}]; main.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={**os.environ, **nowhere}
    )
    assert done.returncode == 2
    assert "needs root" in done.stderr
    assert f"hint: sudo k8snetlab {verb[0]}" in done.stderr


def complete(words: str, **environment: str) -> list[str]:
    """What bash is offered for the last word of a command line."""
    done = run(
        **environment,
        _K8SNETLAB_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_completion_of_kinds_and_scenarios(nowhere: dict[str, str]) -> None:
    assert complete("k8snetlab get dep", **nowhere) == ["deployments"]
    assert "services" in complete("k8snetlab delete ", **nowhere)


def test_completion_without_a_lab_is_silent(nowhere: dict[str, str]) -> None:
    assert complete("k8snetlab pause ", **nowhere) == []
    assert complete("k8snetlab get pod x", **nowhere) == []
