"""All that is wrong with names, as a diagnosis asks for it: before the usual paths are walked, and after. Blocking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose import resolving
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.paths import Broken, UsualPath
from k8snetlab.explain import clashing, resolvers, upstreams
from k8snetlab.explain.both_families import Kernels
from k8snetlab.explain.storms import Storms


class Names:
    """Of one look. `ask`: queries are sent. What is counted is counted from its creation on."""

    def __init__(self, snapshot: Snapshot, kernel: Kernels, *, ask: bool) -> None:
        self._snapshot, self._kernel, self._ask = snapshot, kernel, ask
        self._servers = resolvers.servers(snapshot, kernel) if ask else []
        self._storms = Storms(snapshot, self._servers)
        self._silent: list[upstreams.Silent] = []

    def of_lab(self) -> Iterator[Finding]:
        """What the objects tell."""
        yield from upstreams.looping(self._snapshot)
        yield from resolving.unanswered(self._snapshot)

    def here(self) -> Iterator[Finding]:
        """What this machine's pods and kernels tell."""
        yield from resolvers.wrong(self._snapshot, self._kernel, ask=self._ask)
        yield from clashing.wrong(self._snapshot, self._kernel.nodes)

    def beyond(
        self, judged: Callable[[UsualPath], list[Broken]] = lambda path: []
    ) -> tuple[list[Finding], list[Broken]]:
        """Servers that do not answer, and what `judged` says of the ways to them; where that is something, they are no
        findings. And storms, last."""
        self._silent = upstreams.silent(self._snapshot, self._servers)
        ways = [(one, judged(one.path)) for one in self._silent]
        found = [one.finding for one, broken in ways if not broken]
        return [*found, *self._storms.found()], [one for _, broken in ways for one in broken]

    def explained(self, found: Iterable[Finding]) -> list[Finding]:
        """After `beyond`: what breaks the way to such a server says what that means for names."""
        return upstreams.explained(found, self._silent)
