"""What an answer to a probe by HTTP means, whatever a server says, in the words of Go."""

from __future__ import annotations

import asyncio

import pytest

from k8snetlab.api.probes import HTTPGetAction, Probe
from k8snetlab.kernel import launch
from k8snetlab.kubelet.asking import Answer, Asked, ask


def nothing() -> tuple[launch.Setting, dict[str, str]]:
    raise AssertionError("no command is asked")


async def asked(said: bytes, gone: bool = False) -> tuple[Answer, int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    if gone:
        server.close()
        await server.wait_closed()
    probe = Probe(httpGet=HTTPGetAction(port=port))
    answer = await ask(Asked("", "127.0.0.1"), probe, nothing, 60.0)
    server.close()
    return answer, port


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nhello", ""),
        (b"HTTP/1.0 302", ""),
        (b"HTTP/1.1 503 No\r\n\r\n", "HTTP probe failed with statuscode: 503"),
        (b"", 'Get "http://127.0.0.1:PORT/": EOF'),
        (
            b"garbage\n",
            'Get "http://127.0.0.1:PORT/": net/http: HTTP/1.x transport connection broken: malformed HTTP response '
            '"garbage"',
        ),
    ],
)
def test_an_answer_is_read_as_far_as_its_first_line(said: bytes, message: str) -> None:
    answer, port = asyncio.run(asked(said))
    assert answer == Answer(not message, message.replace("PORT", str(port)))


def test_a_probe_to_nowhere_says_so() -> None:
    answer, port = asyncio.run(asked(b"", gone=True))
    where = f"127.0.0.1:{port}"
    assert answer == Answer(False, f'Get "http://{where}/": dial tcp {where}: connect: connection refused')
