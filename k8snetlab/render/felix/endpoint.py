"""One pod's chains: cali-tw- of what goes to it, cali-fw- of what comes from it; and those of groups and profiles.

Source: Calico felix/rules/endpoints.go (endpointIptablesChain, PolicyGroupToIptablesChains), policy.go
(ProfileToIptablesChains); libcalico-go conversion.go: a namespace's profile allows all, a ServiceAccount's is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from k8snetlab.api.snapshot import Key
from k8snetlab.dataplane import felix_names as names
from k8snetlab.dataplane.rules import Rules
from k8snetlab.policies.shapes import Direction
from k8snetlab.render.felix import marks
from k8snetlab.render.felix.hashed import Line, hashed

VXLAN_PORT = 4789
STRIDE = 5
"""Jumps of a group's chain between two looks at the verdict."""
ESTABLISHED = Line("-m conntrack --ctstate RELATED,ESTABLISHED", marks.ALLOW)
CUT = Line(
    "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW",
    "--jump REJECT --reject-with tcp-reset",
    ("Reset a connection that was cut",),
)
"""Of a lab that ends connections (`cutEstablished`), which Felix does not: either end could open it again, as conntrack
takes it up in the middle."""


class Tier(NamedTuple):
    """Policies of one tier, in the order in which they are asked, each with its selector. `passes`: what none of them
    decides is for the next tier, else it is dropped."""

    name: str
    policies: tuple[tuple[Key, str], ...]
    passes: bool


class Asked(NamedTuple):
    """All that one direction of a pod's rules says."""

    device: str
    direction: Direction
    tiers: tuple[Tier, ...]
    profiles: tuple[str, ...]
    cuts: bool


@lru_cache(maxsize=1 << 14)
def chain(asked: Asked) -> tuple[str, Rules]:
    name = names.endpoint_chain(asked.device, asked.direction)
    return name, hashed(name, _lines(asked))


def groups(tier: Tier, direction: Direction) -> Iterator[tuple[str, tuple[Key, ...]]]:
    """Where a tier's jumps lead to: a policy's chain, or that of a group of policies with one selector, with them."""
    for selector, some in groupby(tier.policies, key=lambda one: one[1]):
        keys = tuple(key for key, _ in some)
        if len(keys) == 1:
            yield names.policy_chain(keys[0], direction), keys
        else:
            yield names.group_chain(selector, direction, keys), keys


@lru_cache(maxsize=1 << 12)
def group(name: str, direction: Direction, keys: tuple[Key, ...]) -> Rules:
    undecided = marks.is_clear(marks.PASS | marks.ACCEPT)
    lines: list[Line] = []
    for number, key in enumerate(keys):
        first = number % STRIDE == 0
        if first and number:
            lines.append(Line(marks.not_clear(marks.PASS | marks.ACCEPT), marks.RETURN, ("Return on verdict",)))
        lines.append(Line("" if first else undecided, f"--jump {names.policy_chain(key, direction)}"))
    return hashed(name, lines)


@lru_cache(maxsize=1 << 12)
def profile(name: str, direction: Direction) -> tuple[str, Rules]:
    """A namespace's (kns.) or a ServiceAccount's (ksa.)."""
    found = names.profile_chain(name, direction)
    comment = (f"Profile {name} {direction}",)
    allows = marks.put(marks.ACCEPT) if name.startswith("kns.") else ""
    return found, hashed(found, [Line("", allows, comment)])


def _lines(asked: Asked) -> Iterator[Line]:
    yield ESTABLISHED
    yield Line("-m conntrack --ctstate INVALID", marks.DENY)
    if asked.cuts:
        yield CUT
    yield Line("", marks.clear(marks.ACCEPT | marks.PASS))
    if asked.direction == "egress":
        vxlan = f"-p 17 -m multiport --destination-ports {VXLAN_PORT}"
        yield Line(vxlan, marks.DENY, ("Drop VXLAN encapped packets originating in workloads",))
        yield Line("-p 4", marks.DENY, ("Drop IPinIP encapped packets originating in workloads",))
    for tier in asked.tiers:
        yield from _tier(tier, asked.direction)
    for one in asked.profiles:
        yield Line("", f"--jump {names.profile_chain(one, asked.direction)}")
        yield Line(marks.is_set(marks.ACCEPT), marks.RETURN, ("Return if profile accepted",))
    yield Line("", marks.DENY, ("Drop if no profiles matched",))


def _tier(tier: Tier, direction: Direction) -> Iterator[Line]:
    on, accepted = marks.is_clear(marks.PASS), marks.is_set(marks.ACCEPT)
    yield Line("", marks.clear(marks.PASS), (f"Start of tier {tier.name}",))
    for name, _ in groups(tier, direction):
        yield Line(on, f"--jump {name}")
        yield Line(accepted, marks.RETURN, ("Return if policy accepted",))
    if not tier.passes:
        yield Line(on, marks.DENY, (f"End of tier {tier.name}. Drop if no policies passed packet",))


def profiles(namespace: str, account: str) -> tuple[str, ...]:
    return (f"kns.{namespace}", *((f"ksa.{namespace}.{account}",) if account else ()))


def keys_of(tiers: Sequence[Tier]) -> Iterator[Key]:
    for tier in tiers:
        yield from (key for key, _ in tier.policies)
