"""pyroute2's messages, imported when the first is decoded."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from k8snetlab.kernel import decoded
from k8snetlab.kernel.messages import RTM_GETLINK
from k8snetlab.kernel.netlink import Netlink


def test_several_threads_at_once_import_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would take the package that stands in for pyroute2 from each other."""
    real, inside, most = decoded._classes, threading.Semaphore(1), list[bool]()

    def slow() -> Mapping[int, Any]:
        most.append(inside.acquire(blocking=False))
        time.sleep(0.01)
        inside.release()
        return real()

    def links(_: int) -> int:
        with Netlink("") as netlink:
            return len(decoded.dump(netlink, RTM_GETLINK, bytes(16)))

    monkeypatch.setattr(decoded, "_classes", slow)
    with ThreadPoolExecutor(8) as several:
        assert min(several.map(links, range(8))) >= 1
    assert len(most) == 8 and all(most)
