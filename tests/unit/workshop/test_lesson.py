"""A lesson's file: what is read of it, what is refused with its line, and that all that ship fit the terminal."""

from __future__ import annotations

import re

import msgspec
import pytest

from k8snetlab.cli import lesson_view
from k8snetlab.cli.screen import cells
from k8snetlab.errors import ManifestError
from k8snetlab.state import scenarios
from k8snetlab.workshop import lesson, scenes, teaching
from k8snetlab.workshop.answers import canonical, printed, right
from k8snetlab.workshop.lesson import Check, Prose, Question, Try

HEAD = "# Title\n\n```lesson\nminutes: 5\n```\n\nOpening.\n\n"
WHOLE = (
    HEAD
    + """## First

Some *prose*,
two lines.

```try
k8snetlab exec client -- ip addr
```

```yaml
a: 1
```

```question choice
Which
one?
a) this
b) that
answer: b
because: it is
  so
```

## Second

```setup
true
```

```check
says: it answers
from: client
to: web:80
within: 4
```

```check
run: k8snetlab exec client -- ip route
shows: [default, via]
lacks: blackhole
within: 2
```

```hint
one
```

```hint
two
```

```solution
echo "a b"
```
"""
)


def said(text: str) -> list[str]:
    with pytest.raises(ManifestError) as error:
        lesson.load(text, "lesson.md")
    return error.value.problems


def test_a_lesson_is_read_into_steps() -> None:
    read = lesson.load(WHOLE, "lesson.md")
    assert (read.title, read.minutes, read.opening) == ("Title", 5, (Prose("Opening."),))
    first, second = read.steps
    assert first.title == "First"
    assert first.parts[:3] == (
        Prose("Some *prose*,\ntwo lines."),
        Try(("k8snetlab exec client -- ip addr",)),
        Prose("```yaml\na: 1\n```"),
    )
    assert first.questions == (
        Question("choice", "Which one?", (("a", "this"), ("b", "that")), ("b",), (), "it is so", "lesson.md:22"),
    )
    expectation, command = second.checks
    assert expectation.says == "it answers" and expectation.expectation is not None
    assert expectation.expectation.expectation.targets == (("web", 80),) and expectation.within == 4
    words = ("k8snetlab", "exec", "client", "--", "ip", "route")
    assert command == Check("", "lesson.md:45", None, words, ("default", "via"), ("blackhole",), 0, 2)
    assert (second.setup, second.solution, second.hints) == ("true", 'echo "a b"', ("one", "two"))


STEP = HEAD + "## Step\n\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "lesson.md:1: no title"),
        ("# A\n", "lesson.md:1: no step"),
        ("# A\n\n## B\n", "lesson.md:1: how long does it take?"),
        (HEAD.replace("5", "500") + "## B\n", "lesson.md:3: minutes: 1 to 120"),
        (HEAD.replace("5", "five") + "## B\n", "lesson.md:4: minutes: expected a whole number"),
        (
            HEAD.replace("minutes", "minuets") + "## B\n",
            'lesson.md:4: unknown field "minuets"; did you mean "minutes"?',
        ),
        (STEP + "# Another\n", "lesson.md:11: a second title"),
        (STEP + "```chek\nx\n```\n", "lesson.md:11: no block is called 'chek'; did you mean check?"),
        (STEP + "```lesson\nminutes: 1\n```\n", "lesson.md:11: a lesson block stands before the first step"),
        (HEAD + "```hint\nx\n```\n## B\n", "lesson.md:9: a hint block stands in a step"),
        (STEP + "```try\n```\n", "lesson.md:11: an empty try block"),
        (STEP + "- a\n\n  ```check\n  x: 1\n  ```\n", "lesson.md:13: a check block inside a list"),
        (STEP + "```solution\na\n```\n```solution\nb\n```\n", "lesson.md:14: a second solution"),
        (
            STEP + "```question colour\nx\n```\n",
            "lesson.md:11: question colour: it is a number, an address or a choice",
        ),
        (STEP + "```question number\nx?\nanswer: many\n```\n", "lesson.md:11: answer: 'many' is no number"),
        (STEP + "```question number\nx?\n```\n", "lesson.md:11: a question has answer: or answer of:"),
        (STEP + "```question choice\nx?\nanswer: a\n```\n", "lesson.md:11: choices a) b)"),
        (STEP + "```question choice\nx?\na) y\nanswer: b\n```\n", "lesson.md:11: answer: 'b' is no choice of these"),
        (STEP + "```question choice\nx?\na) y\na) z\nanswer: a\n```\n", "lesson.md:11: two choices have one letter"),
        (STEP + "```question number\nx?\nanswer: 1\nmore\n```\n", "lesson.md:14: what is this"),
        (STEP + '```question number\nx?\nanswer of: a "b\n```\n', "lesson.md:11: no command: No closing quotation"),
        (STEP + "```check\nfrom: a\n```\n```solution\nx\n```\n", "lesson.md:11: to: Required value"),
        (STEP + "```check\nrun: a\nshow: b\n```\n", 'lesson.md:13: unknown field "show"; did you mean "shows"?'),
        (STEP + "```check\nrun: ''\n```\n", "lesson.md:11: run: no command in it"),
        (STEP + "```check\nrun: a\nwithin: 61\n```\n", "lesson.md:13: within: "),
        (STEP + "```check\nfrom: a\nto: b\nwithin: soon\n```\n", "lesson.md:14: within: expected a whole number"),
        (STEP + "```check\nrun: a\n```\n", "lesson.md:9: step 'Step' has a check and no solution"),
        (STEP + "```check\n- a: [\n```\n", "lesson.md:1"),
        (STEP + "```check\n&a [*a]\n```\n", "lesson.md:12: alias *a stands inside its own anchor"),
        (STEP + "\x1b[2J\n", "lesson.md:11: a character that no terminal should get"),
        ("x" * (1 << 19), "lesson.md:1: more than 64 KiB"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, problem: str) -> None:
    assert any(line.startswith(problem) for line in said(text)), said(text)


