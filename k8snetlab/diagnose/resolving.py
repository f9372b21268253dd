"""What is wrong with the way of pods to names: their resolv.conf, and who answers them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from k8snetlab.api.core import Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.selection import slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose.finding import Finding
from k8snetlab.dns import addon
from k8snetlab.dns.resolv import Resolv


def edited(pod: Pod, netns: str, held: Resolv, wanted: Resolv) -> Iterator[Finding]:
    """`held` is what stands in a pod's resolv.conf, `wanted` what kubelet wrote into it."""
    name, file = f"{pod.namespace}/{pod.name}", f"/etc/netns/{netns}/resolv.conf"
    faults = (
        ("nameserver", held.nameservers, wanted.nameservers, "its queries go elsewhere than to kube-dns"),
        (
            "search",
            held.searches,
            wanted.searches,
            "short names are looked for elsewhere: Services are not found",
        ),
        ("ndots", (f"ndots:{held.ndots}",), (f"ndots:{wanted.ndots}",), _dots(held.ndots, wanted.ndots)),
    )
    for fault, now, meant, consequence in faults:
        if now != meant:
            both = f"{_words(fault, now)}, and kubelet wrote {_words(fault, meant)}"
            yield Finding(
                kind="resolver",
                fault=fault,
                node=pod.spec.nodeName,
                object=name,
                message=f"pod {name}: its resolv.conf has {both}",
                consequence=consequence,
                show=f"k8snetlab exec {pod.name} -n {pod.namespace} -- cat /etc/resolv.conf",
                mend=f"printf {shlex.quote(wanted.text.replace(chr(10), chr(92) + 'n'))} > {file}",
                netns=netns,
            )


def _words(fault: str, values: tuple[str, ...]) -> str:
    return f"{'' if fault == 'ndots' else f'{fault} '}{' '.join(values)}" if values else f"no {fault}"


def _dots(held: int, wanted: int) -> str:
    if held < wanted:
        return "names such as NAME.NAMESPACE.svc are asked for as they are first"
    return "names outside are looked for in every search domain first: more queries for each"


def unanswered(snapshot: Snapshot) -> Iterator[Finding]:
    """A Service kube-dns without an endpoint, though the lab is to have servers of names."""
    lab, service = snapshot.lab, snapshot.get(Service, addon.SERVICE, addon.NAMESPACE)
    if not lab.spec.dns.enabled or not lab.spec.dns.replicas or service is None:
        return
    slices = snapshot.select(EndpointSlice, slices_by_service, service.key).values()
    if not any(endpoint.conditions.ready is not False for slice_ in slices for endpoint in slice_.endpoints):
        yield Finding(
            kind="resolver",
            fault="endpoints",
            node="",
            object=f"{addon.NAMESPACE}/{addon.SERVICE}",
            message=f"Service {addon.NAMESPACE}/{addon.SERVICE} has no endpoints: no name of the cluster is answered",
            consequence="pods' queries are refused (REJECT): programs fail with `Temporary failure in name resolution`",
            show=f"k8snetlab get pods,endpointslices -n {addon.NAMESPACE}",
            mend=f"kubectl -n {addon.NAMESPACE} scale deployment {addon.NAME} --replicas={lab.spec.dns.replicas}",
        )


def silent(pod: Pod, patience: float) -> Finding:
    """A ready DNS pod whose server answers no query, from inside its own namespace."""
    name = f"{pod.namespace}/{pod.name}"
    return Finding(
        kind="resolver",
        fault="silent",
        node=pod.spec.nodeName,
        object=name,
        message=f"pod {name}, which kube-dns leads to, answers no query within {patience:g} s: its server stands still",
        consequence="lookups that chance gives to it take 5 s, or fail",
        show=f"k8snetlab dig {name} kubernetes.default.svc",
        mend=f"k8snetlab delete pod {pod.name} -n {pod.namespace}",
    )
