"""What `kubectl logs` asks of a pod, answered by the lab's own verb."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from k8snetlab.apiserver.paths import Target
from k8snetlab.apiserver.query import boolean, number, refuse_unknown, text
from k8snetlab.apiserver.transport import Request
from k8snetlab.errors import RequestError
from k8snetlab.lab.asking import Ask, values
from k8snetlab.messages.places import LOGS, LogsQuestion, Written

_WORDS = ("container", "follow", "previous", "tailLines", "limitBytes", "pretty", "insecureSkipTLSVerifyBackend")
_UNTIMED = ("sinceSeconds", "sinceTime", "timestamps")


def log_question(target: Target, request: Request) -> LogsQuestion:
    """Raises RequestError."""
    query = request.values
    refuse_unknown(query, (*_WORDS, *_UNTIMED, "timeout", "stream"))
    for word in _UNTIMED:
        if text(query, word) not in ("", "false"):
            raise RequestError(
                f"{word} is not supported: what a container wrote is kept without times", "use tailLines"
            )
    tail = number(query, "tailLines")
    return LogsQuestion(
        target.namespace,
        target.name,
        container=text(query, "container"),
        follow=boolean(query, "follow"),
        previous=boolean(query, "previous"),
        tailLines=-1 if tail is None else tail,
        limitBytes=number(query, "limitBytes", 1),
    )


async def log(ask: Ask, question: LogsQuestion) -> AsyncGenerator[bytes, None]:
    """What was written, as it is."""
    async with aclosing(values(await ask(LOGS, question, b""), Written)) as pieces:
        async for one in pieces:
            yield one.data
