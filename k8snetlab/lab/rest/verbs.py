"""The paths of the lab's own operations, below /apis/k8snetlab/v1alpha1."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from k8snetlab.errors import NotFoundError
from k8snetlab.lab.cluster import Cluster
from k8snetlab.lab.machines.membership import Membership
from k8snetlab.lab.operations import Operations
from k8snetlab.lab.rest.transport import Json, Request


class VerbRoutes:
    """Answers them for this machine; `end` ends its daemon."""

    def __init__(
        self, cluster: Cluster, operations: Operations, membership: Membership, end: Callable[[], None]
    ) -> None:
        self._cluster, self._operations, self._membership, self._end = cluster, operations, membership, end

    async def answer(self, request: Request, path: list[str]) -> Json | AsyncIterator[Any]:
        operations, body = self._operations, request.body or {}
        match (request.method, *path):
            case ("GET", "status"):
                return await operations.standing.status()
            case ("GET", "names"):
                return operations.places.names()
            case ("GET", "resolve", *name):
                return operations.places.resolve("/".join(name), request.query.get("namespace", ""))
            case ("GET", "leases"):
                return {"items": await operations.tables.leases(request.query.get("node", ""))}
            case ("POST", "up"):
                return operations.changing.up(body["objects"])
            case ("POST", "apply"):
                return operations.changing.apply(body["objects"])
            case ("POST", "delete"):
                return operations.changing.delete(body["objects"])
            case ("GET", "misses"):
                return operations.explaining.misses(request.query.get("node", ""))
            case ("POST", "probe"):
                return await operations.explaining.probe(body)
            case ("POST", "trace"):
                return await operations.explaining.trace(body)
            case ("POST", "diagnose"):
                return operations.explaining.diagnose(body)
            case ("GET", "machine"):
                return await self._membership.joined()
            case ("POST", "leave"):
                await self._membership.leave()
                return {}
            case ("POST", "end"):
                return self._membership.end(float(body["patience"]))
            case ("POST", "nodes", node, ("pause" | "resume") as verb):
                return await operations.changing.pause(node, verb == "pause")
            case ("GET", "pods", namespace, name, "log"):
                query = request.query
                follow, last = query.get("follow", "") == "true", int(query.get("tailLines", "-1"))
                return operations.places.logs(namespace, name, query.get("container", ""), follow, last)
            case ("GET", "rules"):
                query = request.query
                family = query.get("family", "ipv4")
                if not query.get("other"):
                    return await operations.tables.rules(query.get("node", ""), query.get("service", ""), family)
                nodes = query.get("node", ""), query["other"]
                sides = (
                    await operations.tables.chains(nodes[0], family),
                    await operations.tables.chains(nodes[1], family),
                )
                return await operations.tables.difference(sides, query.get("service", ""), family)
            case ("GET", "agents"):
                return await operations.standing.pace(int(request.query.get("revision", "0")))
            case ("GET", "survey"):
                query = request.query
                return operations.explaining.survey(query.get("namespace", ""), query.get("family", "ipv4"))
            case ("GET", "findings"):
                return operations.explaining.findings()
            case ("GET", "chains"):
                held = await operations.tables.chains(
                    request.query.get("node", ""), request.query.get("family", "ipv4")
                )
                return held.told()
            case ("GET", "tables", *name):
                query = request.query
                return await operations.tables.of("/".join(name), query.get("namespace", ""), query.get("table", ""))
            case ("GET", "store"):
                return operations.standing.store_status()
            case ("GET", "store", "dump"):
                return self._cluster.dump(request.query.get("prefix", "/"))
            case ("POST", "stop"):
                self._end()
                return {"stopping": True}
        raise NotFoundError(f"{request.method} {request.path} is no operation of this lab")
