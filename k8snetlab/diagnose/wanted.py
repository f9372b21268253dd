"""The routes that the lab itself brings: a line of a table is the lab's when it is one of these, whole."""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import network
from k8snetlab.dataplane.routing import Route
from k8snetlab.errors import K8sNetLabError
from k8snetlab.render import node as render_node
from k8snetlab.render import pods, underlay
from k8snetlab.trace.owners import Line


class Wanted:
    """By namespace, as every machine calls it; each is rendered when it is first asked for."""

    def __init__(self, snapshot: Snapshot, rendered: render_node.Rendered | None = None) -> None:
        self._snapshot, self._rendered = snapshot, rendered or render_node.Rendered(snapshot)
        self._lines: dict[str, frozenset[Line]] = {}
        lab = snapshot.lab
        self._nodes = {names.node_netns(lab.name, name): name for _, name in snapshot.all(Node)}
        self._pods = {
            pods.sandbox_name(lab, pod): pod
            for pod in snapshot.all(Pod).values()
            if pod.ips and not pod.spec.hostNetwork and not pod.ended
        }

    def __call__(self, netns: str) -> frozenset[Line]:
        if netns not in self._lines:
            self._lines[netns] = frozenset(_line(route) for route in self._routes(netns))
        return self._lines[netns]

    def _routes(self, netns: str) -> Iterable[Route]:
        snapshot = self._snapshot
        try:
            if netns in self._nodes:
                return self._rendered[self._nodes[netns]].node.routes
            if (pod := self._pods.get(netns)) and (node := snapshot.get(Node, pod.spec.nodeName)):
                return pods.sandbox(snapshot.lab, node, pod).routes
            if not snapshot.lab.spec.machines:
                plane = underlay.render(snapshot)
                return next((state.routes for state in (plane.node, *plane.pods) if state.name == netns), ())
        except K8sNetLabError:
            pass  # a machine that has not said by which interface the others reach it has no routes yet
        return ()


def _line(route: Route) -> Line:
    everything = "::/0" if ":" in route.via + route.src else "0.0.0.0/0"
    return (everything if route.dst == "default" else str(network(route.dst)), route.via, route.dev)
