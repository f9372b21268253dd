"""healthCheckNodePorts: what a cloud's load balancer asks a node to learn whether it has endpoints of a Service.

Source: kube-proxy pkg/proxy/healthcheck, service_health.go.
"""

from __future__ import annotations

import asyncio
import json

from k8snetlab.api.workload import HealthWork
from k8snetlab.kubelet.http import HttpResponder, Reply
from k8snetlab.kubelet.responder import listen


class HealthChecks:
    """The listening ports of one node; their answers change while they listen."""

    def __init__(self) -> None:
        self._replies: dict[int, Reply] = {}
        self._servers: dict[tuple[str, int], asyncio.Server] = {}

    async def update(self, work: HealthWork) -> list[str]:
        """Answers as `work` says from now on; returns what is in the way (a port that another has), a sentence each."""
        wanted = {(address, port) for address in work.addresses for port in work.ports}
        for end in self._servers.keys() - wanted:
            self._servers.pop(end).close()
        self._replies = {port: _reply(status, body) for port, (status, body) in work.ports.items()}
        problems = []
        for address, port in sorted(wanted - self._servers.keys()):
            try:
                sock = listen(work.netns, port, "TCP", ":" in address, address)
            except OSError as error:
                problems.append(f"{work.netns}: healthCheckNodePort {port}: {error.strerror}")
                continue
            loop = asyncio.get_running_loop()
            self._servers[address, port] = await loop.create_server(lambda: HttpResponder(self._answer), sock=sock)
        return problems

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def _answer(self, local: tuple[str, int], _: tuple[str, int]) -> Reply:
        return self._replies.get(local[1], _reply(503, "{}"))


def _reply(status: int, body: str) -> Reply:
    weight = json.loads(body).get("localEndpoints", 0)
    headers = (b"X-Content-Type-Options: nosniff", b"X-Load-Balancing-Endpoint-Weight: %d" % weight)
    return Reply(status, body.encode() + b"\n", headers)
