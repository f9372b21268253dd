"""Questions that a Corefile has asked elsewhere."""

from __future__ import annotations

from pathlib import Path

from k8snetlab.api.dns import PORT
from k8snetlab.dataplane.names import is_host
from k8snetlab.dns import resolv
from k8snetlab.dns.answers import Answer
from k8snetlab.dns.caching import Cache
from k8snetlab.dns.chain import Onward
from k8snetlab.dns.corefile import Forward
from k8snetlab.kernel import etc
from k8snetlab.nameserver.balancing import balanced
from k8snetlab.nameserver.choosing import Choice
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.upstream import Upstream

RESOLV_CONF = Path("/etc/resolv.conf")


class Forwarding:
    """Of one pod, in whose namespace others are asked, and whose resolv.conf `forward . /etc/resolv.conf` means."""

    def __init__(self, counters: Counters, namespace: str, local: tuple[str, ...]) -> None:
        self._counters, self._netns, self._local = counters, namespace, local
        self._upstreams: dict[tuple[Forward, Cache, tuple[str, ...]], Upstream] = {}

    async def ask(self, onward: Onward) -> Answer:
        forward, block = onward.forward, onward.block
        key = forward, block.cache, block.zones
        upstream = self._upstreams.get(key)
        if upstream is None:
            upstream = self._upstreams[key] = Upstream(
                Choice(self._servers(forward), forward.policy),
                self._counters,
                block.cache,
                block.zones,
                namespace=self._netns,
                tcp=forward.tcp,
                at_once=forward.at_once,
            )
        return balanced(onward.answered(await upstream.answer(onward.question)), onward.first)

    def forget(self) -> None:
        """After the Corefile has changed."""
        self._upstreams.clear()
        self._counters.emptied()

    def _servers(self, forward: Forward) -> tuple[tuple[str, int], ...]:
        """Never this server itself: a question would go round in circles."""
        own = resolv.read(self._resolv_conf()).servers if forward.own else ()
        servers = dict.fromkeys((*forward.to, *((address, PORT) for address in own)))
        return tuple(one for one in servers if one[0] not in self._local)

    def _resolv_conf(self) -> str:
        """The pod's; a server that is in the pod finds it in /etc."""
        if not is_host(self._netns):
            return etc.read(self._netns, "resolv.conf") or ""
        return RESOLV_CONF.read_text() if RESOLV_CONF.exists() else ""
