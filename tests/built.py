"""k8snetlab as a wheel in an environment of its own; what it depends on is found where the tests have it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from repository import ROOT


def run(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, where no PYTHONPATH leads back to the checkout."""
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [*map(str, words)], cwd=cwd, env=inherited | environment, capture_output=True, text=True, timeout=250
    )


def install(place: Path) -> Path:
    """Builds the wheel and installs it below `place`; its environment's bin/. Skips where it cannot be built."""
    built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place, ROOT, cwd=place)
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip("the build needs hatchling, which cannot be fetched here")
    assert built.returncode == 0, built.stderr
    [wheel] = place.glob("*.whl")
    assert run(sys.executable, "-m", "venv", "--without-pip", place / "venv", cwd=place).returncode == 0
    python = place / "venv/bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    done = run(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=place)
    assert done.returncode == 0, done.stderr
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (place / f"venv/lib/{version}/site-packages/tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "venv/bin"
