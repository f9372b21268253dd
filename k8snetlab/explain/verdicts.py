"""Was it as it should be, and if not, why: a probe's result against what the manifests ask for.

Where a probe fails, the sockets of the pods behind it are looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from msgspec.structs import replace

from k8snetlab.api.core import Pod, Service
from k8snetlab.api.selection import pods_by_ip
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.view import View
from k8snetlab.errors import K8sNetLabError
from k8snetlab.explain.intended import Intent
from k8snetlab.explain.places import Place
from k8snetlab.explain.targets import Target
from k8snetlab.gateways import names
from k8snetlab.kernel import listeners
from k8snetlab.messages.probe import ProbeResult, Seen
from k8snetlab.render.ingress import addon
from k8snetlab.render.pods import sandbox_name
from k8snetlab.trace.listener import no_listener

_REFUSED, _UNREACHABLE = ("connection refused", "port unreachable"), ("no route to host", "network is unreachable")


def seen(reached: bool, error: str) -> Seen:
    """What the sender's kernel said of it."""
    if reached:
        return "answered"
    if any(word in error for word in _REFUSED):
        return "refused"
    return "unreachable" if any(word in error for word in _UNREACHABLE) else "silent"


def judged(snapshot: Snapshot, place: Place, target: Target, result: ProbeResult, intent: Intent) -> ProbeResult:
    """The result with `expected`, `verdict`, `ok` and `why`."""
    wrong_pod = _wrong_pod(snapshot, target, result, intent) if result.reached else ""
    if wrong_pod:
        return replace(result, expected=intent.expected, verdict="broken", ok=False, why=wrong_pod)
    if result.reached and intent.expected == "closed":
        why = f"answered, though it is closed: {intent.why}"
        return replace(result, expected="closed", verdict="broken", ok=False, why=why)
    if result.reached:
        return replace(result, expected=intent.expected, verdict="as intended")
    if intent.expected != "answered":
        return replace(result, expected=intent.expected, verdict="closed on purpose", why=intent.why)
    why = intent.why or _without_listener(snapshot, target, intent) or f"{result.error} at {_where(target)}"
    return replace(result, expected="answered", verdict="broken", ok=False, why=why)


def _wrong_pod(snapshot: Snapshot, target: Target, result: ProbeResult, intent: Intent) -> str:
    """Whether a pod answered that was not asked: rules lead elsewhere, or two have one address."""
    if not result.answeredBy or target.protocol == "ICMP":
        return ""
    if intent.endpoints is not None:
        asked = [pod for ip in intent.endpoints for pod in snapshot.select(Pod, pods_by_ip, ip).values()]
        other = any(not snapshot.select(Pod, pods_by_ip, ip) for ip in intent.endpoints)
        if asked and not other and not any(_is(pod, result) for pod in asked):
            return f"{target.name} is answered by {_whom(result)}, which is no endpoint of it"
    elif target.kind == "pod":
        asked = [*snapshot.select(Pod, pods_by_ip, target.address).values()]
        if asked and not any(_is(pod, result) for pod in asked):
            names = sorted(f"{pod.namespace}/{pod.name}" for pod in asked)
            return f"{target.address} is answered by {_whom(result)}, and belongs to {' and '.join(names)}"
    return ""


def _is(pod: Pod, result: ProbeResult) -> bool:
    """Whether this pod answered, as far as who answered has said who it is: an Ingress controller passes on what
    another one says."""
    if addon.container_of(pod) or names.container_of(pod):
        return True
    return pod.name == result.answeredBy and result.answeredNamespace in ("", pod.namespace)


def _whom(result: ProbeResult) -> str:
    return "/".join(filter(None, (result.answeredNamespace, result.answeredBy)))


def _without_listener(snapshot: Snapshot, target: Target, intent: Intent) -> str:
    """Why no process listens: on a pod of this machine, or on the first endpoint of a Service without one."""
    if target.kind == "pod":
        return _why_closed(snapshot, target.address, {target.port}, target.protocol)
    for address in sorted(intent.endpoints or ()):
        if why := _why_closed(snapshot, address, _numbers(snapshot, target, address), target.protocol):
            return why
    return ""


def _why_closed(snapshot: Snapshot, address: str, ports: Iterable[int], protocol: str) -> str:
    if protocol not in ("TCP", "UDP"):
        return ""
    for pod in snapshot.select(Pod, pods_by_ip, address).values():
        with contextlib.suppress(K8sNetLabError):  # on another machine, or gone
            held = View("", "", "pod", listening=listeners.read(sandbox_name(snapshot.lab, pod)))
            for port in ports:
                if not held.listens(protocol.lower(), address, port):
                    return f"pod {pod.namespace}/{pod.name}: {no_listener(held, protocol.lower(), address, port)}"
    return ""


def _numbers(snapshot: Snapshot, target: Target, address: str) -> set[int]:
    """The port numbers at an endpoint that the Services with the target's port lead to."""
    found: set[int] = set()
    pods = snapshot.select(Pod, pods_by_ip, address).values()
    declared = [p for pod in pods for c in pod.spec.serving_containers for p in c.ports]
    for service in snapshot.all(Service).values():
        if target.name.partition("@")[0] not in (service.name, service.short_name):
            continue
        for port in service.spec.ports:
            if target.port in (port.port, port.nodePort) and port.protocol == target.protocol:
                wanted = port.targetPort or port.port
                named = {p.containerPort for p in declared if p.name == wanted and p.protocol == port.protocol}
                found |= {wanted} if isinstance(wanted, int) else named
    return found


def _where(target: Target) -> str:
    name = target.name.partition("@")[0]
    if target.kind == "nodePort":
        return f"node port {target.port}" + (f" of Service {name}" if "@" in target.name else "")
    if target.kind in ("pod", "node"):
        return f"{target.kind} {name}"
    return name if target.kind == "address" else f"Service {name}, port {target.port}"
