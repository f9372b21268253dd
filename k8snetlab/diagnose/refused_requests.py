"""What nginx answered by itself of late, by its access log: for hosts and paths that nobody has, and bodies too large.

No object is wrong in that, so it is a note: who asked may have been.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from k8snetlab.api.words import shorten

RECENT = 300.0
"""Seconds."""
OWN = "k8snetlab"
"""Who asks in the name of `probe` and `diagnose`: that says nothing of who uses the lab."""
_LINE = re.compile(
    r'\S+ - .* \[(?P<at>[^\]]+)\] "(?P<request>.*?) HTTP/[\d.]+" (?P<status>404|413) '
    r'\d+ "[^"]*" "(?P<agent>[^"]*)" '
    r".*\[(?P<upstream>[^\]]*)\] \[[^\]]*\] (?P<asked>\S+) \S+ \S+ \S+ \S+"
)


def notes(lines: Iterable[str], now: float) -> Iterator[str]:
    """A sentence for 404, and one for 413; `now` in epoch seconds."""
    found: dict[str, list[str]] = {"404": [], "413": []}
    for text in lines:
        if (said := _LINE.fullmatch(text)) is None or said["agent"] == OWN or now - _moment(said["at"]) > RECENT:
            continue
        status, nobody = said["status"], said["upstream"] == "upstream-default-backend"
        if nobody if status == "404" else said["asked"] == "-":
            found[status].append(said["request"])
    if nowhere := found["404"]:
        yield (
            f"nginx answered {_counted(nowhere)} with 404 Not Found: no Ingress has its host, or none of that host's "
            "paths is for it (`k8snetlab trace outside URL` says which)"
        )
    if large := found["413"]:
        yield (
            f"nginx answered {_counted(large)} with 413 Request Entity Too Large: annotation proxy-body-size says how "
            "large a body may be, 1m where it is not given"
        )


def _counted(found: list[str]) -> str:
    number = "1 request" if len(found) == 1 else f"{len(found)} requests"
    return f"{number} of the last {RECENT / 60:.0f} minutes (the last: {shorten(found[-1].strip())})"


def _moment(text: str) -> float:
    """Of a line's time, in epoch seconds; 0 for what is none."""
    try:
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").timestamp()
    except ValueError:
        return 0.0
