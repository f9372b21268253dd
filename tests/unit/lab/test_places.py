"""What a container wrote, as the daemon answers it: in pieces, and no more than is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from face import face_of

from k8snetlab.api.core import Pod
from k8snetlab.lab.operations.places import Places
from k8snetlab.messages.places import LogsQuestion
from k8snetlab.state.paths import LabPaths

pytestmark = pytest.mark.anyio
POD = {
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"nodeName": "node1", "containers": [{"name": "main", "image": "i"}]},
}


@pytest.mark.parametrize(
    ("tail", "limit", "wanted"),
    [
        (-1, None, b"first\n\xff\x00\nlast"),
        (-1, 1, b"f"),
        (-1, 8, b"first\n\xff\x00"),
        (-1, 100, b"first\n\xff\x00\nlast"),
        (2, None, b"\xff\x00\nlast"),
        (2, 3, b"\xff\x00\n"),
        (0, 5, b""),
    ],
)
async def test_logs_hold_the_bytes_that_were_written_up_to_the_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tail: int, limit: int | None, wanted: bytes
) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))
    paths = LabPaths("l")
    async with face_of() as face:
        _, pod = await face.cluster.apply(msgspec.convert(POD, Pod))
        directory = paths.logs_of(cast(Pod, pod)) / "main"
        directory.mkdir(parents=True)
        (directory / "0.log").write_bytes(b"first\n\xff\x00\nlast")
        places = Places(face.cluster, cast(Any, None), paths)
        asked = LogsQuestion("shop", "web", tailLines=tail, limitBytes=limit)
        assert b"".join([piece.data async for piece in places.logs(asked)]) == wanted
