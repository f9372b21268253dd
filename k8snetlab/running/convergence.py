"""Waits until a lab is as a request asks, for no longer than a known time, and says what it waits for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from itertools import chain, islice
from operator import is_
from typing import NamedTuple

import msgspec

from k8snetlab.api.core import Pod
from k8snetlab.api.pod_state import never_ready
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import DaemonError, K8sNetLabError, KernelError
from k8snetlab.messages.changes import ChangeEvent, Failed
from k8snetlab.messages.nodes import FailingAgent
from k8snetlab.messages.progress import Progress, Waiting, Warning
from k8snetlab.messages.timeouts import CHANGE_TIMEOUT
from k8snetlab.peers.pace import Pace
from k8snetlab.peers.requests import Remote
from k8snetlab.running.agent_task import AgentTask
from k8snetlab.running.agents import Agents
from k8snetlab.running.doors import Doors
from k8snetlab.running.followed import Followed
from k8snetlab.running.stands import DONE, Stand, Stands, doing, why
from k8snetlab.running.unserved import unserved, unserved_ingresses

FAILURE_THRESHOLD = 3
"""Syncs in a row that an agent fails before it is not waited for any more."""
SETTLING = 0.2
"""Seconds for which one look waits for the controllers."""
HOPELESS = 2.0
"""Seconds after which a pod that fits no node is given up, when nothing is ending that may make room for it."""
PAUSE, LONGEST_PAUSE = 0.005, 0.2
"""Seconds between two looks: where something has happened that a look is for, and where nothing has."""
BEAT = 1.0
"""Seconds between two events about what is waited for."""
LINES = 8
"""Reasons that one event names at most."""
_UNSETTLED = "the controllers: they have not come to an end"


async def converge(
    cluster: Cluster,
    agents: Agents,
    remote: Remote | None,
    followed: Followed,
    *,
    since: float | None = None,
    timeout: float = CHANGE_TIMEOUT,
    doors: Doors | None = None,
) -> AsyncGenerator[ChangeEvent, None]:
    """Yields events until the request's own objects are in every kernel they concern, and its pods run, have failed (a
    `Failed` for each) or have gone. `since` (seconds, monotonic) is when the request came: agents must have looked at
    their kernels later than that, and the `timeout` counts from there.

    At least once a second it says what it waits for, and at the end it warns of what was not waited for: nodes that
    are paused, machines that do not answer, agents that fail. Raises KernelError when an agent fails whose node the
    request concerns, DaemonError after `timeout`.
    """
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        pace = await stack.enter_async_context(Pace(cluster, remote)) if remote else None
        asked = began if since is None else since
        waiting = _Waiting(cluster, agents, pace, followed, asked, doors=doors)
        shown: set[Progress] = set()
        said = began
        while True:
            look = await waiting.look()
            for progress in look.progress:
                if progress not in shown:
                    shown.add(progress)
                    yield progress
            if not look.reasons:
                break
            now = time.monotonic()
            if now - asked > timeout:
                raise DaemonError(
                    f"after {timeout:g} s still waiting for {_listed(look.reasons, look.more)}",
                    "`k8snetlab status` says what each of them is doing; --timeout gives it longer",
                )
            if now - said >= BEAT:
                said = now
                yield Waiting(round(now - began, 1), tuple(look.reasons[:LINES]))
            await waiting.news(max(PAUSE, 3 * look.took))
        events, refused = waiting.ending(look)
        for event in events:
            yield event
        if refused:
            raise refused


class _Look(msgspec.Struct):
    """What is so now; `reasons` is what is still waited for, in words, and `more` how much more of the like there is.
    `nodes` are those that the request concerns, None for all; `failing` agents that fail, which are not waited for;
    `misfits` pods that fit no node and are not waited for any longer. It `took` so many seconds, without the wait for
    the controllers."""

    snapshot: Snapshot
    nodes: frozenset[str] | None
    failing: list[AgentTask]
    misfits: list[Pod] = []
    progress: list[Progress] = []
    reasons: list[str] = []
    more: int = 0
    took: float = 0.0

    def concerns(self, node: str) -> bool:
        return self.nodes is None or node in self.nodes


class _Failure(NamedTuple):
    """An agent that fails; `awaited`: it was waited for until then."""

    name: str
    error: str
    hint: str
    operation: str
    awaited: bool


class _Waiting:
    """The looks of one request, and what it remembers between them."""

    def __init__(
        self,
        cluster: Cluster,
        agents: Agents,
        pace: Pace | None,
        followed: Followed,
        since: float,
        *,
        doors: Doors | None = None,
    ) -> None:
        self._doors = doors
        self._cluster, self._agents, self._pace, self._followed, self._since = cluster, agents, pace, followed, since
        self._reached: tuple[Snapshot, float] | None = None
        """The snapshot in which the pods are as they should be, and when it was seen first."""
        self._stands = Stands()
        self._seen: list[object] = []
        """What the last look was at."""
        self._hopeless: set[str] = set()
        """The pods, by uid, that fit no node, and since when they are just these."""
        self._hoped = 0.0

    async def look(self) -> _Look:
        settled = await self._settled()
        snapshot, now, stands = self._cluster.snapshot, time.monotonic(), self._stands
        self._seen = self._news() if settled else []
        pods = self._followed.look(snapshot)
        if self._pace:
            self._pace.look()
        failing = [
            t for t in self._agents.tasks if t.state.failures >= FAILURE_THRESHOLD and t.state.failed >= self._since
        ]
        look = _Look(snapshot, self._followed.nodes(snapshot), failing)
        silent = self._silent()
        stands.follow(pods, snapshot, silent, {*self._refusing(), *(task.name for task in failing)})
        awaited = [*islice(chain(stands["ending"].values(), stands["coming"].values()), LINES)]
        look.reasons = [f"pod {pod.namespace}/{pod.name}: {doing(pod)}" for pod in awaited]
        look.more = len(stands["ending"]) + len(stands["coming"]) - len(awaited)
        self._look_at_misfits(look, settled, now)
        look.reasons += self._followed.ending(snapshot)
        look.reasons += self._followed.short(snapshot) if settled else [_UNSETTLED]
        if look.reasons:
            self._reached = None
        elif self._reached is None:
            self._reached = snapshot, now
        rules = self._look_at_kernels(look)
        if self._doors and not look.reasons:
            look.reasons += self._doors.coming(snapshot, self._followed)
        known = len([t for t in self._agents.tasks if t.state.snapshot])
        undone = ", ".join(f"{pod.namespace}/{pod.name}" for pod in islice(stands.undone, LINES))
        done = sum(len(stands[stand]) for stand in DONE)
        look.progress = [
            Progress("nodes", known, len(self._agents.tasks), "namespaces, links, routes"),
            Progress("pods", done, len(stands), _cut(undone, 60)),
            rules,
        ]
        look.took = time.monotonic() - now
        return look

    async def news(self, seconds: float) -> None:
        """Until another look may see something else, `seconds` at least."""
        until = time.monotonic() + LONGEST_PAUSE
        await asyncio.sleep(seconds)
        while self._seen and time.monotonic() < until and self._is_old():
            await asyncio.sleep(seconds)

    def _is_old(self) -> bool:
        now = self._news()
        return len(now) == len(self._seen) and all(map(is_, now, self._seen))

    def _news(self) -> list[object]:
        """All that a look depends on, by identity; nothing where other machines have their part in it."""
        if self._pace:
            return []
        doors = self._doors.state if self._doors else ()
        return [self._cluster.snapshot.objects, *(task.state for task in self._agents.tasks), *doors]

    def _look_at_misfits(self, look: _Look, settled: bool, now: float) -> None:
        """Pods that fit no node are given up when nothing else is waited for, and after a while."""
        misfits = [*self._stands["misfit"].values()]
        if misfits and settled and not look.reasons and self._are_hopeless(misfits, now):
            look.misfits = misfits
        else:
            look.reasons += [f"pod {pod.namespace}/{pod.name}: {why(pod)}" for pod in misfits]

    def _look_at_kernels(self, look: _Look) -> Progress:
        """Whether what was reached is in every kernel that the request concerns; the progress of it."""
        awaited = [
            task
            for task in self._agents.tasks
            if look.concerns(task.name) and not task.state.paused and task not in look.failing
        ]
        behind = [task for task in awaited if not self._has(task)]
        remote, refusing = self._pace.behind if self._pace else [], self._refusing()
        remote = [name for name in remote if name not in refusing]
        if self._reached:
            look.reasons += [f"{task.name}: {_lacking(task)}" for task in behind]
            look.reasons += [f"{name}: its kernel is not in step yet" for name in remote]
            missing = self._agents.nodes.keys() ^ self._agents.local(look.snapshot) if look.nodes is None else ()
            look.reasons += [f"{name}: its agent comes or goes" for name in sorted(missing)]
            if self._pace and not look.reasons and look.snapshot.revision < self._pace.needed:
                look.reasons.append("the store: what was written has not come back from it")
        total = len(awaited) + (self._pace.machines if self._pace else 0)
        late = f"waiting for {', '.join(remote)}" if remote else "iptables in step with the Services"
        return Progress("rules", total - len(behind) - len(remote), total, late)

    def ending(self, look: _Look) -> tuple[list[ChangeEvent], K8sNetLabError | None]:
        """The events to send when the wait is over, and what was refused of the request's own."""
        silent = self._silent().values()
        events: list[ChangeEvent] = [Warning(f"{why}; it was not waited for") for why in silent]
        events += self._of_paused_nodes(look)
        if self._doors:
            events += map(Warning, self._doors.unserved(look.snapshot, self._followed))
        events += [
            Warning(f"pod {pod.namespace}/{pod.name} {never_ready(pod) or f'has failed: {why(pod)}'}")
            for pod in self._ordered("over")
        ]
        events += [Warning(sentence) for sentence in unserved(look.snapshot, self._followed.services)]
        events += [Warning(sentence) for sentence in unserved_ingresses(look.snapshot) if self._followed.ingresses]
        for pod in [*self._ordered("failed"), *look.misfits]:
            message = f"pod {pod.namespace}/{pod.name}: {why(pod)}"
            events.append(Failed(pod.namespace, pod.name, message))
        for name, count in Counter(pod.spec.nodeName for pod in self._ordered("orphaned")).items():
            events.append(Warning(f"{count} pod{'s wait' if count > 1 else ' waits'} for {name} to join"))
        refused: K8sNetLabError | None = None
        for reason in self._followed.refused(look.snapshot):
            refused = refused or DaemonError(reason, "`k8snetlab get events` shows it; it is tried again")
        for failure in self._failures(look):
            if refused is None and failure.awaited and look.concerns(failure.name):
                refused = KernelError(f"{failure.name}: {failure.error}", failure.hint, failure.operation)
            else:
                hint = f" ({failure.hint})" if failure.hint else ""
                events.append(Warning(f"{failure.name}: its agent fails: {failure.error}{hint}"))
        return events, refused

    def _silent(self) -> Mapping[str, str]:
        """Nodes that do not answer, and why."""
        off = {name: f"{name} has no power (`k8snetlab node start {name}`)" for name in self._agents.power.off}
        return {**off, **self._pace.silent} if self._pace else off

    def _ordered(self, stand: Stand) -> list[Pod]:
        """The pods that stand so, in the order of the request."""
        pods = self._stands[stand]
        return [pods[key] for key in self._followed.look(self._cluster.snapshot) if key in pods] if pods else []

    def _of_paused_nodes(self, look: _Look) -> Iterator[Warning]:
        paused, tasks = dict[str, list[Pod]](), self._agents.tasks
        for pod in self._ordered("paused"):
            paused.setdefault(pod.spec.nodeName, []).append(pod)
        for task in tasks:
            if task.state.paused and (task.name in paused or look.concerns(task.name)):
                yield Warning(_of_paused(task.name, paused.get(task.name, [])))
        here = {task.name for task in tasks}
        for name, pods in paused.items():
            if name not in here:
                yield Warning(_of_paused(name, pods))

    def _failures(self, look: _Look) -> Iterator[_Failure]:
        for task in self._agents.tasks:
            if task in look.failing or task.state.failures >= FAILURE_THRESHOLD:
                state = task.state
                yield _Failure(task.name, state.error, state.hint, state.operation, task in look.failing)
        for agent in self._failing_remotely():
            yield _Failure(agent.name, agent.error, agent.hint, agent.operation, True)

    def _refusing(self) -> set[str]:
        return {agent.name for agent in self._failing_remotely()}

    def _failing_remotely(self) -> list[FailingAgent]:
        return [agent for agent in self._pace.failing if agent.failures >= FAILURE_THRESHOLD] if self._pace else []

    async def _settled(self) -> bool:
        """Whether the controllers have nothing left to write, or come to that in a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLING):
                await self._cluster.settled()
                return True
        return False

    def _has(self, task: AgentTask) -> bool:
        """Whether what was reached, or something newer, is in the agent's kernel, and was found there by this time."""
        if self._reached is None or task.state.failures or task.state.pending or task.state.began < self._since:
            return False
        snapshot, seen = self._reached
        return task.has(snapshot) or task.state.began >= seen

    def _are_hopeless(self, pods: list[Pod], now: float) -> bool:
        """Whether the pods that fit no node, none of which is another than before, have waited long enough for room."""
        uids = {pod.metadata.uid for pod in pods}
        if uids != self._hopeless or any(
            pod.metadata.deletionTimestamp for pod in self._cluster.snapshot.all(Pod).values()
        ):
            self._hopeless, self._hoped = uids, now
        return now - self._hoped >= HOPELESS


def _lacking(task: AgentTask) -> str:
    """Why an agent is waited for."""
    waits = f"waits for {', '.join(task.state.pending)}" if task.state.pending else ""
    return task.state.error or waits or "its kernel is not in step yet"


def _of_paused(name: str, pods: list[Pod]) -> str:
    """`pods` are those of the request that wait for the node."""
    ending = [pod.name for pod in pods if pod.metadata.deletionTimestamp]
    coming = [pod.name for pod in pods if not pod.metadata.deletionTimestamp]
    what = [f"{_cut(', '.join(names), 60)} {verb}" for names, verb in ((ending, "stays"), (coming, "waits")) if names]
    return (
        f"{name} is paused: nothing was changed there"
        + (f", {' and '.join(what)}" if what else "")
        + (f" (resume {name})")
    )


def _listed(reasons: list[str], more: int) -> str:
    more += max(0, len(reasons) - LINES)
    return "; ".join(reasons[:LINES] + ([f"and {more} more"] if more else []))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
