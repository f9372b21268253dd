"""The table of verbs: each declared verb bound to the function of this machine's daemon that answers it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar, overload

import msgspec

from k8snetlab.errors import K8sNetLabError
from k8snetlab.messages.verb import Call, Conversation, Packed, Stream, Verb

Q = TypeVar("Q", bound=msgspec.Struct)
A = TypeVar("A")
F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H")


@overload
def answers(
    verb: Call[Q, A] | Packed[Q, A],
) -> Callable[[Callable[[H, Q], Awaitable[A]]], Callable[[H, Q], Awaitable[A]]]: ...
@overload
def answers(
    verb: Stream[Q, A],
) -> Callable[[Callable[[H, Q], AsyncIterator[A]]], Callable[[H, Q], AsyncIterator[A]]]: ...
@overload
def answers(
    verb: Conversation[Q, A],
) -> Callable[
    [Callable[[H, Q, AsyncIterator[bytes]], AsyncIterator[A]]],
    Callable[[H, Q, AsyncIterator[bytes]], AsyncIterator[A]],
]: ...
def answers(verb: Verb[Any]) -> Callable[[F], F]:
    """Makes a method the one that answers `verb` on this machine."""
    return lambda method: _marked(method, _ANSWERS, verb)


@overload
def merges(
    verb: Call[Q, A],
) -> Callable[
    [Callable[[H, Q, A, Mapping[str, A | K8sNetLabError]], A]],
    Callable[[H, Q, A, Mapping[str, A | K8sNetLabError]], A],
]: ...
@overload
def merges(
    verb: Stream[Q, A],
) -> Callable[
    [Callable[[H, Q, AsyncIterator[A], Mapping[str, AsyncIterator[A]]], AsyncIterator[A]]],
    Callable[[H, Q, AsyncIterator[A], Mapping[str, AsyncIterator[A]]], AsyncIterator[A]],
]: ...
def merges(verb: Verb[Any]) -> Callable[[F], F]:
    """Makes a method the one that makes one answer of this machine's and, by node, those of the others."""
    return lambda method: _marked(method, _MERGES, verb)


class Table:
    """Verbs whose functions are methods of the objects it is made of."""

    def __init__(self, *holders: object) -> None:
        self._answers = {verb: method for holder in holders for verb, method in _methods(holder, _ANSWERS)}
        self._merges = {verb: method for holder in holders for verb, method in _methods(holder, _MERGES)}

    def __iter__(self) -> Iterator[Verb[Any]]:
        return iter(self._answers)

    @property
    def merged(self) -> Collection[Verb[Any]]:
        """Those whose answers of all machines are made into one."""
        return self._merges.keys()

    async def answered(self, verb: Verb[Any], question: Any, body: bytes | AsyncIterator[bytes] = b"") -> Any:
        """What this machine answers: a value, or a stream of values, or of bytes (Packed). `body` is that of a
        Conversation."""
        answer = self._answers[verb](question, *((body,) if isinstance(verb, Conversation) else ()))
        if isinstance(verb, Packed):
            return _piece(msgspec.msgpack.encode(await answer))
        return await answer if isinstance(verb, Call) else answer

    def merge(self, verb: Verb[Any], *answers: Any) -> Any:
        """What all machines answer: a value or a stream."""
        return self._merges[verb](*answers)


_ANSWERS, _MERGES = "_answers", "_merges"


async def _piece(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _marked(method: F, mark: str, verb: Verb[Any]) -> F:
    setattr(method, mark, verb)
    return method


def _methods(holder: object, mark: str) -> Iterator[tuple[Verb[Any], Callable[..., Any]]]:
    for name, function in vars(type(holder)).items():
        if (verb := getattr(function, mark, None)) is not None:
            yield verb, getattr(holder, name)
