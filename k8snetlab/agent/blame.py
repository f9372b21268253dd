"""Which manager's part of a node's dataplane the kernel has refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from k8snetlab.dataplane.links import Device
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.errors import K8sNetLabError


class Blame:
    """Knows what is whose, by the words in which operations name it: made once for all refusals of a sync."""

    def __init__(self, parts: Mapping[str, NodeDataplane]) -> None:
        """`parts` are the managers', by name, in their order."""
        self._first = next(iter(parts))
        self._order = {name: number for number, name in enumerate(parts)}
        self._owners = (
            self._first_of(parts, lambda part: (pod.name for pod in part.pods)),
            self._first_of(parts, lambda part: _own(part.node)),
            self._first_of(parts, lambda part: _devices(part.node)),
        )

    def manager_of(self, refusal: K8sNetLabError) -> str:
        """The manager whose part has what was refused: the pod's namespace, else the very entry or device, else the
        device that it is about. The first manager where nobody's part has it.
        """
        said = (getattr(refusal, "operation", "") or refusal.message).replace("=", " ").split()
        phrases = {" ".join(said[begin:end]) for end in range(1, len(said) + 1) for begin in range(end)}
        for owners in self._owners:
            if found := {owners[phrase] for phrase in phrases & owners.keys()}:
                return min(found, key=self._order.__getitem__)
        return self._first

    @staticmethod
    def _first_of(
        parts: Mapping[str, NodeDataplane], words_of: Callable[[NodeDataplane], Iterable[str]]
    ) -> Mapping[str, str]:
        """The first manager that says these words of its part."""
        owners: dict[str, str] = {}
        for name, part in parts.items():
            for words in words_of(part):
                owners.setdefault(words, name)
        return owners


def _own(node: Netns) -> Iterator[str]:
    for entries in (node.addresses, node.routes, node.neighbours, node.fdb):
        yield from (entry.words() for entry in entries)
    yield from node.sysctls
    yield from (f"link {verb} {link.name}" for link in node.links for verb in ("add", "set", "del"))


def _devices(node: Netns) -> Iterator[str]:
    """Without a node's own, which others use as well."""
    yield from (f"dev {link.name}" for link in node.links if not isinstance(link, Device))
