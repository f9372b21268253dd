"""UDP connections that lead to endpoints which are none any more: they live as long as the client goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from msgspec.structs import replace

from k8snetlab.dataplane.families import end
from k8snetlab.dataplane.rules import Family
from k8snetlab.dataplane.view import View
from k8snetlab.diagnose.finding import Finding, Where
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import conntrack
from k8snetlab.kernel.conntrack import Connection, Destination
from k8snetlab.render.proxy import ProxyRules, stale_udp
from k8snetlab.trace.owners import Owners

READERS = 1
"""Namespaces that are asked at once. The kernel gives the processor away to nobody meanwhile: with two cores one is
left to whoever looks at all else, which takes longer."""


class _Asked(NamedTuple):
    where: Where
    family: Family
    view: View
    owners: Owners
    serving: Mapping[Destination, frozenset[str]]
    answer: Future[list[Connection]]


class Connections:
    """Those of nodes. The kernel goes through the whole machine's table for each, milliseconds in which something else
    is looked at: `ask` of all nodes first."""

    def __init__(self) -> None:
        self._readers = ThreadPoolExecutor(READERS, "conntrack")
        self._asked: list[_Asked] = []

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.shutdown(cancel_futures=True)

    def ask(self, where: Where, netns: str, proxy: ProxyRules, view: View) -> None:
        """Nothing, where no Service of the node has a UDP port."""
        serving = stale_udp(replace(proxy, services={}), proxy)
        if serving:
            family = proxy.settings.family
            answer = self._readers.submit(conntrack.udp, netns, family, conntrack.ports_of(serving))
            self._asked.append(_Asked(where, family, view, Owners(proxy.snapshot), serving, answer))

    def astray(self) -> Iterator[Finding]:
        """Waits for the answers. What has gone meanwhile has none. Raises KernelError."""
        for one in self._asked:
            with contextlib.suppress(NotFoundError):
                yield from (
                    _finding(one, connection) for connection in one.answer.result() if _is_astray(one, connection)
                )


def _is_astray(asked: _Asked, connection: Connection) -> bool:
    here = connection.destination in asked.serving or asked.view.owns(connection.destination[0])
    return here and conntrack.stale(connection, asked.serving)


def _finding(asked: _Asked, connection: Connection) -> Finding:
    (address, port), where = connection.destination, asked.where
    service = end(address, port)
    tool = f"ip netns exec {where.netns} conntrack"
    match = f"-p udp --orig-dst {address} --orig-port-dst {port}"
    six = " -f ipv6" if asked.family == "ipv6" else ""
    return Finding(
        kind="conntrack",
        fault="stale",
        node=where.node,
        object=f"udp {service} -> {connection.answers}",
        message=f"{where.place}: conntrack still leads UDP from a client of {service} to {connection.answers}, "
        "which is no endpoint (any more)",
        consequence="datagrams of that client are lost for as long as it goes on sending from the same port",
        show=f"{tool} -L{six} {match}",
        mend=f"{tool} -D{six} {match}",
        owner=asked.owners.of_address(address),
        netns=where.netns,
    )
