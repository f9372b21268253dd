"""Everything on this machine that belongs to a lab, and what looks like a lab's but belongs to none.

Owners are told by ledgers: that of each lab in this machine's run directory, and in those of daemons that run with
another one (K8SNETLAB_RUN). A name alone makes nothing a lab's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import msgspec

from k8snetlab.agent.additions import AddedDevice, AddedFile, AddedRules
from k8snetlab.dataplane import names
from k8snetlab.dataplane.names import CNI
from k8snetlab.errors import InputError
from k8snetlab.kernel import cgroups, inventory, netns
from k8snetlab.kernel.inventory import Kind, Thing
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import machine_flannel, root

CHAINS = (*names.MACHINE_CHAINS, CNI)
_DEVICES = re.compile(r"cni0|flannel\.\d+|flannel-v6\.\d+|underlay\d+|veth[0-9a-f]{8}")


class Audited(msgspec.Struct, frozen=True):
    """A thing of this machine that is a lab's, or looks like one's."""

    kind: Kind
    """What it is."""
    name: str
    """What tells it from others of its kind."""
    lab: str
    """The lab that it belongs to, "" for none that is known."""
    stray: bool
    """Whether it looks like a lab's, and no ledger has it."""
    of: str = ""
    """What it hangs on: a process's network namespace, a device's or a mount's kind, a sysctl's value."""


class AuditReport(msgspec.Struct, frozen=True):
    """What of this machine belongs to labs."""

    labs: tuple[str, ...]
    """The labs that are known here."""
    findings: tuple[Audited, ...]
    """All that is theirs, or looks like it."""
    added: tuple[Thing, ...] | None
    """What was not there when the baseline was written; null without one."""
    gone: tuple[Thing, ...] | None
    """What was there then; null without a baseline."""
    clean: bool
    """Whether nothing is stray; with a baseline, whether the machine is what it was."""

    @property
    def strays(self) -> tuple[Audited, ...]:
        return tuple(finding for finding in self.findings if finding.stray)


class BaselineWritten(msgspec.Struct, frozen=True):
    """What the machine has now is kept, to be compared with later."""

    baseline: str
    """Path of the file."""
    things: int
    """How many it names."""


class Baseline(msgspec.Struct, frozen=True):
    """What a machine had of the kinds that labs are made of."""

    version: int
    things: tuple[Thing, ...]


def things() -> tuple[Thing, ...]:
    """All that this machine has of those kinds."""
    found = chain(
        inventory.namespaces(),
        inventory.mounts(),
        inventory.processes(),
        inventory.devices(),
        inventory.chains(CHAINS),
        inventory.cgroups(cgroups.PARENT),
        inventory.files(root(), machine_flannel(), Path("/etc/netns")),
        inventory.settings(),
    )
    return tuple(found)


def audit(baseline: Baseline | None = None) -> AuditReport:
    present = things()
    owners = _Owners(present)
    findings = tuple(finding for thing in present if (finding := owners.finding(thing)))
    labs = tuple(sorted(owners.labs))
    if baseline is None:
        return AuditReport(labs, findings, None, None, not any(finding.stray for finding in findings))
    before, now = set(map(_lasting, baseline.things)), set(map(_lasting, present))
    added = tuple(thing for thing in present if _lasting(thing) not in before)
    gone = tuple(thing for thing in baseline.things if _lasting(thing) not in now)
    return AuditReport(labs, findings, added, gone, not (added or gone))


def left_of(lab: str) -> tuple[Thing, ...]:
    """What is still there of a lab of this run directory that was taken down; a moment's look, without rules."""
    prefix = f"{lab}."
    found = chain(inventory.namespaces(), inventory.mounts(), inventory.processes(), inventory.cgroups(cgroups.PARENT))
    return tuple(
        thing
        for thing in found
        if (thing.kind == "namespace" and thing.name.startswith(prefix))
        or (thing.kind == "mount" and thing.name.startswith(f"{netns.DIRECTORY}/{prefix}"))
        or (thing.kind == "process" and (thing.of.startswith(prefix) or _is_daemon_of(thing, lab)))
        or (thing.kind == "cgroup" and _lab_of_cgroup(thing.name) == lab)
    )


