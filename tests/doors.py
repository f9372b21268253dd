"""Requests from the host outside to a lab's Ingress controller, as a browser there would send them."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from k8snetlab.kernel import netns
from k8snetlab.testing import Lab

NODE, HTTP, HTTPS = "192.168.0.21", 30799, 31522


class Answer:
    """`pod` is who answered, "" for nginx itself; `certificate` is the one that was shown, as DER."""

    def __init__(self, response: http.client.HTTPResponse, certificate: bytes | None) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()
        self.certificate = certificate
        try:
            said: dict[str, Any] = json.loads(self.body)
        except ValueError:
            said = {}
        self.said = said
        self.pod = str(said.get("pod", said.get("echo", "")))

    @property
    def told(self) -> str | int:
        """The pod where one answered well, else the status."""
        return self.pod if self.pod and self.status == 200 else self.status


def ask(
    lab: Lab,
    host: str,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    tls: bool = False,
    node: str = NODE,
) -> Answer:
    """Raises OSError."""
    with netns.inside(lab.netns("outside")):
        raw = socket.create_connection((node, HTTPS if tls else HTTP), timeout=20)
    connection = http.client.HTTPConnection(node)
    certificate = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        secure = context.wrap_socket(raw, server_hostname=host)
        certificate, raw = secure.getpeercert(True), secure
    connection.sock = raw
    try:
        connection.request(method, path, body=body, headers={"Host": host, **(headers or {})})
        return Answer(connection.getresponse(), certificate)
    finally:
        connection.close()
