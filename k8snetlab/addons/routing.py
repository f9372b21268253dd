"""The routing daemons of a node: BIRD, or FRR's zebra and the daemon of one protocol."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

from k8snetlab.addons.program import CONF, Program
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.render.blocks import holders
from k8snetlab.render.lb import routed
from k8snetlab.render.routing import beside, bird, calico, frr, speakers

PACKAGES: Mapping[str, tuple[str, str]] = {"bird": ("bird", "bird2"), "frr": ("/usr/lib/frr/zebra", "frr")}
"""A daemon's program, and Debian's package of it."""
SOCKET = "bird.ctl"
"""Where `birdc` finds BIRD, in its directory."""
RUN = "run"
"""What FRR's daemons may write into: they give up being root first."""
HERE = "/proc/self/cwd"
"""Its directory for FRR, which makes the path of its file absolute and then may not go that way."""
_FRR = f'mkdir -p {RUN} && chmod 777 {RUN} && exec "$0" "$@"'


def programs(snapshot: Snapshot, node: str) -> tuple[Program, ...]:
    """None in a lab whose routes flannel makes, and whose load balancers nobody announces by BGP."""
    lab = snapshot.lab
    if not lab.spec.daemon:
        return ()
    own = tuple(speakers.speakers(snapshot, node))
    if not own:
        return ()
    if lab.spec.network.calico:
        everybody = holders(snapshot)
        if node not in everybody:
            return (_bird(beside.configuration(lab, own[0])),)
        return (_bird(calico.configuration(lab, everybody[node], everybody.values())),)
    if lab.spec.daemon == "bird":
        services = bird.Services(routed.told(snapshot, node), lab.spec.loadBalancer.networks if node == ROUTER else ())
        return (_bird(bird.configuration(lab, own, services)),)
    return _frr(lab, own[0])


def talking(lab: Lab, home: Path) -> tuple[Path, tuple[str, ...]]:
    """The directory in which to run it, and the command that opens the daemon whose directories are in `home`.

    The path of a socket has at most 107 octets, and a lab's directory may be longer: so it is told from there.
    """
    if lab.spec.daemon == "bird":
        return home / "bird", ("birdc", "-s", SOCKET)
    return home / frr.DAEMONS[lab.spec.network.backend], ("vtysh", "--vty_socket", RUN)


def _bird(text: str) -> Program:
    return Program(
        "bird",
        ("bird", "-f", "-c", f"{CONF}/bird.conf", "-s", SOCKET, "-u", "bird", "-g", "bird"),
        files={"bird.conf": text},
        check=("bird", "-p", "-c", f"{CONF}/bird.conf"),
        reload=signal.SIGHUP,
        ready=("birdc", "-s", SOCKET, "show", "status"),
        plain=True,
        package=PACKAGES["bird"][1],
    )


def _frr(lab: Lab, speaker: speakers.Speaker) -> tuple[Program, ...]:
    protocol, zebra = frr.DAEMONS[lab.spec.network.backend], f"../{frr.ZEBRA}/{RUN}/zserv.api"
    watching = (_daemon(frr.BFDD, frr.bfd(speaker), zebra, "--bfdctl", f"{RUN}/{frr.BFDD}.sock"),)
    return (
        _daemon(frr.ZEBRA, frr.zebra(lab, speaker), f"{RUN}/zserv.api"),
        *(watching if lab.spec.network.routing.bfd else ()),
        _daemon(protocol, frr.configuration(lab, speaker), zebra),
    )


def _daemon(name: str, text: str, zebra: str, *more: str) -> Program:
    """One of FRR's. `zebra` is zebra's socket, which the others wait for by themselves."""
    binary, file = f"/usr/lib/frr/{name}", f"{HERE}/{CONF}/{name}.conf"
    words = ("-f", file, "-i", f"{RUN}/{name}.pid", "-z", zebra, "--vty_socket", RUN, "-P", "0", *more)
    return Program(
        name,
        ("/bin/sh", "-c", _FRR, binary, *words),
        files={f"{name}.conf": text},
        ready=("/usr/bin/test", "-S", f"{RUN}/{name}.vty"),
        plain=True,
        package=PACKAGES["frr"][1],
    )
