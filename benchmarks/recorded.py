"""What was measured last, kept in docs/speed.json: every later run is shown beside it."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from benchmarks.report import Outcome
from benchmarks.rows import key, lines

BUSY = 0.5
"""Programs that want to run, on average, before ours do."""
FILE = Path(__file__).parents[1] / "docs" / "speed.json"


class Recorded(msgspec.Struct, frozen=True):
    """Ratios (and what has no floor, in its own unit) by what was measured, with where and when."""

    rows: dict[str, float] = {}
    machine: str = ""
    date: str = ""


def read(file: Path = FILE) -> Recorded:
    """Nothing recorded where the file is not there. Raises ValueError where it is none of ours."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Recorded)
    except FileNotFoundError:
        return Recorded()
    except msgspec.DecodeError as error:
        raise ValueError(f"{file}: {error}") from error


def with_outcomes(before: Mapping[str, float], outcomes: Iterable[Outcome]) -> dict[str, float]:
    """What was recorded, with what these benchmarks found in its place; of what did not run the old stays."""
    found = dict(before)
    for outcome in outcomes:
        if not outcome.failed:
            prefix = f"{outcome.name}: "
            found = {what: value for what, value in found.items() if not (outcome.rows and what.startswith(prefix))}
        for row in outcome.rows:
            for line in lines(outcome.name, row, {}):
                found[key(outcome.name, line)] = float(f"{line.value:.4g}")
    return found


def write(outcomes: Iterable[Outcome], where: str, file: Path = FILE) -> None:
    """`where`: what `machine` said before they ran."""
    rows = with_outcomes(read(file).rows, outcomes)
    new = Recorded(dict(sorted(rows.items())), where, datetime.date.today().isoformat())
    write_as_owner(file, msgspec.json.format(msgspec.json.encode(new), indent=2) + b"\n")


def write_as_owner(file: Path, content: bytes) -> None:
    """A file of the checkout's stays its owner's, also where sudo runs the benchmarks."""
    file.write_bytes(content)
    place = file.parent.stat()
    os.chown(file, place.st_uid, place.st_gid)


def machine() -> str:
    """What figures are of that are measured now, and what else the machine has to do."""
    said = f"{os.cpu_count()} cores, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    return f"{said}{beside()}"


def beside() -> str:
    """That other programs run, too: only ratios mean anything then, and not much; "" on a quiet machine."""
    load = os.getloadavg()[0]
    return f", busy with other work (load {load:.1f})" if load > BUSY else ""
