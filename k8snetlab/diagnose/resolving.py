"""What is wrong with the way of pods to names: their resolv.conf, and who answers them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from k8snetlab.api.core import Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.selection import pods_of, slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import end
from k8snetlab.diagnose.finding import Finding
from k8snetlab.dns import addon, nodelocal
from k8snetlab.dns.lines import CorefileError
from k8snetlab.dns.resolv import Resolv

LATELY = 60.0
"""Seconds for which packets that were lost are a finding."""
STORM, FROM_ONE = 50, 20
"""So many names a second that are nowhere, in all and of one pod, are too many."""
LOOP = "plugin/loop"
"""What CoreDNS' message begins with as it ends for a loop."""
SHOWN = 3
"""Pods that one sentence names, at most."""


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
    if not lab.spec.dns.served or service is None:
        return
    slices = snapshot.select(EndpointSlice, slices_by_service, service.key).values()
    if not any(endpoint.conditions.ready is not False for slice_ in slices for endpoint in slice_.endpoints):
        some = any(pods_of(service, snapshot))
        yield Finding(
            kind="resolver",
            fault="endpoints",
            node="",
            object=f"{addon.NAMESPACE}/{addon.SERVICE}",
            message=f"Service {addon.NAMESPACE}/{addon.SERVICE} has no endpoints: no name of the cluster is answered",
            consequence="pods' queries are refused (REJECT): programs fail with `Temporary failure in name resolution`",
            show=f"k8snetlab get pods,endpointslices -n {addon.NAMESPACE}",
            mend=""
            if some
            else f"kubectl -n {addon.NAMESPACE} scale deployment {addon.NAME} --replicas={lab.spec.dns.replicas}",
        )


def silent(pod: Pod, netns: str, address: str, domain: str, patience: float) -> Finding:
    """A ready DNS pod, or a node's cache, whose server answers no query at `address`, from inside its own namespace."""
    name, node = f"{pod.namespace}/{pod.name}", pod.spec.nodeName
    whom, consequence = "which kube-dns leads to", "lookups that chance gives to it take 5 s, or fail"
    if nodelocal.is_cache(pod):
        whom, consequence = f"which the pods of {node} ask", f"lookups of the pods of {node} fail, after 10 s"
    return Finding(
        kind="resolver",
        fault="silent",
        node=node,
        object=name,
        message=f"pod {name}, {whom}, answers no query within {patience:g} s: its server stands still",
        consequence=consequence,
        show=f"ip netns exec {netns} dig @{address} kubernetes.default.svc.{domain}",
        mend=f"k8snetlab delete pod {pod.name} -n {pod.namespace}",
    )


def misread(error: CorefileError, config: str = addon.NAME) -> Finding:
    """A Corefile, that of the ConfigMap `config`, which its servers refuse."""
    return Finding(
        kind="resolver",
        fault="corefile",
        node="",
        object=f"{addon.NAMESPACE}/{config}",
        message=f"ConfigMap {addon.NAMESPACE}/{config}: {error}",
        consequence="its servers go on by the Corefile before it; one that begins now answers SERVFAIL",
        show=_file(config),
        mend=_edit(config),
    )


def _file(config: str) -> str:
    return f"k8snetlab get configmap {config} -n {addon.NAMESPACE} -o yaml"


def _edit(config: str) -> str:
    return f"kubectl -n {addon.NAMESPACE} edit configmap {config}"


def upstream_silent(
    pod: Pod, netns: str, server: tuple[str, int], zone: str, error: str, *, tcp: bool = False
) -> Finding:
    """A server that a DNS pod asks for names in `zone`, and that does not answer it; `error` is what is heard instead.
    `tcp`: it is asked by TCP only."""
    name, where = f"{pod.namespace}/{pod.name}", end(*server)
    how = f"says `{error}`" if error else "is silent"
    return Finding(
        kind="resolver",
        fault="upstream",
        node=pod.spec.nodeName,
        object=where,
        message=f"upstream {where}, which pod {name} asks for {_zone(zone)}, {how}",
        consequence="lookups of such names fail with SERVFAIL, after 2 s for each server that is silent",
        show=f"ip netns exec {netns} dig @{server[0]} -p {server[1]} . NS{' +tcp' if tcp else ''}",
        mend=f"# another server in `forward`, or spec.dns.upstream of the lab: {_edit(addon.NAME)}",
        netns=netns,
    )


