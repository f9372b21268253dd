"""What tables of all kinds are made of: a column, and the cells that many kinds have.

Source: Kubernetes pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from k8snetlab.api.ages import age
from k8snetlab.api.core import PodSpec
from k8snetlab.api.meta import LabelSelector, LabelSelectorRequirement, Object

NONE, UNSET, UNKNOWN, PENDING = "<none>", "<unset>", "<unknown>", "<pending>"
SHOWN = 3
"""How many endpoints or ports a cell shows; the rest is only counted."""
LOAD_BALANCER_WIDTH = 16


class Column(NamedTuple):
    """One column: its title, the cell of an object, whether it shows with `-o wide` only, and its type in OpenAPI.

    The cell of a column that is `timed` depends on what time it is, in seconds of the epoch.
    """

    title: str
    cell: Callable[[Any], Any] | None = None
    wide: bool = False
    type: str = "string"
    timed: Callable[[Any, float], Any] | None = None
    format: str = ""
    description: str = ""

    def of(self, obj: Object, now: float) -> Any:
        if self.timed is not None:
            return self.timed(obj, now)
        assert self.cell is not None
        return self.cell(obj)


def name_of(obj: Object) -> str:
    return obj.name


def age_of(obj: Object, now: float) -> str:
    return age(obj.metadata.creationTimestamp, now)


def labels(labels: Mapping[str, str] | None) -> str:
    """key=value, by key; <none>."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_of(selector: LabelSelector) -> str:
    terms = [(key, f"{key}={value}") for key, value in selector.matchLabels.items()]
    terms += [(one.key, _requirement(one)) for one in selector.matchExpressions]
    return ",".join(term for _, term in sorted(terms)) or NONE


def _requirement(one: LabelSelectorRequirement) -> str:
    match one.operator:
        case "Exists":
            return one.key
        case "DoesNotExist":
            return f"!{one.key}"
    return f"{one.key} {one.operator.lower()} ({','.join(sorted(one.values))})"


def some(values: Iterable[object]) -> str:
    """With commas; <none>."""
    return ",".join(str(value) for value in values if value != "") or NONE


def first_of(values: Sequence[str], nothing: str) -> str:
    """As kubectl cuts a list: `a,b,c + 2 more...`."""
    shown = ",".join(values[:SHOWN])
    if len(values) > SHOWN:
        return f"{shown} + {len(values) - SHOWN} more..."
    return shown or nothing


def containers_of(spec: PodSpec) -> str:
    return ",".join(container.name for container in spec.containers)


def images_of(spec: PodSpec) -> str:
    return ",".join(container.image for container in spec.containers)


def cut(text: str) -> str:
    """As addresses of load balancers are cut."""
    return text if len(text) <= LOAD_BALANCER_WIDTH else text[: LOAD_BALANCER_WIDTH - 3] + "..."


NAME, AGE = Column("Name", name_of), Column("Age", timed=age_of)
