"""Benchmarks run one after another: what one cannot, or fails at, or is interrupted in, is its own."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

import k8snetlab
from benchmarks import machine
from benchmarks.__main__ import main
from benchmarks.report import Outcome
from benchmarks.rows import Row
from benchmarks.run import NAMES, CannotRunError, FailedError, Run, Scale, interruptible, run

ROW = Row("up", (1.0,))
Body = Callable[[], None]


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Outcome]]:
    """Runs benchmarks that each yield one row and then do what they are given."""

    def ran(*bodies: Body) -> list[Outcome]:
        names = []
        for number, body in enumerate(bodies):

            def rows(running: Run, body: Body = body) -> Iterator[Row]:
                yield ROW
                running.say("on")
                body()

            module = ModuleType(f"benchmarks.fake{number}", "A fake.")
            module.rows = rows  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, module.__name__, module)
            names.append(f"fake{number}")
        return list(run(names, Scale(), Console(file=io.StringIO())))

    return ran


def raising(error: BaseException) -> Body:
    def body() -> None:
        raise error

    return body


def nothing() -> None:
    pass


def test_one_that_cannot_run_says_why_and_the_others_go_on(outcomes: Callable[..., list[Outcome]]) -> None:
    first, second = outcomes(raising(CannotRunError("no etcd")), nothing)
    assert (first.cannot, first.failed, first.rows) == ("no etcd", "", (ROW,))
    assert (second.cannot, second.failed, second.rows) == ("", "", (ROW,))


def test_one_that_fails_says_why_and_the_others_go_on(outcomes: Callable[..., list[Outcome]]) -> None:
    first, second, third = outcomes(raising(FailedError("up: exit 1")), raising(KeyError("x")), nothing)
    assert (first.failed, second.failed[:16], third.failed) == ("up: exit 1", "KeyError: 'x' (t", "")


def test_what_is_left_when_it_is_late_is_measured_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    for number in range(3):

        def rows(running: Run, number: int = number) -> Iterator[Row]:
            seen.append(running.scale.rounds)
            if number == 1:
                monkeypatch.setattr("benchmarks.run.LATE", -1.0)
            yield ROW

        module = ModuleType(f"benchmarks.slow{number}", "A fake.")
        module.rows = rows  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
    said = io.StringIO()
    assert len([*run(["slow0", "slow1", "slow2"], Scale(), Console(file=said))]) == 3
    assert (seen, said.getvalue().count("what is left is measured once each")) == ([3, 3, 1], 1)


def test_labs_run_bytecode_though_python_is_told_not_to_write_any(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for place, name in (("own", "__init__.py"), ("site", "other.py")):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).write_text("x = 1\n")
    monkeypatch.setattr(k8snetlab, "__file__", str(tmp_path / "own" / "__init__.py"))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "site"))
    machine.compile_all()
    assert sorted(file.name.partition(".")[0] for file in tmp_path.rglob("*.pyc")) == ["__init__", "other"]


def test_an_interrupt_keeps_what_was_found_and_ends_the_run(outcomes: Callable[..., list[Outcome]]) -> None:
    [only] = outcomes(raising(KeyboardInterrupt()), nothing)
    assert (only.failed, only.rows) == ("interrupted", (ROW,))


def test_a_second_interrupt_does_not_stop_what_is_taken_down(outcomes: Callable[..., list[Outcome]]) -> None:
    done = []

    def body() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("taken down")

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interruptible(Console(file=io.StringIO())):
        [only] = outcomes(body, nothing)
    assert (only.failed, done) == ("interrupted", ["taken down"])
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_is_there_and_says_what_it_measures(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert callable(module.rows) and (module.__doc__ or "").splitlines()[0].endswith(".")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["smal"], "there is no benchmark 'smal'"),
        (["--small", "--record"], "what --small finds says nothing"),
        (["--rounds", "0"], "--rounds: at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and said in capsys.readouterr().err