@pytest.mark.parametrize(
    ("kind", "given", "answer", "ok"),
    [
        ("number", "1450", "1450", True),
        ("number", " 0x5aa ", "1450", True),
        ("number", "1450.0", "1450", True),
        ("number", "1451", "1450", False),
        ("number", "", "1450", False),
        ("number", "१४५०", "1450", False),
        ("address", "10.0.0.1", "10.0.0.1/24", True),
        ("address", "10.0.0.1/32", "10.0.0.1", True),
        ("address", "FD00:0::1", "fd00::1", True),
        ("address", "A:58:a:F4:1:2", "0a:58:0a:f4:01:02", True),
        ("address", "0a-58-0a-f4-01-02", "0a:58:0a:f4:01:02", True),
        ("address", "10.0.0", "10.0.0.0", False),
        ("choice", "B)", "b", True),
        ("choice", "ab", "a", False),
    ],
)
def test_an_answer_is_right_however_it_is_spelled(kind: str, given: str, answer: str, ok: bool) -> None:
    assert right(kind, given, (answer,)) is ok


def test_of_what_a_command_prints_the_first_number_or_address_is_meant() -> None:
    line = "2: eth0@if5    inet 10.244.1.2/24 brd 10.244.1.255 scope global eth0 mtu 1450"
    assert printed("address", line) == "10.244.1.2/24"
    assert printed("number", "mtu 1450 qdisc") == "1450"
    assert printed("number", "eth0 10.1.2.3") == "" and canonical("number", "") == ""


# --- those that ship --------------------------------------------------------------------------------------------------

LESSONS = [path.partition("/")[2] for path in scenarios.lessons()]
WRITTEN = [(name, lang) for name in LESSONS for lang in teaching.languages(scenarios.folder(f"lessons/{name}"))]


def test_lessons_ship() -> None:
    assert [one.name for one in teaching.shipped().lessons] == LESSONS and LESSONS
    assert teaching.find("1")[0] == teaching.find("pod")[0] == teaching.find("01-pod")[0] == "lessons/01-pod"


@pytest.mark.parametrize(("name", "language"), WRITTEN)
def test_a_lesson_fits_a_terminal_of_80_by_24(name: str, language: str) -> None:
    read = teaching.load(scenarios.folder(f"lessons/{name}"), language)
    shown = [lesson_view.step(n, len(read.steps), step, language) for n, step in enumerate(read.steps, 1)]
    shown[0] = f"{lesson_view.opening(read.title, read.minutes, read.opening, language)}\n\n{shown[0]}"
    assert max(cells(line) for text in shown for line in text.splitlines()) <= 80
    assert max(len(text.splitlines()) for text in shown) <= 24, [len(text.splitlines()) for text in shown]


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_between_five_and_twenty_minutes_and_ends_with_something_to_look_at(name: str) -> None:
    read = teaching.load(scenarios.folder(f"lessons/{name}"), "en")
    assert 5 <= read.minutes <= 20 and 3 <= len(read.steps) <= 10
    commands = " ".join(c for part in read.steps[-1].parts if isinstance(part, Try) for c in part.commands)
    assert re.search(r"k8snetlab (trace|tables|rules|graph|probe --all|policy matrix|dig|capture|misses)", commands)
    assert any(step.checks for step in read.steps) and any(step.questions for step in read.steps)


@pytest.mark.parametrize(("name", "language"), [one for one in WRITTEN if one[0][:2] <= "21"])
def test_every_step_that_asks_for_something_has_hints_from_mild_to_plain(name: str, language: str) -> None:
    """Of lessons that come later each says by itself how many."""
    for step in teaching.load(scenarios.folder(f"lessons/{name}"), language).steps:
        assert len(step.hints) >= 2 or not (step.questions or step.checks), step.title


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_a_scenario_that_says_what_its_lab_does(name: str) -> None:
    assert scenes.of(f"lessons/{name}").expectations > 0 and scenes.opening(f"lessons/{name}")


@pytest.mark.parametrize("name", LESSONS)
def test_every_language_has_the_same_commands_checks_and_answers(name: str) -> None:
    place = scenarios.folder(f"lessons/{name}")
    assert teaching.languages(place) == ("en", "zh")

    def bones(language: str) -> object:
        read = teaching.load(place, language)
        steps = [
            (
                step.setup,
                step.solution,
                [part.commands for part in step.parts if isinstance(part, Try)],
                [(q.kind, [letter for letter, _ in q.choices], q.answers, q.answer_of) for q in step.questions],
                [msgspec.json.encode((_bare(c), c.command, c.shows, c.lacks, c.code, c.within)) for c in step.checks],
                len(step.hints),
            )
            for step in read.steps
        ]
        return read.minutes, read.cleanup, steps

    assert bones("zh") == bones("en")


def _bare(check: Check) -> object:
    found = check.expectation
    return found and msgspec.structs.replace(found.expectation, name="")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_words_around_a_lesson_are_in_its_language(language: str) -> None:
    assert lesson_view.WORDS[language].keys() == lesson_view.WORDS["en"].keys()
    begin = lesson_view.word("begin", language)
    assert cells(begin) <= 80 and "sudo k8snetlab lesson start NAME" in begin
    assert ("--lang zh" in begin) is (language == "zh")
