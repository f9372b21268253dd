"""What is typed and how the window changes, through a body that is cut anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from k8snetlab.errors import InputError
from k8snetlab.exec import channels
from k8snetlab.exec.channels import Size, resized, typed


def heard(*pieces: bytes) -> list[bytes | Size]:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def main() -> list[bytes | Size]:
        return [piece async for piece in channels.read(body())]

    return asyncio.run(main())


@pytest.mark.parametrize("length", [1, 2, 5, 7, 1000])
def test_pieces_of_any_length(length: int) -> None:
    whole = typed(b"ls\r") + resized(Size(50, 132)) + typed(b"") + typed(b"\x03")
    cut = [whole[start : start + length] for start in range(0, len(whole), length)]
    assert heard(*cut) == [b"ls\r", Size(50, 132), b"", b"\x03"]


def test_a_size_is_kubernetes_json() -> None:
    assert resized(Size(50, 132))[5:] == b'{"Height":50,"Width":132}'


def test_what_is_in_no_channel_is_refused() -> None:
    with pytest.raises(InputError, match="channel 103"):
        heard(b"get / HTTP/1.1")
    with pytest.raises(InputError, match="4294967295 bytes"):
        heard(b"\0\xff\xff\xff\xff")
    with pytest.raises(msgspec.ValidationError, match="Width"):
        heard(b"\4\0\0\0\x1b" + b'{"Height":50,"Width":70000}')
