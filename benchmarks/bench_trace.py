"""`trace` of business-manager, with a packet observed and with `--predict-only`, over VXLAN and through a Service.

The floor: the same start of the command line and one round trip to the daemon (`get node node1 -o name`).
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import line

ROUNDS = 11
COMMAND = [sys.executable, "-m", "k8snetlab"]


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ["K8SNETLAB_RUN"] = f"{directory}/run"
        os.environ["K8SNETLAB_LAB"] = f"b{secrets.token_hex(3)}"
        _run("up", "business-manager")
        try:
            asked = {
                "a Service": ("client", "business-manager:80"),
                "another node": ("node1", "172.30.9.2", "--proto=icmp"),
            }
            _run("trace", "client", "business-manager:80")
            floor, told = [], {(what, more): [] for what in asked for more in ((), ("--predict-only",))}
            for _ in range(ROUNDS):
                floor.append(_run("get", "node", "node1", "-o", "name"))
                for (what, more), seconds in told.items():
                    seconds.append(_run("trace", *asked[what], *more))
        finally:
            _run("down")
    for (what, more), seconds in told.items():
        print(line(f"trace to {what}{' --predict-only' if more else ''}", seconds, 0.3 if more else 1.0, floor))


def _run(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([*COMMAND, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    if not Path("scenarios").is_dir():
        sys.exit("run it from the checkout: python -m benchmarks.bench_trace")
    main()
