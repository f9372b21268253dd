"""What brings Services of type LoadBalancer their traffic: a speaker on every node, or haproxy in the router."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import k8snetlab
from k8snetlab.addons.program import CONF, Program
from k8snetlab.api.core import Node
from k8snetlab.api.machines import interface_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import ETH0, ROUTER
from k8snetlab.render.lb import alb, haproxy, speaker

SPEAKER = "speaker"
STATE = "state.json"
"""In the speaker's directory: what it announces now."""
HAPROXY, SOCKET = "haproxy", "haproxy.sock"
"""haproxy's name as a program, as a command and as Debian's package; and where it is asked, in its directory."""
_SAYS = """
import csv, socket, sys
line = socket.socket(socket.AF_UNIX)
line.settimeout(1)
line.connect(sys.argv[1])
line.sendall(b"show info;show stat -1 4 -1\\n")
said = line.makefile().read()
if f"description: {sys.argv[2]}" not in said.splitlines():
    sys.exit("it has not taken up its new file yet")
rows = csv.DictReader(said.partition("# pxname")[2].splitlines())
unknown = sorted({row["svname"] for row in rows if (row["check_status"] or "").endswith("INI")})
sys.exit(f"it has not checked {unknown[0]} yet" if unknown else 0)
"""
"""Until its first check of a server, haproxy sends there as if that served."""
_FILE, _LOADED = "speaker.json", "loaded.json"


def programs(snapshot: Snapshot, node: str) -> tuple[Program, ...]:
    """Those of one node, or of the router."""
    mode = snapshot.lab.spec.loadBalancer.mode
    if mode == "l2" and (known := snapshot.get(Node, node)):
        return (_speaker(speaker.configuration(snapshot, node), node, interface_of(known) or ETH0),)
    if mode == "cloud" and node == ROUTER:
        return (_haproxy(haproxy.configuration(snapshot), alb.files(snapshot)),)
    return ()


def _haproxy(text: str, certificates: Mapping[str, str]) -> Program:
    """On SIGUSR2 its master begins workers with the new file, and the old ones end when their connections have."""
    file = f"{CONF}/haproxy.cfg"
    return Program(
        HAPROXY,
        (HAPROXY, "-W", "-f", file),
        files={"haproxy.cfg": text, **certificates},
        check=(HAPROXY, "-c", "-f", file),
        reload=signal.SIGUSR2,
        ready=(sys.executable, "-S", "-c", _SAYS, SOCKET, haproxy.description(text)),
        package=HAPROXY,
    )


def _speaker(text: str, node: str, device: str) -> Program:
    """It is ready when it has read its file."""
    root = str(Path(k8snetlab.__file__).parents[1])
    return Program(
        SPEAKER,
        (sys.executable, "-S", "-m", "k8snetlab.speaker", node, device),
        files={_FILE: text},
        reload=signal.SIGHUP,
        ready=("/usr/bin/cmp", "-s", f"{CONF}/{_FILE}", _LOADED),
        env={"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"},
    )
