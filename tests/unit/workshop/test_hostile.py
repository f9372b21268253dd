"""Lessons and expectations that were damaged at random, or are meant to harm: refused with file and line, or read."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest

from k8snetlab.errors import ManifestError
from k8snetlab.state import scenarios
from k8snetlab.workshop import expectations, lesson

SIGNS = "`#:{}[]&*!|>-\n\t'\"%@0a\x1b\u00e9\u4e2d"
STEP = "# A\n```lesson\nminutes: 1\n```\n## B\n"
MEANT = (
    *(sign * 20_000 for sign in ("> ", "- ", "[", "*", "`", "~")),
    "\n".join("#" * level for level in range(300)),
    "```check\n" * 2000,
    STEP + "```check\n? [a]\n: b\n```\n",
    STEP + "```check\nsays: {a: 1}\nfrom: a\nto: b\n```\n",
    STEP + "```check\nrun: [1, 2]\ncode: x\n```\n",
    STEP + "```question number\nx\nanswer: " + "9" * 5000 + "\n```\n",
    "# A\n```lesson\nminutes: 1e400\n```\n## B\n",
    "\0",
)


def damaged(seed: int) -> Iterator[str]:
    chance = random.Random(seed)
    for name, file in (("lessons/08-service", "lesson.md"), ("business-manager", "expect.yaml")):
        whole = (scenarios.folder(name) / file).read_text()
        for _ in range(40):
            text = list(whole)
            for _ in range(chance.randint(1, 30)):
                at = chance.randrange(len(text))
                text[at : at + chance.choice((0, 1, 1, 40))] = chance.choice(SIGNS)
            yield "".join(text)


@pytest.mark.parametrize("load", [lesson.load, expectations.load], ids=["lesson", "expectations"])
def test_whatever_stands_in_a_file_is_read_or_refused_with_its_line(load: object) -> None:
    for text in (*MEANT, *damaged(17)):
        with contextlib.suppress(ManifestError):
            try:
                load(text, "file")  # type: ignore[operator]
            except ManifestError as error:
                assert error.problems and all(line.startswith("file:") for line in error.problems)
                raise
