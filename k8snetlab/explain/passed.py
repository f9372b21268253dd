"""A connection that ends at the nginx of a Gateway, at a port of TLS or TCP: what nginx does with it then. Pure."""

from __future__ import annotations

from urllib.parse import SplitResult

import msgspec

from k8snetlab.api.core import Pod
from k8snetlab.api.gateway import Gateway
from k8snetlab.api.selection import pods_by_ip
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.gateways import names
from k8snetlab.render.gateway import collect, matching, streaming
from k8snetlab.render.gateway.model import Site, Stream


class Passing(msgspec.Struct, frozen=True):
    """The pod whose nginx has taken the connection, and the stream of its port."""

    pod: Pod
    gateway: Gateway
    site: Site
    stream: Stream

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Where the next connection goes, by its first choice; None where that hangs on the name in TLS, or there is
        nobody."""
        addresses = () if self.stream.by_name else self._addresses
        host, _, port = addresses[0].rpartition(":") if addresses else ("", "", "0")
        return (host.strip("[]"), int(port)) if host else None

    @property
    def _addresses(self) -> tuple[str, ...]:
        shares = (one for choice in self.stream.choices for one in choice.shares if one.upstream)
        found = (address for one in shares for address in self.site.passed[one.upstream].addresses)
        return tuple(dict.fromkeys(found))

    @property
    def note(self) -> str:
        """What the packet alone does not tell."""
        shown = f"nginx of gateway {self.gateway.namespace}/{self.gateway.name}"
        if self.stream.by_name:
            return (
                f"the connection ends at {shown}, which opens another one by the name that the client asks for in TLS; "
                "`k8snetlab nginx-conf NAME` says to which Service"
            )
        count, said = len(self._addresses), []
        if count > 1:
            said.append(f"chooses one of {count} endpoints; the connection below is to one of them")
        if any(not self._has(one.upstream) for choice in self.stream.choices for one in choice.shares):
            said.append("closes the share of the backends that have no endpoint")
        return f"{shown} {' and '.join(said)}" if said else ""

    def _has(self, upstream: str) -> bool:
        return bool(upstream and self.site.passed[upstream].addresses)


def at(snapshot: Snapshot, address: str, port: int) -> Passing | None:
    """None where the address and port are no stream's."""
    for pod in snapshot.select(Pod, pods_by_ip, address).values():
        for gateway in names.own(snapshot).values() if names.container_of(pod) else ():
            if pod.metadata.labels.get(names.GATEWAY_NAME) != names.label_of(gateway):
                continue
            site = collect.site(gateway, snapshot) if pod.namespace == gateway.namespace else Site()
            found = [one for one in site.streams if one.port == port]
            if found:
                return Passing(pod, gateway, site, found[0])
    return None


def by_url(snapshot: Snapshot, url: SplitResult) -> tuple[Gateway, Stream] | None:
    """The Gateway that passes TLS for a URL's host on, unread."""
    if url.scheme != "https":
        return None
    for gateway in names.own(snapshot).values():
        site = collect.site(gateway, snapshot)
        for stream in site.streams:
            chosen = matching.choice(stream, url.hostname or "")
            if chosen is not None and streaming.answers(chosen, site.passed):
                return gateway, stream
    return None
