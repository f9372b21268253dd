"""The managers of one agent: each has its turn, and what one cannot do stops none of the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from k8snetlab.agent.failure import failure_of
from k8snetlab.agent.protocol import Manager
from k8snetlab.agent.report import RULES, Report
from k8snetlab.errors import K8sNetLabError, KernelError
from k8snetlab.messages.status import ManagerStatus

log = logging.getLogger(__name__)


class Team:
    """`name` is the agent's. Blocking; one call at a time, from any thread."""

    def __init__(self, name: str, managers: Sequence[Manager]) -> None:
        self._name, self.managers = name, tuple(managers)
        self._failures: dict[str, K8sNetLabError] = {}
        self._blind: dict[str, K8sNetLabError] = {}
        """Why a manager could not say whether something has changed, when it was asked last."""

    @property
    def failing(self) -> Mapping[str, K8sNetLabError]:
        """Of this sync, each manager's first failure, by the manager's name."""
        return self._failures

    def begin(self) -> Mapping[str, K8sNetLabError]:
        """A sync begins: what failed in the one before, which is forgotten."""
        before, self._failures = self._failures, dict(self._blind)
        return before

    def resume_with(self, before: Mapping[str, K8sNetLabError]) -> None:
        """The sync ends early: most managers have not had their turn, and what failed `before` is still so."""
        self._failures = {**before, **self._failures}

    def blame(self, name: str, failure: K8sNetLabError) -> None:
        self._failures.setdefault(name, failure)

    def do(self, manager: Manager, work: Callable[[], None]) -> None:
        """A part of a sync, by one of them."""
        try:
            work()
        except Exception as error:
            self.blame(manager.name, failure_of(manager.name, error))

    def all(self, work: Callable[[Manager], None]) -> None:
        """A part of a sync, by every manager."""
        for manager in self.managers:
            self.do(manager, partial(work, manager))

    def each(self, work: Callable[[Manager], None]) -> list[K8sNetLabError]:
        """Does it to every manager, in whatever state; returns what failed, each with its manager's name."""
        failures: list[K8sNetLabError] = []
        for manager in self.managers:
            try:
                work(manager)
            except Exception as error:
                failure = failure_of(manager.name, error)
                log.warning("%s: manager %s: %s", self._name, manager.name, failure.message)
                operation = getattr(failure, "operation", "")
                failures.append(KernelError(f"{manager.name}: {failure.message}", failure.hint, operation))
        return failures

    def noticed(self) -> bool:
        """Whether one of them has noticed a change, or cannot say: the next sync then tells why."""
        self._blind, noticed = {}, False
        for manager in self.managers:
            try:
                noticed = manager.noticed_change() or noticed
            except Exception as error:
                self._blind[manager.name] = failure_of(manager.name, error)
        return noticed or bool(self._blind)

    @property
    def statuses(self) -> tuple[ManagerStatus, ...]:
        """In their order, after the last sync; also after one that was raised from."""
        return tuple(self._status(manager) for manager in self.managers)

    def report(
        self,
        operations: int,
        *,
        recreated: Iterable[str] = (),
        unplugged: bool = False,
        warnings: Iterable[str] = (),
        again: float = 0.0,
    ) -> Report:
        """Of a sync that has ended. `again`: seconds after which its rules are due, 0 for none."""
        statuses = self.statuses
        failing = [status for status in statuses if status.error]
        errors = [KernelError(f"{one.name}: {one.error}", one.hint, one.operation) for one in failing]
        told = [*warnings, *(f"{s.name}: {warning}" for s in statuses for warning in s.warnings)]
        return Report(
            operations=operations,
            recreated=tuple(recreated),
            failure=errors[0] if errors else None,
            warnings=(*told, *(failure.message for failure in errors[1:])),
            unplugged=unplugged,
            pending=(*(words for one in self.managers for words in one.pending), *((RULES,) if again else ())),
            again=again,
            managers=statuses,
            holds=any(manager.holds for manager in self.managers),
        )

    def _status(self, manager: Manager) -> ManagerStatus:
        failure = self._failures.get(manager.name)
        if failure is None:
            return ManagerStatus(name=manager.name, warnings=manager.warnings)
        operation = getattr(failure, "operation", "")
        return ManagerStatus(
            name=manager.name,
            error=failure.message,
            hint=failure.hint,
            operation=operation,
            warnings=manager.warnings,
        )
