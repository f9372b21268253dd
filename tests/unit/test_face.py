"""tests/face.py leaves the labs of this machine alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from face import face_of

from k8snetlab.state import paths


def test_a_whole_face_is_not_where_the_labs_of_this_machine_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("K8SNETLAB_RUN", raising=False)

    async def main() -> None:
        async with face_of(whole=True) as face:
            assert paths.root() != paths.DEFAULT and (paths.root() / "l").is_dir()
            assert (await face.ask("GET", "/api/v1/nodes")).code == 200
            made.append(paths.root())

    made = list[Path]()
    asyncio.run(main())
    assert paths.root() == paths.DEFAULT and not made[0].exists()
