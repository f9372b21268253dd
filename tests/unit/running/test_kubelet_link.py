"""What the kubelet says last of a pod holds, whoever asked before."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import msgspec
import pytest

from k8snetlab.api.core import ContainerStatus
from k8snetlab.api.workload import KubeletRequest, KubeletResponse, PodState
from k8snetlab.running import kubelet_link
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths
from k8snetlab.supervision import Supervisor


class Link(KubeletLink):
    """Of a kubelet that the test is itself."""

    def start(self) -> None:
        pass


def state(ready: bool) -> PodState:
    return PodState("a", (ContainerStatus(name="c", ready=ready),))


def line(response: KubeletResponse) -> bytes:
    return msgspec.json.encode(response) + b"\n"


async def answered_and_told_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The answer to each request, and what changed since, arrive together."""
    while text := await reader.readline():
        request = msgspec.json.decode(text, type=KubeletRequest)
        answer = KubeletResponse(id=request.id, states=(state(False),))
        writer.write(line(answer) + line(KubeletResponse(states=(state(True),))))
    writer.close()


async def answers_until(ending: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for _ in range(2):
        request = msgspec.json.decode(await reader.readline(), type=KubeletRequest)
        writer.write(line(KubeletResponse(id=request.id)))
    await ending.wait()
    writer.close()


def test_news_that_come_with_an_answer_are_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))

    async def work() -> None:
        paths = LabPaths("link")
        paths.directory.mkdir(parents=True)
        server = await asyncio.start_unix_server(answered_and_told_at_once, paths.kubelet_socket)
        told: list[bool] = []
        link = Link(
            paths,
            Ledger(paths.ledger),
            lambda states: told.extend(one.ready for pod in states for one in pod.containers),
            Supervisor(),
        )
        line_up = asyncio.create_task(link.run())
        for op in ("run", "health"):
            answer = await asyncio.wait_for(link.request(op), 60)
            assert [one.containers[0].ready for one in answer] == [False]
            assert link.states["a"].containers[0].ready, op
        assert told == [True] * 3
        line_up.cancel()
        await asyncio.gather(line_up, return_exceptions=True)
        server.close()

    asyncio.run(work())


def test_a_kubelet_that_dies_late_has_as_long_to_come_back_as_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))
    monkeypatch.setattr(kubelet_link, "START", 1.0)

    async def work() -> None:
        paths = LabPaths("link")
        paths.directory.mkdir(parents=True)
        link = Link(paths, Ledger(paths.ledger), lambda states: None, Supervisor())
        line_up = asyncio.create_task(link.run())
        for _ in range(2):
            ending = asyncio.Event()
            server = await asyncio.start_unix_server(partial(answers_until, ending), paths.kubelet_socket)
            await asyncio.wait_for(link.request("health"), 60)
            await asyncio.sleep(1.1)
            server.close()
            paths.kubelet_socket.unlink()
            ending.set()
            await asyncio.sleep(0.1)
            assert not line_up.done()
        line_up.cancel()
        await asyncio.gather(line_up, return_exceptions=True)

    asyncio.run(work())
