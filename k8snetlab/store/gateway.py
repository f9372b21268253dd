"""etcd's JSON gateway over HTTP: requests to whichever member answers."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec

from k8snetlab.errors import InputError, StoreError
from k8snetlab.store.etcd_errors import TlsRefusedError, all_failed, explain, raise_refusal, tls_error
from k8snetlab.store.etcd_messages import Refusal, decode
from k8snetlab.store.protocol import Health
from k8snetlab.store.within import Opener, transport

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """`uncertain`: an earlier attempt of this request was cut off, and etcd may have carried that out."""

    body: bytes
    uncertain: bool

    def decode(self, type_: type[T]) -> T:
        return decode(self.body, type_)


class Gateway:
    """`endpoints` are URLs such as "https://10.0.0.5:2379"; `ca`, `cert` and `key` paths of PEM files, or "".

    `timeout` is how long a request looks for a member that answers, in seconds; one member gets `patience` to begin to
    answer, which must be more than a slow disk takes. No request lasts longer than `timeout` + 4 * `patience`.
    Raises InputError when endpoints or files cannot be used.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        ca: str = "",
        cert: str = "",
        key: str = "",
        timeout: float,
        patience: float,
        opener: Opener | None = None,
    ) -> None:
        """`opener` opens the sockets, None for those of this process's own network."""
        self.endpoints = tuple(_checked(endpoint) for endpoint in endpoints)
        if not self.endpoints:
            raise InputError("store.endpoints is empty", 'name at least one, such as "http://127.0.0.1:2379"')
        self._timeout = timeout
        self._patience = patience
        self._current = 0
        self._last_contact: float | None = None
        self._problem = "not asked yet"
        secure = any(endpoint.startswith("https:") for endpoint in self.endpoints)
        self._tls = _tls_context(ca, cert, key) if secure else None
        self._opened_elsewhere = opener is not None
        self._client = httpx.AsyncClient(
            transport=transport(opener, self._tls) if opener else None,
            verify=self._tls or False,
            trust_env=False,
            timeout=httpx.Timeout(patience, connect=min(patience, 2.0)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    @property
    def current(self) -> str:
        """The endpoint that is asked first."""
        return self.endpoints[self._current]

    async def call(self, path: str, body: Mapping[str, Any], endpoint: str = "") -> Answer:
        """The answer of the first member that gives one, or of `endpoint` only.

        Raises StoreError when none did in time, or the error that the answer means.
        """
        deadline = time.monotonic() + self._timeout
        content = msgspec.json.encode(body)
        uncertain = False
        problems: dict[str, StoreError] = {}
        pause = 0.05
        while True:
            asked = endpoint or self.current
            try:
                async with asyncio.timeout(4 * self._patience):
                    response = await self._client.post(asked + path, content=content)
                if response.status_code == httpx.codes.OK:
                    self.answered()
                    return Answer(response.content, uncertain)
                problems[asked] = _retryable(asked, response)
                uncertain = True
            except (httpx.TransportError, OSError) as error:
                problems[asked] = explain(asked, await self._cause(asked, error))
                uncertain |= not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            except RuntimeError as error:
                raise self._closed_or(error) from error
            if endpoint:
                raise self.failed(problems[asked])
            self._rotate(asked)
            if len(problems) == len(self.endpoints):
                refused = all(isinstance(problem, TlsRefusedError) for problem in problems.values())
                if refused or time.monotonic() + pause > deadline:
                    raise self.failed(all_failed(problems))
                await asyncio.sleep(pause)
                pause = min(2 * pause, 1.0)

    @asynccontextmanager
    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """The messages of a server stream of the current endpoint, as JSON texts.

        Raises StoreError when it cannot be had or breaks, and httpx.ReadTimeout after `patience` without a message.
        """
        endpoint = self.current
        try:
            content = msgspec.json.encode(body)
            async with self._client.stream("POST", endpoint + path, content=content) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise _retryable(endpoint, response)
                async with aclosing(_lines(response)) as lines:
                    yield lines
        except httpx.ReadTimeout:
            raise
        except (httpx.TransportError, OSError) as error:
            raise explain(endpoint, await self._cause(endpoint, error)) from error
        except RuntimeError as error:
            raise self._closed_or(error) from error

    def give_up(self, endpoint: str, problem: StoreError) -> None:
        """`endpoint` failed a watch: the next request asks another one first."""
        self.failed(problem)
        self._rotate(endpoint)

    def answered(self) -> None:
        self._last_contact = time.monotonic()
        self._problem = ""

    def failed(self, problem: StoreError) -> StoreError:
        self._problem = problem.message
        return problem

    def health(self) -> Health:
        age = None if self._last_contact is None else time.monotonic() - self._last_contact
        return Health(not self._problem, age, self._problem)

    @property
    def closed(self) -> bool:
        return self._client.is_closed

    async def close(self) -> None:
        await self._client.aclose()

    async def _cause(self, endpoint: str, error: Exception) -> Exception:
        """`error`, or the TLS alert behind it: with TLS 1.3 a server refuses a client certificate after the handshake,
        and the request that is written meanwhile breaks before the alert is read.
        """
        if (
            self._opened_elsewhere
            or not endpoint.startswith("https:")
            or not isinstance(error, httpx.NetworkError)
            or tls_error(error)
        ):
            return error
        url = httpx.URL(endpoint)
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection(url.host, url.port or 443, ssl=self._tls)
                try:
                    await reader.read(1)
                finally:
                    writer.transport.abort()
        except OSError as closer:
            return closer if tls_error(closer) else error
        return error

    def _rotate(self, endpoint: str) -> None:
        if endpoint == self.current:
            self._current = (self._current + 1) % len(self.endpoints)

    def _closed_or(self, error: RuntimeError) -> Exception:
        return StoreError("the store was closed") if self.closed else error


def _retryable(endpoint: str, response: httpx.Response) -> StoreError:
    """The problem of an answer that another attempt may mend; raises what is final."""
    refusal = decode(response.content, Refusal)
    raise_refusal(endpoint, refusal)
    return StoreError(f"{endpoint}: {refusal.message or refusal.error}")


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    rest = b""
    async for chunk in response.aiter_raw():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
    if rest:
        yield rest


def _checked(endpoint: str) -> str:
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL as error:
        raise InputError(f"store.endpoints: {endpoint!r}: {error}", 'write "http://HOST:2379"') from error
    if url.scheme not in ("http", "https") or not url.host or url.path not in ("", "/"):
        raise InputError(f"store.endpoints: {endpoint!r} is no endpoint", 'write "http://HOST:2379" or "https://…"')
    return endpoint.rstrip("/")


def _tls_context(ca: str, cert: str, key: str) -> ssl.SSLContext:
    if bool(cert) != bool(key):
        raise InputError("store.cert and store.key go together: one is missing")
    where = "store.ca"
    try:
        context = ssl.create_default_context(cafile=ca or None)
        where = "store.cert, store.key"
        if cert:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        names = ca if where == "store.ca" else f"{cert}, {key}"
        raise InputError(f"{where}: {names}: {error.strerror or error}", "PEM files are wanted") from error
    return context
