"""What kube-router calls its chains and sets, and the comments of its rules.

Source: kube-router's policy.go, pod.go, comments.go, npc_iptables.go. There the names of chains hold the time of the
sync too, so that every sync writes every chain; here they stay, so that a change costs what has changed. And the parts
of what is hashed are kept apart: policy bc of namespace a is not policy c of namespace ab.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

from k8snetlab.dataplane.names import KUBE_CNPLCY, KUBE_NWPLCY, KUBE_POD_FW
from k8snetlab.dataplane.rules import Family, quote

_FAMILY = {"ipv4": "IPv4", "ipv6": "IPv6"}
_LONGEST = 120
"""Octets of a comment."""


def pod_chain(namespace: str, pod: str) -> str:
    return KUBE_POD_FW + _hash(_apart(namespace, pod))


def policy_chain(namespace: str, policy: str, direction: str, family: Family) -> str:
    """One for each direction: where both were one chain, what a policy lets its pods send would be let in by it too."""
    prefix = KUBE_NWPLCY if namespace else KUBE_CNPLCY
    return prefix + _hash(_apart(namespace, policy, direction, _FAMILY[family]))


def target_set(namespace: str, policy: str, direction: str, family: Family) -> str:
    """The pods that a policy selects: KUBE-DST- for what comes in, KUBE-SRC- for what goes out."""
    return _set("DST" if direction == "ingress" else "SRC", _apart(namespace, policy, _FAMILY[family]), family)


def peer_set(  # noqa: PLR0917 (all that upstream hashes)
    namespace: str, policy: str, direction: str, number: int, kind: str, family: Family
) -> str:
    """The peers of a rule, counted from 0; `kind` is pod or ipblock."""
    text = _apart(namespace, policy, direction, f"rule{number}", _FAMILY[family], kind)
    return _set("SRC" if direction == "ingress" else "DST", text, family)


def port_set(  # noqa: PLR0917 (all that upstream hashes)
    namespace: str, policy: str, direction: str, number: int, port: int, family: Family
) -> str:
    """The pods that have the `port`-th number that the named ports of a rule stand for."""
    text = _apart(namespace, policy, direction, f"rule{number}", str(port), _FAMILY[family], "namedport")
    return _set("DST", text, family)


def comment(namespace: str, name: str, kind: str) -> str:
    """`namespace` is "" for a ClusterNetworkPolicy."""
    return said(f"{namespace}/{name} {kind}" if namespace else f"ClusterNetworkPolicy {name} {kind}")


def said(text: str) -> str:
    return f"-m comment --comment {quote(text[:_LONGEST])}"


def mark(bits: int) -> str:
    """A mark and its mask, as iptables-save prints them."""
    return f"{bits:#x}/{bits:#x}"


def rejection(family: Family) -> str:
    """What refuses a packet."""
    return f"-j REJECT --reject-with {'icmp-port-unreachable' if family == 'ipv4' else 'icmp6-port-unreachable'}"


def identified(chain: str, words: tuple[str, ...], text: str) -> str:
    """The comment of a rule that kube-router finds again by a hash of it: `words` are the rule's as it is put in."""
    return said(f"{text} - {_hash(chain + ''.join(words))}")


def _apart(*parts: str) -> str:
    """No part has a slash in it."""
    return "/".join(parts)


def _set(kind: str, text: str, family: Family) -> str:
    return f"{'inet6:' if family == 'ipv6' else ''}KUBE-{kind}-{_hash(text)}"


@lru_cache(maxsize=1 << 16)
def _hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest())[:16].decode()
