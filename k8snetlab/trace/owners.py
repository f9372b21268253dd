"""Who put an entry into the kernel: the object, and the line of the manifest that says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import cached_property

from k8snetlab.api import lines, pools, topology
from k8snetlab.api.addressing import split
from k8snetlab.api.calico_policy import AnyCalicoPolicy
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.dns import LOCAL
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.api.problems import title
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.words import Path
from k8snetlab.api.workloads import MAKERS
from k8snetlab.dataplane import felix_names, names
from k8snetlab.dataplane.families import network, parsed, same_family
from k8snetlab.dataplane.routing import FELIX
from k8snetlab.dataplane.view import RouteEntry
from k8snetlab.policies.calico import key_of, written
from k8snetlab.policies.calico_order import in_direction
from k8snetlab.policies.calico_shapes import CalicoPolicy, is_calico
from k8snetlab.policies.resolve import resolved
from k8snetlab.policies.shapes import Direction, Resolved

NOBODY = "nobody owns it"
BY_FELIX = "Felix"
NODE_CACHE = "DaemonSet node-local-dns"
_CACHE = re.compile(rf"-[ds] {re.escape(LOCAL)}/32 -p (tcp|udp) -m \1 --[ds]port (53|8080) -j (NOTRACK|ACCEPT)")
MACHINE = "the machine's own"
Line = tuple[str, str, str]
"""Destination, next hop and device of a route: by these the lab knows its own."""
UNNAMED = ("boot", "kernel")
"""The protocols of routes that no routing daemon named its own: those of flannel and the CNI plugins are boot's."""
_SERVICE = re.compile(r"^([a-z0-9.-]+)/([a-z0-9.-]+)(?::(\S+))?(?:\s|$)")
_POLICY = re.compile(r"^([a-z0-9-]+)/([a-z0-9.-]+) (policy|reject|log-drop|(?:in|e)gress .*)$")
"""kube-router's comments on a policy's rules, and on those by which a pod refuses what no policy allows."""
_LEADING = re.compile(r"^[a-z0-9-]+/[a-z0-9.-]+ (in|out)$")
"""The comment on what leads to a pod's chain."""
_CLUSTER_POLICY = re.compile(r"^ClusterNetworkPolicy ([a-z0-9.-]+) (?:policy|(?:in|e)gress .*)$")
"""The comments on a ClusterNetworkPolicy's rules, and on what leads to them."""
_JUMP = re.compile(r"-[jg] (cali-\S+)")
_END_OF_TIER = re.compile(r'"End of tier (\S+)\. ')
_SANDBOX = re.compile(r'^dnat name: "[^"]*" id: "([0-9a-f]+)"$')
"""portmap's comment on what leads to a pod's hostPorts."""


Ruled = Callable[[Key, str], Path | None]
"""Which rule of a policy (namespace and name) a kernel's rule is made of; None where that is not known."""


