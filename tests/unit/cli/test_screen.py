"""Lines fit on the terminal, lose nothing, and are whole where a program reads them."""

from __future__ import annotations

import io
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8snetlab.cli import screen

TEXT = st.text(st.sampled_from("ab,-/= │→日\u0301"), max_size=300)


@given(TEXT, st.integers(40, 120), st.integers(0, 30))
def test_folding_keeps_every_letter_and_the_width(text: str, width: int, hang: int) -> None:
    folded = screen.fold(text, width, hang)
    assert all(screen.cells(line) <= width for line in folded if line.strip())
    assert re.sub(" ", "", "".join(folded)) == re.sub(" ", "", text)


def test_colours_take_no_room_and_are_not_cut() -> None:
    red = "\x1b[31mred\x1b[0m"
    assert screen.cells(red) == 3
    folded = screen.fold(" ".join([red] * 30), 40)
    assert all(screen.cells(line) <= 40 for line in folded)
    assert "".join(folded).count("\x1b[31m") == 30 and all(part.count("\x1b[") % 2 == 0 for part in folded)


@pytest.mark.parametrize("comment", ["'a b c'", f'"{"a long comment " * 9}"', "x" * 150])
def test_a_command_can_be_copied_as_it_stands(comment: str) -> None:
    command = (
        f"iptables -t nat -A KUBE-SERVICES -m comment --comment {comment} -j KUBE-SVC-ABCDEFGHIJKLMNOP --to 1.2.3.4"
    )
    lines = screen.command(command, 60, "         ", "   see:  ")
    assert len(lines) > 1 and all(len(line) <= 60 for line in lines)
    assert all(line.endswith("\\") for line in lines[:-1])
    whole = "\n".join(lines).removeprefix("   see:  ")
    assert shlex.split(whole.replace("\\\n", "")) == shlex.split(command)


POD = ["business-manager-579bbbb48b-l2q49", "1/1", "Running", "0", "5s", "172.30.76.4", "node1"]
TITLES = ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]


def test_a_table_is_kubectls_where_nobody_looks_on() -> None:
    assert (
        screen.table(TITLES, [POD], None).splitlines()[1]
        == "   ".join(cell.ljust(max(len(cell), len(title))) for cell, title in zip(POD, TITLES, strict=True)).rstrip()
    )


def test_a_name_is_folded_at_a_hyphen_and_nothing_else_is() -> None:
    lines = screen.table(TITLES, [POD], 80).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith("business-manager-") and lines[2].startswith(" ")
    assert (lines[1].split()[0] + lines[2].strip()) == POD[0]
    assert lines[1].split()[1:] == POD[1:]


def test_columns_that_do_not_fit_stand_below_by_name() -> None:
    wide = [*POD, "8080/TCP", "app=business-manager,pod-template-hash=579bbbb48b"]
    lines = screen.table([*TITLES, "PORTS", "LABELS"], [wide, wide], 80).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "LABELS app=business-manager,pod-template-hash=579bbbb48b" in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("width", [40, 80])
def test_a_table_of_anything_fits(width: int) -> None:
    rows = [["x" * 300, "日本語" * 40, ""], ["a-b-" * 60, "1,2," * 50, "y"]]
    assert all(screen.cells(line) <= width for line in screen.table(["A", "B", "C"], rows, width).splitlines())


def test_where_it_is_no_terminal_lines_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert screen.columns() is None
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert screen.columns() == 72
