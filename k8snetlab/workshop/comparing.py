"""One lab, every network: the same manifests under each backend, one after the other, the same packet traced, and a
stream sent on the same way."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from k8snetlab.api.lab import Backend, LabSpec
from k8snetlab.api.source import parse
from k8snetlab.dataplane.packet import IPIP
from k8snetlab.errors import InputError, K8sNetLabError, ManifestError
from k8snetlab.kernel import stream
from k8snetlab.state import scenarios
from k8snetlab.workshop import scripts

CALICO: Mapping[str, Mapping[str, str]] = {
    "calico-bgp": {},
    "calico-ipip": {"ipipMode": "Always"},
    "calico-vxlan": {"vxlanMode": "Always"},
}
"""Calico's networks, each with what is not the default of its one pool."""
BACKENDS: tuple[str, ...] = (*(one for one in get_args(Backend) if one != "calico"), *CALICO)
KEPT = ("subnetLen", "subnetMin", "subnetMax", "ipv6SubnetLen", "ipv6SubnetMin", "ipv6SubnetMax", "leaseTTL")
"""Fields of a Lab's network that say the same of every backend."""
POD_CIDR = LabSpec().podCIDR
STREAM = 0.5
"""Seconds for which a stream is measured."""
Tell = Callable[[str], None]


class UsedRoute(msgspec.Struct, frozen=True):
    """A route that sent the packet on."""

    place: str
    """The pod, node, router or outside that has it."""
    entry: str
    """As ip prints it."""
    owner: str
    """Who made it."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The packet's way under one backend."""

    backend: str
    """Its name."""
    problem: str = ""
    """Why it could not be built or traced, or ""; the fields below are empty then."""
    seconds: float = 0.0
    """From `up` to the lab being up."""
    fate: str = ""
    """What became of the real packet: answered, lost, refused or unreachable."""
    way: tuple[str, ...] = ()
    """The devices that it passes on its way there, as PLACE:DEVICE."""
    carried: tuple[str, ...] = ()
    """Those of `way` at which it is inside another packet."""
    encapsulation: str = ""
    """What that one is: "VXLAN" with its network and port, "IP in IP", or ""."""
    outer: str = ""
    """The addresses of the packet around it, "SOURCE → TARGET", or ""."""
    mtu: int = 0
    """Octets that a packet may have: what the nodes' link takes, less what is put around it."""
    route: str = ""
    """The route by which it leaves the sender's node, as ip prints it."""
    owner: str = ""
    """Who made that route."""
    routes: tuple[UsedRoute, ...] = ()
    """All routes by which it went there, in their order."""
    rules: int = 0
    """Rules of iptables that decided something on the way there."""
    microseconds: float | None = None
    """Of this packet, the first one, from the sender's device to the receiver's; null where it was not seen at both."""
    milliseconds: float | None = None
    """Until its sender had heard of it; null where no packet was sent."""
    megabits: float | None = None
    """Of a TCP connection from the sender to whoever answered, on a port of its own, in a second; null where none
    stood."""


class Comparison(msgspec.Struct, frozen=True):
    """One packet under several networks."""

    source: str
    """The pod that sends it."""
    target: str
    """What is asked."""
    results: tuple[Compared, ...]
    """In the order in which they were asked for."""


def compare(scenario: str, backends: Sequence[str], source: str, target: str, tell: Tell) -> Comparison:
    """Builds the scenario (a name, or a path) under each of `backends` in a lab of its own, which is gone afterwards.
    Without `source` and `target` the first two pods that are on different nodes are taken.

    `tell` is told what is done. What one backend cannot do stops none of the others. Raises InputError for a backend
    of no such name, for files without a Lab, and for a packet that cannot be sent in the first lab that is up.
    """
    if not backends:
        raise InputError("no backend is named", f"one of {', '.join(BACKENDS)}, or several with commas")
    for backend in backends:
        if backend not in BACKENDS:
            raise InputError(f"{backend!r} is no backend", f"one of {', '.join(BACKENDS)}")
    documents = [*_documents(scenario)]
    if any(_of_machines(document) for document in documents):
        raise InputError(f"the nodes of {scenario} are machines", "compare builds each lab on this machine alone")
    results, packet = list[Compared](), (source, target)
    for backend in dict.fromkeys(backends):
        tell(f"{backend}: {scenario} is built")
        with scripts.ended_in_order(), _Trial(documents, backend) as trial:
            try:
                found, *taken = trial.result(source, target)
                packet = packet if all(packet) else (taken[0], taken[1])
            except InputError as error:
                if all(one.problem for one in results):
                    raise
                found = Compared(backend=backend, problem=error.message)
            except K8sNetLabError as error:
                found = Compared(backend=backend, problem=error.message)
        results.append(found)
    return Comparison(*packet, tuple(results))


