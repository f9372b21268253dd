"""docs/dns.md and the story of the scenario `names` are run, block by block: what they show is what is answered.

`python tests/kernel/explain/test_docs_names.py` writes the answers anew.
"""

from __future__ import annotations

import difflib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.testing import Lab, eventually, running

sys.path.insert(0, str(Path(__file__).parents[2]))
import pages
from pages import Shell, blocks

ROOT = Path(__file__).parents[3]
SCENARIO = "names"
PAGES = (ROOT / "scenarios" / SCENARIO / "README.md", ROOT / "docs" / "dns.md")
pytestmark = [pytest.mark.root, pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running(SCENARIO) as one:
        yield one


def answered(lab: Lab, page: Path) -> str:
    eventually(lambda: lab.json("dig", "client", "www.example.com.", code=None)["found"])
    path = f"{Path(sys.executable).parent}:{lab.environment['PATH']}"
    with tempfile.TemporaryDirectory() as made:
        shell = Shell(Path(made), {**lab.environment, "PATH": path, "LC_ALL": "C.UTF-8"})
        try:
            return pages.answered(page.read_text(), lambda command: _of(lab, shell.said(command)), Path(made))
        finally:
            shell.close()


def _of(lab: Lab, said: str) -> str:
    """As in the lab that a reader has."""
    return re.sub(r"iptables-(nft|legacy)", "iptables", said.replace(lab.name, SCENARIO))


ANY_ORDER = re.compile(r"10\.244\.\d+\.\d+(:8080)?|\b(db|web)-\d\b|198\.51\.100\.\d+")
"""What chance puts in another order, or chooses among."""
ALIKE = (
    (r"\b\d+\.\d ms", "TIME"),
    (r"in \d+\.\d s\b", "TIME"),
    (r"\b\d+ usual paths walked.*", "PATHS"),
    (r" +", " "),
)


def answers(text: str) -> list[tuple[str, list[str], list[str]]]:
    """Each command of a page, the lines of its answer, alike, and what chance has put into them, sorted."""
    found = []
    for _, language, block in blocks(text):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] if language == "console" else ():
            command, _, said = piece.partition("\n")
            chance = sorted({match[0] for match in ANY_ORDER.finditer(said)}) if "many." not in command else []
            said = ANY_ORDER.sub("ONE", said)
            for pattern, put in ALIKE:
                said = re.sub(pattern, put, said)
            if "http" in command:  # whichever of a Service's pods has answered
                chance = []
            found.append((command, [line.strip() for line in said.splitlines() if line.strip()], chance))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_shows_what_is_answered(lab: Lab, page: Path) -> None:
    pairs = zip(answers(page.read_text()), answers(answered(lab, page)), strict=True)
    other = [
        "\n".join((f"$ {command}", *difflib.unified_diff([*shown, *of], [*said, *now], "the page", "now", n=0)))
        for (command, shown, of), (_, said, now) in pairs
        if (said, now) != (shown, of)
    ]
    assert not other, "\n".join((f"python {__file__} writes anew what is different now:", *other))
    assert lab.diagnose().findings == ()


if __name__ == "__main__":
    with running(SCENARIO) as one:
        for written in PAGES:
            written.write_text(answered(one, written))
