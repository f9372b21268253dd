"""The usual paths of a lab, walked: what is wrong with a way, and whose rule is to blame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from k8snetlab.dataplane.families import end, parted
from k8snetlab.dataplane.names import CALI_PODS, KUBE_POD_FW
from k8snetlab.dataplane.view import Views
from k8snetlab.diagnose.finding import Finding, Where
from k8snetlab.trace.owners import BY_FELIX, NOBODY
from k8snetlab.trace.way import UNREAD, Decision, Flow, Hop, Way

_SHOW = {
    "route": "ip -n {netns}{six} route get {dst}",
    "neighbour": "ip -n {netns} neigh show dev {device}",
    "fdb": "bridge -n {netns} fdb show dev {device}",
}


class UsualPath(msgspec.Struct, frozen=True):
    """A packet that must be answered. `words` are what `k8snetlab trace` takes for it.

    `endpoints` are the "ip:port" that a Service's address may become, () for a packet that nobody translates;
    `keeps_source`: whoever is asked must see who asks. `service` is "namespace/name" or "". `written` are those of the
    endpoints that a person wrote, no pod's. `denied` are the ends that NetworkPolicies forbid it, with the titles of
    these; None where they may look at another source than who asks.
    """

    origin: str
    flow: Flow
    words: str
    endpoints: tuple[str, ...] = ()
    keeps_source: bool = False
    service: str = ""
    written: tuple[str, ...] = ()
    denied: Mapping[str, str] | None = None

    def denied_by(self, way: Way) -> str:
        """The titles of the policies that forbid this way of it, "" for none."""
        return (self.denied or {}).get(way.endpoint or end(self.flow.dst, self.flow.dport), "")


class Broken(msgspec.Struct, frozen=True):
    """What is wrong with one way of a path: a sentence. `blamed` is the unmanaged rule that it meets, (namespace,
    decision); `homes` are the namespaces that it was to reach, whether it did or not."""

    path: UsualPath
    way: Way
    reason: str
    blamed: tuple[str, Decision] | None = None
    homes: frozenset[str] = frozenset()

    @property
    def words(self) -> str:
        share = f" ({self.way.probability:.0%} of its connections)" if self.way.probability < 0.995 else ""
        return f"{self.path.words}{share}: {self.reason}"

    @property
    def passed(self) -> set[str]:
        return {hop.netns for hop in self.way.hops} | {self.path.origin} | self.homes

    @property
    def on_purpose(self) -> bool:
        """Whether a rule of kube-proxy's or flannel's ended it, or one of a NetworkPolicy where it is not known what
        that should say: as it should be if the rules are right."""
        last = next((d for hop in reversed(self.way.hops) for d in reversed(hop.decisions) if d.what == "rule"), None)
        if self.refused_by_policy and self.path.denied is not None:
            return False
        ended = last is not None and last.text.startswith(("DROP:", "REJECT:"))
        return bool(ended and last and last.owner != NOBODY and last.text.split(",")[0] in self.reason)

    @property
    def refused_by_policy(self) -> bool:
        """Whether the chain of a pod refused it, or one of a policy's."""
        last = self.way.hops[-1].decisions if self.way.hops else ()
        return any(
            (d.text.startswith("REJECT") and f"> {KUBE_POD_FW}" in d.text)
            or (
                d.text.startswith("DROP") and d.owner != BY_FELIX and any(f"> {chain}" in d.text for chain in CALI_PODS)
            )
            for d in last
        )

    @property
    def leaked(self) -> bool:
        """Whether it arrived though a NetworkPolicy forbids it."""
        return self.way.fate == "answered" and bool(self.path.denied_by(self.way))

    @property
    def nobody_listens(self) -> bool:
        """Whether it arrived, and only no process listens."""
        translated = bool(self.way.endpoint) or not self.path.endpoints
        return translated and self.way.unheard


