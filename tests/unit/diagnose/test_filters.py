"""What BIRD 2.0.12 says of filters, as it said it, and the findings that are made of it."""

from __future__ import annotations

from k8snetlab.diagnose import filters
from k8snetlab.diagnose.filters import Kept
from k8snetlab.diagnose.finding import Finding

ROUTES = """BIRD 2.0.12 ready.
Access restricted
Table master4:
10.1.0.64/26         blackhole [static1 06:08:00.904] * (200)
                     unicast [Mesh_192_168_0_21 06:08:01.904] (100)
\tvia 192.168.0.21 on eth0
10.1.0.64/32         unicast [kernel1 06:08:00.905] * (10)
\tdev calibd2348b4f67
"""
CHANNEL = """  Channel ipv4
    State:          UP
    Input filter:   %s
    Output filter:  (unnamed)
    Route change stats:     received   rejected   filtered    ignored   accepted
      Import updates:              4          0          %d          0          2
      Import withdraws:            1          0        ---          1          2
"""
PROTOCOLS = """kernel1    Kernel     master4    down   06:14:19.195
kernel2    Kernel     master6    up     06:14:19.195
Mesh_192_168_0_22 BGP        ---        up     06:11:38.012  Established
"""


def lost(node: str, cidr: str) -> Finding:
    return Finding(
        kind="route", fault="missing", node=node, object=cidr, message=f"{node} {cidr}", consequence="", show=""
    )


def test_a_route_is_to_just_that_network() -> None:
    assert filters.holds(ROUTES, "10.1.0.64/26") and filters.holds(ROUTES, "10.1.0.64/32")
    assert not filters.holds(ROUTES, "10.1.0.0/26") and not filters.holds("", "10.1.0.64/26")


def test_a_filter_is_blamed_for_what_it_rejects_alone() -> None:
    assert filters.refuses(CHANNEL % ("REJECT", 0)) == "REJECT"
    assert filters.refuses(CHANNEL % ("(unnamed)", 2)) == "(unnamed)"
    assert filters.refuses(CHANNEL % ("(unnamed)", 0)) == "" == filters.refuses(CHANNEL % ("ACCEPT", 2))
    assert filters.refuses("nonsense") == ""


def test_the_kernels_of_a_family() -> None:
    assert filters.kernels(PROTOCOLS, "10.1.0.64/26") == {"kernel1": "down"}
    assert filters.kernels(PROTOCOLS, "fd00::/64") == {"kernel2": "up"}


def test_there_is_one_finding_for_all_that_a_nodes_filter_keeps() -> None:
    kept = [Kept("node2", filters.EXPORT, f"Mesh_{n}", "", lost(f"node{n}", "10.1.0.64/26")) for n in range(3, 8)]
    kept.append(Kept("node1", filters.IMPORT, "Mesh_2", "REJECT", lost("node1", "10.1.0.0/26")))
    kept.append(Kept("node1", filters.SESSION, "Mesh_9", "", lost("node1", "10.1.0.0/26")))
    one, other, off = filters.causes("lab", "lab.router", kept)
    assert (one.node, one.fault, len(one.explains)) == ("node2", "filter", 5)
    assert "Mesh_3, Mesh_4, Mesh_5 and 2 more rejects 10.1.0.64/26" in one.message
    assert "import filter of Mesh_2 (REJECT) rejects 10.1.0.0/26" in other.message
    assert (off.fault, off.mend) == ("disabled", "k8snetlab birdc node1 enable Mesh_9")
