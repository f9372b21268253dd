"""What a CI job in a container can do, and what it is told where it cannot."""

from __future__ import annotations

import json

import pytest

from .runtime import LIMITED, Chroot, Runtime

PYTEST = ("/opt/venv/bin/pytest", "-q", "-p", "no:cacheprovider", "--color=no")
SUITE = (
    "kernel",
    "kubelet/test_kubelet.py",
    "lab/test_lab.py",
    "lab/test_lab_lifecycle.py",
    "agent/test_misses.py",
)
"""What asks the kernel for something in a way of its own; the rest of tests/kernel would add nothing but minutes."""


def test_the_namespace_suite_passes_in_a_privileged_container(container: Runtime) -> None:
    done = container.run(*PYTEST, *(f"tests/kernel/{part}" for part in SUITE))
    print(done.stdout)  # noqa: T201
    assert done.returncode == 0
    assert " passed" in done.stdout and " failed" not in done.stdout


def test_doctor_misses_nothing_in_a_privileged_container(container: Runtime) -> None:
    done = container.run("k8snetlab", "doctor")
    assert done.returncode == 0, done.stdout


def test_doctor_tells_a_container_with_too_few_rights(container: Runtime) -> None:
    """With NET_ADMIN and SYS_ADMIN alone namespaces can be made, but /proc/sys is read-only."""
    if isinstance(container, Chroot):
        pytest.skip("podman does not run here, and a container with fewer rights is podman's to make")
    done = container.run("k8snetlab", "doctor", "-o", "json", rights=LIMITED)
    assert done.returncode == 1, done.stdout
    found = {feature["name"]: feature for feature in json.loads(done.stdout)}
    assert found["network namespaces"]["present"] and found["CAP_NET_ADMIN"]["present"]
    assert not found["writable /proc/sys/net"]["present"]
    assert "--privileged" in found["writable /proc/sys/net"]["how_to_get"]
