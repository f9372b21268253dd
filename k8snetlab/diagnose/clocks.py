"""A clock that has jumped: that by which the API makes and judges tokens."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.ages import duration
from k8snetlab.diagnose.finding import Finding

NOTICED = 60.0
"""Seconds that clocks may differ without harm: the API takes a token that begins so much later."""


def jumped(ahead: float) -> Iterator[Finding]:
    """`ahead`: by how many seconds the API's clock is ahead of the machine's."""
    if abs(ahead) <= NOTICED:
        return
    behind = ahead < 0
    yield Finding(
        kind="component",
        fault="clock",
        node="",
        object="kube-apiserver",
        message=f"the API's clock is {duration(abs(ahead))} {'behind' if behind else 'ahead of'} this machine's",
        consequence="tokens that were made before are not good yet: the API answers pods 401 Unauthorized"
        if behind
        else "tokens end that much too early: the API answers pods 401 Unauthorized",
        show="kubectl create token default | cut -d. -f2 | base64 -d 2>/dev/null; date +' %s'",
        mend="k8snetlab fault clear",
    )
