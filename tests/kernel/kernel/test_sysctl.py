"""Sysctls that are looked at every second: their files stay open, and what is read is true all the same."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import netns, sysctl
from k8snetlab.testing import eventually

FORWARD, DEVICE = "net.ipv4.ip_forward", "net.ipv4.conf.br0.forwarding"


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"sys{secrets.token_hex(3)}"
    netns.create(name)
    yield name
    netns.delete(name)


def ip(namespace: str, *words: str) -> None:
    subprocess.run(["ip", "-n", namespace, *words], check=True)


def _is_gone(watched: sysctl.Watched) -> bool:
    try:
        watched.read()
    except NotFoundError:
        return True
    return False


def test_a_second_look_opens_no_file(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watched, opened = sysctl.Watched(namespace, [FORWARD, "net.ipv4.conf.all.rp_filter"]), []
    try:
        first = watched.read()
        assert first == sysctl.read(namespace, watched.keys) and first.keys() == {*watched.keys}
        real = os.open
        monkeypatch.setattr(os, "open", lambda *given, **more: (opened.append(given), real(*given, **more))[1])
        assert watched.read() == first and not opened
        sysctl.write(namespace, {FORWARD: "1"})
        opened.clear()
        assert watched.read() == {**first, FORWARD: "1"} and not opened
    finally:
        watched.close()


def test_a_device_that_goes_and_comes_is_found_again(namespace: str) -> None:
    watched = sysctl.Watched(namespace, [FORWARD, DEVICE])
    try:
        assert watched.read().keys() == {FORWARD}
        ip(namespace, "link", "add", "br0", "type", "bridge")
        assert watched.read() == sysctl.read(namespace, [FORWARD, DEVICE])
        ip(namespace, "link", "del", "br0")
        assert watched.read().keys() == {FORWARD}
        ip(namespace, "link", "add", "br0", "type", "bridge")
        sysctl.write(namespace, {DEVICE: "1"})
        assert watched.read()[DEVICE] == "1"
    finally:
        watched.close()


def test_a_namespace_that_has_gone_is_not_found(namespace: str) -> None:
    watched = sysctl.Watched(namespace, [FORWARD])
    try:
        watched.read()
        netns.delete(namespace)
        eventually(lambda: _is_gone(watched))
    finally:
        watched.close()


def test_a_key_that_cannot_be_read_leaves_no_file_open(namespace: str) -> None:
    with pytest.raises(IsADirectoryError):
        sysctl.read(namespace, ["net.ipv4.conf"])
    left = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert not [each for each in left if each.name == "conf"]


def test_many_reads_leave_no_file_open(namespace: str) -> None:
    def held() -> int:
        return len([*Path("/proc/self/fd").iterdir()])

    sysctl.read(namespace, [FORWARD])
    before = held()
    for _ in range(300):
        assert sysctl.read(namespace, [FORWARD])
    eventually(lambda: held() == before)
