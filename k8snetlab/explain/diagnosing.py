"""What is wrong with a lab, the likeliest cause first: kernel, desired state and store compared, usual paths walked.

Blocking; reads the kernel as it is now and mends nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial

from msgspec.structs import replace

from k8snetlab.api.core import KUBERNETES, Node, Pod, Service
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import end, family_of, pick
from k8snetlab.dataplane.view import Views
from k8snetlab.diagnose import (
    blocks,
    clocks,
    components,
    connections,
    doors,
    gateways,
    guests,
    leaving,
    neighbours,
    objects,
    pods,
    policed,
    pools,
    power,
    refused_requests,
    routing,
    sampling,
    shaped,
    unmanaged,
    unmeant,
)
from k8snetlab.diagnose.finding import Finding, ordered
from k8snetlab.diagnose.paths import Broken, UsualPath, judge
from k8snetlab.diagnose.sessions import Speaking
from k8snetlab.diagnose.usual import untried, usual_paths
from k8snetlab.diagnose.verdict import attributed, failing, hanging, idle, laid_to, notes_on_agents, processes, store
from k8snetlab.errors import K8sNetLabError
from k8snetlab.explain import adjacent, balanced, browsing, daemons, drift, filtered, listening, matrix
from k8snetlab.explain.astray import Connections
from k8snetlab.explain.both_families import Kernels
from k8snetlab.explain.desired import Desired
from k8snetlab.explain.drift import Tell
from k8snetlab.explain.naming import Names
from k8snetlab.explain.observing import observed
from k8snetlab.explain.settling import SETTLE, Resting, stand, unsettled
from k8snetlab.explain.walks import Walker, Walks
from k8snetlab.iptables.patch import CommandLine
from k8snetlab.kernel import sysctl
from k8snetlab.kernel.limits import NEIGHBOURS_OF_A_POD
from k8snetlab.kernel.neighbours import lifting, limit, overflows
from k8snetlab.messages.diagnose import Diagnosis, DiagnosisQuestion, PathCounts, ReportedFinding
from k8snetlab.peers.remote import RemoteKernels
from k8snetlab.policies.world import without_effect
from k8snetlab.render.ingress import collect
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.power import Power
from k8snetlab.trace.owners import Owners
from k8snetlab.trace.path import predict
from k8snetlab.trace.tracer import ALL, Followed, all_of

_TURNS = itertools.count(int(time.time()))
"""Each diagnosis of a large lab looks at other parts of it than the one before."""


def diagnose(
    desired: Callable[[], Desired],
    paths: LabPaths,
    question: DiagnosisQuestion,
    tell: Tell,
    remote: RemoteKernels | None = None,
    *,
    resting: Resting = dict,
    walks: Walks | None = None,
) -> Diagnosis:
    """`desired` is asked again for a second look, which a lab under repair gets, as far as `resting` does not tell that
    it is under none; and for a third one where the second has found what the first had not: of that, what has to do
    with the same things stands. `remote` reads the kernels of other machines, in a lab that has them. `walks` are
    those of the diagnoses before.
    """
    began, turn, before = time.monotonic(), next(_TURNS), resting()
    now = desired()
    if question.node and now.snapshot:
        now.snapshot.node(question.node)

    def looked(now: Desired) -> _Look:
        return _Look(now, paths, question, tell, remote, turn=turn, walks=walks).done()

    look = looked(now)
    hurried = any(unsettled(finding, now) for finding in look.findings)
    if hurried and not stand(look.findings, now, before, resting):
        tell("a second look", 0, 0)
        look, first = looked(desired()), {finding.identity for finding in look.findings}
        if any(finding.identity not in first for finding in look.findings):
            time.sleep(SETTLE)
            tell("a third look", 0, 0)
            look, second = looked(desired()), {(finding.node, finding.object) for finding in look.findings}
            look.findings = [finding for finding in look.findings if (finding.node, finding.object) in second]
    return Diagnosis(
        findings=tuple(_reported(finding, look.machines) for finding in look.findings),
        closed=tuple(_reported(finding, look.machines) for finding in look.closed),
        notes=(*look.notes, *look.passed_by),
        paths=PathCounts(look.walked, look.broken, look.tried),
        seconds=round(time.monotonic() - began, 3),
        sampled=bool(look.passed_by),
    )


def findings_here(desired: Desired, paths: LabPaths) -> list[Finding]:
    """For the diagnosis of another machine: what is wrong on this one, before any path is walked."""
    return _Look(desired, paths, DiagnosisQuestion(), lambda *_: None).here()


def _reported(finding: Finding, machines: Collection[str]) -> ReportedFinding:
    """`machines` are the names of namespaces that are no such thing on their own machines, where commands are typed."""
    return ReportedFinding(
        kind=finding.kind,
        fault=finding.fault,
        node=finding.node,
        object=finding.object,
        message=finding.message,
        consequence=finding.consequence,
        show=_typed(finding.show, machines),
        mend=_typed(finding.mend, machines),
        owner=finding.owner,
        source=finding.source,
        explains=finding.explains,
        paths=finding.broken,
    )


def _typed(command: str, machines: Collection[str]) -> str:
    """The command as it is typed on the machine itself."""
    for name in machines:
        command = command.replace(f"ip netns exec {name} ", "").replace(f" -n {name} ", " ")
    return command


class _Look:
    """One look at everything."""

    def __init__(
        self,
        desired: Desired,
        paths: LabPaths,
        question: DiagnosisQuestion,
        tell: Tell,
        remote: RemoteKernels | None = None,
        *,
        turn: int = 0,
        walks: Walks | None = None,
    ) -> None:
        """`turn` chooses what is looked at where that is a part."""
        self.turn, self.walks = turn, walks or Walks()
        self.desired, self.paths, self.question, self.tell, self.remote = desired, paths, question, tell, remote
        self.machines: list[str] = []
        self.off = Power(paths.power).off
        self.findings: list[Finding] = []
        self.closed: list[Finding] = []
        self.notes: list[str] = []
        self.passed_by: list[str] = []
        """What was not looked at, in sentences."""
        self.promising: list[UsualPath] = []
        """The paths that should work, as far as the walk tells."""
        self.walked = self.broken = self.tried = 0
        self.refused = overflows()
        """How often entries of the neighbour tables were refused before this look."""

    def here(self) -> list[Finding]:
        """Without what is wrong with the store: the asking daemon sees that as well. No pod is passed by: a machine has
        one node's, and these findings take no notes along."""
        snapshot = self.desired.snapshot
        found = [*processes(self.desired.daemon, self.desired.daemon_pid, self.desired.kubelet, self._up())]
        found += [*self._agents(), *neighbours.full(self._neighbour_tables())]
        if snapshot is not None and self._nodes_here(snapshot):
            kernel = Kernels(snapshot, self.paths, None)
            asked = Names(snapshot, kernel, ask=self._asks_names)
            with Connections() as asking:
                found += [*self._held(snapshot, kernel, asking, whole=True), *asking.astray()]
            found += self._without_listener(snapshot, kernel)
            found += connections.full(self._connections(kernel))
            found += [*asked.here(), *asked.beyond()[0]]
        return found

    def done(self) -> _Look:
        desired = self.desired
        beside = [*processes(desired.daemon, desired.daemon_pid, desired.kubelet, self._up()), *self._store()]
        beside += self._agents()
        if desired.snapshot is not None and self._nodes_here(desired.snapshot):
            beside = self._lab(desired.snapshot, beside)
        tables = self._neighbour_tables()
        beside += neighbours.full(tables)
        self.notes += neighbours.small(tables)
        self.findings = [f for f in ordered(beside) if self.question.node in ("", f.node) or not f.node]
        return self

    @property
    def _asks_names(self) -> bool:
        """The kubelet has the servers of names, and the host outside's answers: without it their silence is no news."""
        return not self.question.predictOnly and self.desired.kubelet == "runs"

    def _nodes_here(self, snapshot: Snapshot) -> bool:
        return bool(snapshot.all(Node))

    def _up(self) -> str:
        lab = self.desired.snapshot.lab if self.desired.snapshot else None
        file = lab.source.rpartition(":")[0] if lab else ""
        return f"k8snetlab up {file.rpartition('/')[0] or file}".strip()

    def _store(self) -> Iterator[Finding]:
        plane, trouble = self.desired.plane, self.desired.store
        if plane is not None:
            yield from components.findings(plane)
            trouble = trouble if plane.has_quorum else ""  # that is why
        yield from store(trouble, self.desired.where, self.desired.problems)

    def _agents(self) -> Iterator[Finding]:
        yield from failing(self.desired.failures)
        yield from hanging(self.desired.behind)
        for one in self.desired.failing:
            where = f" -n {one.namespace}" if one.namespace else ""
            yield Finding(
                kind="daemon",
                fault="refused",
                node="",
                object=one.concerned or one.controller,
                message=str(one),
                consequence="what is asked for with it is not done; all else goes on, and this is tried again",
                show=f"k8snetlab get events{where}",
            )
        self.notes += notes_on_agents({n: a.paused for n, a in self.desired.agents.items()}, self._on_miss())
        for name, agent in self.desired.agents.items():
            yield from guests.failing(name, agent.warnings)
            if agent.error and not agent.paused:
                yield Finding(
                    kind="agent",
                    fault="refused",
                    node=name,
                    object=name,
                    message=f"{name}: its agent fails: {agent.error}",
                    consequence="what it was about to change is not as desired",
                    show="k8snetlab status",
                    mend=agent.operation,
                )
            yield from idle(name, agent.behind, agent.deaf)

    def _neighbour_tables(self) -> list[neighbours.Table]:
        """Those of this machine, after what this look has sent."""
        snapshot, now, tables = self.desired.snapshot, overflows(), []
        lab = snapshot.lab if snapshot and self._nodes_here(snapshot) else None
        pods = 0
        if snapshot and lab and not lab.spec.machines:
            pods = sum(not pod.spec.hostNetwork for pod in snapshot.all(Pod).values())
        for family, times in now.items():
            ago = 0.0 if times > self.refused.get(family, times) else self.desired.overflowed.get(family)
            used = NEIGHBOURS_OF_A_POD * pods if lab and pick(lab.spec.podCIDR, family) else 0
            with contextlib.suppress(OSError):
                most = limit(family)
                tables.append(neighbours.Table(family, most, used, ago, lifting(family, 2 * max(used, most))))
        return tables

    def _on_miss(self) -> bool:
        snapshot = self.desired.snapshot
        return bool(snapshot and snapshot.lab.spec.network.resolve == "on-miss")

    # --- what the kernel holds --------------------------------------------------------------------------------------

    def _lab(self, snapshot: Snapshot, beside: list[Finding]) -> list[Finding]:
        kernel = Kernels(snapshot, self.paths, self.remote)
        self.machines = kernel.machines
        asked = Names(snapshot, kernel, ask=self._asks_names)
        with Connections() as asking:
            held = [*shaped.named(self._held(snapshot, kernel, asking), snapshot)]
            told = [*self._told(snapshot, kernel, asked)]
            broken = self._walk(snapshot, kernel, early=drift.tidy(kernel, held))
            found = [*beside, *held, *shaped.named(asking.astray(), snapshot), *told]
        found, lacking = self._learned(snapshot, kernel, found)
        found += [*blocks.twice(snapshot), *drift.leaked(snapshot, kernel)]
        for path in (*routing.all_needed(snapshot, lacking), *balanced.sought(snapshot)):
            broken += self._judged(path, kernel)
        of_names, barred = asked.beyond(lambda path: self._judged(path, kernel))
        found, broken = [*found, *of_names], [*broken, *barred]
        self.broken = len(broken)
        found, met = attributed(found, broken, kernel.wheres, kernel.rule_of, lambda b: _blamed(snapshot, b))
        found = asked.explained(found)
        self._note_unmanaged(kernel, met | unmanaged.named(found))
        if not self.question.predictOnly and not any(f.broken for f in found):
            found = laid_to(found, self._tried(snapshot, kernel), [*self._unread(kernel)])
        if not self.question.predictOnly and not any(f.broken for f in found):
            left = matrix.Left({*kernel.elsewhere, *self.off}, self._unanswered(snapshot))
            more, tried, passed_by = matrix.broken(snapshot, left, self.tell, self.turn)
            found = matrix.laid(found, more)
            self.tried += tried
            self.passed_by += passed_by
        return power.laid(found, {name: names.node_netns(snapshot.lab.name, name) for name in kernel.nodes}, self.off)

    def _told(self, snapshot: Snapshot, kernel: Kernels, asked: Names) -> Iterator[Finding]:
        """What objects, kernels and other machines tell besides, before any path is walked."""
        yield from (*shaped.shaped(snapshot), *clocks.jumped(self.desired.ahead))
        yield from self._without_listener(snapshot, kernel)
        yield from connections.full(self._connections(kernel))
        yield from (*asked.here(), *asked.of_lab())
        strange, notes = drift.plugged(snapshot, kernel)
        yield from strange
        self.notes += (*notes, *guests.notes(snapshot))
        yield from self._elsewhere(kernel)
        yield from self._load_balancers(snapshot, kernel)
        yield from leaving.kept(snapshot, time.time())
        yield from (*objects.services(snapshot), *pods.pods(snapshot), *guests.nowhere(snapshot))
        yield from self._doors(snapshot)
        yield from (*unmeant.unmeant(snapshot), *pools.leaked(snapshot), *pools.unleased(snapshot))
        self.closed += [*objects.closed(snapshot), *policed.closed(snapshot)]
        self.notes += filter(None, [without_effect(snapshot)])
        self.notes += objects.lonely(snapshot)

    def _learned(
        self, snapshot: Snapshot, kernel: Kernels, found: list[Finding]
    ) -> tuple[list[Finding], list[Speaking]]:
        """With what routing daemons lack, and those that lack it."""
        spoken = daemons.everybody(snapshot, self.paths)
        lacking = [one for one in spoken if one.missing or one.problem]
        lost = [*routing.missing(snapshot, lacking, spoken)]
        lost = filtered.laid(lost, spoken, snapshot, partial(daemons.said_by_bird, snapshot, self.paths))
        return adjacent.laid(found, lost, spoken, kernel, self.paths), filtered.tried(lacking, spoken)

    def _load_balancers(self, snapshot: Snapshot, kernel: Kernels) -> Iterator[Finding]:
        if snapshot.lab.spec.machines:
            yield from balanced.of_machines(snapshot)
        elif snapshot.lab.spec.loadBalancer.mode != "none":
            router = kernel["ipv4"][names.node_netns(snapshot.lab.name, names.ROUTER)]
            yield from balanced.findings(snapshot, self.paths, router.neighbours, not self.question.predictOnly)

    def _doors(self, snapshot: Snapshot) -> Iterator[Finding]:
        """Of Gateways, by their objects; of Ingresses, by real requests, too."""
        yield from gateways.gateways(snapshot)
        site = collect.site(snapshot, snapshot.lab.spec.ingress.defaultCertificate, self.desired.refused)
        yield from doors.doors(snapshot, site)
        self.notes += refused_requests.notes(browsing.logged(snapshot, self.paths), time.time())
        if not self.question.predictOnly:
            yield from doors.tried(snapshot, site, browsing.Browsing(snapshot).ask)

    def _held(
        self, snapshot: Snapshot, kernel: Kernels, asking: Connections, *, whole: bool = False
    ) -> Iterator[Finding]:
        """What namespaces and rules hold; `whole`: no namespace is passed by. Of connections they are asked only: the
        kernel takes its time, and what it tells is there to be taken when all else has been looked at."""
        kernel.ahead(names.node_netns(snapshot.lab.name, node) for node in kernel.nodes)
        states = drift.wanted(snapshot, kernel)
        unread = drift.vouched(states, kernel, {} if whole else self.desired.untouched, self.turn)
        self.passed_by += sampling.of_namespaces(len(unread), sum(kernel.wheres[name].kind == "pod" for name in states))
        ruled = [*drift.of_rules(snapshot, kernel, self.tell, asking)]
        yield from drift.of_namespaces(states, kernel, self.tell, unread)
        yield from ruled

    def _connections(self, kernel: Kernels) -> Iterator[connections.Table]:
        """conntrack's tables of this machine's nodes and of the router."""
        for where in (w for w in kernel.wheres.values() if w.kind in ("node", "router")):
            with contextlib.suppress(K8sNetLabError, ValueError, KeyError):
                values = sysctl.read(kernel.own_name(where.netns), connections.KEYS)
                yield connections.Table(where, *(int(values[key]) for key in connections.KEYS))

    def _without_listener(self, snapshot: Snapshot, kernel: Kernels) -> Iterator[Finding]:
        """Pods that do not listen, where it is not the kubelet that they lack."""
        return listening.silent(snapshot, kernel) if self.desired.kubelet == "runs" else iter(())

    def _elsewhere(self, kernel: Kernels) -> Iterator[Finding]:
        """What other machines find on their nodes."""
        for node in kernel.elsewhere if self.remote else ():
            assert self.remote is not None
            try:
                yield from self.remote.findings(node)
            except K8sNetLabError as error:
                yield Finding(
                    kind="daemon",
                    fault="silent",
                    node=node,
                    object=node,
                    message=error.message,
                    consequence=f"what the kernel of {node} holds is not known, and nobody changes it",
                    show="k8snetlab status",
                )

    def _unanswered(self, snapshot: Snapshot) -> Collection[str]:
        """The addresses at which the daemon answers pods, while there is none, and those of nodes without power and of
        their pods: that is a finding already."""
        silent = [address for one in self.off if (node := snapshot.get(Node, one)) for address in node.addresses]
        silent += [ip for one in self.off for pod in snapshot.select(Pod, pods_by_node, one).values() for ip in pod.ips]
        api = snapshot.get(Service, KUBERNETES[1], KUBERNETES[0])
        return silent if api is None or self.desired.daemon == "runs" else [*silent, *api.clusterIPs]

    # --- what packets do --------------------------------------------------------------------------------------------

    def _walk(self, snapshot: Snapshot, kernel: Kernels, early: bool) -> list[Broken]:
        """`early`: of a Service's many endpoints some are chosen before it is known where the others would end."""
        broken, silent = list[Broken](), frozenset(self._unanswered(snapshot))
        usual = [(family, path) for family in kernel.families for path in usual_paths(snapshot, family, self.turn)]
        usual = [(family, path) for family, path in usual if path.flow.dst not in silent]
        walker = Walker({family: kernel[family] for family in kernel.families}, self.walks.of(snapshot))
        for number, (family, path) in enumerate(usual):
            self.tell("usual paths", number, len(usual))
            with contextlib.suppress(K8sNetLabError, KeyError):  # a namespace that has gone is a finding already
                choose = sampling.some(path.endpoints, self.turn + number)
                followed = Followed(choose if early else all_of, choose)
                walk = partial(_followed, path, kernel.owners, followed)
                all_ends = len(path.endpoints) <= sampling.ENDPOINTS
                wrong = walker.wrong(family, (path.origin, path.flow, path.words), walk, keep=all_ends)
                broken += wrong
                self.walked += 1
                self.promising += [] if wrong or path.denied else [path]
        self.walks.learn(snapshot, walker.whole)
        self.passed_by += sampling.of_pods(*untried(snapshot, [path for _, path in usual]))
        self.passed_by += sampling.of_endpoints((path.service, len(path.endpoints)) for _, path in usual)
        return broken

    def _judged(self, path: UsualPath, kernel: Kernels) -> list[Broken]:
        """What is wrong with a way that was found to be of no use."""
        with contextlib.suppress(K8sNetLabError, KeyError):
            views = kernel[family_of(path.flow.dst)]
            return _followed(path, kernel.owners, ALL, views)
        return []

    def _note_unmanaged(self, kernel: Kernels, met: set[tuple[str, str]]) -> None:
        """Notes the unmanaged rules that no usual path meets."""
        places, pods = [w for w in kernel.wheres.values() if w.kind in ("node", "router")], drift.ruled(kernel)
        self.passed_by += sampling.of_ruled(len(pods))
        for where in (*places, *sampling.spread(pods, sampling.RULED, self.turn)):
            for family in kernel.families:
                with contextlib.suppress(K8sNetLabError):
                    for key, number, rule in unmanaged.unmanaged_rules(kernel[family][where.netns]):
                        if (where.netns, rule) not in met:
                            self.notes.append(
                                f"{where.place}: rule {number} of {key.chain} (table {key.table}) is nobody's, and no "
                                f"usual path meets it: {rule}"
                            )

    def _unread(self, kernel: Kernels) -> Iterator[Finding]:
        """Rules that may be why a packet is lost, which no walk can tell."""
        for where in (w for w in kernel.wheres.values() if w.kind in ("node", "router")):
            for family in kernel.families:
                with contextlib.suppress(K8sNetLabError):
                    command = CommandLine(where.netns, family, kernel.variant)
                    yield from unmanaged.unread(kernel[family][where.netns], where, command)

    def _tried(self, snapshot: Snapshot, kernel: Kernels) -> list[Finding]:
        """Real packets, where no reason is known why one should not arrive."""
        here = [path for path in self.promising if not kernel.is_elsewhere(path.origin)]
        paths = [replace(path, origin=kernel.own_name(path.origin)) for path in here]
        routers = [] if snapshot.lab.spec.machines else [names.ROUTER]
        places = [(name, kernel.own_name(names.node_netns(snapshot.lab.name, name))) for name in routers + kernel.nodes]
        found, self.tried, notes = observed(snapshot, self.paths, paths, places, tell=self.tell, remote=self.remote)
        self.notes += notes
        return found


def _followed(path: UsualPath, owners: Owners, followed: Followed, views: Views) -> list[Broken]:
    return [*judge(path, predict(views, owners, path.origin, path.flow, followed), views)]


def _blamed(snapshot: Snapshot, broken: Broken) -> Finding | None:
    """The process or the endpoint that is to blame for a path, where the objects tell."""
    flow, way = broken.path.flow, broken.way
    if lease := pools.without_lease(snapshot, broken):
        return lease
    endpoint = way.endpoint or end(flow.dst, flow.dport)
    if broken.nobody_listens:
        found = objects.no_listener(snapshot, broken.path.service, endpoint, broken.reason)
        if found:
            return found
    if broken.path.service and endpoint in broken.path.written:
        return objects.astray(snapshot, broken.path.service, endpoint, broken.reason, broken.path.words)
    return None
