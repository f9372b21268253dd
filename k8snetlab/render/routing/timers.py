"""How soon BGP's sessions give a neighbour up that says nothing, and how often BIRD looks at its devices."""

from __future__ import annotations

FAST, CALMER, CALMEST = (3, 1), (9, 3), (30, 10)
"""Seconds of hold and keepalive."""
CALM, CALMEST_FROM = 10, 30
"""With more neighbours than these a node's timers are calmer: what each says to each every second adds up. Measured: a
mesh of 100 nodes with a keepalive every 3 s takes one core for these alone."""

DEVICES = "protocol device { scan time 2; }"
"""As Calico's template has it. BIRD 2.0.12 goes to sleep over the first routes of a session that comes up while nothing
else is under way, and tells them when it wakes: for a timer, or after 3 s."""


def hold(neighbours: int) -> tuple[int, int]:
    """Of a lab whose timers are fast, by the sessions of one node. The shorter of two ends' counts."""
    return FAST if neighbours <= CALM else CALMER if neighbours <= CALMEST_FROM else CALMEST
