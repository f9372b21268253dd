"""Routing daemons asked: what they know of their neighbours, and which routes they made.

Blocking.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from k8snetlab.addons.keeper import why_not
from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.addons.program import uids_of
from k8snetlab.addons.routing import programs, talking
from k8snetlab.api import bgp_routers, pools, topology
from k8snetlab.api.core import Node
from k8snetlab.api.link_settings import settings_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import family_of
from k8snetlab.dataplane.names import node_netns
from k8snetlab.dataplane.routing import Route
from k8snetlab.diagnose import reasons, sessions
from k8snetlab.diagnose.sessions import Session, Speaking
from k8snetlab.diagnose.speaking import DEAD, HELLO, Told
from k8snetlab.diagnose.speaking import bird as from_bird
from k8snetlab.diagnose.speaking import frr as from_frr
from k8snetlab.errors import InputError, K8sNetLabError
from k8snetlab.kernel import read
from k8snetlab.kernel.patience import patience
from k8snetlab.messages.routing import LearnedRoute, RoutingNeighbour, RoutingNode, RoutingView
from k8snetlab.messages.status import RouterDaemon, RouterStatus
from k8snetlab.render.routing import bird, frr
from k8snetlab.render.routing.speakers import Speaker, lacking, speakers, wanted
from k8snetlab.state.paths import LabPaths

PATIENCE = 3.0
"""Seconds that a daemon gets to answer; more where processes queue for the cores."""


def view(snapshot: Snapshot, paths: LabPaths, name: str = "") -> RoutingView:
    """Of one node, or of all and the router. Raises NotFoundError, and InputError where no daemon makes routes."""
    network = snapshot.lab.spec.network
    if not snapshot.lab.spec.daemon:
        raise InputError(
            f"no daemon makes routes here: network.backend is {network.backend}"
            + (", and all pools have a vxlanMode" if network.calico else ""),
            "labs with network.backend bgp, ospf, rip or calico have one; `k8snetlab tables NODE routes` shows any",
        )
    if name not in ("", *topology.beside_nodes(snapshot.lab.spec)):
        snapshot.node(name)
    subnets = pools.nodes_led_to(snapshot.all(Node).values())
    return RoutingView(
        network.backend if network.routed else snapshot.lab.spec.spoken,
        tuple(_shown(*one, subnets) for one in speaking(snapshot, paths, name)),
    )


def routers(snapshot: Snapshot, paths: LabPaths) -> tuple[RouterStatus, ...]:
    """Those of a lab with several links, with what the kubelet says of their daemons."""
    if not snapshot.lab.spec.underlay.links:
        return ()
    return tuple(_router(snapshot, paths, name) for name in topology.routers(snapshot.lab.spec.underlay))


def _router(snapshot: Snapshot, paths: LabPaths, name: str) -> RouterStatus:
    begin, problem = uids_of(name), ""
    held: dict[str, str] = {}
    wanted_programs = programs(snapshot, name)
    try:
        states = Kubelet(paths.kubelet_socket).addons(begin) if wanted_programs else {}
        held = {uid.removeprefix(begin).partition("/")[0]: why_not(state) for uid, state in states.items()}
    except K8sNetLabError as error:
        problem = error.message
    daemons = (RouterDaemon(one.name, problem or held.get(one.name, "it is not started")) for one in wanted_programs)
    settings = settings_of(snapshot, name)
    return RouterStatus(
        name,
        tuple(f"{end.link.name} {end.address}" for end in topology.of(snapshot.lab, name)),
        tuple(device for device, setting in settings.items() if setting.down),
        tuple(daemons),
    )


def everybody(snapshot: Snapshot, paths: LabPaths) -> list[Speaking]:
    """All nodes and routers with daemons."""
    return [one for one, _ in speaking(snapshot, paths)] if snapshot.lab.spec.daemon else []


def told(snapshot: Snapshot, paths: LabPaths, own: Speaker) -> tuple[Told, Told]:
    """What OSPF's daemon goes by, and what it was to. Raises OSError where it does not answer."""
    lab = snapshot.lab
    where, command = talking(lab, paths.addons / own.name)
    links = {link.device: link.network for link in own.devices}
    wanted = from_frr(frr.configuration(lab, own), links)
    if lab.spec.daemon == "frr":
        return from_frr(_said(where, [*command, "-c", "show running-config"]), links), wanted
    fast = lab.spec.network.routing.timers == "fast"
    hello, dead = bird.OSPF_SECONDS if fast else (HELLO, DEAD)
    devices = {name: replace(one, hello=hello, dead=dead) for name, one in wanted.devices.items()}
    return from_bird(_said(where, [*command, "-r", "show", "ospf", "interface"])), Told(devices)


