"""What a diagnosis says: something that is not as it should be, what follows from it, how to see and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

_SOURCE = re.compile(r", (\S+:\d+)$")
_FORWARDING = re.compile(r"net\.ipv4\.conf\.[^.]+\.forwarding")
"""What the kernel sets for every device when net.ipv4.ip_forward is changed."""
TIERS = (
    "node",
    "namespace",
    "link",
    "address",
    "sysctl",
    "qdisc",
    "lease",
    "route",
    "neighbour",
    "fdb",
    "variant",
    "policy",
    "table",
    "hook",
    "rule",
    "chain",
    "set",
    "component",
    "endpoint",
    "conntrack",
    "service",
    "ingress",
    "gateway",
    "httproute",
    "tlsroute",
    "tcproute",
    "networkpolicy",
    "resolver",
    "pool",
    "pod",
    "object",
    "path",
    "kubelet",
    "guest",
    "agent",
    "controller",
    "daemon",
    "store",
)
"""The kinds of things that a finding is about; causes before what they bring about."""
MOST_COMMANDS = 12
DNS = "kube-system/kube-dns"
"""The Service that leads to the servers of names."""
CACHE = ("kube-system/node-local-dns", "169.254.20.10:53")
"""Nodes' caches: their ConfigMap, and where they are asked. Their faults are none of kube-dns'."""


class Where(msgspec.Struct, frozen=True):
    """A namespace: `place` is what people call it, `kind` pod, node, router or outside, `node` the node it is on."""

    netns: str
    place: str
    kind: str
    node: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`kind` is one of TIERS, `fault` what is the matter with it (missing, wrong, down, foreign, stale …), `object` its
    name as ip, bridge and iptables write it. `show` and `mend` are commands, a line each.

    `owner` is who brought the object, with the manifest's line. `device` is the device that the object stands on,
    `beyond` (namespace, device) the other end of a cable that is cut. `explains` are sentences on what goes wrong for
    this reason, `broken` the usual paths that do not work for it. It had to
    come where one of the paths that `needs` names (their words, without the reason) does not work either.
    """

    kind: str
    fault: str
    node: str
    object: str
    message: str
    consequence: str
    show: str
    mend: str = ""
    owner: str = ""
    netns: str = ""
    device: str = ""
    beyond: tuple[str, str] | None = None
    explains: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The line of the manifest, "services.yaml:14", or ""."""
        found = _SOURCE.search(self.owner)
        return found[1] if found else ""

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.kind, self.fault, self.netns, self.node, self.object)

    def explaining(self, other: Finding) -> Finding:
        """This one as the reason of the other: mending it mends both."""
        texts = (other.message, *other.explains)
        return replace(
            self,
            explains=(*self.explains, *(t for t in texts if t != self.message)),
            mend=_joined(self.mend, other.mend),
            broken=tuple(dict.fromkeys((*self.broken, *other.broken))),
        )


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Causes that explain others taken together with them; those that break usual paths first, then by `TIERS`."""
    unique = {finding.identity: finding for finding in findings}
    roots: list[Finding] = []
    for finding in sorted(unique.values(), key=lambda f: (bool(f.needs), _tier(f), f.beyond is None)):
        for number, root in enumerate(roots):
            if _causes(root, finding) or _starves(root, finding):
                roots[number] = root.explaining(finding)
                break
        else:
            roots.append(finding)
    return sorted(roots, key=lambda finding: (not finding.broken, _tier(finding), -len(finding.broken)))


def _tier(finding: Finding) -> int:
    return TIERS.index(finding.kind)


def _starves(cause: Finding, effect: Finding) -> bool:
    """Whether a path that `effect` needs is broken by `cause`."""
    return any(broken.startswith(f"{path}:") for path in effect.needs for broken in cause.broken)


def _causes(cause: Finding, effect: Finding) -> bool:
    """Whether `effect` went with `cause`: what stands on a device goes with it, a pod's end with the node's."""
    if cause.beyond and cause.beyond[0] == effect.netns and effect.kind in ("link", "address", "route", "sysctl"):
        return cause.fault in ("down", "missing", "wrong") and effect.device == cause.beyond[1]
    if cause.netns != effect.netns:
        return False
    match cause.kind:
        case "namespace":
            return True
        case "link":
            stands = effect.kind in ("address", "route", "neighbour", "fdb", "sysctl") and effect.device == cause.device
            return stands and cause.fault in ("down", "missing", "wrong")
        case "address":
            stands = effect.kind in ("route", "neighbour", "address") and effect.device == cause.device
            return stands and cause.fault == "missing"
        case "sysctl":
            return cause.object == "net.ipv4.ip_forward" and bool(_FORWARDING.fullmatch(effect.object))
        case "resolver" | "service":
            return _leaves_names(cause, effect)
        case "pool" | "endpoint" | "table":
            return _holds(cause, effect)
        case _:
            return False


def _holds(cause: Finding, effect: Finding) -> bool:
    """Whether `effect` is of something that is in what `cause` tells of, or that it leads to."""
    match cause.kind:
        case "pool":
            full = f"no free address in {cause.object}"
            return (effect.kind, effect.node) == ("pod", cause.node) and full in effect.message
        case "endpoint":
            return effect.kind == "conntrack" and effect.object.rpartition(" ")[2] in cause.message
        case _:
            return effect.kind in ("hook", "rule", "chain", "endpoint") and effect.object.startswith(cause.object)


def _leaves_names(cause: Finding, effect: Finding) -> bool:
    """Whether `effect` is that names are not answered for the reason that `cause` tells."""
    if cause.kind == "service":
        return (effect.kind, effect.fault, effect.object) == ("resolver", "endpoints", cause.object)
    unready = effect.kind == "pod" and f" {DNS} " in effect.consequence.replace(",", " ")
    lost = effect.kind == "resolver" and effect.fault in ("endpoints", "loop")
    of_cache = cause.object in CACHE
    return cause.fault in ("corefile", "endpoints", "loop") and not of_cache and (unready or lost)


def _joined(one: str, other: str) -> str:
    return "\n".join(dict.fromkeys(line for line in (*one.splitlines(), *other.splitlines()) if line))
