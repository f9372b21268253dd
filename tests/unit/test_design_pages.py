"""The pages about the design say what is so: paths exist, the floors are import-linter's, decisions have their form."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *DECISIONS.glob("*.md"), *ROOT.glob("scenarios/*/*.md")])
PAGES.remove(ROOT / "CHANGELOG.md")  # of what was, not of what is
TOP = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")} - {"build", "dist"}
ROOMS = {path.name for path in (ROOT / "k8snetlab").iterdir() if path.is_dir() and path.name != "__pycache__"}
CODE = re.compile(r"```.*?```|`([^`]+)`", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)*/?")
HEADINGS = ["Context", "Decision", "Why", "Consequences"]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def spans(text: str) -> list[str]:
    """What stands in `backticks` outside of fenced code."""
    return [match[1] for match in CODE.finditer(text) if match[1]]


def is_path(span: str) -> bool:
    """Whether it can only be a file or a directory of this repository."""
    first, slash, _ = span.partition("/")
    known = bool(slash) and first in TOP | ROOMS
    return bool(PATH.fullmatch(span)) and (known or span.endswith((".py", ".md", ".toml")))


def exists(path: str) -> bool:
    """From the repository's root, or, as the pages about rooms have it, from the package's."""
    pattern = path.rstrip("/").replace("ROOM", "*")
    return any(any(base.glob(pattern)) for base in (ROOT, ROOT / "k8snetlab"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    wrong = [span for span in spans(page.read_text()) if is_path(span) and not exists(span)]
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    wrong = []
    for link in LINK.findall(CODE.sub("", page.read_text())):
        target, _, heading = link.partition("#")
        file = page.parent / target if target else page
        if "://" in link or (file.exists() and (not heading or heading in anchors(file))):
            continue
        wrong.append(link)
    assert not wrong


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub makes links to them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_architecture_shows_the_floors_of_import_linter() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["containers"] == ["k8snetlab"])
    section = ARCHITECTURE.read_text().partition("## The floors\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert [spans(row) for row in rows] == [[room.strip() for room in layer.split("|")] for layer in layers]


def test_the_architecture_says_of_every_room_what_it_shows() -> None:
    section = ARCHITECTURE.read_text().partition("## What the rooms show\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^- \*\*(\w+)\*\*", section, re.MULTILINE)) == ROOMS - FACES


FACES = {"cli", "testing", "scenarios"}
"""Nothing of the house imports these."""


@pytest.mark.parametrize("page", sorted(DECISIONS.glob("[0-9]*.md")), ids=name)
def test_a_decision_has_its_headings_and_stands_in_the_index(page: Path) -> None:
    text = page.read_text()
    title = re.match(rf"# {int(page.name[:3])}\. (.+)\n", text)
    assert title and re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert f"- [{page.name[:3]}]({page.name}) {title[1]}\n" in (DECISIONS / "README.md").read_text() + "\n"


def test_no_two_decisions_have_one_number() -> None:
    numbers = [page.name[:3] for page in DECISIONS.glob("[0-9]*.md")]
    assert len(numbers) == len(set(numbers))


def test_design_fits_one_screen() -> None:
    lines = (ROOT / "DESIGN.md").read_text().splitlines()
    assert len(lines) <= 50 and max(map(len, lines)) <= 100


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_prose_is_wrapped_at_120_columns(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL).splitlines()
    assert not [line for line in prose if len(line) > 120 and not line.startswith("|") and " " in line[:120].strip()]
