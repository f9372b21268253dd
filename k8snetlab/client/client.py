"""The CLI's way to the daemon: Kubernetes-shaped REST over the lab's unix socket.

Only the standard library, because it is part of every command's start.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from k8snetlab import errors
from k8snetlab.client.status import error_of
from k8snetlab.messages.verb import ANSWER, BASE, LONG, SERVER, Call, Verb
from k8snetlab.state import labs
from k8snetlab.state.paths import LabPaths
from k8snetlab.wording import nearest

if TYPE_CHECKING:
    from k8snetlab.messages.diagnose import DiagnosisEvent, DiagnosisQuestion

Json = dict[str, Any]
Q = TypeVar("Q", bound=msgspec.Struct)
A = TypeVar("A")
TIMEOUT = 120.0
"""Seconds that a change waits for the kernel, when nothing else is said."""


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

    def list(self, kind: str, namespace: str | None = None, labels: str = "", fields: str = "") -> Sequence[Json]:
        """All objects of a kind, in one namespace or (None) in all, that both selectors match."""
        chosen = {"labelSelector": labels, "fieldSelector": fields}
        query = urlencode({word: text for word, text in chosen.items() if text})
        items: Sequence[Json] = self._json("GET", self._path(kind, namespace) + (f"?{query}" if query else ""))["items"]
        return items

    def get(self, kind: str, name: str, namespace: str = "default") -> Json:
        return self._json("GET", self._path(kind, namespace, name))

    def watch(self, kind: str, namespace: str | None = None) -> Iterator[Json]:
        """Events {"type": "ADDED"|"MODIFIED"|"DELETED", "object": …}, for ever."""
        return self._lines("GET", self._path(kind, namespace) + "?watch=1")

    def delete_object(self, kind: str, name: str, namespace: str = "default", force: bool = False) -> Json:
        query = "?gracePeriodSeconds=0" if force else ""
        return self._json("DELETE", self._path(kind, namespace, name) + query)

    # --- the lab's own verbs ---

    def call(self, verb: Call[Q, A], question: Q, silence: float | None = None) -> A:
        """What the daemon answers; it may take `silence` seconds for it, by default the verb's own."""
        connection, response = self._ask(verb, question, silence)
        try:
            data = response.read()
        except (http.client.HTTPException, OSError) as error:
            raise self._lost(error) from error
        finally:
            connection.close()
        answer: A = self._read(data, verb.answer)
        return answer

    def up(
        self, objects: Sequence[Json], *, timeout: float = TIMEOUT, wait: bool = True, yes: bool = False
    ) -> Iterator[Json]:
        """Makes the lab hold these objects and nothing that an earlier `up` brought; yields events.

        Raises UnconfirmedError, with nothing changed, where more would go than stay, unless `yes`.
        """
        return self._work("up", {"objects": [*objects], "timeout": timeout, "wait": wait, "yes": yes})

    def apply(self, objects: Sequence[Json], *, timeout: float = TIMEOUT, wait: bool = True) -> Iterator[Json]:
        return self._work("apply", {"objects": [*objects], "timeout": timeout, "wait": wait})

    def delete(self, objects: Sequence[Json], *, timeout: float = TIMEOUT, wait: bool = True) -> Iterator[Json]:
        return self._work("delete", {"objects": [*objects], "timeout": timeout, "wait": wait})

    def scale(
        self, kind: str, name: str, namespace: str, replicas: int, *, timeout: float = TIMEOUT, wait: bool = True
    ) -> Iterator[Json]:
        """The event of type "changed" has the Scale in `scale`."""
        path = self._path(kind, namespace, name)
        scale = self._json("PUT", f"{path}/scale", {"spec": {"replicas": replicas}})
        yield {"type": "changed", "action": "scaled", "kind": kind, "name": name, "scale": scale}
        if wait:
            objects = [{"kind": kind, "name": name, "namespace": namespace}]
            yield from self._work("wait", {"objects": objects, "timeout": timeout})

    def status(self) -> Json:
        return self._json("GET", f"{BASE}/status")

    def misses(self, node: str = "") -> Iterator[Json]:
        """{"type": "listening", "nodes": […]}, then for ever {"type": "miss", …} with the fields of misses.Answer."""
        return self._lines("GET", f"{BASE}/misses?{urlencode({'node': node})}")

    def diagnose(self, question: DiagnosisQuestion) -> Iterator[DiagnosisEvent]:
        """Progress, and at last the diagnosis."""
        from k8snetlab.messages.diagnose import DiagnosisEvent

        for event in self._lines("POST", f"{BASE}/diagnose", msgspec.to_builtins(question)):
            yield msgspec.convert(event, DiagnosisEvent)

    def pause(self, node: str) -> Json:
        return self._json("POST", f"{BASE}/nodes/{quote(node, safe='')}/pause")

    def resume(self, node: str) -> Json:
        return self._json("POST", f"{BASE}/nodes/{quote(node, safe='')}/resume")

    def execute(
        self, place: str, namespace: str, argv: Sequence[str], body: Iterable[bytes], terminal: Mapping[str, str]
    ) -> Iterator[Json]:
        """Runs a command (a shell, where there is none) in a place of another machine; yields
        {"type": "stdout"|"stderr", "data": base64}, and {"type": "exit", "code"} at last.

        `body`, read in a thread of its own, is its standard input. With a `terminal` (`Terminal.query`), else {}, it is
        what `channels` makes.
        """
        query = urlencode({"namespace": namespace, "command": list(argv), **terminal}, doseq=True)
        connection = _UnixConnection(self._socket)
        try:
            connection.putrequest("POST", f"{BASE}/exec/{quote(place)}?{query}")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            threading.Thread(target=_send_chunks, args=(connection.sock, body), daemon=True).start()
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._lost(error) from error
        yield from self._events(connection, self._accepted(connection, response))

    def leases(self, node: str = "") -> Sequence[Json]:
        """Subnet leases of all nodes, or of one: [{"node", "subnets", "key", "holder", "left", "env"}]."""
        items: Sequence[Json] = self._json("GET", f"{BASE}/leases?{urlencode({'node': node})}")["items"]
        return items

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        follow: bool = False,
        last: int = -1,
        previous: bool = False,
    ) -> Iterator[bytes]:
        """What a container wrote: its `last` lines, or (negative) all; or, `previous`, what its run before wrote."""
        asked = {"container": container, "follow": str(follow).lower(), "tailLines": last}
        query = urlencode(asked | ({"previous": "true"} if previous else {}))
        path = f"{BASE}/pods/{quote(namespace, safe='')}/{quote(pod, safe='')}/log?{query}"
        connection, response = self._request("GET", path, None)
        try:
            while data := response.read1(65536):
                yield data
        finally:
            connection.close()

    def store_status(self) -> Json:
        """{"type", "where", "healthy", "problem", "revision", "objects": {kind: number}}"""
        return self._json("GET", f"{BASE}/store")

    def store_dump(self, prefix: str) -> Iterator[Json]:
        """{"key", "revision", "value"} of every key that begins so."""
        return self._lines("GET", f"{BASE}/store/dump?{urlencode({'prefix': prefix})}")

    def joined(self) -> Json:
        """{"node", "interface", "address", "podCIDR"} of this machine, once it is a node and all of it stands."""
        return self._json("GET", f"{BASE}/machine", silence=LONG)

    def end(self, patience: float) -> Iterator[Json]:
        """Lets every other machine leave the lab; yields progress events until they have, or for `patience` seconds."""
        return self._lines("POST", f"{BASE}/end", {"patience": patience}, patience + ANSWER)

    def leave(self) -> None:
        """Gives this machine's node back to the store, with its lease and its pods."""
        self._json("POST", f"{BASE}/leave", silence=LONG)

    def stop(self) -> None:
        """Ends the daemon; what is in the kernel and the pods stay as they are."""
        self._json("POST", f"{BASE}/stop")

    # --- transport ---

    @staticmethod
    def _path(kind: str, namespace: str | None = None, name: str = "") -> str:
        from k8snetlab.api.scheme import BY_NAME

        resource = BY_NAME.get(kind.lower())
        if resource is None:
            raise errors.InputError(
                f"the server doesn't have a resource type {kind!r}",
                nearest(kind, BY_NAME, f"kinds: {', '.join(sorted({r.plural for r in BY_NAME.values()}))}"),
            )
        version = resource.type.API_VERSION
        path = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if resource.type.namespaced and namespace:
            path += f"/namespaces/{quote(namespace, safe='')}"
        path += f"/{resource.plural}"
        return path + (f"/{quote(name, safe='')}" if name else "")

    def _ask(
        self, verb: Verb[Q], question: Q, silence: float | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        silence = verb.silence if silence is None else silence
        return self._request(verb.method, verb.target(question), verb.body(question), silence)

    def _read(self, data: bytes, type_: Any) -> Any:
        try:
            return msgspec.json.decode(data, type=type_)
        except msgspec.MsgspecError as error:
            raise errors.DaemonError(
                f"lab {self.lab}: its daemon answers strangely: {error}",
                self._replacing if self.of_another_version else "this is a bug; the daemon's log may tell more",
            ) from error

    def _json(self, method: str, path: str, body: Json | None = None, silence: float = ANSWER) -> Json:
        connection, response = self._request(method, path, _encoded(body), silence)
        try:
            answer: Json = json.loads(response.read())
        except (http.client.HTTPException, OSError) as error:
            raise self._lost(error) from error
        finally:
            connection.close()
        return answer

    def _lines(self, method: str, path: str, body: Json | None = None, silence: float | None = None) -> Iterator[Json]:
        """JSON lines; nothing may come for `silence` seconds, or (None) for ever."""
        yield from self._events(*self._request(method, path, _encoded(body), silence))

    def _work(self, verb: str, body: Json) -> Iterator[Json]:
        """The events of a change: at least one a second, the last one of type "done"."""
        event: Json = {}
        for event in self._lines("POST", f"{BASE}/{verb}", body, ANSWER):
            yield event
        if event.get("type") != "done":
            raise errors.DaemonError(
                f"lab {self.lab}: its daemon ended before this was done",
                "did somebody take the lab down? `k8snetlab up` with its files brings it back",
            )

    def _events(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Iterator[Json]:
        try:
            while line := response.readline():
                event = json.loads(line)
                if event.get("type") == "error":
                    raise error_of(event["status"])
                yield event
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise self._lost(error) from error
        finally:
            connection.close()

    def _request(
        self, method: str, path: str, body: bytes | None, silence: float | None = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = _UnixConnection(self._socket, silence)
        try:
            connection.request(method, path, body or None)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._lost(error) from error
        return connection, self._accepted(connection, response)

    def _accepted(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        """The response; raises the error that it means."""
        self.server = response.getheader("Server", "")
        if response.status < 400:
            return response
        data = response.read()
        connection.close()
        try:
            error = error_of(json.loads(data))
        except ValueError:
            error = errors.DaemonError(data.decode(errors="replace") or response.reason)
        if self.of_another_version:
            error.hint = "; ".join(filter(None, (error.hint, self._replacing)))
        raise error

    @property
    def _replacing(self) -> str:
        return "its daemon is another version's: `k8snetlab up` with the lab's files replaces it, and traffic goes on"

    def _lost(self, error: Exception) -> errors.DaemonError:
        if isinstance(error, PermissionError):
            return errors.DaemonError(f"lab {self.lab}: its daemon answers root only", "use sudo")
        ended = isinstance(error, FileNotFoundError | ConnectionRefusedError)
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


def _encoded(body: Json | None) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


def _send_chunks(sock: socket.socket, body: Iterable[bytes]) -> None:
    """A request's body in chunks (RFC 9112, 7.1)."""
    with contextlib.suppress(OSError):
        for data in body:
            sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))
        sock.sendall(b"0\r\n\r\n")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, silence: float | None = None) -> None:
        super().__init__("localhost", timeout=silence)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
