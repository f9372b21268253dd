"""The variant of iptables that a node does not use: when it holds rules as well, packets pass through both."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES
from k8snetlab.dataplane.names import is_host
from k8snetlab.iptables.patch import standing
from k8snetlab.kernel import iptables, nftables
from k8snetlab.render.felix.static import LAST


class OtherVariant:
    """Watches it in one namespace. Blocking."""

    def __init__(self, namespace: str, chosen: iptables.Variant, lockfile: Path) -> None:
        other: iptables.Variant = "legacy" if chosen == "nft" else "nft"
        self._namespace, self._chosen, self.variant = namespace, chosen, other
        self._tables = [iptables.open(namespace, family, other, lockfile) for family in FAMILIES]
        self._seen: Hashable = None
        self.warnings: tuple[str, ...] = ()
        """A sentence if both variants held rules at the last look."""

    def close(self) -> None:
        for table in self._tables:
            table.close()

    def changed(self) -> bool:
        """Whether anything may have changed since the last look; cheap."""
        return self._generation() != self._seen

    def look(self) -> None:
        self._seen = self._generation()
        mixed = iptables.mixed(self._namespace)
        self.warnings = (
            (
                f"both variants of iptables hold rules: this node uses {self._chosen}, `iptables-{self.variant}-save` "
                "and its ip6tables twin show the others; packets pass through both",
            )
            if mixed
            else ()
        )

    def clear(self) -> None:
        """Takes away what is ours: an agent that used the other variant has left it."""
        if iptables.mixed(self._namespace):
            for table in self._tables:
                table.remove(names.CHAINS)
                for key, number in list(standing(LAST, table.save())):
                    table.delete_rule(key, number)
        if self.variant == "nft" and not is_host(self._namespace):
            nftables.remove_idle(self._namespace, (), ())

    def _generation(self) -> Hashable:
        return tuple(table.generation() for table in self._tables)
