"""A short command beside a program, in its namespace: whether a configuration is good, whether it serves."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from k8snetlab.addons.program import Place
from k8snetlab.kernel import launch
from k8snetlab.kernel.patience import patience

PATIENCE = 10.0
"""Seconds that it gets; more where processes queue for the cores."""
_DATE = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d\S*\s+")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def failure(
    place: Place, directory: Path, argv: Sequence[str], seconds: float = PATIENCE, *, plain: bool = False
) -> str:
    """The last line that it printed where it did not end with 0 in time; "" where it did. A `plain` one enters no
    namespace. Raises NotFoundError."""
    setting = launch.Setting(place.netns, place.node, str(directory), place.flannel)
    environment = {"PATH": os.environ.get("PATH", PATH), "HOME": "/root"}
    try:
        done = subprocess.run(
            [*argv] if plain else launch.command(setting, argv),
            cwd=directory if plain else None,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=patience(seconds),
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"no answer within {patience(seconds):.0f} s"
    if done.returncode == 0:
        return ""
    said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return _telling(said) or f"it ended with {done.returncode}"


def _telling(lines: Sequence[str]) -> str:
    """The line that says what is wrong, without its date: a summary often follows it."""
    line = next((line for line in lines if "emerg" in line or "error" in line.lower()), lines[-1] if lines else "")
    return _DATE.sub("", line)
