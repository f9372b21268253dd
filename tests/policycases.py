"""Policies with their truth tables: for the pure evaluation, and for rules and packets.

`cases()` gives each with the manifests of its world and, of each pair and port, whether it is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DATA = Path(__file__).parent / "policies_cases"
PORTS = ("80/TCP", "81/TCP", "80/UDP", "80/SCTP")
Pair = tuple[str, str, str]
"""From and to, as namespace/name, and a port as 80/TCP."""


class Case(NamedTuple):
    """`objects` are manifests; `allowed` has an entry for each pair of pods, with themselves too, at each port."""

    name: str
    objects: Sequence[Mapping[str, Any]]
    ports: tuple[str, ...]
    allowed: Mapping[Pair, bool]


def cases() -> Iterator[Case]:
    world = _read("world.yaml")
    pods = list(world["pods"])
    factors = _read("factors.yaml")
    for peers in factors["peers"]:
        for ports in factors["ports"]:
            for direction in ("ingress", "egress"):
                yield _product(world, pods, (peers, ports), direction)
    for trap in (*_read("traps.yaml"), *_read("tiers.yaml")):
        ports = tuple(trap.get("ports", ("80/TCP",)))
        denied = _pairs(trap["denied"], pods) - _pairs(trap.get("but", ()), pods)
        allowed = {(a, b, p): a == b or (a, b) not in denied for a in pods for b in pods for p in ports}
        yield Case(trap["name"], manifests(world, trap["policies"], trap.get("six", False)), ports, allowed)


def calico_cases() -> Iterator[Case]:
    """Of Calico's own kinds, among those of Kubernetes."""
    world = _read("world.yaml")
    pods = list(world["pods"])
    for one in _read("calico.yaml"):
        ports = tuple(one.get("ports", ("80/TCP",)))
        denied = _pairs(one["denied"], pods) - _pairs(one.get("but", ()), pods)
        at = {port: denied | _pairs(one.get("denied_at", {}).get(port, ()), pods) for port in ports}
        allowed = {(a, b, p): a == b or (a, b) not in at[p] for a in pods for b in pods for p in ports}
        objects = manifests(world, one.get("kubernetes", {}), one.get("six", False))
        accounts = one.get("accounts", {})
        for obj in objects:
            key = f"{obj['metadata'].get('namespace')}/{obj['metadata']['name']}"
            if obj["kind"] == "Pod" and key in accounts:
                obj["spec"]["serviceAccountName"] = accounts[key]["name"]
        yield Case(one["name"], [*objects, *_calico(one)], ports, allowed)


CALICO = "projectcalico.org/v3"


def _calico(one: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, account in one.get("accounts", {}).items():
        yield _head("v1", "ServiceAccount", f"{key.split('/')[0]}/{account['name']}", account.get("labels", {}))
    for key, spec in one["policies"].items():
        kind = "NetworkPolicy" if "/" in key else "GlobalNetworkPolicy"
        yield {**_head(CALICO, kind, key if "/" in key else f"/{key}", {}), "spec": spec}
    for key, held in one.get("sets", {}).items():
        kind = "NetworkSet" if "/" in key else "GlobalNetworkSet"
        head = _head(CALICO, kind, key if "/" in key else f"/{key}", held["labels"])
        yield {**head, "spec": {"nets": held["nets"]}}


def manifests(world: Any, policies: Mapping[str, Any], six: bool = False) -> list[dict[str, Any]]:
    """The world's namespaces and pods, with addresses, and policies: those without a namespace are a cluster's."""
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        for name, labels in world["namespaces"].items()
    ]
    for key, pod in world["pods"].items():
        ips = list(reversed(pod["ips"])) if six else pod["ips"]
        ports = [{"name": "web", "containerPort": pod["web"]}]
        ports += [{"name": "rare", "containerPort": pod["rare"]}] if "rare" in pod else []
        found.append(
            {
                **_head("v1", "Pod", key, pod["labels"]),
                "spec": {"containers": [{"name": "c", "ports": ports}]},
                "status": {"phase": "Running", "podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]},
            }
        )
    for key, spec in policies.items():
        if "/" in key:
            found.append({**_head("networking.k8s.io/v1", "NetworkPolicy", key, {}), "spec": spec})
        else:
            found.append({
                "apiVersion": "policy.networking.k8s.io/v1alpha2",
                "kind": "ClusterNetworkPolicy",
                "metadata": {"name": key},
                "spec": spec,
            })  # fmt: skip
    return found


def _product(world: Any, pods: list[str], factors: tuple[Any, Any], direction: str) -> Case:
    peers, ports = factors
    field, type_ = ("from", "Ingress") if direction == "ingress" else ("to", "Egress")
    rule = {field: peers["peers"], "ports": ports["ports"]}
    spec = {"podSelector": {"matchLabels": {"pod": "a"}}, "policyTypes": [type_], direction: [rule]}
    meant, by_name = _globs(peers["meant"], pods), _globs(peers.get("pods", peers["meant"]), pods)
    allowed: dict[Pair, bool] = {}
    for source in pods:
        for target in pods:
            judged, peer = (target, source) if direction == "ingress" else (source, target)
            for port in PORTS:
                opened = target in _globs(ports["open"].get(port, ""), pods)
                named = target in _globs(ports.get("named", {}).get(port, ""), pods)
                lets = (opened and peer in meant) or (named and peer in (meant if direction == "ingress" else by_name))
                allowed[source, target, port] = source == target or judged != "x/a" or lets
    name = f"{direction}-{peers['name']}-{ports['name']}"
    return Case(name, manifests(world, {"x/p": spec}), PORTS, allowed)


def _head(version: str, kind: str, key: str, labels: Mapping[str, str]) -> dict[str, Any]:
    namespace, _, name = key.partition("/")
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _pairs(texts: Sequence[str], pods: list[str]) -> set[tuple[str, str]]:
    """Of `y/*,z/a > x/*`."""
    found = set()
    for text in texts:
        sources, _, targets = text.partition(">")
        found |= {(a, b) for a in _globs(sources, pods) for b in _globs(targets, pods)}
    return found


def _globs(text: str, pods: list[str]) -> set[str]:
    found = set()
    for one in filter(None, text.replace(" ", "").split(",")):
        space, _, name = ("*", "", "*") if one == "*" else one.partition("/")
        matching = {p for p in pods if space in ("*", p.split("/")[0]) and name in ("*", p.split("/")[1])}
        assert matching, f"{one} is no pod"
        found |= matching
    return found


def _read(name: str) -> Any:
    return yaml.safe_load((DATA / name).read_text())
