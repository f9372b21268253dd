"""Where a machine that has a token gets its client certificate for the store: HTTPS beside etcd, in `store serve`.

As TLS bootstrapping of a kubelet: the CA is told to anybody, with a proof by the token that was named, so that a
machine knows it for the right one; a certificate is signed for who shows the whole token. Messages are JSON values.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NoReturn
from urllib.parse import parse_qs

import msgspec
import uvicorn

from k8snetlab.api.problems import node_name
from k8snetlab.errors import InputError, K8sNetLabError, StoreError
from k8snetlab.store.pki import Authority, Pair
from k8snetlab.store.tokens import Tokens

CA, SIGN = "/ca", "/sign"
LIMIT = 16 * 1024
"""Bytes of a request's body, and of an answer's that a machine reads."""
PENALTY = 1.0
"""Seconds after which a wrong token is told to be one."""
CLIENTS = 64
TIMEOUT = 10.0
"""Seconds that one request may take."""


class Offer(msgspec.Struct, frozen=True):
    """`GET /ca?token=ID`: the CA (PEM), and its HMAC-SHA256 by the secret of that token ("" for an unknown one)."""

    ca: str
    proof: str = ""


class SigningRequest(msgspec.Struct, frozen=True):
    """`POST /sign`: the whole token, a signing request (PEM), and the name of the node that the machine will be."""

    token: str
    request: str
    node: str


class Grant(msgspec.Struct, frozen=True):
    """The answer: a client certificate (PEM), and the URLs of the store."""

    certificate: str
    endpoints: tuple[str, ...]


class Refusal(msgspec.Struct, frozen=True):
    """The answer with any other status than 200."""

    message: str
    hint: str = ""


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, hint: str = "") -> None:
        self.status, self.refusal = status, Refusal(message, hint)


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Bootstrap:
    """The server, in a thread of its own from `start` to `stop`. `signed` is told the node and address of each machine
    that got a certificate."""

    def __init__(
        self, authority: Authority, tokens: Tokens, endpoints: tuple[str, ...], signed: Callable[[str, str], None]
    ) -> None:
        self._authority, self._tokens, self._endpoints, self._signed = authority, tokens, endpoints, signed
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int, pair: Pair) -> None:
        """Raises StoreError when the address cannot be listened at."""
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise StoreError(
                f"cannot listen at {host} port {port}: {error.strerror}", "--join-port names another port"
            ) from error
        config = uvicorn.Config(
            self._answer,
            http="h11",
            ws="none",
            interface="asgi3",
            proxy_headers=False,
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            limit_concurrency=CLIENTS,
            timeout_keep_alive=2,
            timeout_graceful_shutdown=1,
            ssl_certfile=str(pair.cert),
            ssl_keyfile=str(pair.key),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="bootstrap", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(5)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        status = 200
        answer: Offer | Grant | Refusal
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await self._routed(scope, receive)
        except _RefusedError as error:
            status, answer = error.status, error.refusal
        except K8sNetLabError as error:
            status, answer = error.status, Refusal(error.message, error.hint)
        except TimeoutError:
            status, answer = 408, Refusal("the request did not come whole in time")
        body = msgspec.json.encode(answer)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _routed(self, scope: Message, receive: Receive) -> Offer | Grant:
        match scope["method"], scope["path"]:
            case "GET", "/ca":
                ids = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
                token = self._tokens.find(ids[0])
                ca = self._authority.pem
                return Offer(ca.decode(), token.proof(ca) if token else "")
            case "POST", "/sign":
                try:
                    asked = msgspec.json.decode(await _body(receive), type=SigningRequest)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise _RefusedError(400, f"that is no request for a certificate: {error}") from error
                return await self._grant(asked, str((scope.get("client") or ("?",))[0]))
            case _, "/ca" | "/sign":
                raise _RefusedError(405, f"{scope['method']} is not for {scope['path']}")
        raise _RefusedError(404, "there are /ca and /sign")

    async def _grant(self, asked: SigningRequest, client: str) -> Grant:
        if not self._tokens.allows(asked.token):
            await asyncio.sleep(PENALTY)
            raise _RefusedError(
                401, "the token is unknown here, or has expired", "`k8snetlab token create` on the store's machine"
            )
        if problem := node_name(asked.node):
            raise InputError(f"the node's name {problem}", "--name NAME")
        certificate = self._authority.sign(asked.request.encode(), asked.node)
        self._signed(asked.node, client)
        return Grant(certificate.decode(), self._endpoints)


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            _gone()
        body += bytes(message.get("body", b""))
        if len(body) > LIMIT:
            raise _RefusedError(413, f"a request has at most {LIMIT} bytes")
        if not message.get("more_body"):
            return body


def _gone() -> NoReturn:
    raise _RefusedError(400, "the request broke off")
