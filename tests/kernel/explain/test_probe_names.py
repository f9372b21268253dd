"""A server of names says nothing to a probe, and waits for more: it is told that nothing comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from k8snetlab.dataplane.links import Device
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.explain.probe import DNS, _exchange
from k8snetlab.explain.targets import Target
from k8snetlab.kernel import netns
from k8snetlab.kernel.execute import execute


def test_who_waits_for_the_end_of_a_query_is_not_waited_for(namespace: Callable[..., str]) -> None:
    name = namespace()
    execute([ItemOperation("add", name, Device("lo"))])
    with netns.inside(name):
        listener = socket.create_server(("127.0.0.1", DNS))

    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # to the end of what comes
        writer.write(b'{"pod": "dns"}\n')
        writer.close()

    async def asked() -> dict[str, object]:
        async with await asyncio.start_server(patient, sock=listener), asyncio.timeout(30):
            return await _exchange(name, Target("dns", "pod", "127.0.0.1", DNS, "TCP"))

    assert asyncio.run(asked()) == {"pod": "dns"}