def speaking(snapshot: Snapshot, paths: LabPaths, name: str = "") -> Iterator[tuple[Speaking, tuple[Route, ...]]]:
    """What each daemon knows, and the routes that it made: those of one node, or of all and the router."""
    lab = snapshot.lab
    routers = topology.routers(lab.spec.underlay) if bgp_routers.speak(lab) else ()
    first = routers if lab.spec.network.calico else topology.beside_nodes(lab.spec)
    for one in [name] if name else [*first, *(node.name for node in snapshot.all(Node).values())]:
        own, daemon, problem = tuple(speakers(snapshot, one)), snapshot.lab.spec.daemon, ""
        held: tuple[Route, ...] = ()
        watched: Mapping[str, str] = {}
        found: list[Session] = []
        try:
            held = read.learned(node_netns(snapshot.lab.name, one))
            found = [*_asked(snapshot, paths, own)]
            watched = _watched(snapshot, paths, own)
        except K8sNetLabError as error:
            problem = error.message
        except OSError as error:
            problem = f"{daemon} of {one} does not answer: {error}"
        missing = tuple(route.dst for route in lacking(wanted(snapshot, one), held))
        others: Mapping[str, str] = {}
        with contextlib.suppress(K8sNetLabError):  # said already
            others = read.others(node_netns(snapshot.lab.name, one), missing) if missing else {}
        detours = {dst: tuple(route.via for route in held if route.dst == dst) for dst in missing}
        detours = {dst: hops for dst, hops in detours.items() if hops}
        yield (
            Speaking(
                one,
                daemon,
                _with_bfd(neighbours(snapshot, own, found), own, watched),
                missing,
                problem,
                others,
                detours,
            ),
            held,
        )


def _with_bfd(found: Iterable[Session], own: Sequence[Speaker], watched: Mapping[str, str]) -> tuple[Session, ...]:
    """OSPF may call neighbours by their router ids; BFD knows the addresses on the link."""
    known = {n.identity: n.address for one in own for n in one.neighbours if n.identity}
    return tuple(replace(s, bfd=watched.get(s.address) or watched.get(known.get(s.address, ""), "")) for s in found)


def _watched(snapshot: Snapshot, paths: LabPaths, own: Sequence[Speaker]) -> Mapping[str, str]:
    """What BFD says, by address; nothing without it. Raises OSError where it does not answer."""
    lab = snapshot.lab
    if not lab.spec.network.routing.bfd or not own:
        return {}
    where, command = talking(lab, paths.addons / own[0].name)
    if lab.spec.daemon == "frr":
        return sessions.frr_bfd(_said(where.parent / frr.BFDD, [*command, "-c", "show bfd peers json"]))
    return sessions.bird_bfd(_said(where, [*command, "-r", "show", "bfd", "sessions"]))


def sessions_of(snapshot: Snapshot, paths: LabPaths, name: str) -> Iterator[Session]:
    """Of one node's daemon, or of the router's. Raises OSError where it does not answer."""
    own = tuple(speakers(snapshot, name))
    return neighbours(snapshot, own, _asked(snapshot, paths, own))


