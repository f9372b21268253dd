"""Kubernetes' selectors in Calico's language, in the normal form that its parser gives them: ipsets are named by it.

Source: Calico libcalico-go lib/backend/k8s/conversion (k8sSelectorToCalico), syncersv1/updateprocessors (rules.go,
networkpolicyprocessor.go, globalnetworkpolicyprocessor.go), lib/selector/parser/ast.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.meta import LabelSelector

ORCHESTRATOR = 'projectcalico.org/orchestrator == "k8s"'
"""Of all pods, and of no HostEndpoint."""
NAMESPACED = "has(projectcalico.org/namespace)"
NAMESPACE_LABELS = "pcns."
"""Before the labels of a pod's namespace."""


def policy(namespace: str, pods: LabelSelector) -> str:
    """What a NetworkPolicy selects."""
    return _both(_pods(pods), _in(namespace))


def subject(spaces: LabelSelector, pods: LabelSelector | None) -> str:
    """What a ClusterNetworkPolicy selects."""
    return _both(_pods(pods), _spaces(spaces))


def spaces(selector: LabelSelector) -> str:
    """A ClusterNetworkPolicy's peer that is all pods of some namespaces."""
    return _spaces(selector)


def peer(namespace: str, spaces: LabelSelector | None, pods: LabelSelector | None) -> str:
    """An item of from or to, of a policy in `namespace`."""
    return _both(_in(namespace) if spaces is None else _spaces(spaces), _pods(pods))


def _in(namespace: str) -> str:
    return f'projectcalico.org/namespace == "{namespace}"'


def _pods(selector: LabelSelector | None) -> str:
    return _all([ORCHESTRATOR, *_terms(selector or LabelSelector(), "")])


def _spaces(selector: LabelSelector) -> str:
    terms = [*_terms(selector, NAMESPACE_LABELS)]
    return _all(terms) if terms else NAMESPACED


def _both(one: str, other: str) -> str:
    return f"({one} && {other})"


def _all(terms: list[str]) -> str:
    return terms[0] if len(terms) == 1 else f"({' && '.join(terms)})"


def _terms(selector: LabelSelector, prefix: str) -> Iterator[str]:
    yield from (f'{prefix}{key} == "{value}"' for key, value in sorted(selector.matchLabels.items()))
    for one in selector.matchExpressions:
        key = f"{prefix}{one.key}"
        match one.operator:
            case "In" | "NotIn":
                word = "in" if one.operator == "In" else "not in"
                values = ", ".join(f'"{value}"' for value in sorted(set(one.values)))
                yield f"{key} {word} {{{values}}}"
            case "Exists":
                yield f"has({key})"
            case _:
                yield f"!has({key})"
