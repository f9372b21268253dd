"""docs/kubectl.md is run, block by block, by a real kubectl against a real lab: what it shows is what is answered.

`python tests/kernel/lab/test_docs_kubectl.py` writes the answers anew.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from k8snetlab.testing import Lab, running
from k8snetlab.testing.etcd import free_port

sys.path.insert(0, str(Path(__file__).parents[2]))
import kubectl
import pages
from pages import Shell, blocks, commands

PAGE = Path(__file__).parents[3] / "docs" / "kubectl.md"
SCENARIO = "business-manager"
PORTS = ("18080", "18001")
"""Of this machine, on the page: others are taken when it is run."""
WATCH = "kubectl get pods -l app=client -w >watched.txt & "
SEEN, CHANGED, GONE = (
    "kubectl describe service web",
    "kubectl get deployment,service shop -o wide",
    "kubectl wait --for=delete pod -l app=web --timeout=60s",
)
SLICES = "kubectl get endpointslices -l kubernetes.io/service-name=web"
WAITED = {
    f"{WATCH}sleep 1": f"{WATCH}until grep -qs Running watched.txt; do sleep 0.1; done",
    "sleep 1": "until [ $(wc -l <watched.txt) -ge 4 ]; do sleep 0.1; done",
    SEEN: f"until {SLICES} -o jsonpath='{{..addresses}}' | grep -q '\\].*\\['; do sleep 0.1; done; {SEEN}",
    CHANGED: f"kubectl rollout status deployment/shop >there.txt; {CHANGED}",
    GONE: f"{GONE} >gone.txt",
}
"""What a reader gives a second, or the moment that typing takes, a busy machine has as long as it takes for."""
pytestmark = [
    pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE),
    pytest.mark.lab(SCENARIO),
    pytest.mark.timeout(900),
]


@contextmanager
def shell_of(lab: Lab, directory: Path) -> Iterator[Shell]:
    program = kubectl.found()
    assert program
    config = directory / "config"
    config.write_text(lab.run("kubeconfig"))
    path = f"{Path(program).parent}:{os.environ['PATH']}"
    shell = Shell(directory, {"PATH": path, "HOME": str(directory), "KUBECONFIG": str(config), "LC_ALL": "C.UTF-8"})
    try:
        yield shell
    finally:
        shell.close()


def answered(text: str, shell: Shell, directory: Path) -> str:
    """The page with what its commands answer now."""
    ports = {port: str(free_port()) for port in PORTS}

    def said(command: str) -> str:
        real = WAITED.get(command, command)
        for shown, port in ports.items():
            real = real.replace(shown, port)
        heard = shell.said(real)
        for shown, port in ports.items():
            heard = heard.replace(port, shown)
        return heard

    return pages.answered(text, said, directory)


ALIKE = (
    (r"\b((?:business-manager|data-product|web|shop|my-shop)-[a-f0-9]{8,10})-[a-z0-9]{5}\b", r"\1-POD"),
    (r"\b(business-manager|data-product)-[a-z0-9]{5}\b", r"\1-SLICE"),
    (r"\b(web-|pod-template-hash=)[a-f0-9]{5,10}\b", r"\1HASH"),  # of a restart its moment is a part
    (r"\b172\.30\.\d+\.\d+\b", "ADDRESS"),
    (r"\b10\.254\.(?!80\.22\b|116\.224\b|0\.1\b)\d+\.\d+\b", "ADDRESS"),
    (r"\b\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", "TIME"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z| \+0000 UTC)", "TIME"),
    (r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "UID"),
    (r"\b[0-9a-f]{32,64}\b", "ID"),
    (r"\beth0@if\d+\b", "eth0@LINK"),
    (r"resourceVersion\"?: \"\d+\"", "resourceVersion"),
    (r"https://127\.0\.0\.1:\d+", "https://127.0.0.1:PORT"),
    (r"([0-9a-f]{2}:){5}[0-9a-f]{2}", "MAC"),
    (r"\bv?\d+\.\d+\.\d+[\w.-]*\b", "VERSION"),
    (r"\b(\d+[dhms])+\b", "AGE"),
    (r"\b\d+Ki\b", "SIZE"),
    (r"(cpu:|memory:) +\d+", r"\1 N"),
    (r"ADDRESS(:\d+)?(,ADDRESS(:\d+)?)+", r"ADDRESS\1"),
    (r"(OS Image|Boot ID|Kernel Version|Operating System|Architecture): .*", r"\1"),
    (r"^(node\d .*VERSION +ADDRESS|node\d .* 192\.168\.0\.\d+ +<none>).*", r"\1"),
    (r"-{2,}", "--"),
    (r" {2,}", " "),
)


def alike(text: str) -> str:
    """Without what is different each time: names and addresses of pods, ages, times, this machine."""
    for pattern, put in ALIKE:
        text = re.sub(pattern, put, text, flags=re.MULTILINE)
    return text


def answers(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a page, and the lines of its answer, alike and in order."""
    found = []
    for _, language, block in blocks(text):
        if language != "console":
            continue
        pieces = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
        if any(piece.partition("\n")[0].endswith("&") for piece in pieces):
            pieces = ["\n$ ".join(pieces)]  # what runs meanwhile speaks when it likes to
        for piece in pieces:
            command, _, lines = piece.partition("\n")
            found.append((command, sorted(filter(None, (line.strip() for line in alike(lines).splitlines())))))
    return found


def test_the_page_shows_what_kubectl_is_answered(lab: Lab, tmp_path: Path) -> None:
    text = PAGE.read_text()
    with shell_of(lab, tmp_path) as shell:
        now = answered(text, shell, tmp_path)
    pairs = zip(answers(text), answers(now), strict=True)
    other = [
        "\n".join((f"$ {command}", *difflib.unified_diff(shown, said, "the page", "kubectl", n=0, lineterm="")))
        for (command, shown), (_, said) in pairs
        if said != shown
    ]
    assert not other, "\n".join((f"python {__file__} writes anew what is different now:", *other))


def test_the_page_has_every_verb_that_a_lab_answers() -> None:
    asked = " ".join(command for _, _, block in blocks(PAGE.read_text()) for command in commands(block))
    words = (
        "get describe create apply replace edit patch diff delete scale expose run label annotate set logs exec cp "
        "port-forward events api-resources api-versions explain version cluster-info auth wait cordon uncordon drain "
        "taint proxy attach top autoscale rollout"
    )
    assert not [word for word in words.split() if f"kubectl {word}" not in asked]
    for part in ("status", "restart", "undo", "history", "pause", "resume"):
        assert f"rollout {part}" in asked


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made, running(SCENARIO) as one, shell_of(one, Path(made)) as bash:
        PAGE.write_text(answered(PAGE.read_text(), bash, Path(made)))
