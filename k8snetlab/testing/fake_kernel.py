"""A network namespace without a kernel: operations are done on values, and refused as the kernel refuses them."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from k8snetlab.dataplane.links import Address, Bridge, Device, Ipip, Link, Veth, Vxlan
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation, Operation, SysctlOperation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route

Entry: TypeAlias = Address | Route | Neighbour | FdbEntry


class FakeKernel:
    """What the kernel does with operations, as far as `diff` counts on it; `state` is what it would be read as.

    What the kernel refuses raises AssertionError: an entry on no device, a link or entry that is there already.
    """

    def __init__(self, state: Netns) -> None:
        names = {link.name for link in state.links}
        self.links = {link.name: link for link in state.links}
        self.sysctls = dict(state.sysctls)
        entries: list[Entry] = [*state.addresses, *state.routes, *state.neighbours, *state.fdb]
        self.entries = {self.identity(entry): entry for entry in entries if entry.dev in names}

    @staticmethod
    def identity(entry: Entry) -> object:
        return (Address, entry.dev, entry.address) if isinstance(entry, Address) else (type(entry), entry.key)

    def execute(self, operation: Operation) -> None:
        match operation:
            case SysctlOperation(_, key, value):
                self.sysctls[key] = value
            case ItemOperation(verb, _, Bridge() | Veth() | Vxlan() | Ipip() | Device() as link):
                self.link(verb, link)
            case ItemOperation("del", _, entry):
                self.entries = {k: e for k, e in self.entries.items() if e != entry}
            case ItemOperation(verb, _, entry):
                assert not isinstance(entry, Bridge | Veth | Vxlan | Ipip | Device)
                assert entry.dev in self.links, f"{operation}: no such device"
                known = self.entries.get(self.identity(entry))
                assert verb == "replace" or known in (None, entry), f"{operation}: File exists"
                self.entries[self.identity(entry)] = entry

    def link(self, verb: str, link: Link) -> None:
        if verb == "add":
            assert link.name not in self.links, f"add {link.name}: File exists"
        if verb == "set":
            have = self.links[link.name]
            if link.mac:
                gone = [k for k, e in self.entries.items() if isinstance(e, Neighbour) and e.dev == link.name]
                for key in gone:
                    del self.entries[key]
            link = msgspec.structs.replace(link, mac=link.mac or have.mac)
        if isinstance(link, Veth) and link.master and verb != "del":
            assert link.master in self.links, f"{link.name}: no master {link.master}"
        if verb == "del":
            for key in [k for k, e in self.entries.items() if e.dev == link.name]:
                del self.entries[key]
            for other in list(self.links.values()):
                if isinstance(other, Veth) and other.master == link.name:
                    self.links[other.name] = msgspec.structs.replace(other, master="", hairpin=False)
            del self.links[link.name]
        else:
            self.links[link.name] = link

    def state(self) -> Netns:
        entries = list(self.entries.values())
        return Netns(
            "n",
            links=tuple(self.links.values()),
            sysctls=self.sysctls,
            addresses=tuple(e for e in entries if isinstance(e, Address)),
            routes=tuple(e for e in entries if isinstance(e, Route)),
            neighbours=tuple(e for e in entries if isinstance(e, Neighbour)),
            fdb=tuple(e for e in entries if isinstance(e, FdbEntry)),
        )
