"""What is an address, and what is said of a text that is none."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8snetlab.api import addressing

ODD = ("", "00", "01", "+1", "\u0661", " 1", "1 ", "0x1", "1\0")
OCTETS = st.one_of(st.integers(0, 300).map(str), st.sampled_from(ODD))
TEXTS = st.one_of(
    st.lists(OCTETS, min_size=1, max_size=5).map(".".join), st.text("0123456789abf.:%/\n", max_size=20), st.text()
)


@given(TEXTS)
def test_what_is_an_address_is_one_for_ipaddress_too_unless_it_names_a_zone(text: str) -> None:
    try:
        wanted = ip_address(text) if "%" not in text else None
    except ValueError:
        wanted = None
    if wanted is None:
        with pytest.raises(ValueError, match=r"leading zeros|is no IP address"):
            addressing.canonical(text)
    else:
        assert addressing.canonical(text) == wanted


@pytest.mark.parametrize("text", ["010.0.0.1", "10.00.0.1"])
def test_leading_zeros_are_said_to_be_such(text: str) -> None:
    with pytest.raises(ValueError, match="leading zeros"):
        addressing.canonical(text)
