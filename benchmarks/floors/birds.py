"""The same BIRDs in namespaces made by `ip`, with configurations as a person would write them: no lab at all.

A mesh has a session between any two nodes; with a reflector each node has one, with the first node.
"""

from __future__ import annotations

import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from benchmarks import machine
from benchmarks.arrivals import Arrivals
from benchmarks.settled import Settled, settled
from k8snetlab.kernel import netns
from k8snetlab.render.routing import timers

Shape = Literal["mesh", "reflector"]


def settle(nodes: int, shape: Shape, timeout: float) -> Settled:
    """From the start of the BIRDs to the last route in the last kernel. Raises FailedError."""
    with (
        machine.lifted(),
        _nodes(nodes) as names,
        tempfile.TemporaryDirectory(prefix="k8snetlab-bench-", dir="/tmp") as place,
    ):
        directory = Path(place)
        directory.chmod(0o711)
        for number, _ in enumerate(names, 1):
            own = directory / str(number)
            own.mkdir(mode=0o777)
            own.chmod(0o777)
            (own / "bird.conf").write_text(configuration(number, nodes, shape))
        with Arrivals() as arrivals:
            for name in names:
                arrivals.add(name)
            began = time.perf_counter()
            birds = [_bird(name, directory / str(number)) for number, name in enumerate(names, 1)]
            try:
                at = arrivals.wait(wanted(names), timeout)
                return settled(began, at, arrivals, [bird.pid for bird in birds])
            finally:
                for bird in birds:
                    bird.terminate()
                for bird in birds:
                    bird.wait()


def wanted(names: Sequence[str], length: int = 24) -> dict[str, set[str]]:
    """The networks of all others, in each namespace."""
    networks = {name: f"10.244.{number}.0/{length}" for number, name in enumerate(names, 1)}
    return {name: {one for other, one in networks.items() if other != name} for name in names}


def configuration(number: int, nodes: int, shape: Shape) -> str:
    """BIRD's file of one node."""
    others = [one for one in range(1, nodes + 1) if one != number and (shape == "mesh" or 1 in (one, number))]
    hold, keepalive = timers.hold(nodes - 1)
    lines = [
        f"router id {_address(number)};",
        timers.DEVICES,
        'protocol direct { ipv4; interface "pods"; }',
        "protocol kernel { ipv4 { import none; export where source != RTS_DEVICE; }; }",
        "template bgp nodes {",
        f"  local {_address(number)} as 64512;",
        "  direct;",
        "  connect delay time 1; connect retry time 1; error wait time 1, 5;",
        f"  hold time {hold}; keepalive time {keepalive};",
        "  ipv4 { import all; export where source = RTS_DEVICE || source = RTS_BGP; };",
        "}",
    ]
    client = " rr client;" if shape == "reflector" and number == 1 else ""
    lines += [f"protocol bgp n{one} from nodes {{ neighbor {_address(one)} as 64512;{client} }}" for one in others]
    return "\n".join(lines) + "\n"


def _address(number: int) -> str:
    return f"192.168.0.{number}"


def _bird(namespace: str, directory: Path) -> subprocess.Popen[bytes]:
    argv = ["ip", "netns", "exec", namespace, "bird", "-f", "-c", "bird.conf", "-s", "bird.ctl"]
    return subprocess.Popen(
        [*argv, "-u", "bird", "-g", "bird"], cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@contextmanager
def _nodes(count: int) -> Iterator[list[str]]:
    """Namespaces with an address on one link and a network of pods each."""
    prefix = f"floor{secrets.token_hex(3)}"
    link, names = f"{prefix}.link", [f"{prefix}.{number}" for number in range(1, count + 1)]
    try:
        for name in (link, *names):
            netns.create(name)
        _batch(link, ["link add br0 type bridge", "link set br0 up"])
        for number, name in enumerate(names, 1):
            _batch(
                name,
                [
                    f"link add eth0 type veth peer name v{number} netns {link}",
                    "link add pods type bridge",
                    f"addr add {_address(number)}/24 dev eth0",
                    f"addr add 10.244.{number}.1/24 dev pods",
                    "link set lo up",
                    "link set eth0 up",
                    "link set pods up",
                ],
            )
        _batch(link, [f"link set v{number} master br0 up" for number in range(1, count + 1)])
        yield names
    finally:
        for name in (link, *names):
            netns.delete(name)
        machine.emptied()


def _batch(namespace: str, lines: Sequence[str]) -> None:
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines), text=True, check=True)
