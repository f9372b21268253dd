"""What of a manifest is passed over, named once for each kind: kinds that are none of a lab's, kinds and fields that
nobody acts on."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from k8snetlab.api.core import Service
from k8snetlab.api.ignored import Ignored, makers_of
from k8snetlab.api.problems import Problem
from k8snetlab.api.words import Path, shorten

Message = tuple[str, int, str]
"""(file, line, what)."""


class _Group(msgspec.Struct):
    """Objects of one kind: where the first of them stands, and their names, as far as they have one."""

    file: str
    line: int
    hint: str = ""
    names: dict[str, None] = {}
    count: int = 0
    fields: dict[Path, None] = {}


class Passed:
    def __init__(self) -> None:
        self.kinds: dict[str, _Group] = {}
        self.fields: dict[str, _Group] = {}

    def blamed(self, problem: Problem, known: Iterable[Ignored]) -> str:
        """What a Service is told that would select pods of an ignored object; "" where it would not."""
        service = problem.object
        if not isinstance(service, Service) or problem.path != ("spec", "selector") or problem.severity != "warning":
            return ""
        for one in makers_of(service.spec.selector, service.namespace, known):
            title = f"{shorten(one.spec.kind)} {shorten(one.spec.name)}"
            return f"selects the pods of {title}, which is ignored: the Service will have no endpoints"
        return ""

    def kind(self, file: str, line: int, kind: str, name: str, hint: str) -> None:
        group = self.kinds.setdefault(kind, _Group(file, line, hint))
        group.names[name] = None
        group.count += 1

    def field(self, file: str, line: int, kind: str, name: str, path: Path) -> None:
        """A field of the object `name` that is read and not acted on."""
        group = self.fields.setdefault(kind, _Group(file, line))
        group.names[name] = None
        group.fields[tuple(part if isinstance(part, str) else 0 for part in path)] = None

    def messages(self) -> list[Message]:
        found = []
        for kind, group in self.kinds.items():
            name = next(iter(group.names))
            title = f"{shorten(kind)} {shorten(name)}".strip()
            if group.count > 1:
                title = f"{shorten(kind)}: {group.count} objects"
            message = f"{title}: this kind is not part of the lab's network, ignored{group.hint}"
            found.append((group.file, group.line, message))
        for kind, group in self.fields.items():
            one = len(group.names) == 1
            what = (
                f"{kind} {shorten(next(iter(group.names)))} has" if one else f"{kind}: {len(group.names)} objects have"
            )
            message = f"{what} fields that nothing here acts on: {folded(list(group.fields))}"
            found.append((group.file, group.line, message))
        return found


def folded(paths: list[Path]) -> str:
    """Paths with those of one parent together: "spec.{affinity, volumes}, spec.containers[].resources"."""
    parents: dict[str, list[str]] = {}
    for path in paths:
        parent = ""
        for part in path[:-1]:
            parent += "[]" if isinstance(part, int) else f".{part}" if parent else part
        last = path[-1]
        parents.setdefault(parent, []).append(shorten(last) if isinstance(last, str) else "[]")
    texts = []
    for parent, names in parents.items():
        dot = "." if parent and names != ["[]"] else ""
        texts.append(f"{parent}{dot}{names[0]}" if len(names) == 1 else f"{parent}{dot}{{{', '.join(names)}}}")
    return ", ".join(texts)
