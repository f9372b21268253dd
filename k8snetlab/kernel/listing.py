"""A namespace's tables as iproute2 prints them: what a person would see who typed the command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from k8snetlab.errors import KernelError, UnsupportedError
from k8snetlab.kernel import decoded, netns
from k8snetlab.kernel.netlink import Netlink


def lines(namespace: str, argv: Sequence[str]) -> list[str]:
    """The lines that `ip` or `bridge` prints inside the namespace. Raises KernelError, NotFoundError,
    UnsupportedError."""
    return [line.strip() for line in _output(namespace, argv).splitlines() if line.strip()]


def objects(namespace: str, argv: Sequence[str]) -> list[dict[str, Any]]:
    """What `ip` prints with -j, which must be among `argv`."""
    found: list[dict[str, Any]] = json.loads(_output(namespace, argv) or "[]")
    return found


def kinds(namespace: str) -> dict[str, str]:
    """What each device is in words of `ip -d link`, "" where it is a plain one. Raises KernelError, NotFoundError."""
    with Netlink(namespace) as netlink:
        return {link.name: decoded.kind_of(link.info) for link in decoded.devices(netlink).values()}


def _output(namespace: str, argv: Sequence[str]) -> str:
    pipe = subprocess.PIPE
    try:
        with netns.inside(namespace):
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
    except FileNotFoundError:
        raise UnsupportedError(f"there is no {argv[0]} on this machine", "apt-get install iproute2") from None
    with process:
        out, err = process.communicate()
    if process.returncode:
        raise KernelError(f"{' '.join(argv)} in {namespace}: {err.strip()}", operation=" ".join(argv))
    return out
