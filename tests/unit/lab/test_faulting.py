"""A fault goes as it came: what was done of it is taken back, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from face import SERVICES, Face, service, with_face
from msgspec.structs import replace

from k8snetlab.api.core import Service
from k8snetlab.api.scheme import to_dict
from k8snetlab.dataplane.holds import NONE, Holds
from k8snetlab.errors import KernelError
from k8snetlab.faults import objects
from k8snetlab.faults.fault import Command, Damage, Edit, Seen, content
from k8snetlab.faults.injected import Injected
from k8snetlab.faults.scene import Scene
from k8snetlab.kernel import typed
from k8snetlab.lab.operations.faulting import Faulting
from k8snetlab.machines.leases import Leases
from k8snetlab.running.agents import Agents
from k8snetlab.state.injected import InjectedFaults as Kept
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.keys import Keys

SEEN = Seen("pod/default/a", "pod/default/b")


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))


class NoAgents:
    here = ""
    tasks: tuple[()] = ()
    held: Holds = NONE

    async def hold(self, held: Holds) -> None:
        self.held = held

    def all_synced(self, *_: object) -> bool:
        return True


class NoLeases:
    lost: frozenset[str] = frozenset()

    async def lose(self, nodes: frozenset[str]) -> None:
        self.lost = nodes


def in_lab(test: Callable[[Face, Faulting], Coroutine[Any, Any, None]]) -> None:
    async def run(face: Face) -> None:
        paths = LabPaths("l")
        paths.directory.mkdir(parents=True, exist_ok=True)
        controllers = asyncio.create_task(face.cluster.run_controllers())
        faulting = Faulting(
            face.cluster, cast(Agents, NoAgents()), cast(Leases, NoLeases()), paths, Keys(paths.api_pki)
        )
        await test(face, faulting)
        controllers.cancel()
        await asyncio.gather(controllers, return_exceptions=True)

    with_face(run)


@pytest.fixture
def typed_so_far(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is typed, of which all that begins with `no` is refused."""
    told: list[str] = []

    def run(namespace: str, argv: Sequence[str], lockfile: Path) -> None:
        told.append(" ".join(argv))
        if argv[0] == "no":
            raise KernelError("File exists")
        if argv[0] == "locked":
            raise KernelError("Another app is currently holding the xtables lock")

    monkeypatch.setattr(typed, "run", run)
    return told


def words(*lines: str) -> tuple[Command, ...]:
    return tuple(Command("lab.l.node1", tuple(line.split())) for line in lines)


@pytest.mark.parametrize(
    ("does", "typed_then"),
    [
        (("no route",), ["no route"]),
        (("del route", "no route"), ["del route", "no route", "undo route"]),
    ],
)
def test_what_was_refused_is_not_undone(does: tuple[str, ...], typed_then: list[str], typed_so_far: list[str]) -> None:
    async def test(_: Face, faulting: Faulting) -> None:
        fault = Injected("route-missing", "node1", 0.0, Damage("x", SEEN, words(*does), words("undo route")))
        with pytest.raises(KernelError):
            await faulting.do(fault)
        assert typed_so_far == typed_then and faulting._faults.all == ()

    in_lab(test)


def test_an_object_that_was_there_before_stays(typed_so_far: list[str]) -> None:
    async def test(face: Face, faulting: Faulting) -> None:
        await face.ask("POST", SERVICES, service("database"))
        made = [service(name) for name in ("other", "database")]
        edits = tuple(Edit("Service", "default", one["metadata"]["name"], None, one) for one in made)
        with pytest.raises(Exception, match="already exists"):
            await faulting.do(Injected("endpoint-stale", "node1", 0.0, Damage("x", SEEN, edits=edits)))
        assert [one.name for one in face.cluster.snapshot.all(Service).values()] == ["database"]

    in_lab(test)


def test_the_protocol_of_a_service_with_a_node_port_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(face: Face, faulting: Faulting) -> None:
        await face.ask("POST", SERVICES, service("web", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
        before = face.cluster.current(Service, "web", "default")
        scene = Scene.__new__(Scene)
        monkeypatch.setattr(Scene, "one", lambda *_: before)
        monkeypatch.setattr(Scene, "services", lambda *_: [before])
        monkeypatch.setattr(Scene, "client", before)
        fault = Injected("protocol", "node1", 0.0, objects._protocol(scene))
        await faulting.do(fault)
        assert face.cluster.current(Service, "web", "default").spec.ports[0].protocol == "UDP"
        await faulting.undo((fault,))
        assert face.cluster.current(Service, "web", "default").spec == before.spec

    in_lab(test)


def test_what_cannot_be_undone_is_told_and_stays_written_down(typed_so_far: list[str]) -> None:
    async def test(_: Face, faulting: Faulting) -> None:
        one, two, three = (
            Injected(name, "node1", 0.0, Damage("x", SEEN, (), words(undo)))
            for name, undo in (("a", "undo a"), ("b", "locked b"), ("c", "no c"))
        )
        for fault in (one, two, three):
            await faulting.do(fault)
        left = await faulting.undo(faulting._faults.all)
        assert left == ("b: Another app is currently holding the xtables lock",)
        assert typed_so_far == ["no c", "locked b", "undo a"] and [f.name for f in faulting._faults.all] == ["b"]
        assert [f.name for f in Kept(LabPaths("l")).all] == ["b"]

    in_lab(test)


def test_an_object_that_cannot_be_put_back_is_in_nobodys_way(typed_so_far: list[str]) -> None:
    """Its node port has been given to another Service meanwhile."""

    async def test(face: Face, faulting: Faulting) -> None:
        await face.ask("POST", SERVICES, service("web", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
        web = face.cluster.current(Service, "web", "default")
        port = replace(web.spec.ports[0], nodePort=0)
        inner = replace(web, spec=replace(web.spec, type="ClusterIP", ports=(port,), externalTrafficPolicy=""))
        after = content(to_dict(face.cluster.tried(inner, web)))
        edit = Edit("Service", "default", "web", content(to_dict(web)), after)
        await faulting.do(Injected("no-node-port", "node1", 0.0, Damage("x", SEEN, edits=(edit,))))
        await faulting.do(Injected("other", "node1", 0.0, Damage("x", SEEN, (), words("undo other"))))
        await face.ask("POST", SERVICES, service("thief", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
        (said,) = await faulting.undo(faulting._faults.all)
        assert "no-node-port: " in said and "30080" in said and typed_so_far == ["undo other"]
        assert [one.name for one in faulting._faults.all] == ["no-node-port"]
        await face.cluster.delete(face.cluster.current(Service, "thief", "default"))
        assert await faulting.undo(faulting._faults.all) == () and faulting._faults.all == ()
        assert face.cluster.current(Service, "web", "default").spec.ports[0].nodePort == 30080

    in_lab(test)
