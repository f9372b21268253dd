"""No task ends unseen: what fails is told, and begun again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import subprocess
from pathlib import Path

import pytest

from k8snetlab.errors import DaemonError, KernelError
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.processes import ProcessId
from k8snetlab.supervision import Supervisor

pytestmark = pytest.mark.anyio
QUICK = (0.001, 0.002)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def until(supervisor: Supervisor, name: str, times: int) -> str:
    async with asyncio.timeout(20):
        while True:
            for failure in supervisor.failures:
                if failure.name == name and failure.times >= times:
                    return failure.cause
            await asyncio.sleep(0.001)


async def test_whatever_ends_a_task_it_is_begun_again_with_its_cause_known(caplog: pytest.LogCaptureFixture) -> None:
    async def refused() -> None:
        raise KernelError("no room")

    async def bug() -> None:
        raise RuntimeError("fd 12 is used by a transport")

    async def returns() -> None:
        await asyncio.sleep(0)

    async def cancelled() -> None:
        inner = asyncio.create_task(asyncio.sleep(9))
        inner.cancel()
        await inner

    supervisor = Supervisor(QUICK)
    for run in (refused, bug, returns, cancelled):
        supervisor.keep(run.__name__, run)
    causes = {name: await until(supervisor, name, 3) for name in ("refused", "bug", "returns", "cancelled")}
    await supervisor.close()
    assert causes == {
        "refused": "no room",
        "bug": "RuntimeError: fd 12 is used by a transport",
        "returns": "it ended by itself",
        "cancelled": "what it waited for was cancelled",
    }
    whole = [record for record in caplog.records if record.exc_info and "bug failed" in record.message]
    assert len(whole) == 1, "the traceback is in the log, once"


async def test_a_failure_is_forgotten_when_the_task_has_run_for_a_while() -> None:
    failed = asyncio.Event()

    async def once() -> None:
        if not failed.is_set():
            failed.set()
            raise ValueError("once")
        await asyncio.Event().wait()

    supervisor = Supervisor(QUICK, quiet=0.2)
    supervisor.keep("once", once)
    await until(supervisor, "once", 1)
    async with asyncio.timeout(20):
        while supervisor.failures:
            await asyncio.sleep(0.01)
    await supervisor.close()


async def test_work_is_tried_until_it_is_done_and_then_it_has_not_failed() -> None:
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise KernelError("not yet")

    supervisor = Supervisor(QUICK)
    await supervisor.finish("work", work)
    assert (tries, supervisor.failures) == (4, [])


async def test_a_supervisor_that_closes_ends_what_runs_and_what_waits_to_be_begun_again() -> None:
    async def fails() -> None:
        raise ValueError("again")

    supervisor = Supervisor((3600.0,))
    tasks = [supervisor.keep("fails", fails), supervisor.keep("runs", asyncio.Event().wait)]
    await until(supervisor, "fails", 1)
    await supervisor.close()
    assert all(task.cancelled() for task in tasks)


async def test_a_task_whose_end_fails_has_ended_and_the_cause_is_known() -> None:
    begun = 0

    async def run() -> None:
        nonlocal begun
        begun += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if begun == 1:
                raise ValueError("no end") from None
            raise

    supervisor = Supervisor(QUICK)
    supervisor.keep("run", run)
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await supervisor.close()
    assert [(f.name, f.cause) for f in supervisor.failures] == [("run", "ValueError: no end")]


async def test_a_task_that_nobody_has_asked_is_told_of_too(caplog: pytest.LogCaptureFixture) -> None:
    async def forgotten() -> None:
        raise ValueError("nobody looks")

    supervisor, loop = Supervisor(QUICK), asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(supervisor.unseen)
    task = asyncio.create_task(forgotten(), name="chore")
    await asyncio.wait([task])
    with caplog.at_level(logging.ERROR):
        del task
        gc.collect()
    loop.set_exception_handler(before)
    assert [(f.name, f.cause) for f in supervisor.failures] == [("chore", "ValueError: nobody looks")]


async def test_a_kubelet_that_ends_at_once_is_a_failure_and_is_not_started_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot listen: its socket's name is too long for a socket (`up` refuses such a directory before)."""
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path / ("long" * 30)))
    paths = LabPaths("lab")
    paths.directory.mkdir(parents=True)
    link = KubeletLink(paths, Ledger(paths.ledger), lambda _: None, Supervisor())
    with pytest.raises(DaemonError, match="ended with"):
        await link.run()
    assert link._process and link._process.wait(10)


async def test_a_kubelet_of_another_version_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))
    paths = LabPaths("lab")
    paths.create()
    ledger = Ledger(paths.ledger)
    old = subprocess.Popen(["sleep", "1000"])
    process = ProcessId.of(old.pid)
    assert process
    ledger.own_process("kubelet", process)
    said = b'{"id":1,"states":[{"uid":"x","containers":[{"name":"c","state":"running"}]}]}\n'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(answer, paths.kubelet_socket)
    link = KubeletLink(paths, ledger, lambda _: None, Supervisor())
    running = asyncio.create_task(link.run())
    try:
        assert await asyncio.to_thread(old.wait, 20) == -signal.SIGTERM
        server.close()
        async with asyncio.timeout(20):
            assert await link.request("run") == ()
        assert link.pid not in (None, old.pid)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for owned in ledger.processes:
            owned.process.stop(1)
        if link._process:
            link._process.wait(10)