def _refused(decision: Decision) -> bool:
    """Whether it is what kube-router or Felix does with what a policy does not allow."""
    if decision.text.startswith("REJECT"):
        return f"> {KUBE_POD_FW}" in decision.text
    ended = decision.text.startswith("DROP") and decision.owner != BY_FELIX
    return ended and any(f"> {chain}" in decision.text for chain in CALI_PODS)


def judge(path: UsualPath, ways: tuple[Way, ...], views: Views) -> Iterator[Broken]:
    """What is wrong with the ways of a path; nothing if all is well, or if it meets rules that cannot be followed: real
    packets tell then."""
    if any(d.text.startswith(UNREAD) for way in ways for hop in way.hops for d in hop.decisions):
        return
    for way in ways:
        if reason := _wrong(path, way):
            ends = (path.flow.dst, parted(way.endpoint)[0])
            homes = frozenset(home for address in ends if address and (home := views.home(address)))
            yield Broken(path, way, reason, _blamed(path, way), homes)


def _wrong(path: UsualPath, way: Way) -> str:
    arrived = way.there[-1].packet if way.there else path.flow
    if denied := path.denied_by(way):
        return f"it is answered, though {denied} does not allow it" if way.fate == "answered" else ""
    if path.endpoints and way.endpoint and way.endpoint not in path.endpoints:
        return f"it is led to {way.endpoint}, which is no endpoint of {path.service}"
    if not path.endpoints and way.endpoint:
        return f"it is led to {way.endpoint} instead of {path.flow.dst}"
    if way.fate != "answered":
        return way.reason or way.fate
    first = next((hop.packet for hop in way.there), path.flow)
    if path.keeps_source and arrived.src != first.src:
        return f"{arrived.dst} sees {arrived.src} and not {first.src}, who asks"
    return ""


def _blamed(path: UsualPath, way: Way) -> tuple[str, Decision] | None:
    """The unmanaged rule that decided; of several the last that dropped, else the first that changed anything."""
    found = [(hop.netns, d) for hop in way.hops for d in hop.decisions if d.what == "rule" and _strange(hop, d)]
    if path.denied_by(way):
        return next((one for one in found if one[1].text.startswith("ACCEPT: filter")), None)
    dropping = [one for one in found if one[1].text.startswith(("DROP", "REJECT"))]
    changing = [one for one in found if not one[1].text.startswith("ACCEPT: filter")]
    return next(iter((*dropping[-1:], *changing)), None)


def _strange(hop: Hop, decision: Decision) -> bool:
    return decision.owner == NOBODY or (not decision.owner and decision.text.startswith("DROP by the policy"))


def of_stop(broken: Broken, where: Where) -> Finding:
    """The finding on a way that ends where nothing known is wrong: it names what decided last."""
    last = broken.way.hops[-1] if broken.way.hops else None
    decisions = [d for d in (last.decisions if last else ()) if d.what != "stop"]
    decision = decisions[-1] if decisions else None
    kind = decision.what if decision and decision.what in _SHOW else "path"
    if decision and kind != "path" and not decision.entry:
        kind = "path"
    device = next(
        (hop.interface for hop in reversed(broken.way.hops) if hop.netns == where.netns and hop.interface), ""
    )
    flow = last.packet if last else broken.path.flow
    short, _, rest = broken.reason.partition(": ")
    reason = rest if where.place.rpartition("/")[2] == short else broken.reason
    show = f"k8snetlab trace {broken.path.words}"
    if kind in _SHOW and decision:
        words = decision.entry.split()
        device = words[words.index("dev") + 1] if "dev" in words else device
        six = " -6" if ":" in flow.dst else ""
        show = _SHOW[kind].format(netns=where.netns, device=device, dst=flow.dst, six=six)
    return Finding(
        kind=kind,
        fault="wrong" if kind != "path" else "broken",
        node=where.node,
        object=(decision.entry if decision and kind != "path" else "") or broken.reason,
        message=f"{where.place}: {reason}",
        consequence=f"{broken.path.words} is not answered",
        show=show,
        owner=decision.owner if decision and decision.owner != NOBODY else "",
        netns=where.netns,
        broken=(broken.words,),
    )
