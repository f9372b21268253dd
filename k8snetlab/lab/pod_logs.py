"""What `kubectl logs` asks of a pod, answered by the lab's own verb."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from k8snetlab.api.core import Pod
from k8snetlab.api.words import shorten
from k8snetlab.apiserver.paths import Target
from k8snetlab.apiserver.query import boolean, number, refuse_unknown, text
from k8snetlab.apiserver.refusals import missing
from k8snetlab.apiserver.transport import Request
from k8snetlab.errors import RequestError
from k8snetlab.lab.asking import Ask, values
from k8snetlab.messages.places import LOGS, LogsQuestion, Written

WORDS = (
    *("container", "follow", "previous", "tailLines", "limitBytes", "sinceSeconds", "sinceTime", "timestamps"),
    *("pretty", "insecureSkipTLSVerifyBackend", "timeout", "stream"),
)


def log_question(target: Target, pod: Pod | None, request: Request) -> LogsQuestion:
    """Raises RequestError, NotFoundError."""
    query = request.values
    refuse_unknown(query, WORDS)
    if text(query, "stream") not in ("", "All"):
        raise RequestError("stream: a container's two outputs are one log here", "leave it out")
    if pod is None:
        raise missing(target)
    tail = number(query, "tailLines")
    return LogsQuestion(
        target.namespace,
        target.name,
        container=_container(pod, text(query, "container")),
        follow=boolean(query, "follow"),
        previous=boolean(query, "previous"),
        tailLines=-1 if tail is None else tail,
        limitBytes=number(query, "limitBytes", 1),
        sinceSeconds=number(query, "sinceSeconds", 1, 10**9),
        sinceTime=text(query, "sinceTime"),
        timestamps=boolean(query, "timestamps"),
    )


def _container(pod: Pod, name: str) -> str:
    """Source: pkg/registry/core/pod (LogLocation, podHasContainerWithName)."""
    names, before = [one.name for one in pod.spec.containers], [one.name for one in pod.spec.initContainers]
    if name and name not in names + before:
        raise RequestError(f"container {shorten(name)} is not valid for pod {pod.name}")
    if not name and len(names) > 1:
        others = f" or one of the init containers: [{' '.join(before)}]" if before else ""
        choice = f"[{' '.join(names)}]{others}"
        raise RequestError(f"a container name must be specified for pod {pod.name}, choose one of: {choice}")
    return name or names[0]


async def log(ask: Ask, question: LogsQuestion) -> AsyncGenerator[bytes, None]:
    """What was written, as it is."""
    async with aclosing(values(await ask(LOGS, question, b""), Written)) as pieces:
        async for one in pieces:
            yield one.data
