"""Waiting for what takes its time on an emulated processor."""

from __future__ import annotations

from functools import partial

from k8snetlab.testing.waiting import eventually as soon

eventually = partial(soon, seconds=300.0)
