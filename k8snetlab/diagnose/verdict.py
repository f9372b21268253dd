"""Which finding is the reason for which broken path; and what the lab's processes and store have to do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

from msgspec.structs import replace

from k8snetlab.dataplane.families import parted
from k8snetlab.diagnose.finding import Finding, Where
from k8snetlab.diagnose.paths import Broken, of_stop

_NEVER = {
    *("agent", "component", "conntrack", "controller", "daemon", "guest", "lease"),
    *("policy", "pool", "qdisc", "resolver", "store", "variant"),
}
"""Kinds that no walk can show as the reason: they concern packets that it does not send."""
_ONLY = {
    "hairpin": "hairpin",
    "rp_filter": "rp_filter",
    "ip_forward": "forwarding is off",
    "forwarding": "forwarding is off",
    "bridge-nf-call": "was asked",
}
"""Faults and sysctls that show in one way only: the words of the reason."""


_OF_POLICIES = ("table", "hook", "rule", "chain", "set")
"""The kinds that can be the reason why policies are not kept; and bridged packets that iptables does not see."""


def attributed(
    found: Iterable[Finding],
    broken: Iterable[Broken],
    wheres: Mapping[str, Where],
    rule_of: Callable[[Broken], Finding | None],
    blamed: Callable[[Broken], Finding | None],
) -> tuple[list[Finding], set[tuple[str, str]]]:
    """`found` and what else the broken paths show, each with the paths that it breaks; and the unmanaged rules among
    them, (namespace, rule). `blamed` knows the process or the endpoint that a path failed at. A path that nothing
    explains becomes a finding itself.
    """
    findings = list(found)
    more: dict[tuple[str, ...], Finding] = {}
    met: set[tuple[str, str]] = set()
    for one in broken:
        if rule := rule_of(one):
            known = next((n for n, f in enumerate(findings) if f.identity == rule.identity), None)
            if known is not None:
                findings[known] = _breaking(findings[known], one)
            else:
                _add(more, rule, one)
            if one.blamed:
                met.add((rule.netns, one.blamed[1].entry.split(" ", 2)[-1]))
            continue
        reasons = _reasons(findings, one)
        for number in reasons:
            findings[number] = _breaking(findings[number], one)
        if not reasons and not one.on_purpose:
            last = one.way.hops[-1].netns if one.way.hops else one.path.origin
            where = wheres.get(last) or Where(last, last, "pod", "")
            finding = blamed(one) or of_stop(one, where)
            known = next((n for n, f in enumerate(findings) if f.identity == finding.identity), None)
            if known is not None:
                findings[known] = _breaking(findings[known], one)
            else:
                _add(more, finding, one)
    return [*findings, *more.values()], met


_SILENT = (("agent", "misses"), ("conntrack", "full"))
"""Findings that lose packets, and that no walk knows of."""


def laid_to(found: list[Finding], lost: list[Finding], unread: list[Finding]) -> list[Finding]:
    """`found` with what real packets `lost`, laid to what may be the reason on the node where they were lost: an agent
    that does not answer what its kernel asks, conntrack's table that is full, or rules that cannot be read."""
    suspects = [finding for finding in found if (finding.kind, finding.fault) in _SILENT]
    known, rest = [finding for finding in found if finding not in suspects], list[Finding]()
    suspects += unread
    for one in lost:
        number = next((n for n, suspect in enumerate(suspects) if suspect.node == one.node), None)
        if one.kind == "path" and number is not None:
            suspects[number] = suspects[number].explaining(one)
        else:
            rest.append(one)
    blamed = [suspect for suspect in suspects if suspect.explains or suspect not in unread]
    return [*known, *blamed, *rest]


def _add(more: dict[tuple[str, ...], Finding], finding: Finding, one: Broken) -> None:
    more[finding.identity] = _breaking(more.get(finding.identity, finding), one)


def _breaking(finding: Finding, one: Broken) -> Finding:
    return replace(finding, broken=tuple(dict.fromkeys((*finding.broken, one.words))))


def _reasons(findings: list[Finding], one: Broken) -> list[int]:
    """The findings that may be the reason: those known to concern this path, else all on its way."""
    if one.leaked or one.refused_by_policy:
        return [n for n, f in enumerate(findings) if _passes(f, one) and _of_policies(f, one)]
    if one.nobody_listens:
        return [n for n, f in enumerate(findings) if f.kind == "kubelet" or _usurped(f, one)]
    able = [n for n, f in enumerate(findings) if _passes(f, one) and _can(f, one)]
    return [n for n in able if _concerns(findings[n], one)] or able


def _of_policies(finding: Finding, one: Broken) -> bool:
    if finding.kind == "sysctl":
        return one.leaked and "bridge-nf-call" in finding.object
    return finding.kind in _OF_POLICIES


def _usurped(finding: Finding, one: Broken) -> bool:
    """Whether it arrived where another's address is held."""
    asked = {one.path.flow.dst, parted(one.way.endpoint)[0]}
    return finding.fault == "duplicate" and finding.object in asked


def _passes(finding: Finding, one: Broken) -> bool:
    """Whether the way leads through the place of the finding, or begins or ends at a cable that is cut there."""
    places = {finding.netns, finding.beyond[0] if finding.beyond else ""} - {""}
    return bool(places & one.passed)


def _can(finding: Finding, one: Broken) -> bool:
    if finding.kind in _NEVER or finding.fault == "mtu" or (finding.kind, finding.fault) == ("link", "stale"):
        return False
    for part, words in _ONLY.items():
        if part in (finding.fault, *finding.object.split(".")) or (part in finding.object and finding.kind == "sysctl"):
            return words in one.reason
    return True


