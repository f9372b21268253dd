"""tc's words and units, read and written."""

from __future__ import annotations

import pytest

from k8snetlab.dataplane.shaping import WHOLE, Shape, parsed, shape
from k8snetlab.errors import InputError


@pytest.mark.parametrize(
    ("text", "ns"),
    [("50ms", 50_000_000), ("1s", 10**9), ("200us", 200_000), ("200usec", 200_000), ("7", 7_000), ("1.5ms", 1_500_000)],
)
def test_times_are_tcs(text: str, ns: int) -> None:
    assert shape(delay=text).delay == ns


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("10mbit", 1_250_000),
        ("10Mbit", 1_250_000),
        ("500kbit", 62_500),
        ("1mbps", 1_000_000),
        ("1gibit", 1 << 27),
        ("80000", 10_000),
    ],
)
def test_rates_are_tcs_in_bits_and_bps_is_octets(text: str, octets: int) -> None:
    assert shape(rate=text).rate == octets


@pytest.mark.parametrize(("text", "part"), [("1%", 0.01), ("0.1", 0.001), ("100%", 1.0), ("33.333%", 0.33333)])
def test_a_loss_is_a_part_of_all(text: str, part: float) -> None:
    assert shape(loss=text).loss == round(part * WHOLE)


@pytest.mark.parametrize(
    "given",
    [
        {"delay": "50ms", "jitter": "5ms", "loss": "1%", "rate": "10mbit"},
        {"rate": "1.5mbit"},
        {"loss": "0.25%"},
        {"loss": "0.0001%"},
        {"delay": "1us"},
        {"delay": "123456789ns"},
    ],
)
def test_what_is_written_is_read_the_same(given: dict[str, str]) -> None:
    found = shape(**given)
    assert parsed(found.words()) == found


def test_a_rate_alone_needs_no_netem() -> None:
    assert shape(rate="1mbit").kind == "tbf"
    assert {shape(delay="1ms").kind, shape(loss="1%").kind, shape(delay="1ms", rate="1mbit").kind} == {"netem"}
    assert (shape(delay="1ms").fault, shape(delay="1ms", loss="1%").fault) == ("slow", "lossy")


@pytest.mark.parametrize(
    "given",
    [
        {"delay": "50 ms"},
        {"delay": "-5ms"},
        {"delay": "5m"},
        {"delay": "61s"},
        {"delay": "0ms"},
        {"delay": "9" * 5000},
        {"delay": "nan"},
        {"delay": "٣ms"},
        {"jitter": "5ms"},
        {"delay": "5ms", "jitter": "6ms"},
        {"loss": "0%"},
        {"loss": "0.00009%"},
        {"loss": "0.0000000001%"},
        {"loss": "101%"},
        {"loss": "1e2"},
        {"rate": "1bit"},
        {"rate": "2tbit"},
        {"rate": "fast"},
        {"rate": "10mbit; reboot"},
    ],
)
def test_what_is_no_shape_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InputError) as refused:
        shape(**given)
    assert len(refused.value.message) < 100 and refused.value.hint


@pytest.mark.parametrize("words", ["delay", "fast", "delay 5ms 1ms 1ms", "loss", "rate 1mbit root", "delay 5ms down"])
def test_words_that_nobody_wrote_are_refused(words: str) -> None:
    with pytest.raises(InputError):
        parsed(words)


def test_nothing_is_no_shape() -> None:
    assert not Shape() and Shape().words() == "" and parsed("") == Shape()
