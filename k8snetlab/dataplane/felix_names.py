"""How Felix names chains and ipsets.

Source: Calico libcalico-go/lib/hash/unique_id.go, felix/rules/rule_defs.go, felix/rules/endpoints.go (PolicyGroup),
felix/types/policy_id.go, felix/ipsets/ipset_defs.go. The names of policies are those of 3.32.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from k8snetlab.dataplane.names import CALI_POLICY, cali
from k8snetlab.dataplane.rules import Family
from k8snetlab.dataplane.sets import LONGEST_NAME

LONGEST_CHAIN = 28
Direction = Literal["ingress", "egress"]
DIRECTIONS: tuple[Direction, Direction] = ("ingress", "egress")
Key = tuple[str, str]
LAST_COMMENTS = ("cali:S93hcgKJrXEqnTfs", "cali:mp77cMpurHhyjLrM")
"""Of the rules at the end of FORWARD: what policies accepted is let through, what is left is marked as forwarded."""
_SETS = {"ipv4": "cali40", "ipv6": "cali60"}
_WAY: dict[Direction, str] = {"ingress": "t", "egress": "f"}
_SIDE: dict[Direction, str] = {"ingress": "i", "egress": "o"}
_GROUP: dict[Direction, str] = {"ingress": "inbound", "egress": "outbound"}
_KINDS = {
    "knp": "KubernetesNetworkPolicy",
    "kcnp": "KubernetesClusterNetworkPolicy",
    "np": "NetworkPolicy",
    "gnp": "GlobalNetworkPolicy",
}
"""Of policies, by the short words that chains are named with."""


@lru_cache(maxsize=1 << 14)
def limited(prefix: str, text: str) -> str:
    """The text, or a hash of it where that would be too long."""
    if len(prefix) + len(text) < LONGEST_CHAIN or (len(prefix) + len(text) == LONGEST_CHAIN and text[0] != "_"):
        return prefix + text
    digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"{prefix}_{digest}"[:LONGEST_CHAIN]


def short(key: Key) -> tuple[str, str, str]:
    """The short word of a policy's kind, its namespace or "", and its name. A key is that of `policies.shapes`:
    (namespace, name) of a NetworkPolicy, ("", name) of a ClusterNetworkPolicy; ("np/NS", name) and ("gnp", name) of
    Calico's own."""
    space, name = key
    if space.startswith("np/"):
        return "np", space.removeprefix("np/"), name
    if space == "gnp":
        return "gnp", "", name
    return ("knp", space, name) if space else ("kcnp", "", name)


def policy_chain(key: Key, direction: Direction) -> str:
    kind, namespace, name = short(key)
    return limited(CALI_POLICY[_SIDE[direction]], f"{kind}/{namespace}/{name}" if namespace else f"{kind}/{name}")


def policy_comment(key: Key, direction: Direction) -> str:
    """On the first rule of a policy's chain."""
    kind, namespace, name = short(key)
    return f"{_KINDS[kind]} {namespace}/{name} {direction}" if namespace else f"{_KINDS[kind]} {name} {direction}"


def profile_chain(profile: str, direction: Direction) -> str:
    return limited(f"cali-pr{_SIDE[direction]}-", profile)


def endpoint_chain(device: str, direction: Direction) -> str:
    """cali-tw- has what goes to the pod, cali-fw- what comes from it."""
    return limited(f"cali-{_WAY[direction]}w-", device)


def pods_chains(key: Key) -> tuple[str, str]:
    """A pod's two chains."""
    device = cali(*key)
    return endpoint_chain(device, "ingress"), endpoint_chain(device, "egress")


def dispatch_chain(direction: Direction) -> str:
    return "cali-to-wl-dispatch" if direction == "ingress" else "cali-from-wl-dispatch"


def group_chain(selector: str, direction: Direction, policies: Sequence[Key]) -> str:
    """Of policies with one selector that follow each other."""
    said = [selector, _GROUP[direction], str(len(policies))]
    for key in policies:
        kind, namespace, name = short(key)
        said.append(f"{{Name: {name}, Namespace: {namespace}, Kind: {_KINDS[kind]}}}")
    digest = hashlib.sha3_224("".join(f"{line}\n" for line in said).encode()).digest()
    return f"cali-g{_SIDE[direction]}-{urlsafe_b64encode(digest).decode()}"[:LONGEST_CHAIN]


def set_name(name: str, family: Family) -> str:
    """Of a set that is known by a word, or by what `selector_id` and `named_id` say."""
    return f"{_SETS[family]}{name}"[:LONGEST_NAME]


@lru_cache(maxsize=1 << 13)
def selector_id(selector: str) -> str:
    return _unique("s", selector)


@lru_cache(maxsize=1 << 13)
def named_id(selector: str, protocol: str, name: str) -> str:
    return _unique("n", f"{selector_id(selector)},{protocol.lower()},{name}")


def _unique(prefix: str, text: str) -> str:
    digest = hashlib.sha224(f"{prefix}:{text}".encode()).digest()
    return f"{prefix}:{urlsafe_b64encode(digest).decode().rstrip('=')}"
