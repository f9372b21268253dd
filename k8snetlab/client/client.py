"""The CLI's way to the daemon: Kubernetes-shaped REST over the lab's unix socket."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from k8snetlab import errors
from k8snetlab.api import scaled
from k8snetlab.client import early, paths
from k8snetlab.client.decoders import decoder
from k8snetlab.client.wire import CutError, Exchange, WireError
from k8snetlab.messages.errors import BrokenOff, Status, error_of
from k8snetlab.messages.timeouts import ANSWER
from k8snetlab.messages.verb import ERROR, SERVER, Call, Conversation, Stream, Verb
from k8snetlab.state import labs
from k8snetlab.state.paths import LabPaths
from k8snetlab.wording import nearest

if TYPE_CHECKING:
    from k8snetlab.api.meta import Object
    from k8snetlab.api.scheme import Resource

Json = dict[str, Any]
Q = TypeVar("Q", bound=msgspec.Struct)
A = TypeVar("A")


class Client:
    """One lab's daemon. Every method raises what the daemon refused, or DaemonError when it cannot be reached."""

    def __init__(self, lab: str) -> None:
        self.lab = lab
        self._socket = str(LabPaths(lab).socket)
        self.server = SERVER
        """The daemon's version, as its last answer had it."""

    @staticmethod
    def find(lab: str | None = None) -> Client:
        """The lab of that name, or the only one there is."""
        return Client(labs.choose(lab))

    @property
    def of_another_version(self) -> bool:
        """Whether the daemon is of another version than this program: it has been running since before an update."""
        return self.server != SERVER

    # --- objects ---

    def list(
        self, kind: str | Resource, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> Sequence[Json]:
        """All objects of a kind, in one namespace or (None) in all, that both selectors match."""
        chosen = {"labelSelector": labels, "fieldSelector": fields}
        query = urlencode({word: text for word, text in chosen.items() if text})
        items: Sequence[Json] = self._json("GET", self._path(kind, namespace) + (f"?{query}" if query else ""))["items"]
        return items

    def lists(self, kinds: Mapping[str, type[Object]]) -> tuple[Sequence[Json], ...]:
        """All objects of each kind, by its plural. They are asked for at once, and without `api.scheme`: to load all
        other kinds takes 5 ms."""
        with contextlib.ExitStack() as stack:
            targets = [f"{paths.root(type_.API_VERSION)}/{plural}" for plural, type_ in kinds.items()]
            sent = (self._sent("GET", path, b"", ANSWER) for path in targets)
            asked = [stack.enter_context(contextlib.closing(exchange)) for exchange in sent]
            answers = [self._read(self._whole(self._answering(exchange)), decoder(Json)) for exchange in asked]
        return tuple(answer["items"] for answer in answers)

    def some(self, kind: str | Resource, most: int) -> tuple[Sequence[Json], int]:
        """The first `most` objects of a kind in all namespaces, and how many there are."""
        answer = self._json("GET", f"{self._path(kind)}?limit={most}")
        items: Sequence[Json] = answer["items"]
        return items, len(items) + answer["metadata"].get("remainingItemCount", 0)

    def get(self, kind: str | Resource, name: str, namespace: str = "default") -> Json:
        return self._json("GET", self._path(kind, namespace, name))

    def watch(self, kind: str, namespace: str | None = None) -> Iterator[Json]:
        """Events {"type": "ADDED"|"MODIFIED"|"DELETED", "object": …}, for ever."""
        return self._values(Json, self._request("GET", self._path(kind, namespace) + "?watch=1"))

    def create(self, kind: str, obj: Json, namespace: str = "default") -> Json:
        return self._json("POST", self._path(kind, namespace), {**_head(kind), **obj})

    def watch_list(self, kind: str, silence: float, namespace: str = "", name: str = "") -> Iterator[Json]:
        """All objects of a kind, or the one of a name, as ADDED, a BOOKMARK, then what changes (and further bookmarks).
        DaemonError where not even a bookmark comes for `silence` seconds."""
        query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        query += f"&fieldSelector=metadata.name={quote(name)}" if name else ""
        return self._values(Json, self._request("GET", f"{self._path(kind, namespace)}?{query}", b"", silence))

    def delete_object(self, kind: str, name: str, namespace: str = "default", force: bool = False) -> Json:
        query = "?gracePeriodSeconds=0" if force else ""
        return self._json("DELETE", self._path(kind, namespace, name) + query)

    def scale(self, kind: str, name: str, namespace: str, replicas: int) -> Json:
        """The Scale that is wanted now; it is not waited for."""
        return self._json("PUT", f"{self._path(kind, namespace, name)}/scale", {"spec": {"replicas": replicas}})

    # --- the lab's own verbs ---

    def call(self, verb: Call[Q, A], question: Q, silence: float | None = None) -> A:
        """What the daemon answers; it may take `silence` seconds for it, by default the verb's own."""
        exchange = self._answering(self._ask(verb, question, silence))
        answer: A = self._read(self._whole(exchange), decoder(verb.answer))
        return answer

    def stream(self, verb: Stream[Q, A], question: Q, silence: float | None = None) -> Iterator[A]:
        """The values as they come, the last of them `verb.last`, where there is such a one; nothing may come for
        `silence` seconds, by default the verb's own."""
        yield from self.begin(verb, question, silence)

    def begin(self, verb: Stream[Q, A], question: Q, silence: float | None = None) -> Iterator[A]:
        """As `stream`, asked at once: for who has something else to do until the first value comes."""
        return self._streamed(verb, self._ask(verb, question, silence))

    def _streamed(self, verb: Stream[Q, A], exchange: Exchange) -> Iterator[A]:
        event: Any = None
        for event in self._values(verb.answer, self._answering(exchange)):
            yield event
        if verb.last and not isinstance(event, verb.last):
            raise self._broken_off()

    def converse(self, verb: Conversation[Q, A], question: Q, body: Iterable[bytes]) -> Iterator[A]:
        """The values as they come; `body`, read in a thread of its own, is the request's."""
        try:
            target = verb.target(question)
        except UnicodeEncodeError as error:
            raise _no_text(error) from None
        exchange = self._connected(None)
        try:
            exchange.begin(verb.method, target)
            threading.Thread(target=exchange.send, args=[body], daemon=True).start()
            self._accepted(exchange)
        except (OSError, WireError) as error:
            exchange.close()
            raise self._lost(error) from error
        yield from self._values(verb.answer, exchange)

    # --- transport ---

    @staticmethod
    def _path(kind: str | Resource, namespace: str | None = None, name: str = "") -> str:
        resource = scaled.named(kind) or _resource(kind) if isinstance(kind, str) else kind
        return paths.path(resource, namespace, name)

    def _ask(self, verb: Verb[Q], question: Q, silence: float | None) -> Exchange:
        silence = verb.silence if silence is None else silence
        try:
            target, body = verb.target(question), verb.body(question)
        except UnicodeEncodeError as error:
            raise _no_text(error) from None
        return self._sent(verb.method, target, body, silence)

    def _read(self, data: bytes, read: msgspec.json.Decoder[Any]) -> Any:
        try:
            return read.decode(data)
        except msgspec.MsgspecError as error:
            raise errors.DaemonError(
                f"lab {self.lab}: its daemon answers strangely: {error}",
                self._replacing if self.of_another_version else "this is a bug; the daemon's log may tell more",
            ) from error

    def _json(self, method: str, path: str, body: Json | None = None) -> Json:
        sent = b"" if body is None else msgspec.json.encode(body)
        answer: Json = self._read(self._whole(self._request(method, path, sent, ANSWER)), decoder(Json))
        return answer

    def _whole(self, exchange: Exchange) -> bytes:
        try:
            return exchange.read()
        except CutError:
            raise self._broken_off() from None
        except (OSError, WireError) as error:
            raise self._lost(error) from error
        finally:
            exchange.close()

    def _values(self, type_: Any, exchange: Exchange) -> Iterator[Any]:
        """What stands in JSON lines, each of the type. Raises DaemonError where the daemon ended before its answer."""
        values = decoder(type_)
        try:
            for line in exchange.lines():
                if line.startswith(ERROR):
                    raise error_of(decoder(BrokenOff).decode(line).status)
                yield self._read(line, values)
        except CutError:
            raise self._broken_off() from None
        except (WireError, ConnectionError, TimeoutError) as error:
            raise self._lost(error) from error
        finally:
            exchange.close()

    def _request(self, method: str, path: str, body: bytes = b"", silence: float | None = None) -> Exchange:
        return self._answering(self._sent(method, path, body, silence))

    def _sent(self, method: str, path: str, body: bytes, silence: float | None) -> Exchange:
        if begun := early.taken(self._socket, method, path, body, silence):
            return begun
        exchange = self._connected(silence)
        try:
            exchange.ask(method, path, body)
        except (OSError, WireError) as error:
            exchange.close()
            raise self._lost(error) from error
        return exchange

    def _answering(self, exchange: Exchange) -> Exchange:
        """The same, whose answer has begun, and is no error."""
        try:
            self._accepted(exchange)
        except (OSError, WireError) as error:
            exchange.close()
            raise self._lost(error) from error
        return exchange

    def _connected(self, silence: float | None) -> Exchange:
        try:
            return Exchange(self._socket, silence)
        except OSError as error:
            raise self._lost(error) from error

    def _accepted(self, exchange: Exchange) -> None:
        """Waits for the answer's head; raises the error that it means."""
        status, headers = exchange.begun()
        self.server = headers.get("server", self.server)  # uvicorn's own refusals have none
        if status < 400:
            return
        data = self._whole(exchange)
        try:
            error = error_of(decoder(Status).decode(data))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            error = errors.DaemonError(data.decode(errors="replace") or f"HTTP status {status}")
        if self.of_another_version:
            error.hint = "; ".join(filter(None, (error.hint, self._replacing)))
        raise error

    @property
    def _replacing(self) -> str:
        return "its daemon is another version's: `k8snetlab up` with the lab's files replaces it, and traffic goes on"

    def _broken_off(self) -> errors.DaemonError:
        return errors.DaemonError(
            f"lab {self.lab}: its daemon ended before this was done",
            "did somebody take the lab down? `k8snetlab up` with its files brings it back",
        )

    def _lost(self, error: Exception) -> errors.DaemonError:
        if isinstance(error, PermissionError):
            return errors.DaemonError(f"lab {self.lab}: its daemon answers root only", "use sudo")
        ended = isinstance(error, FileNotFoundError | ConnectionRefusedError | ConnectionResetError)
        silent = isinstance(error, TimeoutError)
        what = "does not run" if ended else "does not answer" if silent else f"does not answer ({error})"
        if silent:
            return errors.DaemonError(
                f"lab {self.lab}: its daemon {what}",
                f"is it stopped, or the machine too busy? {LabPaths(self.lab).daemon_log} may tell",
            )
        return errors.DaemonError(
            f"lab {self.lab}: its daemon {what}",
            "traffic goes on without it; `k8snetlab up` with the lab's files starts it again",
        )


def _resource(kind: str) -> Resource:
    from k8snetlab.api.scheme import BY_NAME

    if (found := BY_NAME.get(kind.lower())) is None:
        known = f"kinds: {', '.join(sorted({r.plural for r in BY_NAME.values()}))}"
        raise errors.InputError(f"the server doesn't have a resource type {kind!r}", nearest(kind, BY_NAME, known))
    return found


def _head(kind: str) -> Json:
    from k8snetlab.api.scheme import BY_NAME

    type_ = BY_NAME[kind.lower()].type
    return {"apiVersion": type_.API_VERSION, "kind": type_.KIND}


def _no_text(error: UnicodeEncodeError) -> errors.InputError:
    return errors.InputError(f"{error.object!r:.200} is no text", "names are UTF-8")
