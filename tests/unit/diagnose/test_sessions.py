"""The answers of birdc and vtysh, as BIRD 2.0.12 and FRR 8.4.4 gave them, read; and anything else, passed over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8snetlab.diagnose import sessions
from k8snetlab.diagnose.sessions import Session

BGP = """BIRD 2.0.12 ready.
Access restricted
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     10:03:04.762
kernel1    Kernel     master4    up     10:03:04.762
Node_192_168_0_1 BGP        ---        up     10:03:05.601  Established
Node_192_168_0_22 BGP        ---        start  10:03:05.668  Connect       BGP Error: Hold timer expired
Node_192_168_0_23 BGP        ---        start  10:03:05.610  Active        Socket: Connection refused
another    BGP        ---        up     10:03:05.610  Established
"""
OSPF = """BIRD 2.0.12 ready.
ospf_ipv4:
Router ID   \tPri\t     State     \tDTime\tInterface  Router IP
192.168.0.22\t  1\tFull/BDR  \t 2.822\teth0       192.168.0.22
192.168.0.1 \t  1\t2-Way/Other\t 2.743\teth0       192.168.0.1
192.168.0.9 \t  1\tInit/Other\t 2.743\teth0       192.168.0.9
"""
RIP = """BIRD 2.0.12 ready.
rip_ipv4:
IP address                Interface  Metric Routes    Seen
192.168.0.23              eth0            1      1   0.335
192.168.0.1               eth0            1      0   0.334
"""
FRR_OSPF = """{"neighbors":{"192.168.0.22":[{"priority":1,"state":"Full\\/DROther","nbrState":"Full\\/DROther",
"deadTime":"0.838s","address":"192.168.0.22"}],"192.168.0.23":[{"nbrState":"Init\\/DROther","deadTime":"0.1s"}]}}"""
FRR_RIP = """Routing Protocol is "rip"
  Sending updates every 5 seconds with +/-50%, next due in 2 seconds
  Routing Information Sources:
    Gateway          BadPackets BadRoutes  Distance Last Update
    192.168.0.22             0         0       120   00:00:03
  Distance: (default is 120)
"""


def test_bgp_sessions_are_those_of_the_files_protocols() -> None:
    addresses = {f"Node_192_168_0_{n}": f"192.168.0.{n}" for n in (1, 22, 23)}
    found = [*sessions.bird_bgp(BGP, addresses)]
    assert found == [
        Session("192.168.0.1", "Established", since="10:03:05.601"),
        Session("192.168.0.22", "Connect", "BGP Error: Hold timer expired", since="10:03:05.668"),
        Session("192.168.0.23", "Active", "Socket: Connection refused", since="10:03:05.610"),
    ]
    assert [session.stands for session in found] == [True, False, False]


@pytest.mark.parametrize(
    ("read", "text", "states"),
    [
        (sessions.bird_ospf, OSPF, [("192.168.0.22", True), ("192.168.0.1", True), ("192.168.0.9", False)]),
        (sessions.bird_rip, RIP, [("192.168.0.23", True), ("192.168.0.1", True)]),
        (sessions.frr_ospf, FRR_OSPF, [("192.168.0.22", True), ("192.168.0.23", False)]),
        (sessions.frr_rip, FRR_RIP, [("192.168.0.22", True)]),
    ],
    ids=["bird ospf", "bird rip", "frr ospf", "frr rip"],
)
def test_who_is_heard_and_who_tells_of_routes(read: sessions.Reader, text: str, states: list[tuple[str, bool]]) -> None:
    assert [(session.address, session.stands) for session in read(text)] == states
    assert all(session.info for session in read(text))


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=200))
def test_what_no_daemon_says_is_passed_over(text: str) -> None:
    for read in (sessions.bird_ospf, sessions.bird_rip, sessions.frr_ospf, sessions.frr_rip):
        assert all(isinstance(session, Session) for session in read(text))
        assert all(isinstance(session, Session) for session in read(f'{{"neighbors": {text!r}}}'))
