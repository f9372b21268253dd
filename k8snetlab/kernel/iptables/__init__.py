"""iptables in both of its variants, one namespace and IP family at a time.

`variant` says which one the machine uses; `open` gives a namespace's rules: `save`, `apply`, `counters`, `generation`.
"""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

from k8snetlab.dataplane.families import FAMILIES
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.rules import Family
from k8snetlab.errors import InputError, KernelError, UnsupportedError
from k8snetlab.kernel.iptables import command, kept, legacy, saved
from k8snetlab.kernel.iptables.command import RestoreRefused
from k8snetlab.kernel.iptables.legacy import LegacyIptables, holds_legacy_rules
from k8snetlab.kernel.iptables.nft import UNTOUCHED, NftIptables
from k8snetlab.kernel.iptables.saved import Saved
from k8snetlab.kernel.iptables.tables import Iptables, Variant

LOCKFILE = Path("/run/xtables.lock")
__all__ = [
    "Iptables",
    "RestoreRefused",
    "Variant",
    "beside",
    "counted",
    "held",
    "holds_legacy_rules",
    "mixed",
    "open",
    "rules",
    "saved",
    "touched",
    "variant",
]


def variant(wanted: str = "") -> Variant:
    """The one asked for ("nft" or "legacy"), or that of the machine's `iptables` ("" or "auto"): it says so itself.

    Raises UnsupportedError when there is no iptables.
    """
    match wanted:
        case "nft" | "legacy":
            return wanted
        case "" | "auto" | "host":
            return _of_this_machine()
        case _:
            raise InputError(f"{wanted!r} is no variant of iptables", "use nft, legacy or auto")


def open(namespace: str, family: Family, variant: Variant, lockfile: Path, chunk: int | None = None) -> Iptables:
    """The rules of a namespace; nothing is touched yet. `lockfile` is what legacy programs lock while they write;
    in the host's namespace that is the one that every other program there locks.

    `chunk`, if given, takes the place of the variant's own number of chains in one transaction.
    """
    kind: type[Iptables] = NftIptables if variant == "nft" else LegacyIptables
    return kind(namespace, family, LOCKFILE if is_host(namespace) else lockfile, chunk)


def mixed(namespace: str) -> bool:
    """Whether both variants hold rules in one namespace: packets then pass through both, in an order few expect."""
    families: tuple[Family, ...] = FAMILIES
    if not any(holds_legacy_rules(namespace, family) for family in families):
        return False
    for tool in ("iptables-nft-save", "ip6tables-nft-save"):
        text = command.output(namespace, [tool], LOCKFILE)
        if any(saved.chains(text).values()):
            return True
    return False


def held(namespace: str, family: Family, variant: Variant, lockfile: Path) -> str:
    """What `iptables-save -c` prints, without starting it ("") where the namespace never had a table."""
    tool = "iptables" if family == "ipv4" else "ip6tables"
    written = touched(namespace, family, variant)
    return command.output(namespace, [f"{tool}-{variant}-save", "-c"], lockfile) if written else ""


def counted(namespace: str, family: Family, variant: Variant, lockfile: Path) -> Saved:
    """What `held` says, read: of nft, without starting it where the rules are known already."""
    if variant != "nft":
        return saved.everything(held(namespace, family, variant, lockfile))
    table = NftIptables(namespace, family, LOCKFILE if is_host(namespace) else lockfile)
    try:
        return kept.counted(table)
    finally:
        table.close()


def rules(namespace: str, family: Family, variant: Variant, lockfile: Path) -> Saved:
    """The same without counters: as it was last read where the kernel says that nothing has changed."""
    if variant != "nft":
        return counted(namespace, family, variant, lockfile)
    table = NftIptables(namespace, family, LOCKFILE if is_host(namespace) else lockfile)
    try:
        return kept.rules(table)
    finally:
        table.close()


def touched(namespace: str, family: Family, variant: Variant) -> bool:
    """Whether anybody ever wrote rules of the variant in the namespace: a question to the kernel, no program."""
    if variant == "nft":
        return open(namespace, family, variant, LOCKFILE).generation() != UNTOUCHED
    return bool(legacy.tables(namespace, family))


def beside(namespace: str, family: Family, chosen: Variant) -> tuple[Variant, str]:
    """The variant that is not `chosen`, and what `held` says of it, "" where it holds no rules or cannot be read."""
    other: Variant = "legacy" if chosen == "nft" else "nft"
    if other == "legacy" and not holds_legacy_rules(namespace, family):
        return other, ""
    try:
        text = held(namespace, family, other, LOCKFILE)
    except (KernelError, UnsupportedError):
        return other, ""
    return other, text if any(saved.chains(text).values()) else ""


@functools.cache
def _of_this_machine() -> Variant:
    try:
        version = subprocess.run(["iptables", "--version"], capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        raise UnsupportedError("there is no iptables on this machine", "apt-get install iptables") from None
    return "nft" if "nf_tables" in version else "legacy"
