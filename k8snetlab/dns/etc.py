"""What stands in a pod's /etc: resolv.conf, hosts, hostname, as kubelet writes them.

Source: kubelet, pkg/kubelet/kubelet_pods.go (managedHostsFileContent, GeneratePodHostNameAndDomain) and network/dns.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from k8snetlab.api.core import HostAlias, Node, Pod, PodDNSConfig, Service
from k8snetlab.api.dns import LOCAL
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns import addon, resolv
from k8snetlab.dns.resolv import Resolv

MANAGED = "# Kubernetes-managed hosts file.\n"
OF_HOST = "# Kubernetes-managed hosts file (host network).\n"
FQDN = 64
"""Characters that the kernel keeps of a hostname."""
_LOCAL = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("fe00::0", "ip6-mcastprefix"),
    ("fe00::1", "ip6-allnodes"),
    ("fe00::2", "ip6-allrouters"),
)


class Etc(msgspec.Struct, frozen=True):
    """The texts of the three files, and the messages of Events that kubelet would record for them."""

    resolv_conf: str
    hosts: str
    hostname: str
    warnings: tuple[str, ...] = ()

    @property
    def files(self) -> dict[str, str]:
        """By name, in /etc."""
        return {"resolv.conf": self.resolv_conf, "hosts": self.hosts, "hostname": self.hostname}


def of(pod: Pod, snapshot: Snapshot, host: Resolv) -> Etc:
    """`host` is what the pod's node has."""
    lab = snapshot.lab
    fits, warnings = resolv.fitting(_wanted(pod, lab, servers(snapshot), host))
    if pod.spec.hostNetwork:
        hosts = OF_HOST + of_node(snapshot.node(pod.spec.nodeName), host).hosts + _aliases(pod.spec.hostAliases)
    else:
        hosts = _hosts(pod, lab)
    return Etc(fits.text, hosts, f"{hostname(pod, lab)}\n", warnings)


def of_node(node: Node, host: Resolv) -> Etc:
    """What a node has itself: it is not in the cluster's DNS, and asks whom its machine asks."""
    own = "".join(f"{address}\t{node.name}\n" for address in node.addresses)
    return Etc(host.text, f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}", f"{node.name}\n")


def servers(snapshot: Snapshot) -> tuple[str, ...]:
    """The addresses that kubelet is told as --cluster-dns, where the lab has DNS: the Service kube-dns', or where each
    node's own cache is."""
    if not snapshot.lab.spec.dns.enabled:
        return ()
    if snapshot.lab.spec.dns.nodeLocal:
        return (LOCAL,)
    service = snapshot.get(Service, addon.SERVICE, addon.NAMESPACE)
    return (service.clusterIPs if service else ()) or (addon.address(snapshot.lab),)


def hostname(pod: Pod, lab: Lab) -> str:
    """What the pod calls itself: its node's name in the host's network, with setHostnameAsFQDN its whole name, where it
    has one. Raises ValueError for one that is too long."""
    if pod.spec.hostNetwork:
        return pod.spec.nodeName
    domain = _domain(pod, lab)
    if not domain or not pod.spec.setHostnameAsFQDN:
        return pod.hostname
    if len(whole := f"{pod.hostname}.{domain}") > FQDN:
        raise ValueError(
            f"Failed to construct FQDN from Pod hostname and cluster domain, FQDN {whole} is too long "
            f"({FQDN} characters is the max, {len(whole)} characters requested)"
        )
    return whole


def _domain(pod: Pod, lab: Lab) -> str:
    return f"{pod.spec.subdomain}.{pod.namespace}.svc.{lab.spec.dns.domain}" if pod.spec.subdomain else ""


def _wanted(pod: Pod, lab: Lab, cluster: Iterable[str], host: Resolv) -> Resolv:
    spec, addresses = pod.spec, tuple(cluster)
    clusters = spec.dnsPolicy == "ClusterFirstWithHostNet" or (
        spec.dnsPolicy == "ClusterFirst" and not spec.hostNetwork
    )
    if spec.dnsPolicy == "None":
        found = Resolv()
    elif clusters and addresses:
        found = resolv.cluster_first(addresses, pod.namespace, lab.spec.dns.domain, host)
    else:
        found = host
    config = spec.dnsConfig or PodDNSConfig()
    options = (option.name if option.value is None else f"{option.name}:{option.value}" for option in config.options)
    return found.with_more(config.nameservers, config.searches, options)


def _hosts(pod: Pod, lab: Lab) -> str:
    domain = _domain(pod, lab)
    names = f"{pod.hostname}.{domain}\t{pod.hostname}" if domain else pod.hostname
    lines = (*_LOCAL, *((address, names) for address in pod.ips))
    return MANAGED + "".join(f"{address}\t{name}\n" for address, name in lines) + _aliases(pod.spec.hostAliases)


def _aliases(aliases: tuple[HostAlias, ...]) -> str:
    if not aliases:
        return ""
    lines = "".join("\t".join((alias.ip, *alias.hostnames)) + "\n" for alias in aliases)
    return f"\n# Entries added by HostAliases.\n{lines}"
