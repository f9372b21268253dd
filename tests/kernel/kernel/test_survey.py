"""What a trace is predicted from, as the kernel has it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from k8snetlab.kernel import iptables
from k8snetlab.kernel.survey import survey

Make = Callable[..., str]


def test_a_cable_leads_to_its_peer_though_one_was_unplugged_from_another_before(
    namespace: Make, tmp_path: Path
) -> None:
    """The kernel keeps the number by which it knows a namespace when the cable goes that it was given for."""
    pod, before, node = namespace("pod"), namespace("before"), namespace("node")
    for other in (before, node):
        cable = f"ip -n {pod} link add eth0 type veth peer name plug netns {other}"
        subprocess.run(cable.split(), check=True)
        if other == before:
            subprocess.run(f"ip -n {pod} link del eth0".split(), check=True)
    view = survey(
        pod,
        "ipv4",
        "nft",
        partial(iptables.counted, lockfile=tmp_path / "lock"),
        place="pod",
        kind="pod",
        others=(before, node),
    )
    assert view.interfaces["eth0"].peer == (node, "plug")
