"""What routing daemons say of their routes, read: of several routes to one network the best, and nothing of none."""

from __future__ import annotations

from k8snetlab.diagnose import reasons

BIRD = """BIRD 2.0.12 ready.
Table master4:
10.244.3.0/24        unicast [Node_192_168_1_1 22:01:02.123] * (100) [AS64512i]
\tvia 192.168.1.1 on eth0
\tType: BGP univ
\tBGP.origin: IGP
\tBGP.as_path: 64514 64516 64515 64512
\tBGP.next_hop: 192.168.1.1
                     unicast [Node_192_168_1_2 22:01:02.123] (100) [AS64512i]
\tvia 192.168.1.2 on eth0
\tBGP.origin: IGP
\tBGP.as_path: 64599 64512
10.244.2.0/24        unicast [Node_192_168_1_22 22:01:02.123] * (100) [i]
\tBGP.origin: IGP
\tBGP.as_path:
10.244.1.0/24        unicast [direct1 22:01:01.000] * (240)
\tdev cni0
10.244.4.0/24        unicast [ospf_ipv4 22:01:01.000] * I (150/50) [192.168.2.21]
\tOSPF.metric1: 50
\tOSPF.router_id: 192.168.2.21
"""


def test_birds_best_route_says_its_path_or_its_cost() -> None:
    assert reasons.bird(BIRD) == {
        "10.244.3.0/24": "AS path 64514 64516 64515 64512",
        "10.244.2.0/24": "within its own AS",
        "10.244.4.0/24": "OSPF's cost is 50, by an LSA of 192.168.2.21",
    }
    assert reasons.bird("") == reasons.frr_ospf("%% Unknown command") == reasons.frr_rip("") == {}


def test_frrs_routes_say_which_lsa_told_of_them() -> None:
    routes = (
        '{"10.244.3.0/24": {"routeType": "N", "cost": 31, "area": "0.0.0.0"}, '
        '"192.168.12.0/30": {"routeType": "N", "cost": 20, "area": "0.0.0.0"}, '
        '"0.0.0.0/0": {"routeType": "N E2", "cost": 10, "type2cost": 1}}'
    )
    stub = '"linkType": "Stub Network", "networkAddress": "{}", "networkMask": "{}"'.format
    up2 = stub("192.168.12.0", "255.255.255.252")
    routers = (
        '{"routerLinkStates": {"areas": {"0.0.0.0": ['
        '{"advertisingRouter": "192.168.2.21", "routerLinks": {"link0": {'
        + stub("10.244.3.0", "255.255.255.0")
        + "}}},"
        '{"advertisingRouter": "192.168.2.1", "routerLinks": {"link0": {' + up2 + "}}},"
        '{"advertisingRouter": "192.168.11.1", "routerLinks": {"link0": {' + up2 + '}, "link1": {"linkType": "x"}}}]}}}'
    )
    external = (
        '{"asExternalLinkStates": [{"linkStateId": "0.0.0.0", "networkMask": 0, "advertisingRouter": "9.9.9.9"}]}'
    )
    assert reasons.frr_ospf(routes, routers, external) == {
        "10.244.3.0/24": "OSPF's cost is 31, in area 0.0.0.0, by an LSA of 192.168.2.21",
        "192.168.12.0/30": "OSPF's cost is 20, in area 0.0.0.0, by LSAs of 192.168.2.1 and 192.168.11.1",
        "0.0.0.0/0": "OSPF's cost is 10, from outside OSPF, by an LSA of 9.9.9.9",
    }


def test_frrs_routes_say_their_cost() -> None:
    said = '{"10.244.3.0/24": {"routeType": "N", "cost": 40, "area": "0.0.0.0"}, "192.168.2.1": {"routeType": "R"}}'
    assert reasons.frr_ospf(said) == {"10.244.3.0/24": "OSPF's cost is 40, in area 0.0.0.0"}
    row = "R(n) 10.244.3.0/24      192.168.1.1           5 192.168.1.1           0 00:14"
    assert reasons.frr_rip(row) == {"10.244.3.0/24": "RIP's metric is 5"}
