"""Commands of a person, run for them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from k8snetlab.errors import KernelError
from k8snetlab.kernel import typed


def test_what_takes_too_long_is_ended_with_all_that_it_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typed, "PATIENCE", 0.2)
    late, began = tmp_path / "late", time.monotonic()
    with pytest.raises(KernelError, match=r"not done after 0.2 s"):
        typed.run_here(("sh", "-c", f"(sleep 20; touch {late}) | cat; true"))
    assert time.monotonic() - began < 15, "waited for a shell's own commands"
    assert not late.exists()
