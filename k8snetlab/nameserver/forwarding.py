"""Questions that a Corefile has asked elsewhere."""

from __future__ import annotations

from pathlib import Path

from k8snetlab.api.dns import PORT
from k8snetlab.dns import resolv
from k8snetlab.dns.answers import Answer
from k8snetlab.dns.chain import Onward
from k8snetlab.dns.corefile import Forward
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.upstream import Upstream


class Forwarding:
    """Of one server. `resolv_conf` is the file whose servers `forward . /etc/resolv.conf` means."""

    def __init__(
        self, counters: Counters, local: tuple[str, ...], resolv_conf: Path = Path("/etc/resolv.conf")
    ) -> None:
        self._counters, self._local, self._file = counters, local, resolv_conf
        self._upstreams: dict[tuple[Forward, int], Upstream] = {}

    async def ask(self, onward: Onward) -> Answer:
        key = onward.forward, onward.cache
        upstream = self._upstreams.get(key)
        if upstream is None:
            upstream = self._upstreams[key] = Upstream(self._servers(onward.forward), self._counters, onward.cache)
        answer = await upstream.answer(onward.question)
        return Answer(records=(*onward.before, *answer.records)) if onward.before else answer

    def forget(self) -> None:
        """After the Corefile has changed."""
        self._upstreams.clear()

    def _servers(self, forward: Forward) -> tuple[tuple[str, int], ...]:
        """Never this server itself: a question would go round in circles."""
        own = resolv.read(self._file.read_text()).nameservers if forward.own and self._file.exists() else ()
        servers = dict.fromkeys((*forward.to, *((address, PORT) for address in own)))
        return tuple(one for one in servers if one[0] not in self._local)
