"""The least that a server of names in Python does: dnspython reads the query, and a fixed record is answered.

`python -m benchmarks.floors.names`, in the namespace where it is to answer.
"""

from __future__ import annotations

import socket

import dns.message
import dns.rdata
import dns.rrset

RECORD = dns.rdata.from_text("IN", "A", "192.0.2.7")


def main() -> None:
    serving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    serving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    serving.bind(("", 53))
    while True:
        octets, asker = serving.recvfrom(65_535)
        reply = dns.message.make_response(dns.message.from_wire(octets))
        reply.answer.append(dns.rrset.from_rdata(reply.question[0].name, 5, RECORD))
        serving.sendto(reply.to_wire(), asker)


if __name__ == "__main__":
    main()