class Owners:
    """Looks entries up among the objects of a snapshot. `wanted` are the routes that the lab brings to a namespace;
    without it a route is known by its destination and protocol alone. Without `ruled` a policy is named with the line
    that it begins on, and not with its rule's."""

    def __init__(
        self,
        snapshot: Snapshot,
        wanted: Callable[[str], Container[Line]] | None = None,
        ruled: Ruled = lambda key, rule: None,
    ) -> None:
        self._snapshot, self._wanted, self._ruled = snapshot, wanted, ruled
        self._addresses: dict[str, Object] = {}
        self._lab = next(iter(snapshot.all(Lab).values()), None)
        for node in snapshot.all(Node).values():
            self._addresses |= dict.fromkeys(node.addresses, node)
        for pod in snapshot.all(Pod).values():
            if not pod.spec.hostNetwork:
                self._addresses |= dict.fromkeys(pod.ips, pod)

    def of_address(self, address: str) -> str:
        """The pod or node of an address, or the node whose pod network it is in."""
        if found := self._addresses.get(address):
            return self.of(found)
        if underlay := self._underlay(address):
            return underlay
        if address == LOCAL and self._snapshot.lab.spec.dns.nodeLocal:
            return NODE_CACHE
        for node in self._snapshot.all(Node).values():
            if any(same_family(cidr, address) and parsed(address) in network(cidr) for cidr in pools.subnets_of(node)):
                return self.of(node)
        return NOBODY

    def of_tunnel(self) -> str:
        """The object that decides which tunnel there is."""
        return f"the network of Lab {self._lab.name}{at(self._lab)}" if self._lab else NOBODY

    def of_route(self, route: RouteEntry, netns: str) -> str:
        """Whoever wrote it, not whoever its destination belongs to: of routing daemons that is the lab's own alone."""
        if author := self._author(route, netns):
            return author
        cidr, lab = network(route.dst), self._snapshot.lab
        if not self._is_ours(route, netns):
            return MACHINE if lab.spec.machines and cidr.prefixlen == 0 and route.table == "main" else NOBODY
        if cidr.prefixlen == 0:
            return f"the default route of Lab {lab.name}{at(lab)}"
        for node in self._snapshot.all(Node).values():
            if any(network(subnet) == cidr for subnet in pools.led_to(node)):
                return self.of(node)
        for what, networks in (
            ("pod network", split(lab.spec.podCIDR)),
            ("underlay", split(lab.spec.underlay.cidr)),
            ("load balancers' pool", lab.spec.loadBalancer.networks),
            *((f"link {link.name}", (link.cidr,)) for link in lab.spec.underlay.links),
        ):
            if any(network(part) == cidr for part in networks):
                return f"the {what} of Lab {lab.name}{at(lab)}"
        for service in self._snapshot.all(Service).values():
            vips = [ingress.ip for ingress in service.status.loadBalancer.ingress]
            if cidr.num_addresses == 1 and str(cidr.network_address) in (*service.spec.externalIPs, *vips):
                return _titled(service)
        return self.of_address(str(cidr.network_address))

    def _author(self, route: RouteEntry, netns: str) -> str:
        """The kernel, or the lab's own routing daemon; "" for all others."""
        lab = self._snapshot.lab
        if route.kernel:
            return f"the kernel, for the address {route.src or route.dst}"
        if lab.spec.protocol and route.protocol == lab.spec.protocol:
            routers = [names.node_netns(lab.name, name) for name in topology.routers(lab.spec.underlay)]
            author = "BIRD, by BGP" if lab.spec.network.calico and netns in routers else lab.spec.author
            return f"{author}, in Lab {lab.name}{at(lab)}"
        return ""

    def _is_ours(self, route: RouteEntry, netns: str) -> bool:
        felix = route.protocol == str(FELIX) and self._snapshot.lab.spec.network.calico
        if not (felix or route.protocol in UNNAMED) or route.table != "main":
            return False
        if route.kind != ("unicast" if route.dev else "blackhole"):
            return False
        return self._wanted is None or (str(network(route.dst)), route.via, route.dev) in self._wanted(netns)

    def of(self, obj: Object) -> str:
        """The object, and where it was written: a node in the Lab, a pod perhaps in its Deployment's template."""
        if obj.source or not (isinstance(obj, Pod) or self._lab):
            return _titled(obj)
        if isinstance(obj, Node) and self._lab:
            return f"{_titled(obj)} of Lab {self._lab.name}{at(self._lab)}"
        above: Object | None = obj
        while above is not None and not above.source:
            above = self._above(above)
        return f"{_titled(obj)} of {_titled(above)}" if above else _titled(obj)

    def _above(self, obj: Object) -> Object | None:
        """Its controller."""
        kinds: dict[str, type[Object]] = {kind.KIND: kind for kind in MAKERS}
        for owner in obj.metadata.ownerReferences:
            if owner.kind in kinds:
                return self._snapshot.get(kinds[owner.kind], owner.name, obj.namespace)
        return None

    def _underlay(self, address: str) -> str:
        """The router and the host outside have no objects of their own."""
        lab = self._lab
        if lab is None:
            return ""
        underlay = lab.spec.underlay
        for end in topology.ends(lab):
            if end.is_router and end.address == address:
                return f"router {end.name} of Lab {lab.name}{at(lab)}"
        routers = {*split(underlay.router)}
        routers |= {str(network(cidr)[1]) for cidr in (*split(underlay.cidr), *split(underlay.outside))}
        places = {
            "the host outside": {part.partition("/")[0] for part in split(underlay.outside)},
            "the router": routers,
        }
        return next((f"{place} of Lab {lab.name}{at(lab)}" for place, own in places.items() if address in own), "")

    def of_rule(self, chains: Iterable[str], comments: Iterable[str], rules: Sequence[str] = ()) -> str:
        """`chains` lead to the rule, `comments` are of the rule and of those that jumped to it, the nearest first, and
        `rules` are those themselves. One of a node's own DNS cache stands in a built-in chain and is known by its
        words."""
        chains, comments = [*chains], [*comments]
        if self._snapshot.lab.spec.dns.nodeLocal and rules and _CACHE.fullmatch(rules[0]):
            return NODE_CACHE
        if chains and chains[-1].startswith(names.CALI_CHAIN):
            return self._felix(chains, rules)
        if chains and chains[-1].startswith(names.KUBE_ROUTER_CHAINS):
            way = next((found[1] for comment in comments if (found := _LEADING.search(comment))), "")
            pairs = zip(comments, rules or [""] * len(comments), strict=True)
            return next((owner for one, rule in pairs if (owner := self._policies(one, rule, way))), "kube-router")
        if self._snapshot.lab.spec.network.calico and comments and comments[0] in felix_names.LAST_COMMENTS:
            return BY_FELIX
        named = (owner for comment in comments if (owner := self._named_in(comment)))
        writers = (
            writer
            for chain in reversed([*chains])
            for prefix, writer in names.WRITERS.items()
            if chain.startswith(prefix)
        )
        return next(named, "") or next(writers, NOBODY)

    def _felix(self, chains: Sequence[str], rules: Sequence[str]) -> str:
        """The policy whose chain a rule stands in, or leads to; or those of a tier that let nothing pass. `rules` are
        those that lead here, the nearest first."""
        targets = [found.group(1) for rule in rules[:1] if (found := _JUMP.search(rule))]
        for chain in (*reversed(chains), *targets):
            if (key := self._felix_policies.get(chain)) is not None:
                return self._ruled_by(self._policy(key), rules[0] if rules else "", key)
        if rules and _END_OF_TIER.search(rules[0]) and (pod := self._felix_pod(chains[-1])):
            return self._selecting(*pod) or BY_FELIX
        return BY_FELIX

    def of_felix_pod(self, chain: str) -> str:
        """The pod whose chain it is, "" for none."""
        found = self._felix_pod(chain)
        return title(found[0]).lower() if found else ""

    @cached_property
    def _felix_policies(self) -> Mapping[str, Key]:
        held = (
            *self._snapshot.all(NetworkPolicy),
            *(("", key[1]) for key in self._snapshot.all(ClusterNetworkPolicy)),
            *self._calicos,
        )
        return {felix_names.policy_chain(key, way): key for key in held for way in felix_names.DIRECTIONS}

    @cached_property
    def _calicos(self) -> Mapping[Key, AnyCalicoPolicy]:
        return {key_of(policy): policy for policy in written(self._snapshot)}

    def _policy(self, key: Key) -> NetworkPolicy | ClusterNetworkPolicy | AnyCalicoPolicy | None:
        if is_calico(key):
            return self._calicos.get(key)
        if key[0]:
            return self._snapshot.get(NetworkPolicy, key[1], key[0])
        return self._snapshot.get(ClusterNetworkPolicy, key[1])

    def _felix_pod(self, chain: str) -> tuple[Pod, str] | None:
        """The pod that a chain is of, and whether it is of what goes in or out."""
        pods = self._snapshot.all(Pod).values() if chain.startswith(names.CALI_PODS) else ()
        for pod in pods:
            into, out = felix_names.pods_chains(pod.key)
            if chain in (into, out):
                return pod, "in" if chain == into else "out"
        return None

    def _policies(self, comment: str, rule: str, way: str) -> str:
        """The policy that a comment of kube-router's names, with the line of its rule; or those that a pod is refused
        by, with the lines of what they let pass. "" for none there is. `way` is in or out, of what goes to the pod or
        comes from it, "" where that is not known."""
        if found := _CLUSTER_POLICY.match(comment):
            return self._ruled_by(self._snapshot.get(ClusterNetworkPolicy, found.group(1)), rule)
        if not (found := _POLICY.match(comment)):
            return ""
        namespace, name, kind = found.groups()
        if kind not in ("reject", "log-drop"):
            return self._ruled_by(self._snapshot.get(NetworkPolicy, name, namespace), rule)
        pod = self._snapshot.get(Pod, name, namespace)
        return self._selecting(pod, way) if pod else ""

    def _selecting(self, pod: Pod, way: str) -> str:
        """The NetworkPolicies that a pod is refused by, on Calico's network with its own."""
        if self._calicos:
            return self._in_order(pod, "egress" if way == "out" else "ingress")
        held = self._snapshot.all(NetworkPolicy)
        mine = [one for (where, _), one in held.items() if where == pod.namespace and _judges(one, way)]
        field: Path = ("spec", "egress" if way == "out" else "ingress") if way else ()
        selecting = (one for one in mine if one.spec.podSelector.matches(pod.metadata.labels))
        return " and ".join(_lined(one, field) for one in selecting)

    def _in_order(self, pod: Pod, way: Direction) -> str:
        asked = in_direction(self._resolved, pod.key, way)
        keys = (one.key if isinstance(one, CalicoPolicy) else one.policy.key for one in asked)
        return " and ".join(_lined(policy, ("spec", way)) for key in keys if (policy := self._policy(key)))

    @cached_property
    def _resolved(self) -> Resolved:
        return resolved(self._snapshot)

    def _ruled_by(
        self, policy: NetworkPolicy | ClusterNetworkPolicy | AnyCalicoPolicy | None, rule: str, key: Key | None = None
    ) -> str:
        """`key` is the policy's own where it is not that of the object."""
        return _lined(policy, self._ruled(key or policy.key, rule) or ()) if policy else ""

    def _named_in(self, comment: str) -> str:
        """The Service or the pod that a rule's comment names, "" for none that is there."""
        if found := _SERVICE.match(comment):
            namespace, name, port = found.groups()
            service = self._snapshot.get(Service, name, namespace)
            if service is not None:
                return _titled(service, port)
        if found := _SANDBOX.match(comment):
            pods = self._snapshot.all(Pod).values()
            return next((self.of(pod) for pod in pods if pod.sandbox_id == found.group(1)), "")
        return ""


def _judges(policy: NetworkPolicy, way: str) -> bool:
    types = policy.spec.policyTypes or (("Ingress", "Egress") if policy.spec.egress else ("Ingress",))
    return {"in": "Ingress", "out": "Egress"}.get(way, types[0]) in types


def at(obj: Object) -> str:
    """ ", lab.yaml:3": the line that an object was written on, as the end of a sentence; "" where nobody wrote it."""
    return f", {obj.source}" if obj.source else ""


def _lined(policy: Object, path: Path) -> str:
    """With the line of a field of it, or of the nearest around that; with its first where those are not known."""
    line = lines.line(policy, path)
    return f"{title(policy)}, {line}" if line else _titled(policy)


def _titled(obj: Object, port: str | None = None) -> str:
    """With the line; a Service with the number of its port of that name, else of its first."""
    number = ""
    if isinstance(obj, Service):
        ports = [p for p in obj.spec.ports if p.name == (port or "")] or list(obj.spec.ports)
        number = f", port {ports[0].port}" if ports else ""
    return f"{title(obj)}{number}{at(obj)}"
