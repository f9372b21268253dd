"""What an agent is to leave as it is: objects of the kernel that somebody has damaged on purpose.

An agent that holds something compares with what is there instead of with what is desired, for exactly these objects;
all else it keeps as ever. Who mends one of them by hand is not disturbed either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

import msgspec

from k8snetlab.dataplane.links import Address
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import Item
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.dataplane.rules import ChainKey, Hook, RuleDelta

Kind = Literal[
    "link",
    "address",
    "route",
    "neighbour",
    "fdb",
    "sysctl",
    "chain",
    "jump",
    "misses",
    "agent",
    "lease",
    "controller",
    "process",
    "clock",
]
WHOLE = "*"
"""In the place of a chain's name: every chain of the table."""
I = TypeVar("I", bound=Item)  # noqa: E741


class Hold(msgspec.Struct, frozen=True):
    """One object. `object` names it as `ip` and iptables do: "cni0", "cni0 10.244.1.1/24", "10.244.2.0/24",
    "flannel.1 10.244.2.0", "net.ipv4.ip_forward", "nat KUBE-SERVICES", "nat PREROUTING" (the jumps in that chain).

    `misses` are the answers to what the kernel of a node asks, `agent` is all that a node's agent does: there `object`
    is the node's name. Four are of no namespace (""): the `lease` of a node's pod subnet, which nobody renews, a
    `controller`, by its name, which looks at nothing, the `process` of an add-on of that name, which hangs, and the
    `clock` of the API, by the seconds that it is ahead of the machine's.
    """

    netns: str
    kind: Kind
    object: str


Holds = frozenset[Hold]
NONE: Holds = frozenset()


def of_item(netns: str, item: Item) -> Hold:
    """The hold of an item; of routes to one destination all are held, whatever their metric."""
    match item:
        case Address():
            return Hold(netns, "address", f"{item.dev} {item.address}")
        case Route():
            return Hold(netns, "route", str(item.key[0]))
        case Neighbour():
            return Hold(netns, "neighbour", f"{item.dev} {item.dst}")
        case FdbEntry():
            return Hold(netns, "fdb", f"{item.dev} {item.lladdr}")
        case _:
            return Hold(netns, "link", item.name)


def named(holds: Iterable[Hold], kind: Kind) -> frozenset[str]:
    """The objects of one kind that are held, in whatever namespace."""
    return frozenset(hold.object for hold in holds if hold.kind == kind)


def within(holds: Iterable[Hold], netns: str) -> Holds:
    """Those of one namespace."""
    return frozenset(hold for hold in holds if hold.netns == netns)


def spared(wanted: Netns, actual: Netns, holds: Holds) -> Netns:
    """`wanted` with what is held as it is in `actual`, or without it where it is not there. What goes with a device
    that is held and down is held as well: the kernel takes no route on it.
    """
    holds = within(holds, wanted.name)
    if not holds:
        return wanted

    def mixed(desired: tuple[I, ...], held: tuple[I, ...]) -> tuple[I, ...]:
        kept = (item for item in desired if of_item(wanted.name, item) not in holds)
        return (*kept, *(item for item in held if of_item(wanted.name, item) in holds))

    down = {link.name for link in actual.links if not link.up and Hold(wanted.name, "link", link.name) in holds}
    on_it: list[Route | Neighbour | FdbEntry] = [*wanted.routes, *wanted.neighbours, *wanted.fdb]
    holds |= {of_item(wanted.name, item) for item in on_it if item.dev in down}
    keys = {hold.object for hold in holds if hold.kind == "sysctl"}
    return msgspec.structs.replace(
        wanted,
        sysctls=free_sysctls(wanted.sysctls, keys),
        links=mixed(wanted.links, actual.links),
        addresses=mixed(wanted.addresses, actual.addresses),
        routes=mixed(wanted.routes, actual.routes),
        neighbours=mixed(wanted.neighbours, actual.neighbours),
        fdb=mixed(wanted.fdb, actual.fdb),
    )


def free_sysctls(wanted: Mapping[str, str], held: Iterable[str]) -> dict[str, str]:
    """`wanted` without those whose keys are `held`."""
    held = set(held)
    return {key: value for key, value in wanted.items() if key not in held}


def holds_chain(holds: Holds, key: ChainKey) -> bool:
    """Whether the chain is held, in whatever family. `holds` are those of one namespace."""
    return any(h.kind == "chain" and h.object in (f"{key.table} {key.chain}", f"{key.table} {WHOLE}") for h in holds)


def holds_jump(holds: Holds, hook: Hook) -> bool:
    """Whether the jumps that stand in the hook's chain are held."""
    return any(h.kind == "jump" and h.object in (f"{hook.table} {hook.chain}", f"{hook.table} {WHOLE}") for h in holds)


def spared_rules(delta: RuleDelta, holds: Holds) -> RuleDelta:
    """What of `delta` may be done while `holds`, of its namespace, stand."""
    if not holds:
        return delta
    return msgspec.structs.replace(
        delta,
        write={key: rules for key, rules in delta.write.items() if not holds_chain(holds, key)},
        delete=tuple(key for key in delta.delete if not holds_chain(holds, key)),
        hooks=tuple(hook for hook in delta.hooks if not holds_jump(holds, hook)),
    )
