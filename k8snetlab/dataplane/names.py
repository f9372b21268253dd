"""Every name k8snetlab generates comes from here.

Linux limits: an interface name has at most 15 characters (IFNAMSIZ - 1), an iptables chain 28. Chain names follow
kube-proxy (pkg/proxy/iptables: portProtoHash): base32(sha256(...)) cut to 16 characters.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

HOST_NETNS = ""
"""The host's own network namespace, as in `hostNetwork`: `ip netns` lists no name for it."""
BRIDGE = "cni0"
"""The CNI bridge plugin's default bridge."""
ETH0 = "eth0"
"""The device of a pod, of a node's uplink and of the outside host."""
KUBE, FLANNEL, CNI = "KUBE-", "FLANNEL-", "CNI-"
"""How every chain of kube-proxy, of flannel and of the CNI portmap plugin begins."""
KUBE_SERVICES, KUBE_EXTERNAL_SERVICES, KUBE_NODEPORTS = "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS"
KUBE_POSTROUTING, KUBE_FORWARD, KUBE_FIREWALL = "KUBE-POSTROUTING", "KUBE-FORWARD", "KUBE-FIREWALL"
KUBE_MARK, KUBE_MARK_MASQ, KUBE_MARK_DROP = "KUBE-MARK-", "KUBE-MARK-MASQ", "KUBE-MARK-DROP"
KUBE_PROXY_FIREWALL = "KUBE-PROXY-FIREWALL"
KUBE_PROXY_CANARY = "KUBE-PROXY-CANARY"
KUBE_PROXY_NFACCT = "KUBE-PROXY-NFACCT"
KUBE_SV, KUBE_SVC, KUBE_SVL, KUBE_SEP = "KUBE-SV", "KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-"
KUBE_EXT, KUBE_XLB, KUBE_FW = "KUBE-EXT-", "KUBE-XLB-", "KUBE-FW-"
"""Prefixes of the chains of a Service's port and (SEP) of an endpoint; KUBE-XLB- is what KUBE-EXT- was before 1.24."""
FLANNEL_POSTRTG, FLANNEL_FWD = "FLANNEL-POSTRTG", "FLANNEL-FWD"
CNI_HOSTPORT_DNAT, CNI_HOSTPORT_SETMARK, CNI_HOSTPORT_MASQ = (
    "CNI-HOSTPORT-DNAT",
    "CNI-HOSTPORT-SETMARK",
    "CNI-HOSTPORT-MASQ",
)
CNI_DN = "CNI-DN-"
MASQUERADE_MARK, DROP_MARK, HOSTPORT_MARK = 0x4000, 0x8000, 0x2000
"""Bits of a packet's mark: kube-proxy's default masqueradeBit (14), kubelet's to drop, and portmap's to masquerade."""
KUBE_ROUTER, KUBE_POD_FW, KUBE_NWPLCY = "KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-"
"""kube-router's: what every packet passes, what one pod's do, and one policy."""
KUBE_NWPLCY_COMMON, KUBE_NWPLCY_DEFAULT = "KUBE-NWPLCY-COMMON", "KUBE-NWPLCY-DEFAULT"
"""What no policy is asked about, and what none is there for."""
KUBE_CNPLCY, KUBE_CNPLCY_DENY = "KUBE-CNPLCY-", "KUBE-CNPLCY-DENY"
"""One ClusterNetworkPolicy, of which kube-router has none, and where all go to what they deny."""
SHARED_BY_POLICIES = (KUBE_NWPLCY_COMMON, KUBE_NWPLCY_DEFAULT, KUBE_CNPLCY_DENY)
"""Chains that no policy does without."""
KUBE_PROXY_CHAINS, FLANNEL_CHAINS, PORTMAP_CHAINS = (KUBE,), (FLANNEL,), ("CNI-HOSTPORT-", CNI_DN)
KUBE_ROUTER_CHAINS = (KUBE_ROUTER, KUBE_POD_FW, KUBE_NWPLCY, KUBE_CNPLCY)
"""They begin as kube-proxy's do, and are none of those."""
KUBE_ROUTER_SETS = ("KUBE-SRC-", "KUBE-DST-", "inet6:KUBE-SRC-", "inet6:KUBE-DST-")
"""How the names of kube-router's ipsets begin."""
TEMPORARY_SET = "TMP-K8SNETLAB"
"""How the names of sets begin that change places with one of those, and are gone a moment later."""
ALLOWED_MARK, PASSED_MARK, NEXT_TIER_MARK = 0x10000, 0x20000, 0x40000
"""Bits of a packet's mark: a policy allows it, all policies of a pod do, and a tier leaves it to the next."""
CALI, VXLAN_CALICO, TUNL0 = "cali", "vxlan.calico", "tunl0"
"""How the node's end of a pod's veth begins with Calico, and its tunnels; the second is the kernel's own, of every
namespace that knows IP in IP."""
CALI_MAC = "ee:ee:ee:ee:ee:ee"
"""Of all of those ends."""
CALI_CHAIN, CALI_SETS = "cali-", ("cali40", "cali60")
"""How the names of Felix' chains and ipsets begin; the sets are of either family."""
CALI_POLICY = {"i": "cali-pi-", "o": "cali-po-"}
"""How those of one policy begin, of what it lets in and out."""
CALI_PODS = ("cali-tw-", "cali-fw-")
"""How those of one pod begin, of what goes to it and what comes from it."""
CALI_ACCEPT_MARK, CALI_PASS_MARK, CALI_DROP_MARK, CALI_SCRATCH_MARKS = 0x10000, 0x20000, 0x40000, (0x80000, 0x100000)
"""Felix' bits of a packet's mark: a policy accepts it, leaves it to the next tier, or drops it; all parts of a rule
match, and this one does."""
WRITERS = (
    dict.fromkeys(KUBE_ROUTER_CHAINS, "kube-router")
    | dict.fromkeys(KUBE_PROXY_CHAINS, "kube-proxy")
    | dict.fromkeys(FLANNEL_CHAINS, "flannel")
    | dict.fromkeys(PORTMAP_CHAINS, "portmap")
    | {CALI_CHAIN: "Felix"}
)
"""The prefixes of our chains, each with the program that writes them, for whoever undoes, audits or explains rules."""
CHAINS = tuple(WRITERS)
MACHINE_CHAINS = tuple(prefix for prefix in WRITERS if prefix != CALI_CHAIN)
"""Those that a lab writes on a machine that is a node: Calico's there are a Calico's own."""
UNDERLAY_BRIDGE = "underlay0"
NODELOCALDNS = "nodelocaldns"
"""The device that a node's own DNS cache has its address on."""
ROUTER = "router"
OUTSIDE = "outside"


