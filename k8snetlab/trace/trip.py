"""A packet's round trip while it is walked: the hops so far, what decided since the last one, and how it ends."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from k8snetlab.dataplane.families import end
from k8snetlab.dataplane.packet import Fate
from k8snetlab.dataplane.view import Interface, View
from k8snetlab.trace.filtering import Passed, Tracked
from k8snetlab.trace.way import Decision, Flow, Hop, Point, Way


class Trip(msgspec.Struct, frozen=True):
    """One of the ways that a packet may take, as far as it has been walked: a process in namespace `origin` sent
    `asked`.

    `pending` are the decisions since the last of `hops`; `tracked` the connections made on the way. `turn` is the
    number of hops of the way there, once the packet has arrived. `refusal` is why the destination refused it, where
    that is what comes back; `flooded` has each bridge (namespace, name) that sent it to all its ports.
    """

    origin: str
    asked: Flow
    hops: tuple[Hop, ...] = ()
    pending: tuple[Decision, ...] = ()
    tracked: tuple[Tracked, ...] = ()
    probability: float = 1.0
    endpoint: str = ""
    turn: int | None = None
    refusal: str = ""
    flooded: tuple[tuple[str, str], ...] = ()

    def was_at(self, point: Point, flow: Flow) -> bool:
        """Whether the same packet, on its way there or back, has been at this point before."""
        carried, outer = (flow.inner.flow, flow) if flow.inner else (flow, None)
        leg = self.hops[self.turn or 0 :]
        return any(h.point == point and h.packet == carried and h.outer == outer for h in leg)

    # --- on its way -------------------------------------------------------------------------------------------------

    def note(self, *decisions: Decision) -> Trip:
        return replace(self, pending=(*self.pending, *decisions))

    def after(self, passed: Passed) -> Trip:
        """The trip behind the rules of a namespace. The caller notes their decisions."""
        return replace(
            self,
            probability=self.probability * passed.probability,
            endpoint=self.endpoint or passed.endpoint,
            tracked=(*self.tracked, passed.tracked) if passed.tracked else self.tracked,
        )

    def after_choice(self, share: float) -> Trip:
        """The trip by one of several ways that a share of all connections take."""
        return replace(self, probability=self.probability * share)

    def appear(self, view: View, device: Interface | None, direction: str, flow: Flow) -> Trip:
        """One hop further: the packet passes `device`, None for a process, with all decisions that are pending."""
        inner = flow.inner
        queue = device.queue if device and direction == "out" else ""
        held = (Decision("queue", f"sends with {queue}"),) if device and queue else ()
        hop = Hop(
            netns=view.netns,
            place=view.place,
            interface=device.name if device else "",
            direction=direction,
            packet=inner.flow if inner else flow,
            decisions=(*self.pending, *held),
            outer=flow if inner else None,
            vni=inner.vni if inner else 0,
            mtu=device.mtu if device else 0,
        )
        return replace(self, hops=(*self.hops, hop), pending=())

    def flood(self, view: View, bridge: Interface) -> Trip:
        return replace(self, flooded=(*self.flooded, (view.netns, bridge.name)))

    def arrive(self, view: View, decision: Decision, flow: Flow, refusal: str = "") -> Trip:
        """The packet has come to where it was sent; what follows is the way back."""
        there = self.note(decision).appear(view, None, "", flow)
        return replace(there, turn=len(there.hops), refusal=refusal)

    # --- its end ----------------------------------------------------------------------------------------------------

    def end(self, fate: Fate, reason: str = "") -> Way:
        turn = len(self.hops) if self.turn is None else self.turn
        there, back, unheard = self.hops[:turn], self.hops[turn:], bool(self.refusal) and fate == "refused"
        return Way(self.probability, fate, there, back, self.endpoint, reason, self.flooded, unheard)

    def stop(self, view: View, flow: Flow, fate: Fate, reason: str) -> Way:
        """The way ends in `view`. The process that asked hears nothing of it, so that its packet is lost, where the
        packet is an answer or a tunnel's, or where `view` has no route back to the process."""
        reachable = view.netns == self.origin or view.route(flow.src)[0] is not None
        known: Fate = fate if self.turn is None and flow.inner is None and reachable else "lost"
        ended = self.note(Decision("stop", reason)).appear(view, None, "", flow)
        return ended.end(known, reason if self.turn is None else f"on the way back: {reason}")

    def refuse(self, view: View, passed: Passed) -> Way:
        """A rule or a policy of `view` dropped or rejected it."""
        trip = self.note(*passed.after)
        rule = next((d for d in reversed(trip.pending) if d.what == "rule"), None)
        text = rule.text if rule else "a rule"
        reason = f"{view.place}: {text}" + (f" ({rule.owner})" if rule and rule.owner else "")
        if passed.verdict == "dropped":
            return trip.stop(view, passed.flow, "lost", reason)
        port = passed.reject in ("", "tcp-reset")
        return trip.stop(view, passed.flow, "refused" if port else "unreachable", reason)

    def come_back(self, view: View, flow: Flow) -> Way:
        """The answer is delivered in `view`: is it the one that was waited for?"""
        awaited = self.asked.turned()
        if view.netns != self.origin:
            return self.stop(view, flow, "lost", f"the answer is taken by {view.place}, which never asked")
        if flow != awaited:
            reason = (
                f"the answer comes from {end(flow.src, flow.sport)}, and {end(awaited.src, awaited.sport)} was asked"
            )
            return self.stop(view, flow, "lost", reason)
        delivered = Decision("deliver", f"the {'refusal' if self.refusal else 'answer'} is back in {view.place}")
        home = self.note(delivered).appear(view, None, "", flow)
        if not self.refusal:
            return home.end("answered")
        return home.end("refused", self.refusal)