def looping(server: tuple[str, int], zone: str, whose: str, config: str = addon.NAME) -> Finding:
    """A server in `forward` that is the cluster's own DNS, or leads back to it; `whose` address it is, in words."""
    where = end(*server)
    return Finding(
        kind="resolver",
        fault="loop",
        node="",
        object=where,
        message=f"Corefile: forward sends {_zone(zone)} to {where}, {whose}: the question comes back, round and round",
        consequence="lookups of such names fail; CoreDNS with `loop` ends itself, and is begun again ever later",
        show=_file(config),
        mend=f"# a server outside the cluster in `forward`: {_edit(config)}",
    )


def looped(pod: Pod, said: str) -> Finding:
    """A DNS pod whose server has met a question of its own, and has ended."""
    name = f"{pod.namespace}/{pod.name}"
    return Finding(
        kind="resolver",
        fault="loop",
        node="",
        object=name,
        message=f"pod {name} has ended: {said.partition(', see')[0]}",
        consequence="whom it forwards to sends its questions back: it is begun again ever later, and names fail",
        show=f"k8snetlab logs {pod.name} -n {pod.namespace} --previous",
        mend=f"# a server that does not lead back in `forward`: {_edit(addon.NAME)}",
    )


def _zone(zone: str) -> str:
    return "names outside" if zone in (".", "") else f"names in {zone.rstrip('.')}"


class Storm(msgspec.Struct, frozen=True):
    """What a DNS pod's replies were for a while: so many a second, and so many by pod that deny a name of the pod's
    search list; `example` is such a name, `meant` what it was made of."""

    replies: int
    searched: Mapping[str, int]
    example: str
    meant: str


def storm(pod: Pod, seen: Storm) -> Iterator[Finding]:
    """Pods that ask for names outside all the time, and each name in every search domain first."""
    total, clients = sum(seen.searched.values()), [c for c, n in seen.searched.items() if n >= FROM_ONE]
    if total < STORM or total * 2 < seen.replies or not clients:
        return
    yield Finding(
        kind="resolver",
        fault="storm",
        node="",
        object=clients[0],
        message=(
            f"{_pods(clients)} {'ask' if len(clients) > 1 else 'asks'} for names outside in every search domain first "
            f"(ndots:5): {total} of {seen.replies} replies a second of {pod.name} say that a name as "
            f"{seen.example.rstrip('.')} is not there"
        ),
        consequence="four or five times the queries, and the time, for each such name",
        show=f"k8snetlab dig {clients[0]} {seen.meant}",
        mend='# a dot at the name\'s end, or in the pod: dnsConfig: {options: [{name: ndots, value: "1"}]}',
    )


def _pods(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    text = ", ".join(names[:SHOWN])
    return f"pod{'s' if len(names) > 1 else ''} {text}" + (f" and {more} more" if more > 0 else "")


def raced(node: str, netns: str, lost: int) -> Finding:
    """Packets that conntrack dropped, as it was entering another one of the same connection at that moment."""
    packets = "1 packet was" if lost == 1 else f"{lost} packets were"
    return Finding(
        kind="conntrack",
        fault="race",
        node=node,
        object="insert_failed",
        message=f"{node}: {packets} dropped of late as conntrack was entering another of the same addresses and ports "
        "(insert_failed)",
        consequence="where it is the A and the AAAA of one lookup, sent at once from one port, the lookup takes 5 s",
        show=f"ip netns exec {netns} conntrack -S" if netns else "conntrack -S",
        mend="# in the pods: dnsConfig: {options: [{name: single-request-reopen}]}, or spec.dns.nodeLocal of the lab",
        netns=netns,
    )
