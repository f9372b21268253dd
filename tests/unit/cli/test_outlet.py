"""What goes to the terminal: text, whatever it says; and what becomes of it when nobody takes it."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from k8snetlab.cli.outlet import Canvas, Outlet, printable

CLI = [sys.executable, "-m", "k8snetlab"]


def written(text: str, colours: bool = False) -> str:
    stream = io.StringIO()
    Outlet(stream, colours).write(text)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        "\x1b[31mred",
        "\x1b]0;title\x07",
        "\x9b2J",
        "\x1b[2J",
        "a\x1b[8mhidden",
        "\rover",
        "\x00",
        "\x7f",
        "\u202etxt.exe",
    ],
    ids=ascii,
)
def test_a_message_shows_control_characters_instead_of_sending_them(data: str) -> None:
    said = written(f"error: pod {data} does not run\n")
    assert said == f"error: pod {printable(data)} does not run\n"
    assert all(character in "\n\t" or character.isprintable() for character in said)


def test_views_keep_their_colours_and_nothing_else() -> None:
    assert written("\x1b[31mred\x1b[0m \x1b]0;t\x07\n", colours=True) == "\x1b[31mred\x1b[0m \\u001b]0;t\\u0007\n"


def test_a_view_that_stays_in_its_place_may_clear_lines() -> None:
    view = "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J"
    assert written(view, colours=True) == view


def test_a_line_that_is_drawn_anew_is_so() -> None:
    assert written("\rwaiting 2 s") == "\rwaiting 2 s"
    stream = io.StringIO()
    Canvas(Outlet(stream, colours=False)).write("\x1b[2K\x1b[1A\x1b[32m##\x1b[0m \x1b]0;t\x07")
    assert stream.getvalue() == "\x1b[2K\x1b[1A\x1b[32m##\x1b[0m \\u001b]0;t\\u0007"


def test_text_stays_as_it_is() -> None:
    text = "größer → 5 µs\t→ 日本\n"
    assert printable(text) == text


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.EPIPE, "Broken pipe")


def test_work_goes_on_when_nobody_reads_of_it() -> None:
    outlet = Outlet(Broken(), colours=False, steady=True)
    outlet.write("one\n")
    outlet.write("two\n")
    assert outlet.failure is not None and outlet.failure.errno == errno.EPIPE


def test_a_view_ends_when_nobody_reads_it() -> None:
    with pytest.raises(BrokenPipeError):
        Outlet(Broken(), colours=False).write("one\n")


@pytest.mark.parametrize("words", [["--help"], ["render", "-f", "two-nodes", "--node", "node1"]], ids=lambda w: w[0])
def test_a_full_disk_is_said_in_a_word(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*CLI, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("words", "closed", "code", "said"),
    [
        ("--version", "<&-", 0, ""),
        ("--version", ">&-", 1, "error: standard output: Bad file descriptor\n"),
        ("--version", "2>&-", 0, ""),
        (
            "get pods --lab x",
            ">&-",
            1,
            "error: no lab 'x' runs here\nhint: `k8snetlab up` starts one\n",
        ),
        ("--version", "<&- >&- 2>&-", 1, ""),
    ],
)
def test_a_stream_may_be_closed(words: str, closed: str, code: int, said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(CLI)} {words} {closed}"],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env=os.environ | {"K8SNETLAB_RUN": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (code, said)


def test_who_stops_reading_is_no_error_worth_a_word() -> None:
    with subprocess.Popen(
        [*CLI, "render", "-f", "business-manager", "--node", "node1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""


def test_names_on_the_command_line_are_shown(tmp_path: Path) -> None:
    done = subprocess.run(
        [*CLI, "apply", "-f", f"{tmp_path}/\x1b]0;title\x07"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "\x1b" not in done.stderr and "\\u001b]0;title\\u0007" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["scale", "deploy/x", "--replicas", "1" * 4301],
        ["logs", "x", "--tail", "1" * 4301],
        ["up", "--timeout", "1" * 4301],
        ["apply", "-f", "NUMBER.yaml"],
        ["apply", "-f", "NUMBER.json"],
        ["apply", "-f", "/dev/zero"],
    ],
    ids=lambda words: " ".join(words)[:20],
)
def test_numbers_and_files_without_an_end_are_refused(words: list[str], tmp_path: Path) -> None:
    spec = '{"terminationGracePeriodSeconds": NUMBER, "containers": [{"name": "c"}]}'.replace("NUMBER", "1" * 4301)
    head = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},'
    (tmp_path / "NUMBER.json").write_text(f'{head} "spec":\n {spec}}}')
    (tmp_path / "NUMBER.yaml").write_text(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {spec}\n")
    done = subprocess.run([*CLI, *words], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 2 and "bug" not in done.stderr and len(done.stderr) < 600, done.stderr
    if "NUMBER" in words[-1]:
        line = "4" if words[-1].endswith("yaml") else "2"
        assert f"{words[-1]}:{line}: spec.terminationGracePeriodSeconds: " in done.stderr
