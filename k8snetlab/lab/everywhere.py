"""A lab on several machines as one: what concerns one node is asked of its machine, what concerns all is asked of
all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from k8snetlab.api.core import Node
from k8snetlab.api.machines import is_machine
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import DaemonError, K8sNetLabError
from k8snetlab.explain import probe
from k8snetlab.lab.concern import node_of
from k8snetlab.lab.operations import Operations
from k8snetlab.messages.probe import ProbeQuestion, ProbeResult, ProbeResults
from k8snetlab.messages.rules import Chains
from k8snetlab.messages.verb import BASE
from k8snetlab.peers.requests import Remote, SilentError

Json = dict[str, Any]
ALLOCATING = ("up", "apply")
"""Operations that may give an object an address or a port of its own."""
LOOK = 3.0
"""Seconds that `status` waits for other machines, and a write for the store to tell of it, whatever is the matter."""


class Everywhere:
    """The lab's machines, seen from the one whose daemon this is: `operations` are what it does itself."""

    def __init__(self, cluster: Cluster, operations: Operations, remote: Remote, leader: Callable[[], str]) -> None:
        self._cluster, self._operations, self._remote, self._leader = cluster, operations, remote, leader

    @property
    def others(self) -> list[str]:
        """The other machines' nodes."""
        nodes = self._cluster.snapshot.all(Node).values()
        return [node.name for node in nodes if is_machine(node) and node.name != self._remote.node]

    def elsewhere(self, method: str, path: Sequence[str], query: Mapping[str, str], body: Any) -> str:
        """The node of another machine that one of the lab's own operations concerns, and none but that; else ""."""
        node = node_of(self._cluster.snapshot, method, path, query, body)
        return node if node in self.others else ""

    def allocating(self, method: str, path: Sequence[str], target: str, body: Any) -> AsyncIterator[bytes] | None:
        """The leader's answer to an operation that allocates, where another machine's daemon is the leader: no two
        machines then give one address to two Services. Where it does not answer, DaemonError comes before anything."""
        node = self._leader() if method == "POST" and path[0] in ALLOCATING else ""
        if node not in self.others:
            return None
        return self._remote.forward(node, method, target, msgspec.json.encode(body))

    async def written(self, method: str, target: str, body: Any) -> Json | None:
        """As `allocating` for one object: the leader's answer, once this machine's snapshot has what was written; None
        where this machine is to write it."""
        node = self._leader()
        if node not in self.others:
            return None
        try:
            obj: Json = await self._remote.ask(node, method, target, body)
        except SilentError:
            return None
        await self._cluster.reached(int(obj["metadata"]["resourceVersion"]), LOOK)
        return obj

    def forward(
        self, node: str, method: str, target: str, body: bytes | AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """`Remote.forward`."""
        return self._remote.forward(node, method, target, body)

    async def answer(
        self, method: str, path: Sequence[str], query: Mapping[str, str], body: Any
    ) -> Json | msgspec.Struct | AsyncIterator[Json] | None:
        """What all machines together answer; None to what is this machine's alone to do."""
        match (method, *path):
            case ("GET", "status"):
                return await self._status()
            case ("POST", "probe") if isinstance(body, dict) and not body.get("from"):
                return await self._probe(msgspec.convert(body, ProbeQuestion))
            case ("GET", "misses") if not query.get("node"):
                return self._misses()
            case ("GET", "rules"):
                family, node = query.get("family", "ipv4"), query.get("node") or self._remote.node
                return await self._operations.tables.rules(node, query.get("service", ""), family)
            case ("GET", "rules", "difference"):
                family = query.get("family", "ipv4")
                sides = (
                    await self._held(query.get("node", ""), family),
                    await self._held(query.get("other", ""), family),
                )
                return await self._operations.tables.difference(sides, query.get("service", ""), family)
        return None

    # --- the verbs ----------------------------------------------------------------------------------------------------

    async def _status(self) -> Json:
        """The status with every machine's nodes and problems, and `machines`: what each said of its processes."""
        health, own = self._cluster.informer.health(), self._operations.standing.status()
        if health.healthy:
            mine, answers = await asyncio.gather(own, self._ask("GET", "status", within=LOOK))
        else:
            silent = DaemonError("its daemon cannot be asked: the store, which carries the question, does not answer")
            mine, answers = await own, dict.fromkeys(self.others, silent)
        said = {self._remote.node: mine} | {node: one for node, one in answers.items() if isinstance(one, dict)}
        states = {state["name"]: state for one in said.values() for state in one["nodes"] if state["answers"]}
        problems = list(mine["problems"])
        for node, one in answers.items():
            if isinstance(one, K8sNetLabError):
                problems.append(_of(node, one.message))
            else:
                problems += [_of(node, problem) for problem in one["problems"] if problem not in problems]
        return mine | {
            "nodes": [states.get(state["name"]) or _unseen(state, answers) for state in mine["nodes"]],
            "problems": list(dict.fromkeys(problems)),
            "machines": {
                node: {key: one[key] for key in ("daemon", "kubelet", "store", "iptables")}
                for node, one in said.items()
            },
        }

    async def _probe(self, question: ProbeQuestion) -> ProbeResults:
        """Every machine probes from its own places; the results stand as if one had done it all."""
        snapshot = self._cluster.snapshot
        own = self._operations.explaining.probe(question)
        mine, answers = await asyncio.gather(own, self._ask("POST", "probe", question))
        results = [*mine.results]
        for node, one in answers.items():
            if isinstance(one, K8sNetLabError):
                results += _untried(snapshot, node, question, one)
            else:
                results += msgspec.convert(one, ProbeResults).results
        order = {place.name: number for number, place in enumerate(probe.places(snapshot))}
        return ProbeResults(tuple(sorted(results, key=lambda result: order.get(result.source, len(order)))))

    async def _misses(self) -> AsyncGenerator[Json, None]:
        """The streams of all machines as one: first {"type": "listening"}, once each of them listens, then what they
        hear, and {"type": "warning", "message"} for a machine that does not answer, or no longer."""
        received: asyncio.Queue[Json | K8sNetLabError] = asyncio.Queue()
        streams = [self._remote.lines(node, "GET", f"{BASE}/misses") for node in self.others]
        tasks = [asyncio.create_task(_pour(self._operations.explaining.misses(""), received, needed=True))]
        tasks += [asyncio.create_task(_pour(stream, received)) for stream in streams]
        listening: list[str] = []
        early: list[Json] = []
        try:
            while len(listening) + sum(event["type"] == "warning" for event in early) < len(tasks):
                event = await _next(received)
                if event["type"] == "listening":
                    listening += event["nodes"]
                else:
                    early.append(event)
            yield {"type": "listening", "nodes": sorted(listening)}
            for event in early:
                yield event
            while True:
                yield await _next(received)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _held(self, node: str, family: str) -> Chains:
        if node not in self.others:
            return await self._operations.tables.chains(node, family)
        path = f"{BASE}/chains?{urlencode({'node': node, 'family': family})}"
        return msgspec.convert(await self._remote.ask(node, "GET", path), Chains)

    async def _ask(self, method: str, verb: str, body: Any = None, within: float | None = None) -> dict[str, Any]:
        return await self._remote.ask_all(self.others, method, f"{BASE}/{verb}", body, within)


def _of(node: str, problem: str) -> str:
    return problem if node in problem else f"{node}: {problem}"


def _unseen(state: Json, answers: Mapping[str, Any]) -> Json:
    """A node of which only the store tells."""
    why = answers.get(state["name"])
    message = (
        why.message.removeprefix(f"{state['name']}: ") if isinstance(why, K8sNetLabError) else "it has just joined"
    )
    return {**state, "agent": {**state["agent"], "error": message}}


def _untried(snapshot: Snapshot, node: str, question: ProbeQuestion, error: K8sNetLabError) -> list[ProbeResult]:
    targets = probe.targets(snapshot, question.asked)
    places = [place for place in probe.places(snapshot) if place.node == node]
    return [probe.untried(place, target, error.message) for place in places for target in targets]


async def _pour(
    events: AsyncIterator[Json], received: asyncio.Queue[Json | K8sNetLabError], needed: bool = False
) -> None:
    try:
        async for event in events:
            received.put_nowait(event)
    except K8sNetLabError as error:
        received.put_nowait(error if needed else {"type": "warning", "message": error.message})


async def _next(received: asyncio.Queue[Json | K8sNetLabError]) -> Json:
    event = await received.get()
    if isinstance(event, K8sNetLabError):
        raise event
    return event
