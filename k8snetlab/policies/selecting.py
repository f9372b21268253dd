"""Which pods a selector of a policy matches: answered once for each selector, and kept while no pod says otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from k8snetlab.api.addressing import same
from k8snetlab.api.core import Namespace, Pod
from k8snetlab.api.meta import Labels, LabelSelector
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.words import Path
from k8snetlab.policies.shapes import End, Ends, NamedPort

NAME = "kubernetes.io/metadata.name"
"""Every namespace's label with its own name, which the API server sets."""
NONE: Ends = {}


class Selection:
    """The pods and namespaces of one snapshot. `ends` holds every pod that has not ended, `labels` those of each that
    a selector can see: hostNetwork pods are not among them."""

    def __init__(self, snapshot: Snapshot, previous: Selection | None = None) -> None:
        self.snapshot = snapshot
        before = previous.snapshot if previous else None
        self.ends: dict[Key, End] = dict(previous.ends) if previous else {}
        self.labels: dict[Key, Labels] = dict(previous.labels) if previous else {}
        self._answers: dict[tuple[str, Wanted], Ends] = {}
        self._spaces: dict[str, Labels] = {}
        self._groups: dict[tuple[str, str, str], dict[Key, End]] | None = None
        self._inside: dict[str, dict[Key, End]] | None = None
        changed = self._read(snapshot.changes(Pod, before))
        self._name(snapshot)
        if previous is not None:
            self._carry(previous, changed)

    def pods(self, namespace: str, selector: LabelSelector) -> Ends:
        """The pods of a namespace that a selector matches."""
        wanted = _wanted(selector)
        question = (namespace, wanted)
        if question not in self._answers:
            self._answers[question] = self._found(namespace, selector)
        return self._answers[question]

    def pods_of(self, spaces: LabelSelector, selector: LabelSelector | None) -> Ends:
        """The pods that `selector` matches (None: all) in every namespace whose labels `spaces` matches."""
        question = ("", (_wanted(spaces), _wanted(selector) if selector else None))
        if question not in self._answers:
            each = [
                self.pods(name, selector or LabelSelector())
                for name, labels in sorted(self._spaces.items())
                if spaces.matches(labels)
            ]
            self._answers[question] = {key: end for pods in each for key, end in pods.items()}
        return self._answers[question]

    @property
    def spaces(self) -> Mapping[str, Labels]:
        """The labels of every namespace that there is, as an object or because a pod is in it."""
        return self._spaces

    # --- reading ---

    def _read(self, keys: Iterable[Key]) -> set[Key]:
        """Takes in pods; those of which something is different from before."""
        pods = self.snapshot.all(Pod)
        changed = set()
        for key in keys:
            pod = pods.get(key)
            end = None if pod is None or pod.ended else end_of(pod)
            labels = None if end is None or end.host or pod is None else pod.metadata.labels
            if end == self.ends.get(key) and labels == self.labels.get(key):
                continue
            changed.add(key)
            _put(self.ends, key, end)
            _put(self.labels, key, labels)
        if changed:
            self.ends = dict(sorted(self.ends.items()))
        return changed

    def _name(self, snapshot: Snapshot) -> None:
        spaces = {namespace: {NAME: namespace} for namespace, _ in self.ends}
        for space in snapshot.all(Namespace).values():
            spaces[space.name] = {**space.metadata.labels, NAME: space.name}
        self._spaces = spaces  # type: ignore[assignment]

    def _carry(self, previous: Selection, changed: set[Key]) -> None:
        """Keeps the answers that no changed pod is in, before or after."""
        alike = self._spaces == previous._spaces
        for question, answer in previous._answers.items():
            namespace, wanted = question
            if namespace:
                hit = any(
                    key[0] == namespace and (key in answer or (key in self.labels and _holds(wanted, self.labels[key])))
                    for key in changed
                )
            else:
                hit = not alike or any(
                    key in answer or (key in self.labels and self._both(wanted, key)) for key in changed
                )
            if not hit:
                self._answers[question] = answer

    def _both(self, wanted: Wanted, key: Key) -> bool:
        spaces, pods = wanted
        return _holds(spaces, self._spaces[key[0]]) and (pods is None or _holds(pods, self.labels[key]))

    # --- answering ---

    def _found(self, namespace: str, selector: LabelSelector) -> Ends:
        if self._groups is None or self._inside is None:
            self._groups, self._inside = self._grouped()
        candidates = self._inside.get(namespace, NONE)
        for label, value in selector.matchLabels.items():
            group = self._groups.get((namespace, label, value), NONE)
            candidates = group if len(group) < len(candidates) else candidates
        return {key: end for key, end in candidates.items() if selector.matches(self.labels[key])}

    def _grouped(self) -> tuple[dict[tuple[str, str, str], dict[Key, End]], dict[str, dict[Key, End]]]:
        groups: dict[tuple[str, str, str], dict[Key, End]] = {}
        inside: dict[str, dict[Key, End]] = {}
        for key, end in self.ends.items():
            if key not in self.labels:
                continue
            inside.setdefault(key[0], {})[key] = end
            for label, value in self.labels[key].items():
                groups.setdefault((key[0], label, value), {})[key] = end
        return groups, inside


def end_of(pod: Pod) -> End:
    """A pod as policies see it."""
    ports: dict[tuple[str, str], tuple[int, ...]] = {}
    for port in pod.spec.serving_ports:
        if port.name:
            name = (port.protocol, port.name)
            ports[name] = tuple(dict.fromkeys((*ports.get(name, ()), port.containerPort)))
    addresses = tuple(map(same, pod.ips))
    return End("/".join(pod.key), addresses, pod.key, pod.spec.nodeName, pod.spec.hostNetwork, ports)


def named_port(path: Path, protocol: str, name: str, destinations: Ends) -> NamedPort:
    """With the numbers that each destination has behind the name."""
    said = (protocol, name)
    numbers = {key: end.ports[said] for key, end in destinations.items() if said in end.ports and not end.host}
    return NamedPort(path, protocol, name, numbers)


Wanted = tuple[Any, ...]
"""A selector as a value that can be a key of a dictionary."""


def _wanted(selector: LabelSelector) -> Wanted:
    return (frozenset(selector.matchLabels.items()), selector.matchExpressions)


def _holds(wanted: Wanted, labels: Labels) -> bool:
    pairs, expressions = wanted
    return pairs <= labels.items() and (not expressions or LabelSelector({}, expressions).matches(labels))


def _put(table: dict, key: Key, value: object) -> None:  # type: ignore[type-arg]
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
