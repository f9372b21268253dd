"""Runs what the test asks for: a JSON line comes in over the virtio serial port, a JSON line goes back.

Request: {"id", "argv": [...], "stdin": ""}; answer: {"id", "code", "stdout", "stderr"}. Requests may overlap.
The port is independent of the network that is under test.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

PORT = "k8snetlab.agent"


def main() -> None:
    device = next(entry.name for entry in Path("/sys/class/virtio-ports").iterdir() if PORT in _name_of(entry))
    port = os.open(f"/dev/{device}", os.O_RDWR)
    answering = threading.Lock()

    def answer(request: dict[str, Any]) -> None:
        line = json.dumps({"id": request["id"], **run(request)}).encode() + b"\n"
        with answering:
            while line:
                line = line[os.write(port, line) :]

    with os.fdopen(os.dup(port), "rb") as requests:
        for line in requests:
            threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()


def run(request: dict[str, Any]) -> dict[str, Any]:
    try:
        done = subprocess.run(
            request["argv"],
            input=request["stdin"],
            capture_output=True,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return {"code": 127, "stdout": "", "stderr": str(error)}
    return {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def _name_of(entry: Path) -> str:
    name = entry / "name"
    return name.read_text().strip() if name.exists() else ""


if __name__ == "__main__":
    main()