def _shown(one: Speaking, held: Iterable[Route], subnets: Mapping[str, str]) -> RoutingNode:
    neighbours = tuple(
        RoutingNeighbour(s.name, s.address, s.state, s.stands, s.info, s.since, s.kind, s.bfd) for s in one.neighbours
    )
    routes = tuple(LearnedRoute(r.dst, r.via, r.dev, r.metric, subnets.get(r.dst, "")) for r in held)
    return RoutingNode(one.name, one.daemon, neighbours, routes, one.missing, one.problem)


def neighbours(snapshot: Snapshot, own: Iterable[Speaker], found: Iterable[Session]) -> Iterator[Session]:
    """Those that there should be, then others. OSPF calls neighbours by their router ids, RIPng by link-local
    addresses: that one of those is not heard cannot be told of an address."""
    spoken = snapshot.lab.spec.spoken
    known = {(session.family or family_of(session.address), session.address): session for session in found}
    meant = [other for one in own for other in one.neighbours]
    addresses: dict[str, list[str]] = {}
    for other in meant:
        addresses.setdefault(other.name, []).append(other.address)
    for other in meant:
        family = family_of(other.address)
        identity = (other.identity or bird.identity(addresses[other.name])) if spoken == "ospf" else ""
        session = known.pop((family, identity or other.address), None)
        if session or family == "ipv4" or spoken in ("bgp", "ospf"):
            heard = session or Session(other.address, "", family=family)
            yield replace(heard, name=other.name, kind=other.kind, expects=other.number)
    yield from known.values()


def _asked(snapshot: Snapshot, paths: LabPaths, own: Sequence[Speaker]) -> Iterable[Session]:
    """Raises OSError where the daemon does not answer."""
    lab = snapshot.lab
    if not own:
        return []
    where, command = talking(lab, paths.addons / own[0].name)
    backend = lab.spec.spoken
    if lab.spec.daemon == "frr":
        asked = "show ip ospf neighbor json" if backend == "ospf" else "show ip rip status"
        said = _said(where, [*command, "-c", asked])
        return sessions.frr_ospf(said) if backend == "ospf" else sessions.frr_rip(said)
    control = [*command, "-r", "show"]
    if backend == "bgp":
        addresses = {n.protocol or bird.protocol_of(n.address): n.address for one in own for n in one.neighbours}
        return sessions.bird_bgp(_said(where, [*control, "protocols"]), addresses)
    told = sessions.bird_ospf if backend == "ospf" else sessions.bird_rip
    return [
        replace(session, family=one.family)
        for one in own
        for session in told(_said(where, [*control, backend, "neighbors", f"{backend}_{one.family}"]))
    ]


def reasons_of(snapshot: Snapshot, paths: LabPaths, name: str) -> Mapping[str, str]:
    """Why the daemon of a node or a router holds its routes, by destination; none where it does not answer."""
    lab = snapshot.lab
    if not lab.spec.daemon or not tuple(speakers(snapshot, name)):
        return {}
    where, command = talking(lab, paths.addons / name)
    try:
        if lab.spec.daemon == "bird":
            return reasons.bird(_said(where, [*command, "-r", "show", "route", "all"]))
        if lab.spec.spoken == "ospf":
            asked = ("route", "database router", "database external")
            return reasons.frr_ospf(*(_said(where, [*command, "-c", f"show ip ospf {one} json"]) for one in asked))
        return reasons.frr_rip(_said(where, [*command, "-c", "show ip rip"]))
    except OSError:
        return {}


def said_by_bird(snapshot: Snapshot, paths: LabPaths, name: str, *words: str) -> str:
    """What the BIRD of a node, or a router, answers. Raises OSError where it does not."""
    where, command = talking(snapshot.lab, paths.addons / name)
    return _said(where, [*command, "-r", *words])


def _said(where: Path, command: list[str]) -> str:
    seconds = patience(PATIENCE)
    try:
        done = subprocess.run(
            command, cwd=where, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"no answer within {seconds:.0f} s") from error
    if done.returncode or "not running" in done.stdout:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise OSError(said[-1] if said else f"{Path(command[0]).name} ended with {done.returncode}")
    return done.stdout