def _concerns(finding: Finding, one: Broken) -> bool:
    if finding.kind == "link" and finding.beyond:
        ends = ((finding.netns, finding.object), finding.beyond)
        crossed = any((hop.netns, hop.interface) in ends for hop in one.way.hops)
        return crossed or one.path.origin == finding.beyond[0] or any(f"{name} " in one.reason for _, name in ends)
    if finding.owner.startswith("Service "):
        return finding.owner.startswith((f"Service {one.path.service},", f"Service {one.path.service} "))
    return True


# --- processes and store ----------------------------------------------------------------------------------------------


def processes(
    daemon: Literal["runs", "halted", "dead"], pid: int, kubelet: Literal["runs", "halted", "dead"], up: str
) -> Iterator[Finding]:
    """`up` is the command that starts what is dead."""
    if kubelet != "runs":
        gone = "is not running" if kubelet == "dead" else "is halted (SIGSTOP)"
        yield Finding(
            kind="kubelet",
            fault=kubelet,
            node="",
            object="kubelet",
            message=f"the kubelet {gone}: pods have no processes" if kubelet == "dead" else f"the kubelet {gone}",
            consequence="pods answer nobody: connections to them are refused, or hang",
            show="ps -eo pid,stat,args | grep k8snetlab.kubelet.main",
            mend=up if kubelet == "dead" else "kill -CONT PID",
        )
    if daemon != "runs":
        gone = "is not running" if daemon == "dead" else f"is halted (SIGSTOP, pid {pid})"
        yield Finding(
            kind="daemon",
            fault=daemon,
            node="",
            object="daemon",
            message=f"the lab's daemon {gone}: no agent works",
            consequence=(
                "traffic goes on, but nothing is repaired, no pod starts, no change of an object reaches the kernel, "
                "and the API answers nobody"
            ),
            show="k8snetlab status",
            mend=up if daemon == "dead" else f"kill -CONT {pid}",
        )


LATE = 3.0
"""Seconds in which an agent that works has begun what it is asked for."""


def idle(node: str, behind: float, deaf: bool) -> Iterator[Finding]:
    """An agent that does not do what it should, and does not fail either."""
    if behind > LATE:
        yield Finding(
            kind="agent",
            fault="stuck",
            node=node,
            object=node,
            message=f"{node}: its agent hangs: for {behind:.0f} s it has not begun what it is asked for",
            consequence="what is changed of objects does not reach this node's kernel, and nothing is repaired there",
            show="k8snetlab status",
        )
    if deaf:
        yield Finding(
            kind="agent",
            fault="misses",
            node=node,
            object=node,
            message=f"{node}: nobody answers what its kernel asks of its tunnel",
            consequence="pods of this node reach those of other nodes only where the kernel still knows the way",
            show=f"k8snetlab misses {node}",
        )


_CONTROLLERS = {
    "endpoint-slice-controller": (
        "Services keep the endpoints that they had, whatever becomes of their pods",
        "k8snetlab get pods,endpointslices -A",
    ),
    "default-scheduler": ("new pods get no node, and stay Pending", "k8snetlab get pods -A"),
    "replicaset-controller": (
        "no pod is made or taken away for a ReplicaSet, whatever is asked of it",
        "k8snetlab get rs,pods -A",
    ),
}


def hanging(behind: Mapping[str, float]) -> Iterator[Finding]:
    """Controllers, by name, with the seconds for which they have not looked at what changed."""
    for name, seconds in behind.items():
        consequence, show = _CONTROLLERS.get(name, ("what it does for objects is not done", "k8snetlab get events -A"))
        yield Finding(
            kind="controller",
            fault="stuck",
            node="",
            object=name,
            message=f"{name} hangs: for {seconds:.0f} s it has not looked at what changed",
            consequence=consequence,
            show=show,
        )


def failing(failures: Mapping[str, str]) -> Iterator[Finding]:
    """Tasks of the daemon that end though they should not: their names, a sentence for each."""
    for name, failure in failures.items():
        yield Finding(
            kind="daemon",
            fault="failing",
            node="",
            object=name,
            message=f"in the lab's daemon {failure}",
            consequence="until it runs, what it does for the lab is not done",
            show="k8snetlab status",
            mend="",
        )


def store(trouble: str, where: tuple[str, ...], problems: Mapping[str, str]) -> Iterator[Finding]:
    """`trouble` is what is wrong with the store, in a sentence, `problems` what is wrong with values in it, by key."""
    if trouble:
        etcd = where[0].startswith("http")
        yield Finding(
            kind="store",
            fault="gone",
            node="",
            object=", ".join(where),
            message=f"the store at {', '.join(where)} is not usable: {trouble}",
            consequence=(
                "what is in the kernel stays as it is, but no object can be changed, and a new daemon would not start"
            ),
            show="k8snetlab store status",
            mend=_serve(where[0]) if etcd else "k8snetlab down, and up again",
        )
    for key, problem in problems.items():
        yield Finding(
            kind="store",
            fault="unreadable",
            node="",
            object=key,
            message=f"the store's value of {key} cannot be read: {problem}",
            consequence="the object is as it was before, or not there at all",
            show=f"k8snetlab store dump {key}",
        )


def notes_on_agents(paused: Mapping[str, bool], on_miss: bool) -> list[str]:
    """A sentence for each paused agent."""
    more = ", and what the kernel asks of its tunnel is not answered" if on_miss else ""
    return [
        f"{name}: its agent is paused: nothing is repaired there{more} (`k8snetlab resume {name}`)"
        for name, is_paused in paused.items()
        if is_paused
    ]


def _serve(url: str) -> str:
    return f"k8snetlab store serve --listen {url}{' --insecure' if url.startswith('http://') else ''}"