def is_host(netns: str) -> bool:
    """Whether it is the host's own network namespace."""
    return netns == HOST_NETNS


def node_netns(lab: str, node: str) -> str:
    """`LAB.NODE`; router and outside host are named the same way.

    A node's name may have dots, as EKS' do: they become "_", which no name of Kubernetes has, so that nothing that is
    named like this is ever a pod's LAB.NAMESPACE.POD.
    """
    return f"{lab}.{node.replace('.', '_')}"


def namespace_of(lab: str, node: str, machines: bool) -> str:
    """The namespace of a node: one of its own, or, where nodes are `machines`, the host's."""
    return HOST_NETNS if machines else node_netns(lab, node)


def pod_netns(lab: str, namespace: str, pod: str) -> str:
    return f"{lab}.{namespace}.{pod}"


def vxlan_device(vni: int, family: str = "ipv4") -> str:
    """flannel's names: flannel.<vni> and, for IPv6, flannel-v6.<vni>."""
    return f"flannel.{vni}" if family == "ipv4" else f"flannel-v6.{vni}"


def veth(namespace: str, pod: str, uid: str = "") -> str:
    """The node's end of a pod's veth: "veth" and 8 hex digits, as the CNI bridge plugin's look.

    The uid keeps a re-created pod from reusing the name, which the kernel refuses for a moment.
    """
    return "veth" + _hex(f"{namespace}/{pod}/{uid}", 8)


def cali(namespace: str, pod: str) -> str:
    """Of a pod: the same as long as it has its name. Source: Calico (libcalico-go, names of WorkloadEndpoints)."""
    return CALI + _sha1(f"{namespace}.{pod}").hex()[:11]


def felix_mac(node: str) -> str:
    """Of a node's vxlan.calico. Source: Calico felix/dataplane/linux/vxlan_mgr.go."""
    return ":".join(f"{b:02x}" for b in (0x66, *_sha1(node)[:5]))


def underlay_veth(node: str) -> str:
    """The router's port to a node: the node's own name where it fits and has no dot, which sysctl has for a slash."""
    fits = len(node) <= 15 and not set("/:.") & set(node)
    return node if fits else "veth" + _hex(node, 8)


def pod_mac(ip: str) -> str:
    """0a:58 and the IPv4 address, as the CNI bridge plugin made them; IPv6: the address's last four bytes."""
    return "0a:58:" + ":".join(f"{b:02x}" for b in ip_address(ip).packed[-4:])


def is_one_policys(chain: str) -> bool:
    """Whether a chain is one policy's, so that all others do without it."""
    return chain.startswith((KUBE_NWPLCY, KUBE_CNPLCY, *CALI_POLICY.values())) and chain not in SHARED_BY_POLICIES


def service_chain(port_name: str, protocol: str, prefix: str = KUBE_SVC) -> str:
    """`port_name` is "namespace/service[:port]"; the prefix is KUBE-SVC-, KUBE-SVL-, KUBE-EXT- or KUBE-FW-."""
    return prefix + _hash16(port_name + protocol.lower())


def endpoint_chain(port_name: str, protocol: str, endpoint: str) -> str:
    """`endpoint` is "ip:port", or "[ip]:port" for IPv6."""
    return KUBE_SEP + _hash16(port_name + protocol.lower() + endpoint)


def endpoint_chains(port_name: str, protocol: str, endpoints: Iterable[str]) -> dict[str, str]:
    """`endpoint_chain` of each of a port's endpoints."""
    port = port_name + protocol.lower()
    return {endpoint: KUBE_SEP + _hash16(port + endpoint) for endpoint in endpoints}


_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS = [first + second for first in _BASE32 for second in _BASE32]


def _hash16(text: str) -> str:
    """Base32 of 80 bits, ten at a time: 50,000 endpoints have a name each."""
    n, two = int.from_bytes(_sha256(text)[:10], "big"), _PAIRS
    return (
        f"{two[n >> 70]}{two[n >> 60 & 1023]}{two[n >> 50 & 1023]}{two[n >> 40 & 1023]}"
        f"{two[n >> 30 & 1023]}{two[n >> 20 & 1023]}{two[n >> 10 & 1023]}{two[n & 1023]}"
    )


def _hex(text: str, length: int) -> str:
    return _sha256(text).hex()[:length]


def _sha1(text: str) -> bytes:
    import hashlib

    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


def _sha256(text: str) -> bytes:
    import hashlib  # loads OpenSSL, which no verb that shows objects needs

    return hashlib.sha256(text.encode()).digest()
