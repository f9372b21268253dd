"""A lab in a few lines: what `up` says at its end, and `status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from k8snetlab.api.ages import duration
from k8snetlab.cli import screen
from k8snetlab.cli.ages import age
from k8snetlab.cli.options import OPEN_STORE
from k8snetlab.cli.views import table
from k8snetlab.state import labs
from k8snetlab.wording import counted

if TYPE_CHECKING:
    from k8snetlab.client.client import Client
    from k8snetlab.messages.changes import Outcome
    from k8snetlab.messages.status import LabStatus, NodeStatus, RouterStatus, StoreHealth

Object = Mapping[str, Any]
SOME = 200
"""Services that are worth to be looked through for what to try next."""
ALIKE = 3
"""Problems of one kind and reason that are shown one by one."""


def of(name: str, client: Client, outcome: Outcome, seconds: float) -> str:
    """What was made, and what to try next; `seconds` is the time the person waited."""
    nodes, pods = client.list("Node"), client.list("Pod")
    services, served = client.some("Service", SOME)
    running = [pod for pod in pods if _ready(pod)]
    shown = (
        counted(len(pods), "pod")
        if len(running) == len(pods)
        else f"{len(running)} of {counted(len(pods), 'pod')} running"
    )
    counts = (len(outcome.created), len(outcome.updated), len(outcome.deleted))
    changed = [f"{n} {word}" for n, word in zip(counts, ("created", "changed", "deleted"), strict=True) if n]
    lines = [
        f"lab {name} is up: {counted(len(nodes), 'node')}, {shown}, {counted(served, 'Service')}"
        f" in {seconds:.2f} s ({', '.join(changed) or 'nothing to change'})"
    ]
    command = "k8snetlab" if len(labs.running()) < 2 else f"k8snetlab --lab {name}"
    tries = [(f"{command} {verb}", why) for verb, why in _tries(nodes, running, services, not _machines(nodes))]
    if tries:
        width = max(len(command) for command, _ in tries)
        lines += ["", "try next:"]
        room = screen.columns()
        beside = room is None or all(2 + width + 3 + len(why) <= room for _, why in tries)
        for command, why in tries:
            lines += [f"  {command.ljust(width)}   {why}".rstrip()] if beside else [f"  {why}:", f"    {command}"]
    return "\n".join(lines)


def _machines(nodes: Sequence[Object]) -> bool:
    from k8snetlab.api.machines import MACHINE

    return any(MACHINE in node["metadata"].get("annotations", {}) for node in nodes)


def _ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _tries(
    nodes: Sequence[Object], pods: Sequence[Object], services: Sequence[Object], outside: bool
) -> list[tuple[str, str]]:
    """(verb with arguments, why) pairs that work in this very lab."""
    source = _default(pods) or _default(nodes)
    who = "a pod" if pods else "a node"
    tries = []
    for service in sorted(services, key=lambda service: service["spec"].get("type") != "NodePort"):
        address, ports = service["spec"].get("clusterIP", "None"), service["spec"].get("ports", ())
        if service["spec"].get("selector") and source and address not in ("", "None") and ports:
            target = f"{_label(service)}:{ports[0]['port']}"
            tries.append((f"probe {source} {target}", f"{who} asks the ClusterIP {address}"))
            break
    node_ports = [(p["nodePort"], s) for s in services for p in s["spec"].get("ports", ()) if p.get("nodePort")]
    addresses = [a["address"] for n in nodes for a in n.get("status", {}).get("addresses", ())]
    if outside and node_ports and addresses:
        port, service = node_ports[0]
        address = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        tries.append((f"probe outside {address}:{port}", f"from outside through {_label(service)}'s NodePort"))
    if source:
        tries.append((f"shell {source}", "look around inside: ip addr, ip route"))
    if nodes:
        first = nodes[0]["metadata"]["name"]
        tries.append((f"exec {first} -- iptables-save -t nat", "the rules kube-proxy would write"))
    tries.append(("probe --all", "everyone asks everything"))
    return tries


def _default(objects: Sequence[Object]) -> str:
    """The name of the first object, one that needs no namespace before it where there is one."""
    # one that stands alone comes first: a client, rather than one of a Service's own endpoints
    first = sorted(objects, key=lambda obj: bool(obj["metadata"].get("ownerReferences")))
    plain = [_label(obj) for obj in first if "/" not in _label(obj)]
    return plain[0] if plain else ""


def _label(obj: Object) -> str:
    namespace = obj["metadata"].get("namespace", "default")
    name = obj["metadata"]["name"]
    return name if namespace in ("", "default") else f"{namespace}/{name}"


# --- status ----------------------------------------------------------------------------------------------------------


def _store(store: StoreHealth) -> str:
    """ "store embedded at 38", "store etcd at 38, silent for 12s: no answer in time"."""
    text = f"store {store.type} at {store.revision}"
    if store.healthy:
        return text
    silent = f", silent for {duration(store.age)}" if store.age is not None else ""
    return f"{text}{silent}: {store.problem}"


def status(state: LabStatus) -> str:
    """The text of `status`."""
    daemon, pods, store = state.daemon, state.pods, state.store
    facts = [
        f"daemon {daemon.pid} ({daemon.version}, up {duration(daemon.uptime)})",
        f"kubelet {state.kubelet.pid or 'not running'}",
        f"iptables {state.iptables}",
        _store(store),
    ]
    others = [
        f"{node}: daemon {said.daemon.pid}   kubelet {said.kubelet.pid or 'not running'}   "
        f"iptables {said.iptables}   {_store(said.store)}"
        for node, said in (state.machines or {}).items()
        if said.daemon != daemon
    ]
    services = f"{state.services} Service{'' if state.services == 1 else 's'}"
    if store.insecure:
        others.append(typer.style(f"the store {OPEN_STORE} (--insecure)", fg="red"))
    lines = [
        f"lab {state.lab}: {pods.running} of {pods.total} pods running, {services}",
        *_packed(facts),
        *others,
        "",
        _nodes(state.nodes),
        *(["", _routers(state.routers)] if state.routers else []),
    ]
    left = [node.name for node in state.nodes if node.proxy == "external"]
    if left:
        shown = ", ".join(left[:ALIKE]) + (f" and {len(left) - ALIKE} more" if len(left) > ALIKE else "")
        lines += ["", f"{shown}: the rules of Services are a guest's (proxy.mode external)"]
    for node in state.nodes:
        if node.agent.drift:
            lines += [
                "",
                f"{node.name} is not as it should be; this would mend it:",
                *(part for step in node.agent.drift for part in screen.command(step, screen.columns(), "  ")),
            ]
        error = f"{node.name}: {node.agent.error}"
        if node.agent.error and error not in state.problems:
            lines += ["", error]
    if state.problems:
        lines += ["", "problems:", *(f"  {problem}" for problem in _alike(state.problems))]
    return "\n".join(lines)


def _alike(problems: Sequence[str]) -> list[str]:
    """The problems; of many things with the same trouble ("pod default/x: no free address") the first few."""
    seen: dict[str, list[str]] = {}
    for problem in problems:
        kind, why = problem.partition(" ")[0], problem.partition(": ")[2]
        seen.setdefault(f"{kind} {why}" if why else problem, []).append(problem)
    found: list[str] = []
    for alike in seen.values():
        found += alike[:ALIKE]
        if len(alike) > ALIKE:
            found.append(f"and {len(alike) - ALIKE} more like this")
    return found


def _packed(facts: Sequence[str]) -> list[str]:
    """As many facts in a line as fit, none of them cut where it is not too long by itself."""
    width, found = screen.columns(), [facts[0]]
    for fact in facts[1:]:
        longer = f"{found[-1]}   {fact}"
        if width is None or screen.cells(longer) <= width:
            found[-1] = longer
        else:
            found.append(f"  {fact}")
    return found


def _nodes(nodes: Sequence[NodeStatus]) -> str:
    titles = ["NODE", "ADDRESS", "POD-CIDR", "STATUS", "PODS", "AGENT", "LAST-SYNC", "DRIFT"]
    rows = []
    for node in nodes:
        agent = node.agent
        doing = "paused" if node.paused else "synced" if agent.synced else "drifted" if agent.drift else "syncing"
        doing = "off" if node.off else doing if node.answers else "unknown"
        rows.append(
            [
                node.name,
                node.address or "<none>",
                node.podCIDR or "<none>",
                "Ready" if node.ready else "NotReady",
                str(node.pods),
                "failing" if agent.error and node.answers else doing,
                age(agent.lastSync),
                str(len(agent.drift)),
            ]
        )
    return table(titles, rows)


def _routers(routers: Sequence[RouterStatus]) -> str:
    rows = [
        [
            one.name,
            ", ".join(f"{link} (down)" if link.partition(" ")[0] in one.down else link for link in one.links),
            ", ".join(f"{d.name} {'failing' if d.problem else 'running'}" for d in one.daemons) or "static routes",
        ]
        for one in routers
    ]
    return table(["ROUTER", "LINKS", "DAEMONS"], rows)
