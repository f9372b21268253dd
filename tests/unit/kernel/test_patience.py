"""An answer is waited for longer where processes queue for the cores, and never for ever."""

from __future__ import annotations

import pytest

from k8snetlab.kernel.patience import MOST, patience


@pytest.mark.parametrize(
    ("load", "cores", "seconds"), [(0.0, 2, 0.5), (2.0, 2, 0.5), (6.0, 2, 1.5), (6.0, 8, 0.5), (900.0, 2, 0.5 * MOST)]
)
def test_patience_grows_with_the_queue_for_a_core(load: float, cores: int, seconds: float) -> None:
    assert patience(0.5, load, cores) == seconds


def test_patience_grows_where_things_were_seen_to_be_slow_and_no_load_says_so() -> None:
    assert patience(0.5, 1.0, 2, slower=3.0) == 1.5
    assert patience(0.5, 8.0, 2, slower=3.0) == 2.0
    assert patience(0.5, 1.0, 2, slower=0.1) == 0.5
    assert patience(0.5, 1.0, 2, slower=1000.0) == 0.5 * MOST


def test_this_machine_has_a_load() -> None:
    assert 1.0 <= patience(1.0) <= MOST
