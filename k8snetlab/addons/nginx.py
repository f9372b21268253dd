"""nginx in the pods of the Ingress controller: its command line, its files, and whether it takes them."""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from k8snetlab.addons import trial
from k8snetlab.addons.configuration import Configuration, revision_of
from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.addons.program import CONF, Place
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import netns, processes
from k8snetlab.render.ingress.conf import FILE, STATUS

PROGRAM, PACKAGE = "nginx", "nginx-light"
TURN = 0.02
"""Seconds between two looks at whether nginx has taken up its configuration."""
PATIENCE = 10.0
"""Seconds that it has for that."""
MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
"""Where Debian's package libnginx-mod-stream puts nginx' stream module."""
_CHECKSUM = b"GET /configuration/checksum HTTP/1.0\r\n\r\n"
_WORKER = b"nginx: worker process"
_FILE = f"{CONF}/{FILE}"
CHECK = (PROGRAM, "-t", "-q", "-p", "./", "-e", "stderr", "-c", _FILE)
STOP = """nginx -p "$0" -e stderr -c conf/nginx.conf -s quit && while [ -e "$0/nginx.pid" ]; do sleep 0.1; done"""
"""As ingress-nginx' /wait-shutdown: workers answer what they have begun, then it ends."""
_LINE = re.compile(rf"{re.escape(FILE)}:(\d+)\Z")
"""At the end: before it stands what was written in the line, which may be anything."""
_BESIDE = re.compile(r'"[^"]*/([-a-z0-9._]+\.(?:pem|passwd))"')


def command(directory: Path) -> tuple[str, ...]:
    return (PROGRAM, "-p", f"{directory}/", "-e", "stderr", "-c", _FILE)


def stopping(directory: Path) -> tuple[str, ...]:
    return ("/bin/sh", "-c", STOP, str(directory))


def stream_module() -> str | None:
    """The file of nginx' stream module, "" where it is built in, None where there is none."""
    program = shutil.which(PROGRAM)
    if program is None:
        return None
    if _has_streams(program, Path(program).stat().st_mtime_ns):
        return ""
    return MODULE if Path(MODULE).exists() else None


@functools.cache
def _has_streams(program: str, _changed: int) -> bool:
    told = subprocess.run((program, "-V"), capture_output=True, text=True, check=False)
    return "--with-stream" in told.stderr.split()


def put(directory: Path, files: Mapping[str, str]) -> None:
    """Has the next start or reload find these files, untried. Raises OSError."""
    configuration = Configuration(directory)
    if configuration.current != revision_of(files):
        configuration.stage(files)
        configuration.adopt(files)


def refusal(place: Place, files: Mapping[str, str]) -> str:
    """Tries the files, and takes them where nginx does: why it does not, in its own words, "" where it does. Raises
    OSError, NotFoundError."""
    configuration = Configuration(Path(place.directory))
    if configuration.current == revision_of(files):
        return ""
    configuration.stage(files)
    problem = trial.failure(place, configuration.trial, CHECK)
    if problem:
        configuration.drop()
    else:
        configuration.adopt(files)
    return problem


def line_of(problem: str) -> int:
    """The line of nginx.conf at which it stopped, from 1; 0 where it does not say."""
    found = _LINE.search(problem)
    return int(found[1]) if found else 0


def file_of(problem: str) -> str:
    """The file beside nginx.conf that it cannot read, "" for none. Of those it says no line."""
    found = None if line_of(problem) else _BESIDE.search(problem)
    return found[1] if found else ""


# --- is it so? Blocking. --------------------------------------------------------------------------------------------


def reloaded(kubelet: Kubelet, uid: str, namespace: str, checksum: str) -> bool:
    """Has nginx in a namespace serve by a configuration; whether it does, and no worker of before takes connections.

    One that begins reads the files by itself; a signal before it answers would end it. Raises DaemonError."""
    until, told = time.monotonic() + PATIENCE, False
    while time.monotonic() < until:
        held = _asked(namespace)
        if held == checksum and _workers(namespace) <= 1:
            return True
        if held and held != checksum and not told:
            told = True
            kubelet.signal(uid, signal.SIGHUP)
        time.sleep(TURN)
    return False


def _asked(namespace: str) -> str:
    try:
        with netns.inside(namespace), socket.socket() as line:
            line.settimeout(1.0)
            line.connect(("127.0.0.1", STATUS))
            line.sendall(_CHECKSUM)
            answer = b""
            while piece := line.recv(4096):
                answer += piece
    except (OSError, K8sNetLabError):
        return ""
    return answer.partition(b"\r\n\r\n")[2].decode(errors="replace").strip()


def _workers(namespace: str) -> int:
    """Workers that take connections: those that are about to end say so in their titles."""
    count = 0
    for pid in processes.pids_in(namespace):
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ")
            count += title == _WORKER
    return count