def read_baseline(file: Path) -> Baseline | None:
    """What `write_baseline` has kept; None where there is no such file. Raises InputError for another file."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Baseline)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{file} is no baseline: {error}", "name a new file: `audit` writes it") from error


def write_baseline(file: Path) -> Baseline:
    """Keeps what the machine has now."""
    baseline = Baseline(1, things())
    try:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(baseline)) + b"\n")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}", "a file that can be written is wanted") from error
    return baseline


class _Owners:
    """Which lab has what."""

    def __init__(self, present: Iterable[Thing]) -> None:
        from k8snetlab.kernel.read import cables  # with what reads a kernel, which `down` has no use for

        self.labs: dict[str, Ledger] = {}
        roots = {root()}
        for thing in present:
            if thing.kind == "process" and not thing.of:
                run = inventory.environment(int(thing.name.split()[0]), "K8SNETLAB_RUN")
                roots.add(Path(run) if run else Path("/run/k8snetlab"))
        for directory in roots:
            for ledger in sorted(directory.glob("*/ledger")) if directory.is_dir() else ():
                self.labs[ledger.parent.name] = Ledger(ledger)
        self._namespaces = {name: lab for lab, ledger in self.labs.items() for name in ledger.namespaces}
        self._pids = {
            p.process.pid: lab for lab, ledger in self.labs.items() for p in ledger.processes if p.process.alive
        }
        self._files, self._devices, self._rules = self._additions()
        alive = [name for name in self._namespaces if netns.exists(name)]
        self._cables = set(cables(alive))

    def _additions(self) -> tuple[dict[str, str], dict[str, str], str]:
        files: dict[str, str] = {}
        devices: dict[str, str] = {}
        rules = ""
        for lab, ledger in self.labs.items():
            for one in ledger.additions:
                match one:
                    case AddedFile(path=path, directories=directories):
                        files |= dict.fromkeys((path, *directories), lab)
                    case AddedDevice(name=name):
                        devices[name] = lab
                    case AddedRules():
                        rules = lab
        return files, devices, rules

    def finding(self, thing: Thing) -> Audited | None:
        """None for what is neither a lab's nor like one."""
        lab, like = self._owner(thing)
        if not (lab or like):
            return None
        return Audited(thing.kind, thing.name, lab, not lab, thing.of)

    def _owner(self, thing: Thing) -> tuple[str, bool]:
        """The lab it belongs to, and whether it looks like one's."""
        match thing.kind:
            case "namespace":
                return self._namespaces.get(thing.name, ""), _is_labs(thing.name, self.labs)
            case "mount":
                return self._owner_of_mount(thing.name)
            case "process":
                pid = int(thing.name.split()[0])
                lab = self._pids.get(pid, "") or self._namespaces.get(thing.of, "")
                lab = lab or self._pids.get(inventory.parent(pid), "")
                return lab, not thing.of or _is_labs(thing.of, self.labs)
            case "device":
                cabled = next(iter(self.labs), "") if thing.name in self._cables else ""
                return self._devices.get(thing.name, "") or cabled, bool(_DEVICES.fullmatch(thing.name))
            case "chain":
                return self._rules, True
            case "cgroup":
                group = _of_hierarchy(thing.name)
                return self._lab_with(lambda held: group in _with_parent(_of_hierarchy(held.cgroup))), True
            case "file":
                return self._owner_of_file(thing.name)
            case "module":
                return self._lab_with(lambda held: held.loaded_bridge_filter), False
        return "", False

    def _lab_with(self, fits: Callable[[Ledger], bool]) -> str:
        return next((lab for lab, ledger in self.labs.items() if fits(ledger)), "")

    def _owner_of_mount(self, path: str) -> tuple[str, bool]:
        if path == str(netns.DIRECTORY):
            return self._lab_with(lambda held: held.made_netns_directory), False
        name = Path(path).name
        return self._namespaces.get(name, ""), _is_labs(name, self.labs)

    def _owner_of_file(self, name: str) -> tuple[str, bool]:
        path = Path(name)
        if path == root():
            return next(iter(self.labs), ""), not any(path.iterdir()) if path.is_dir() else False
        if path.parent == root():
            return (path.name if path.name in self.labs else ""), True
        if path.parent == Path("/etc/netns"):
            return self._namespaces.get(path.name, ""), _is_labs(path.name, self.labs)
        return self._files.get(name, ""), False


def _is_labs(name: str, labs: Iterable[str]) -> bool:
    """Whether a namespace is called as those of labs are: LAB.NODE, LAB.NAMESPACE.POD, LAB.router."""
    return name.partition(".")[0] in labs or name.endswith((".router", ".outside"))


def _is_daemon_of(thing: Thing, lab: str) -> bool:
    words = thing.name.split()[1:]
    named = "--lab" in words and words[words.index("--lab") + 1 : words.index("--lab") + 2] == [lab]
    run = inventory.environment(int(thing.name.split()[0]), "K8SNETLAB_RUN") or "/run/k8snetlab"
    return not thing.of and named and Path(run) == root()


def _lab_of_cgroup(name: str) -> str:
    return next(iter(_of_hierarchy(name)[1:]), "")


def _with_parent(group: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return group, group[:-1]


def _of_hierarchy(name: str) -> tuple[str, ...]:
    """The path of a lab's group in any hierarchy: there is one in each that has a controller."""
    parts = Path(name).parts
    return parts[parts.index(cgroups.PARENT) :] if cgroups.PARENT in parts else ()


def _lasting(thing: Thing) -> Thing:
    """Without what changes by itself: a process's number is no property of the machine."""
    if thing.kind == "process":
        return msgspec.structs.replace(thing, name=thing.name.partition(" ")[2])
    return thing


def shown(report: AuditReport) -> Iterator[tuple[str, str, str]]:
    """(owner, kind, name) of each finding, strays last."""
    for finding in sorted(report.findings, key=lambda finding: (finding.stray, finding.lab)):
        yield finding.lab or "-", finding.kind, f"{finding.name} {f'({finding.of})' if finding.of else ''}".strip()
