"""Which pods and sets of networks one of Calico's selectors matches; kept while none of them says otherwise.

A pod has its own labels, those of its namespace as pcns.KEY, those of its service account as pcsa.KEY, and three that
say where it is from. Source: Calico libcalico-go/lib/backend/k8s/conversion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from k8snetlab.api.addressing import api_network
from k8snetlab.api.calico_policy import GlobalNetworkSet, NetworkSet
from k8snetlab.api.calico_selector import Node
from k8snetlab.api.config import ServiceAccount
from k8snetlab.api.core import Pod
from k8snetlab.api.meta import Labels
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.policies.calico_shapes import Selected
from k8snetlab.policies.ends import Network
from k8snetlab.policies.selecting import Selection

NAMESPACE, ACCOUNT = "projectcalico.org/namespace", "projectcalico.org/serviceaccount"
ORCHESTRATOR, NAME = "projectcalico.org/orchestrator", "projectcalico.org/name"
OF_NAMESPACE, OF_ACCOUNT = "pcns.", "pcsa."
LONGEST_LABEL = 63
Question = tuple[str, Node]
"""A selector, and its text."""


class CalicoSelection:
    """Of one snapshot. `labels` are those of each pod that a selector can see, `sets` the labels and networks of each
    set."""

    def __init__(self, snapshot: Snapshot, selection: Selection, previous: CalicoSelection | None = None) -> None:
        self._selection = selection
        self.sets = tuple(_sets(snapshot, selection))
        self._answers: dict[str, Selected] = {}
        self._nodes: dict[str, Node] = {}
        accounts = {key: one.metadata.labels for key, one in snapshot.all(ServiceAccount).items()}
        pods = snapshot.all(Pod)
        self.labels = {
            key: _labels(key, pods[key], own, selection.spaces[key[0]], accounts)
            for key, own in selection.labels.items()
        }
        if previous is not None:
            self._carry(previous)

    def selected(self, question: Question) -> Selected:
        text, node = question
        if text not in self._answers:
            self._answers[text] = self._answer(question, {key for key, one in self.labels.items() if node.matches(one)})
            self._nodes[text] = node
        return self._answers[text]

    def _answer(self, question: Question, keys: Set[Key]) -> Selected:
        text, node = question
        nets = (net for labels, held in self.sets if node.matches(labels) for net in held)
        found = {key: end for key, end in self._selection.ends.items() if key in keys}
        return Selected(text, found, tuple(dict.fromkeys(nets)))

    def _carry(self, previous: CalicoSelection) -> None:
        """Keeps the answers that are as they were; of the others only pods that have changed are asked."""
        if self.sets != previous.sets:
            return
        ends, before = self._selection.ends, previous._selection.ends
        changed = {
            key
            for key in self.labels.keys() | previous.labels.keys()
            if self.labels.get(key) != previous.labels.get(key) or ends.get(key) != before.get(key)
        }
        for text, answer in previous._answers.items():
            node = self._nodes[text] = previous._nodes[text]
            mine = {key for key in changed if key in self.labels and node.matches(self.labels[key])}
            if {key: ends[key] for key in mine} != {key: answer.ends[key] for key in changed if key in answer.ends}:
                answer = self._answer((text, node), (answer.ends.keys() - changed) | mine)
            self._answers[text] = answer


def _labels(key: Key, pod: Pod, own: Labels, space: Labels, accounts: Mapping[Key, Labels]) -> Labels:
    account = pod.spec.serviceAccountName or "default"
    found = {
        **_within(space, OF_NAMESPACE, key[0]),
        **_within(accounts.get((key[0], account), {}), OF_ACCOUNT, account),
        **own,
        NAMESPACE: key[0],
        ORCHESTRATOR: "k8s",
    }
    if len(account) < LONGEST_LABEL:
        found[ACCOUNT] = account
    return found


def _within(labels: Labels, prefix: str, name: str) -> dict[str, str]:
    return {**{f"{prefix}{key}": value for key, value in labels.items()}, f"{prefix}{NAME}": name}


def _sets(snapshot: Snapshot, selection: Selection) -> Iterator[tuple[Labels, tuple[Network, ...]]]:
    for _, one in sorted(snapshot.all(NetworkSet).items()):
        space = _within(selection.spaces.get(one.namespace, {}), OF_NAMESPACE, one.namespace)
        yield {**space, **one.metadata.labels, NAMESPACE: one.namespace}, _networks(one.spec.nets)
    for _, every in sorted(snapshot.all(GlobalNetworkSet).items()):
        yield every.metadata.labels, _networks(every.spec.nets)


def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(api_network(text, strict=False) for text in texts)
