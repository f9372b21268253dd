"""What is computed for a probe packet, and read of the kernel's list of SCTP endpoints."""

from __future__ import annotations

from k8snetlab.kernel.shot import checksum, crc32c
from k8snetlab.kernel.survey import endpoints


def test_checksums_are_those_of_the_standards() -> None:
    assert crc32c(b"123456789") == 0xE3069283, "the check value that every list of CRCs has"
    assert crc32c(bytes(32)) == 0x8A9136AA, "RFC 3720, B.4"
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D, "RFC 1071, 3"


def test_only_sctp_endpoints_that_listen_are_found() -> None:
    """The form is that of sctp_eps_seq_show (net/sctp/proc.c)."""
    text = (
        " ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n"
        "ffff88 ffff89 2   10  29   36412     0 2048 0.0.0.0 \n"
        "ffff88 ffff89 2   10  29   38412     0 2049 10.0.0.1 fd00::1 \n"
        "ffff88 ffff89 2   1   29   38413     0 2050 10.0.0.1 \n"
    )
    assert [*endpoints(text)] == [("sctp", "", 36412), ("sctp", "10.0.0.1", 38412), ("sctp", "fd00::1", 38412)]
