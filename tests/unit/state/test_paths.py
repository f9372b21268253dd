"""The files of a lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8snetlab.errors import InputError
from k8snetlab.state.paths import SOCKET_PATH, LabPaths


@pytest.mark.parametrize("octets", [SOCKET_PATH, SOCKET_PATH + 1])
def test_a_run_directory_too_long_for_a_socket_is_refused_and_nothing_made(
    octets: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = len("/lab/kubelet.sock")
    run = tmp_path / ("r" * (octets - rest - len(str(tmp_path)) - 1))
    monkeypatch.setenv("K8SNETLAB_RUN", str(run))
    paths = LabPaths("lab")
    if octets <= SOCKET_PATH:
        paths.create()
        assert paths.ledger.exists()
        return
    with pytest.raises(InputError, match=f"{octets} octets"):
        paths.create()
    assert not run.exists()
