"""The pytest plugin where no lab can be, and k8snetlab where no pytest is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLUGIN = ("-p", "no:cacheprovider", "-p", "no:k8snetlab", "-p", "k8snetlab.testing.plugin")
NOT_ROOT = "import os\nos.geteuid = lambda: 1000\n"


def pytest_says(place: Path, test: str, conftest: str = "") -> str:
    (place / "test_it.py").write_text(f"import pytest\n\n{test}")
    (place / "conftest.py").write_text(conftest)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", *PLUGIN, "--rootdir", place, place],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_without_root_a_test_that_wants_a_lab_is_skipped_with_the_reason(tmp_path: Path) -> None:
    said = pytest_says(tmp_path, '@pytest.mark.lab("two-nodes")\ndef test_it(lab): assert 0\n', NOT_ROOT)
    assert "1 skipped" in said and "a lab needs root: run pytest with sudo" in said, said


def test_a_lab_without_its_mark_is_an_error_that_says_so(tmp_path: Path) -> None:
    said = pytest_says(tmp_path, "def test_it(lab): pass\n")
    assert "1 error" in said and "the fixture `lab` wants @pytest.mark.lab(DIRECTORY)" in said, said


def test_the_mark_is_a_known_one(tmp_path: Path) -> None:
    test = '@pytest.mark.lab("two-nodes")\ndef test_it(): pass\n'
    assert "1 passed" in pytest_says(tmp_path, test, "") and "Unknown" not in pytest_says(tmp_path, test, "")


def test_k8snetlab_testing_without_pytest_needs_no_pytest() -> None:
    program = (
        "import sys; sys.modules['pytest'] = None; import k8snetlab.testing, k8snetlab.testing.machines, "
        "k8snetlab.testing.kernelstate, k8snetlab.testing.etcd; print('typer' in sys.modules or 'rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_the_plugin_loads_nothing_of_the_kernel_before_a_lab_is_asked_for() -> None:
    program = "import sys, k8snetlab.testing.plugin; print([m for m in ('pyroute2', 'iptc') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
