"""Nodes without power, and what goes wrong for no other reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from k8snetlab.diagnose.finding import Finding


def laid(found: Iterable[Finding], homes: dict[str, str], off: Collection[str]) -> list[Finding]:
    """`found`, and a finding for each node that is `off`, in the place of those on it and on its cable. `homes` are
    nodes' namespaces."""
    gone = {name: _off(name, home) for name, home in homes.items() if name in off}
    kept: list[Finding] = []
    for finding in found:
        name = next((name for name in gone if _concerns(finding, name, homes[name])), "")
        if name:
            gone[name] = replace(gone[name], broken=tuple(dict.fromkeys((*gone[name].broken, *finding.broken))))
        else:
            kept.append(finding)
    return [*gone.values(), *kept]


def _concerns(finding: Finding, name: str, home: str) -> bool:
    return finding.node == name or bool(finding.beyond and finding.beyond[0] == home)


def _off(name: str, home: str) -> Finding:
    return Finding(
        kind="node",
        fault="off",
        node=name,
        object=name,
        message=f"{name} has no power",
        consequence="it answers nobody, and no pod runs there; others take their place when they tolerate that no more",
        show="k8snetlab status",
        mend=f"k8snetlab node start {name}",
        netns=home,
    )
