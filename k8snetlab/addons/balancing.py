"""What brings Services of type LoadBalancer their traffic: a speaker on every node, as MetalLB has it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import k8snetlab
from k8snetlab.addons.program import CONF, Program
from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import ETH0
from k8snetlab.render.lb import speaker

SPEAKER = "speaker"
STATE = "state.json"
"""In the speaker's directory: what it announces now."""
_FILE, _LOADED = "speaker.json", "loaded.json"


def programs(snapshot: Snapshot, node: str) -> tuple[Program, ...]:
    """Those of one node, or of the router."""
    if snapshot.lab.spec.loadBalancer.mode == "l2" and snapshot.get(Node, node):
        return (_speaker(speaker.configuration(snapshot, node), node),)
    return ()


def _speaker(text: str, node: str) -> Program:
    """It is ready when it has read its file."""
    root = str(Path(k8snetlab.__file__).parents[1])
    return Program(
        SPEAKER,
        (sys.executable, "-S", "-m", "k8snetlab.speaker", node, ETH0),
        files={_FILE: text},
        reload=signal.SIGHUP,
        ready=("/usr/bin/cmp", "-s", f"{CONF}/{_FILE}", _LOADED),
        env={"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"},
    )
