"""What an interrupted end of a lab has left is taken away by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8snetlab.testing import Lab


@pytest.mark.parametrize("words", [("node", "leave"), ("node", "leave", "--force"), ("down",)])
@pytest.mark.parametrize("files", [(), ("left",)])
def test_a_directory_without_a_ledger_is_taken_away(
    words: tuple[str, ...], files: tuple[str, ...], tmp_path: Path
) -> None:
    lab = Lab(tmp_path)
    directory = lab.run_directory / lab.name
    directory.mkdir(parents=True)
    for name in files:
        (directory / name).touch()
    lab.run(*words)
    assert not directory.exists()


def test_a_lab_that_is_on_no_machine_is_not_left(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    said = lab.run("node", "leave", code=1)
    assert f"no lab '{lab.name}' runs here" in said
