"""What can be wrong with a ClusterNetworkPolicy.

Source: the schema of its CustomResourceDefinition (experimental channel), whose words these are.
"""

from __future__ import annotations

from collections.abc import Sized

from k8snetlab.api import addressing
from k8snetlab.api.cluster_policy import (
    ClusterNetworkPolicy,
    ClusterNetworkPolicyEgressPeer,
    ClusterNetworkPolicyIngressPeer,
    ClusterNetworkPolicyPort,
    ClusterNetworkPolicyProtocol,
    ClusterNetworkPolicySubject,
)
from k8snetlab.api.meta import Value
from k8snetlab.api.problems import Report
from k8snetlab.api.rules import forbidden, invalid, label_selector, port_number
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path, show

MOST, NAME, PRIORITY = 25, 100, 1000
ALPHA = "policy.networking.k8s.io/v1alpha2 is alpha: another version may have other fields"
NAMELESS = "networks/nodes/domainNames peer cannot be set with namedPorts since there are no namedPorts for "
NO_NAMES = "domain names are no peers here: nothing hears what names are answered; write networks"
Peer = ClusterNetworkPolicyIngressPeer | ClusterNetworkPolicyEgressPeer


def cluster_network_policy(report: Report, obj: ClusterNetworkPolicy, _: Snapshot) -> None:
    _Look(report, obj).policy()


class _Look:
    def __init__(self, report: Report, obj: ClusterNetworkPolicy) -> None:
        self.report, self.obj = report, obj

    def policy(self) -> None:
        spec = self.obj.spec
        self.report.notice(self.obj, ("apiVersion",), ALPHA)
        if not 0 <= spec.priority <= PRIORITY:
            bound = "greater than or equal to 0" if spec.priority < 0 else f"less than or equal to {PRIORITY}"
            self._wrong(("spec", "priority"), spec.priority, f"should be {bound}")
        self._one(("spec", "subject"), spec.subject, ("namespaces", "pods"))
        self._selectors(("spec", "subject"), spec.subject)
        self._many(("spec", "ingress"), spec.ingress, 0)
        for number, ingress in enumerate(spec.ingress):
            self._rule(("spec", "ingress", number), ingress.name, ("from", ingress.from_), ingress.protocols)
        self._many(("spec", "egress"), spec.egress, 0)
        for number, egress in enumerate(spec.egress):
            self._rule(("spec", "egress", number), egress.name, ("to", egress.to), egress.protocols)

    def _rule(
        self,
        path: Path,
        name: str,
        peers: tuple[str, tuple[Peer, ...]],
        protocols: tuple[ClusterNetworkPolicyProtocol, ...],
    ) -> None:
        field, them = peers
        if len(name) > NAME:
            self._error((*path, "name"), f"Too long: may not be more than {NAME} bytes")
        self._many((*path, field), them, 1)
        for number, peer in enumerate(them):
            self._peer((*path, field, number), peer)
        self._many((*path, "protocols"), protocols, 0)
        for number, protocol in enumerate(protocols):
            self._protocol((*path, "protocols", number), protocol)
        nameless = any(isinstance(one, ClusterNetworkPolicyEgressPeer) and (one.networks or one.nodes) for one in them)
        if nameless and any(one.destinationNamedPort for one in protocols):
            self._error(path, invalid("object", f"{NAMELESS}networks/nodes/domainNames"))

    def _peer(self, path: Path, peer: Peer) -> None:
        fields = ("namespaces", "pods")
        if isinstance(peer, ClusterNetworkPolicyEgressPeer):
            fields = (*fields, "nodes", "networks", "domainNames")  # type: ignore[assignment]
            if peer.domainNames:
                self._error((*path, "domainNames"), forbidden(NO_NAMES))
            if peer.nodes is not None:
                label_selector(self.report, self.obj, (*path, "nodes"), peer.nodes)
            self._many((*path, "networks"), peer.networks, 0)
            for number, text in enumerate(peer.networks):
                self._network((*path, "networks", number), text)
        self._one(path, peer, fields)
        self._selectors(path, peer)

    def _selectors(self, path: Path, one: Peer | ClusterNetworkPolicySubject) -> None:
        if one.namespaces is not None:
            label_selector(self.report, self.obj, (*path, "namespaces"), one.namespaces)
        if one.pods is not None:
            label_selector(self.report, self.obj, (*path, "pods", "namespaceSelector"), one.pods.namespaceSelector)
            label_selector(self.report, self.obj, (*path, "pods", "podSelector"), one.pods.podSelector)

    def _protocol(self, path: Path, protocol: ClusterNetworkPolicyProtocol) -> None:
        self._one(path, protocol, ("tcp", "udp", "sctp", "destinationNamedPort"))
        for field, said in (("tcp", protocol.tcp), ("udp", protocol.udp), ("sctp", protocol.sctp)):
            if said is not None:
                self._one((*path, field), said, ("destinationPort",))
                if said.destinationPort is not None:
                    self._port((*path, field, "destinationPort"), said.destinationPort)

    def _port(self, path: Path, port: ClusterNetworkPolicyPort) -> None:
        self._one(path, port, ("number", "range"))
        if port.number:
            port_number(self.report, self.obj, (*path, "number"), port.number)
        if port.range is not None:
            port_number(self.report, self.obj, (*path, "range", "start"), port.range.start)
            port_number(self.report, self.obj, (*path, "range", "end"), port.range.end)
            if port.range.start >= port.range.end:
                self._error((*path, "range"), invalid("object", "Start port must be less than End port"))

    def _network(self, path: Path, text: str) -> None:
        try:
            addressing.api_network(text)
        except ValueError:
            self._error(path, invalid(text, "Invalid CIDR format provided"))

    # --- the schema's bounds ---

    def _one(self, path: Path, value: Value, fields: tuple[str, ...]) -> None:
        """Exactly one field is said."""
        said = [field for field in fields if getattr(value, field) not in (None, "", 0, ())]
        if not said:
            self._wrong(path, 0, "should have at least 1 properties")
        elif len(said) > 1:
            self._error(path, f"Too many: {len(said)}: must have at most 1 properties")

    def _many(self, path: Path, items: Sized, least: int) -> None:
        if len(items) > MOST:
            self._error(path, f"Too many: {len(items)}: must have at most {MOST} items")
        if len(items) < least:
            self._wrong(path, len(items), f"should have at least {least} items")

    def _wrong(self, path: Path, value: int, why: str) -> None:
        self._error(path, invalid(value, f"{show(path)} in body {why}"))

    def _error(self, path: Path, message: str) -> None:
        self.report.error(self.obj, path, message)
