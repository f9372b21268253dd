"""What `calicoctl get` prints of policies and of sets of networks, in its columns.

Source: Calico calicoctl/calicoctl/resourcemgr (networkpolicy.go, globalnetworkpolicy.go, networkset.go …).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from k8snetlab.api.calico_policy import (
    AnyCalicoPolicy,
    CalicoNetworkPolicy,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    NetworkSet,
    policy_name,
)
from k8snetlab.explain.calicoctl import Row, spaced

KINDS: dict[str, type[AnyCalicoPolicy | NetworkSet | GlobalNetworkSet]] = {
    "networkpolicy": CalicoNetworkPolicy,
    "globalnetworkpolicy": GlobalNetworkPolicy,
    "networkset": NetworkSet,
    "globalnetworkset": GlobalNetworkSet,
}
"""By the words that calicoctl takes."""
Shown = CalicoNetworkPolicy | GlobalNetworkPolicy | NetworkSet | GlobalNetworkSet
SMALL, LARGE = 1e-4, 1e6
"""Less than the one, and from the other on, Go prints a number with an exponent."""
LONGEST = 80
"""Characters of networks in a table."""


def table(objects: Iterable[Shown], kind: str, *, wide: bool, spaces: bool) -> str:
    """`get KIND`; with `spaces` each one's namespace comes first."""
    sets = kind.endswith("set")
    titles: Row = ("NAME",) if sets else ("NAME", "TIER")
    more: Row = ("NETS",) if sets else ("ORDER", "SELECTOR")
    rows: list[Row] = []
    for one in objects:
        row = [one.name] if isinstance(one, NetworkSet | GlobalNetworkSet) else [policy_name(one), one.spec.tier]
        rows.append([*([one.namespace] if spaces else []), *row, *(_wide(one) if wide else [])])
    return spaced([*(["NAMESPACE"] if spaces else []), *titles, *(more if wide else ())], rows)


def _wide(one: Shown) -> Sequence[str]:
    if isinstance(one, NetworkSet | GlobalNetworkSet):
        nets = ",".join(one.spec.nets)
        return [nets if len(nets) <= LONGEST else f"{nets[: LONGEST - 3]}..."]
    return [number(one.spec.order), one.spec.selector]


def number(value: float | None) -> str:
    """As Go's templates print one, and none."""
    if value is None:
        return "<nil>"
    if value == 0 or SMALL <= abs(value) < LARGE:
        return str(int(value)) if value == int(value) else repr(float(value))
    written = (f"{float(value):.{length}e}" for length in range(17))
    return next(text for text in written if float(text) == float(value))


def resources(objects: Iterable[Shown], kind: str) -> dict[str, Any]:
    """`get KIND -o yaml`."""
    type_ = KINDS[kind]
    items = []
    for one in objects:
        metadata = msgspec.to_builtins(one.metadata)
        kept = ("name", "namespace", "labels", "uid", "resourceVersion", "creationTimestamp")
        known = {key: metadata[key] for key in sorted(kept) if metadata.get(key)}
        if not isinstance(one, NetworkSet | GlobalNetworkSet):
            known["name"] = policy_name(one)
        spec = msgspec.to_builtins(one.spec)
        items.append({"apiVersion": type_.API_VERSION, "kind": type_.KIND, "metadata": known, "spec": _listed(spec)})
    return {"apiVersion": type_.API_VERSION, "items": items, "kind": f"{type_.KIND}List", "metadata": {}}


def _listed(value: Any) -> Any:
    """With lists in place of tuples, which YAML has none of, and fields in order."""
    if isinstance(value, dict):
        return {key: _listed(value[key]) for key in sorted(value)}
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value
