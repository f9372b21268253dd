"""diagnose: how far it is, and what is wrong with a lab, the likeliest cause first."""

from __future__ import annotations

import msgspec

from k8snetlab.diagnose.finding import Finding
from k8snetlab.messages.verb import Nothing, Packed, Stream


class DiagnosisQuestion(msgspec.Struct, frozen=True):
    """What is to be looked at."""

    node: str = ""
    """Only what concerns this node; "" for all."""
    predictOnly: bool = False
    """Send no packet."""


class DiagnosisProgress(msgspec.Struct, frozen=True, tag_field="type", tag="progress"):
    """What is looked at now; an event of the stream."""

    phase: str
    """In a word or two."""
    done: int
    """How much of it is done."""
    total: int
    """How much there is; 0 where nobody knows."""
    message: str = ""
    """What else is to be said of it, or ""."""


class ReportedFinding(msgspec.Struct, frozen=True):
    """Something that is not as it should be, what follows from it, how to see and how to mend it."""

    kind: str
    """What it is about: namespace, link, address, sysctl, qdisc, route, neighbour, fdb, variant, policy, table, hook,
    rule, chain, set, endpoint, conntrack, service, ingress, networkpolicy, pod, resolver, path, kubelet, guest, agent,
    daemon or store; of what is closed on purpose service or networkpolicy."""
    fault: str
    """What is the matter with it: missing, wrong, down, foreign, stale …"""
    node: str
    """The node that it is on, "" for none."""
    object: str
    """Its name as ip, bridge and iptables write it; of an object of Kubernetes "namespace/name"."""
    message: str
    """What is wrong, in a sentence that begins with where."""
    consequence: str
    """What goes wrong for this reason."""
    show: str
    """A command that shows it."""
    mend: str
    """Commands that mend it, a line each; "" where the manifest must be changed."""
    owner: str
    """Who brought the object, with the manifest's line: "Service default/web, port 80, web.yaml:3"; or ""."""
    source: str
    """The line of the manifest alone, "web.yaml:3", or ""."""
    explains: tuple[str, ...]
    """What else is wrong only because of this, in sentences."""
    paths: tuple[str, ...]
    """The usual paths that do not work for this reason."""


class PathCounts(msgspec.Struct, frozen=True):
    """Usual paths: from pods to pods, to Services, to their nodes, outward, and from outside."""

    walked: int
    """Followed through what the kernel's tables say."""
    broken: int
    """Of their ways, those that end without an answer."""
    tried: int
    """Tried with real packets."""


class Diagnosis(msgspec.Struct, frozen=True):
    """What is wrong with a lab."""

    findings: tuple[ReportedFinding, ...]
    """The likeliest cause first; none where nothing is wrong."""
    closed: tuple[ReportedFinding, ...]
    """What manifests close on purpose."""
    notes: tuple[str, ...]
    """What is worth knowing and no fault, in sentences."""
    paths: PathCounts
    """How much was looked at."""
    seconds: float
    """How long it took."""
    sampled: bool = False
    """Whether there is more of the same kind than was looked at; the notes say of what."""


class DiagnosisDone(Diagnosis, frozen=True, tag_field="type", tag="done"):
    """The last event of the stream: the diagnosis."""


DiagnosisEvent = DiagnosisProgress | DiagnosisDone

DIAGNOSE: Stream[DiagnosisQuestion, DiagnosisEvent] = Stream(
    "diagnose", "POST", "diagnose", DiagnosisQuestion, DiagnosisEvent, group=True, silence=None, last=DiagnosisDone
)
FINDINGS: Packed[Nothing, list[Finding]] = Packed("findings", "GET", "findings", Nothing, list[Finding])
"""For another machine's diagnosis: what is wrong on this one, before any path is walked."""
