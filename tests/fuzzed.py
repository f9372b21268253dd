"""DNS packets that nobody should send: some written down, any number made of them and of right ones."""

from __future__ import annotations

import random

import dns.message
import dns.rcode

NAME = "web.default.svc.cluster.local."
SEED = 20_261_129
PACKETS = 100_000
REFUSALS = {
    "an update": (dns.message.make_query(NAME, "SOA").to_wire(), 5, dns.rcode.NOTIMP),
    "a status query": (dns.message.make_query(NAME, "A").to_wire(), 2, dns.rcode.NOTIMP),
    "a notification": (dns.message.make_query(NAME, "SOA").to_wire(), 4, dns.rcode.REFUSED),
}
HEAD = b"\0\7\1\0\0\1\0\0\0\0\0\0"
WRONG = {
    "two questions": b"\0\7\1\0\0\2\0\0\0\0\0\0",
    "no question": b"\0\7\1\0\0\0\0\0\0\0\0\0",
    "a question cut off": HEAD + b"\3web",
    "a pointer to itself": HEAD + b"\xc0\x0c\0\1\0\1",
    "two pointers in a circle": HEAD + b"\xc0\x0e\xc0\x0c\0\1\0\1",
    "a pointer ahead": HEAD + b"\xc0\xff\0\1\0\1",
    "a label of a type that there is not": HEAD + b"\x80web\0\0\1\0\1",
    "a label of 64 octets": HEAD + b"\x40" + b"a" * 64 + b"\0\0\1\0\1",
    "a name of 256 octets": HEAD + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",
    "octets behind its end": HEAD + b"\3web\0\0\1\0\1" + b"x",
    "an OPT that is cut off": b"\0\7\1\0\0\1\0\0\0\0\0\1" + b"\3web\0\0\1\0\1" + b"\0\0\x29\x10",
    "more answers than a query has": b"\0\7\1\0\0\1\0\2\0\0\0\0" + b"\3web\0\0\1\0\1",
}
RIGHT = [dns.message.make_query(NAME, t, use_edns=e).to_wire() for t in ("A", "SRV", "ANY") for e in (None, 0)]
_SEEDS = [*WRONG.values(), *(octets for octets, _, _ in REFUSALS.values()), *RIGHT]


def packet(dice: random.Random) -> bytes:
    """The next one."""
    return mangled(dice.choice(_SEEDS), dice)


def mangled(right: bytes, dice: random.Random) -> bytes:
    """With some octets changed, cut off, added or said twice; or none."""
    octets = bytearray(right)
    for _ in range(dice.randrange(4)):
        match dice.randrange(4):
            case 0 if octets:
                octets[dice.randrange(len(octets))] = dice.randrange(256)
            case 1:
                del octets[dice.randrange(len(octets) + 1) :]
            case 2:
                octets += dice.randbytes(dice.randrange(40))
            case _:
                at = dice.randrange(len(octets) + 1)
                octets[at:at] = octets[: dice.randrange(20)]
    return bytes(octets)
