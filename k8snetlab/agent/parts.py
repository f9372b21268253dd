"""What each manager of a node wants of the dataplane, asked again where a snapshot says something new to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from k8snetlab.agent.concern import Concern
from k8snetlab.agent.protocol import Manager
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.netns import NodeDataplane, joined
from k8snetlab.dataplane.rules import RuleSet

Do = Callable[[Manager, Callable[[], None]], None]
"""Has one manager do something, and keeps its failure."""


class Parts:
    """`held` is what each wanted last, by its name: also of one that cannot say now."""

    def __init__(self, managers: Sequence[Manager]) -> None:
        self._managers = managers
        self.held: dict[str, NodeDataplane] = {}
        self._concerns = {manager.name: Concern() for manager in managers}
        self._joined: tuple[tuple[NodeDataplane, ...], NodeDataplane] | None = None

    def ask(self, snapshot: Snapshot, do: Do) -> NodeDataplane | None:
        """The sum of all parts, the very same where no part is another one; None where the first, which names the
        namespace, could never say."""
        for manager in self._managers:
            if self._concerns[manager.name].touches(snapshot):
                do(manager, partial(self._ask, manager, snapshot))
        if self._managers[0].name not in self.held:
            return None
        parts = tuple(self.held[manager.name] for manager in self._managers if manager.name in self.held)
        if self._joined is None or list(map(id, self._joined[0])) != list(map(id, parts)):
            self._joined = parts, joined(parts)
        return self._joined[1]

    @property
    def whole(self) -> NodeDataplane | None:
        """The sum of what they said when they were asked last."""
        return self._joined[1] if self._joined else None

    def touched(self, snapshot: Snapshot) -> bool:
        """Whether one of them would be asked again."""
        return any(concern.touches(snapshot) for concern in self._concerns.values())

    def rules(self, name: str) -> Sequence[RuleSet]:
        return self.held[name].rules if name in self.held else ()

    def _ask(self, manager: Manager, snapshot: Snapshot) -> None:
        concern = self._concerns[manager.name]
        read = concern.begin(snapshot)
        part = manager.wanted(read)
        if part is not None:
            self.held[manager.name] = part
        else:
            self.held.pop(manager.name, None)
        concern.end(read)
