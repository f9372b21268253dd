"""What surprises people in Calico's own policies that are valid."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from k8snetlab.api.calico_policy import AnyCalicoPolicy
from k8snetlab.api.words import Path, shorten
from k8snetlab.policies.calico_shapes import CalicoPolicy, CalicoRule, CalicoSide
from k8snetlab.policies.shapes import NamedPort, Network

Said = tuple[str, Path, str]


def of_calico(written: AnyCalicoPolicy, policy: CalicoPolicy, services: list[Network]) -> Iterator[Said]:
    """Kind, path and message of each; `services` is the Service network."""
    if not policy.selected:
        yield "selects-nothing", ("spec", "selector"), "no pod is selected"
    for field, rules, said in (
        ("ingress", written.spec.ingress, policy.ingress),
        ("egress", written.spec.egress, policy.egress),
    ):
        if rules and said is None:
            why = f"types does not have {field.capitalize()}, so these rules have no effect"
            yield "rules-without-type", ("spec", field), why
        for rule in said or ():
            for side in (rule.source, rule.destination):
                yield from _side(side, services)
            if policy.selected:
                yield from _names(rule)
        yield from _never(said or ())


def _side(side: CalicoSide, services: list[Network]) -> Iterator[Said]:
    if side.selector is not None and not side.selector.ends and not side.selector.nets:
        yield "peer-matches-nothing", side.path, "no pod and no set of networks is matched"
    for net in side.nets:
        if any(_inside(net, cidr) for cidr in services):
            yield (
                "service-address",
                (*side.path, "nets"),
                f"{net} is in the Service network: policies see the pod that a Service leads to, after DNAT, so this "
                "matches nothing",
            )


def _names(rule: CalicoRule) -> Iterator[Said]:
    named = {port.path: port.name for port in rule.destination.ports if isinstance(port, NamedPort)}
    held = {port.path for port in rule.destination.ports if isinstance(port, NamedPort) and port.numbers}
    for path, name in named.items():
        if path not in held:
            why = f"no pod that it could lead to has such a port called {shorten(name)}, so this matches nothing"
            yield "unknown-port-name", path, why


def _never(rules: tuple[CalicoRule, ...]) -> Iterator[Said]:
    """A rule after one that decides about everything."""
    for number, rule in enumerate(rules[:-1]):
        whole = CalicoRule(rule.path, rule.action, CalicoSide(rule.source.path), CalicoSide(rule.destination.path))
        if rule.action != "Log" and rule == whole:
            why = f"it is never asked: the rule before it ({rule.action}) is about every packet"
            yield "never-asked", rules[number + 1].path, why
            return


def _inside(net: Network, cidr: Network) -> bool:
    if isinstance(net, IPv4Network) and isinstance(cidr, IPv4Network):
        return net.subnet_of(cidr)
    return isinstance(net, IPv6Network) and isinstance(cidr, IPv6Network) and net.subnet_of(cidr)