def _documents(scenario: str) -> Iterator[dict[str, Any]]:
    """Raises ManifestError for what is no YAML. What else may be wrong with them `up` says."""
    for name, text in scenarios.find(scenario):
        found, flaws = parse(text, name)
        if flaws:
            raise ManifestError([f"{flaw.file}:{flaw.line}: {flaw.message}" for flaw in flaws])
        yield from (one.value for one in found if isinstance(one.value, dict))


def _of_machines(document: dict[str, Any]) -> bool:
    spec = document.get("spec")
    return document.get("kind") == "Lab" and isinstance(spec, dict) and bool(spec.get("machines"))


class _Trial:
    """A lab of one backend, for the block."""

    def __init__(self, documents: Iterable[dict[str, Any]], backend: str) -> None:
        self._backend, self._lab = backend, f"compare-{secrets.token_hex(3)}"
        changed = [_under(document, backend) for document in documents]
        if not any(document.get("kind") == "Lab" for document in changed):
            raise InputError(
                "there is no Lab among the files", "compare takes a scenario, or a directory with a lab file"
            )
        self._directory = tempfile.TemporaryDirectory(prefix="k8snetlab-compare-")
        self._file = Path(self._directory.name) / "lab.yaml"
        self._file.write_text("".join(f"---\n{json.dumps(document)}\n" for document in changed))

    def __enter__(self) -> _Trial:
        return self

    def __exit__(self, *_: object) -> None:
        with scripts.undisturbed():  # a second Ctrl-C would leave the lab behind
            try:
                self._said("down")
            except K8sNetLabError as error:
                if "no lab " not in error.message:
                    raise
            finally:
                self._directory.cleanup()

    def result(self, source: str, target: str) -> tuple[Compared, str, str]:
        """With the source and target that were taken. Raises K8sNetLabError with what a verb said."""
        up = json.loads(self._said("up", str(self._file), "-o", "json"))
        if not (source and target):
            source, target = _ends(json.loads(self._said("get", "pods", "-o", "json"))["items"])
        try:
            trace = json.loads(self._said("trace", source, target, "-o", "json", codes=(0, 1)))
        except K8sNetLabError as error:
            raise InputError(
                error.message.removeprefix("trace: "), "`k8snetlab trace --help` tells of FROM and TO"
            ) from None
        found = _compared(self._backend, float(up["seconds"]), trace, self._plain)
        if found.fate == "answered":
            found = msgspec.structs.replace(found, megabits=_megabits(trace))
        return found, source, target

    def _plain(self, owner: str) -> str:
        """Without the names of what is gone afterwards: the lab and its file."""
        text = re.sub(rf"(,? |^){re.escape(str(self._file))}(:\d+)?(: )?", "", owner)
        text = re.sub(rf",? (of|in) Lab {self._lab}", "", text)
        return text.replace(self._lab, "the lab")

    def _said(self, *words: str, codes: tuple[int, ...] = (0,)) -> str:
        """Raises K8sNetLabError where the command ends with another exit code."""
        ran = scripts.command(("k8snetlab", *words), self._lab, apart=True)
        if ran.code not in codes or (ran.code and not ran.output.strip()):
            errors = [line for line in ran.errors.splitlines() if line.startswith("error: ")]
            said = errors[-1].removeprefix("error: ") if errors else ran.output or f"it ended with {ran.code}"
            raise K8sNetLabError(f"{words[0]}: {self._plain(said)}", f"the lab is {self._lab}")
        return ran.output


