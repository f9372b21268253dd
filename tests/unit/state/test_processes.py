"""What is asked of a process by its number."""

from __future__ import annotations

import os
import time

from k8snetlab.state.processes import processor_seconds


def test_a_processs_work_is_what_it_had_of_a_processor() -> None:
    before = processor_seconds(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert processor_seconds(os.getpid()) - before > 0.05
    assert processor_seconds(2**30) == 0.0
