"""A speaker on a kernel that has no IPv6: here one that refuses such sockets to a process, as that kernel would."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SOCKET = {"x86_64": 41, "aarch64": 198}
"""The number of the system call socket(2)."""
PROGRAM = """
import ctypes, struct, sys
from k8snetlab.speaker import main
code = [(0x20, 0, 0, 0), (0x15, 0, 3, {number}), (0x20, 0, 0, 16), (0x15, 0, 1, 10), (0x06, 0, 0, 0x50000 | 97),
        (0x06, 0, 0, 0x7FFF0000)]
held = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(held)))) == 0
assert main._icmp6("lo") is None
"""
"""A filter of seccomp: socket(AF_INET6, …) is answered with EAFNOSUPPORT."""


@pytest.mark.skipif(platform.machine() not in SOCKET, reason="the number of socket(2) is not known here")
def test_a_speaker_begins_on_a_kernel_without_ipv6() -> None:
    program = PROGRAM.format(number=SOCKET[platform.machine()])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