def _under(document: dict[str, Any], backend: str) -> dict[str, Any]:
    """The document as it is; a Lab with another network, and without a name of its own."""
    if document.get("kind") != "Lab":
        return document
    spec, labels = document.get("spec") or {}, document.get("metadata") or {}
    network = (spec.get("network") or {}) if isinstance(spec, dict) else None
    if not isinstance(network, dict) or not isinstance(labels, dict):
        return document  # `up` says what is wrong with it
    own = network if network.get("backend", "vxlan") == backend else {k: v for k, v in network.items() if k in KEPT}
    metadata = {key: value for key, value in labels.items() if key != "name"}
    if backend in CALICO:
        pool = {"cidr": spec.get("podCIDR", POD_CIDR), "natOutgoing": True, **CALICO[backend]}
        own, backend = {"ipPools": [pool]}, "calico"
    return {**document, "metadata": metadata, "spec": {**spec, "network": {**own, "backend": backend}}}


def _ends(pods: Iterable[dict[str, Any]]) -> tuple[str, str]:
    """A pod, and one on another node with its first port; if it can be, pods that are called the same in every lab.
    Raises InputError where there are no two such."""
    pods = sorted(pods, key=lambda pod: (bool(pod["metadata"].get("ownerReferences")), pod["metadata"]["name"]))
    placed = [pod for pod in pods if pod["spec"].get("nodeName") and not pod["spec"].get("hostNetwork")]
    for source in placed:
        for other in placed:
            ports = [port for one in other["spec"]["containers"] for port in one.get("ports", ())]
            if other["spec"]["nodeName"] != source["spec"]["nodeName"] and ports:
                return source["metadata"]["name"], f"{other['metadata']['name']}:{ports[0]['containerPort']}"
    raise InputError("no two pods are on different nodes, the second with a port", "name them: FROM TO:PORT")


def _megabits(trace: dict[str, Any]) -> float | None:
    """Of a stream on the packet's way; None where its ends have no namespaces of their own here."""
    hops = trace["ways"][trace["chosen"]]["there"]
    try:
        return stream.rate(hops[0]["netns"], hops[-1]["netns"], hops[-1]["packet"]["dst"], STREAM)
    except (K8sNetLabError, OSError):
        return None


def _compared(backend: str, seconds: float, trace: dict[str, Any], plain: Callable[[str], str] = str) -> Compared:
    if not trace["ways"]:
        return Compared(backend=backend, seconds=seconds, problem=trace["note"] or "there is no way")
    way = trace["ways"][trace["chosen"]]
    hops = [hop for hop in way["there"] if hop["interface"]]
    node = trace["fromNode"]
    decisions = [(hop["place"], one) for hop in way["there"] for one in hop["decisions"]]
    routes = [
        UsedRoute(place, one.get("entry") or one["text"], _maker(backend, plain(one.get("owner", ""))))
        for place, one in decisions
        if one["what"] == "route"
    ]
    route = next((one for one in routes if one.place == node), UsedRoute("", "", ""))
    inside = [hop for hop in hops if hop["outer"]]
    outer = inside[0]["outer"] if inside else None
    seen = [hop["microseconds"] for hop in hops if hop["microseconds"] is not None]
    observed = trace["observed"]
    return Compared(
        backend=backend,
        seconds=seconds,
        fate=observed["fate"] if observed else way["fate"],
        way=tuple(f"{hop['place']}:{hop['interface']}" for hop in hops),
        carried=tuple(f"{hop['place']}:{hop['interface']}" for hop in inside),
        encapsulation=_encapsulation(inside[0]) if inside else "",
        outer=f"{outer['src']} → {outer['dst']}" if outer else "",
        mtu=hops[0]["mtu"] if hops else 0,
        route=route.entry,
        owner=route.owner,
        routes=tuple(dict.fromkeys(routes)),
        rules=sum(one["what"] == "rule" for _, one in decisions),
        microseconds=max(seen) if len(seen) == len(hops) and seen else None,
        milliseconds=observed["milliseconds"] if observed else None,
    )


def _maker(backend: str, owner: str) -> str:
    """Who made a route, and for which object. Those of daemons have a protocol, by which they are told already."""
    kind = owner.partition(" ")[0]
    if kind not in ("Node", "Pod"):
        return owner
    if backend not in CALICO:
        return f"flannel, for {owner}" if kind == "Node" else owner
    return f"Felix, for {owner}" if kind == "Node" else f"Calico's CNI plugin, for {owner}"


def _encapsulation(hop: dict[str, Any]) -> str:
    outer = hop["outer"]
    return "IP in IP" if outer["protocol"] == IPIP else f"VXLAN {hop['vni']}, UDP {outer['dport']}"
