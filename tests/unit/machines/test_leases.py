"""Machines that register in one store: subnets by lease, heartbeats, a leader. Each is only what talks to the store.

Each has an informer and Leases of its own, as in its daemon; in etcd a client of its own too. The kernel is not here.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from k8snetlab.api import leases as keys
from k8snetlab.api.core import Condition, Node, Pod
from k8snetlab.api.lab import Lab
from k8snetlab.api.load import load
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import ConflictError
from k8snetlab.machines.leases import Leases
from k8snetlab.render import node as render_node
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.machine import Machine
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.etcd import EtcdStore
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Store
from k8snetlab.store.serve import EtcdProcess
from k8snetlab.supervision import Supervisor

pytestmark = pytest.mark.anyio
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: lab}
spec: {machines: true, nodes: [], underlay: {cidr: "%s"}, podCIDR: "%s", network: {leaseTTL: %d%s}}
"""


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path / "labs"))
    LabPaths("lab").create()


class Daemon:
    """What one machine's daemon has to do with leases; it runs for leader only where `election` is given."""

    def __init__(self, store: Store, number: int, *, address: str = "", name: str = "", heartbeat: int = 40) -> None:
        self.store, self.heartbeat = store, heartbeat
        self.machine = Machine(
            node=name or f"node{number}",
            interface="eth1",
            addresses=tuple((address or f"192.168.56.{10 + number}").split(",")),
            hostname=f"host{number}",
        )

    async def start(self) -> Daemon:
        self.informer = Informer(self.store)
        await self.informer.start()
        self.cluster = Cluster(self.store, self.informer, shared=True)
        self.leases = Leases(
            *(self.store, self.cluster, self.machine, LabPaths("lab"), Ledger(LabPaths("lab").ledger)),
            heartbeat=self.heartbeat,
            election=2,
        )
        self._supervisor = Supervisor()
        for name, run in self.leases.work.items():
            self._supervisor.keep(name, run)
        return self

    async def kill(self) -> None:
        """As the process dies: nothing is given back but what the store takes by itself."""
        assert not self._supervisor.failures
        await self._supervisor.close()
        await self.informer.close()

    @property
    def subnets(self) -> tuple[str, ...]:
        return self.node(self.machine.node).podCIDRs

    def node(self, name: str) -> Node:
        return self.cluster.snapshot.get(Node, name) or Node()

    def condition(self, node: str, type_: str) -> tuple[str, str]:
        return next(((c.status, c.reason) for c in self.node(node).status.conditions if c.type == type_), ("", ""))


async def eventually(what: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(*daemons: Daemon) -> AsyncIterator[None]:
    """All of them, registered."""
    await asyncio.gather(*(daemon.start() for daemon in daemons))
    try:
        await asyncio.gather(*(daemon.leases.registered() for daemon in daemons))
        yield
    finally:
        await asyncio.gather(*(daemon.kill() for daemon in daemons))


@asynccontextmanager
async def clients(etcd: EtcdProcess, count: int) -> AsyncIterator[list[EtcdStore]]:
    stores = [EtcdStore([etcd.endpoint]) for _ in range(count)]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


async def store_lab(store: Store, ttl: int = 60, more: str = "", pods: str = "10.244.0.0/16") -> None:
    informer = Informer(store)
    await informer.start()
    underlay = "192.168.56.0/24" + (",fd00:56::/64" if ":" in pods else "")
    (lab,) = load([("lab.yaml", LAB % (underlay, pods, ttl, more))]).objects
    assert isinstance(lab, Lab)
    await Cluster(store, informer).create(lab)
    await informer.close()


async def held(store: Store) -> dict[str, str]:
    """Who (the public address) has which lease."""
    found = (await store.list(keys.SUBNETS)).entries
    return {entry.key.removeprefix(keys.SUBNETS): json.loads(entry.value)["PublicIP"] for entry in found}


async def test_a_machine_registers_once_the_lab_is_there(store: Store, tmp_path: Path) -> None:
    daemon = Daemon(store, 1)
    await daemon.start()
    await store_lab(store)
    node = await daemon.leases.registered()
    assert node is not None and node.podCIDRs == ("10.244.1.0/24",)
    assert node.addresses == ("192.168.56.11",)
    assert node.metadata.labels["kubernetes.io/hostname"] == "node1"
    annotations = node.metadata.annotations
    assert (annotations["k8snetlab/machine"], annotations["k8snetlab/interface"]) == ("host1", "eth1")
    assert daemon.condition("node1", "NetworkUnavailable") == ("False", "FlannelIsUp")
    entry = await store.get("/coreos.com/network/subnets/10.244.1.0-24")
    assert entry is not None and 40 < await store.time_to_live(entry.lease) <= 60, "not that of a heartbeat"
    assert entry.mod_revision == entry.create_revision, "it was right the first time"
    data = json.loads(annotations["flannel.alpha.coreos.com/backend-data"])
    assert json.loads(entry.value) == {
        "PublicIP": "192.168.56.11",
        "PublicIPv6": None,
        "BackendType": "vxlan",
        "BackendData": data,
    }
    await eventually(lambda: daemon.leases.leader)
    beat, leader = (await store.list("/registry/leases/")).entries
    assert beat.key == "/registry/leases/kube-node-lease/node1"
    assert json.loads(beat.value)["spec"]["leaseDurationSeconds"] == 40
    assert leader.key == "/registry/leases/kube-system/kube-controller-manager"
    assert json.loads(leader.value)["spec"]["holderIdentity"].startswith("node1_")
    assert (tmp_path / "flannel" / "subnet.env").read_text() == (
        "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
    )
    await daemon.kill()


async def test_twenty_machines_that_start_at_once_never_share_a_subnet(etcd: EtcdProcess, store: Store) -> None:
    async with clients(etcd, 20) as stores:
        used = stores if isinstance(store, EtcdStore) else [store] * 20
        await store_lab(store)
        daemons = [Daemon(one, number) for number, one in enumerate(used, 1)]
        async with running(*daemons):
            await eventually(lambda: all(len(d.cluster.snapshot.all(Node)) == 20 for d in daemons))
            subnets = {daemon.machine.node: daemon.subnets for daemon in daemons}
            leases = await held(store)
            assert set(leases) == {f"10.244.{number}.0-24" for number in range(1, 21)}, "one each, the first twenty"
            for daemon in daemons:
                assert subnets[daemon.machine.node] == (
                    next(k.replace("-", "/") for k, who in leases.items() if who == daemon.machine.addresses[0]),
                )
            await eventually(lambda: sum(daemon.leases.leader for daemon in daemons) == 1)


async def test_a_machine_keeps_its_subnet_over_restarts(store: Store) -> None:
    await store_lab(store)
    one, two = Daemon(store, 1), Daemon(store, 2)
    async with running(one):
        pass
    async with running(two):
        pass
    before = await held(store)
    again = Daemon(store, 2)
    async with running(again):
        assert again.subnets == ("10.244.2.0/24",)
        assert await held(store) == before
        mac = again.node("node2").metadata.annotations["flannel.alpha.coreos.com/backend-data"]
        assert mac == two.node("node2").metadata.annotations["flannel.alpha.coreos.com/backend-data"]
    for entry in (await store.list(keys.SUBNETS)).entries:
        await store.delete(entry.key)
    other = Daemon(store, 3)
    async with running(other):
        assert other.subnets == ("10.244.3.0/24",), "what node1 and node2 had stays theirs"
    async with running(Daemon(store, 2)):
        assert (await held(store))["10.244.2.0-24"] == "192.168.56.12"


async def test_a_machine_with_another_address_keeps_its_subnet(store: Store) -> None:
    await store_lab(store)
    async with running(Daemon(store, 1, heartbeat=1)):
        pass
    moved = Daemon(store, 1, address="192.168.56.99", heartbeat=1)
    await moved.start()
    await eventually(lambda: moved.subnets and moved.node("node1").addresses == ("192.168.56.99",))
    assert await held(store) == {"10.244.1.0-24": "192.168.56.99"}
    await moved.kill()


async def test_subnets_are_as_long_and_where_the_lab_wants_them(store: Store) -> None:
    await store_lab(store, more=", subnetLen: 26, subnetMin: 10.244.7.64, subnetMax: 10.244.7.128")
    one, two, three = (Daemon(store, number) for number in (1, 2, 3))
    async with running(one, two):
        assert {one.subnets, two.subnets} == {("10.244.7.64/26",), ("10.244.7.128/26",)}
        await eventually(lambda: one.leases.leader or two.leases.leader)
        config = await store.get("/coreos.com/network/config")
        while config is None:
            await asyncio.sleep(0.02)
            config = await store.get("/coreos.com/network/config")
        assert json.loads(config.value) == {
            "Network": "10.244.0.0/16",
            "SubnetLen": 26,
            "SubnetMin": "10.244.7.64",
            "SubnetMax": "10.244.7.128",
            "Backend": {"Type": "vxlan", "VNI": 1, "Port": 8472},
        }
        await three.start()
        with pytest.raises(ConflictError, match="no pod subnet is left for node3"):
            await three.leases.registered()
        assert "no pod subnet is left" in three.leases.problems["node"]
        await two.leases.leave()
        assert two.machine.node not in await held(store)
        await three.leases.registered() if three.subnets else await eventually(lambda: three.subnets)
        assert three.subnets == (("10.244.7.128/26",) if one.subnets == ("10.244.7.64/26",) else ("10.244.7.64/26",))
        await three.kill()


async def test_both_families_are_one_lease(store: Store) -> None:
    await store_lab(store, pods="10.244.0.0/16,fd00:10:244::/56")
    daemon = Daemon(store, 1, address="192.168.56.11,fd00:56::11")
    async with running(daemon):
        assert daemon.subnets == ("10.244.1.0/24", "fd00:10:244:1::/64")
        (entry,) = (await store.list(keys.SUBNETS)).entries
        assert entry.key == "/coreos.com/network/subnets/10.244.1.0-24&fd00:10:244:1::-64"
        value = json.loads(entry.value)
        assert value["PublicIPv6"] == "fd00:56::11" and set(value) >= {"BackendData", "BackendV6Data"}


async def test_of_two_overlapping_leases_the_older_one_stays(store: Store) -> None:
    """flannel's key names both families: under two keys two nodes could get the same IPv6 subnet."""
    await store_lab(store, pods="10.244.0.0/16,fd00:10:244::/56")
    stranger = '{"PublicIP":"192.168.56.77","PublicIPv6":"fd00:56::77","BackendType":"vxlan"}'
    daemon = Daemon(store, 1, address="192.168.56.11,fd00:56::11")
    await daemon.start()
    await store.create(keys.SUBNETS + "10.244.9.0-24&fd00:10:244:1::-64", stranger.encode())
    await daemon.leases.registered()
    await eventually(lambda: daemon.subnets == ("10.244.1.0/24", "fd00:10:244:2::/64")
                     or daemon.subnets == ("10.244.1.0/24", "fd00:10:244:1::/64"))  # fmt: skip
    entries = {e.key: e.create_revision for e in (await store.list(keys.SUBNETS)).entries}
    mine = next(key for key in entries if "10.244.9.0" not in key)
    shared = mine.endswith("fd00:10:244:1::-64")
    assert not shared or entries[mine] < entries[keys.SUBNETS + "10.244.9.0-24&fd00:10:244:1::-64"]
    await daemon.kill()


@pytest.mark.slow
async def test_a_lease_is_renewed_and_a_dead_machines_expires(store: Store) -> None:
    await store_lab(store, ttl=3)
    one, two = Daemon(store, 1), Daemon(store, 2)
    async with running(one):
        await two.start()
        await two.leases.registered()
        first = {e.key: e.lease for e in (await store.list(keys.SUBNETS)).entries}
        await two.kill()
        await eventually(lambda: one.condition("node2", "NetworkUnavailable") == ("True", "FlannelLeaseExpired"))
        (left,) = (await store.list(keys.SUBNETS)).entries
        assert first[left.key] == left.lease, "node1's own lease was only renewed"
        assert one.condition("node1", "NetworkUnavailable")[0] == "False"


async def test_another_ttl_is_taken_while_the_lab_runs(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    await store_lab(store, ttl=600)
    daemon = Daemon(store, 1)
    async with running(daemon):
        lab = daemon.cluster.snapshot.lab
        network = replace(lab.spec.network, leaseTTL=60)
        await daemon.cluster.edit(lab, lambda one: replace(one, spec=replace(one.spec, network=network)))
        while True:
            (entry,) = (await store.list(keys.SUBNETS)).entries
            if await store.time_to_live(entry.lease) <= 60:
                break
            await asyncio.sleep(0.02)
    assert "its lease" not in caplog.text


@pytest.mark.parametrize("stolen", [False, True])
async def test_a_lost_lease_is_said_and_taken_again(
    store: Store, caplog: pytest.LogCaptureFixture, stolen: bool
) -> None:
    await store_lab(store)
    daemon = Daemon(store, 1)
    key = keys.SUBNETS + "10.244.1.0-24"
    async with running(daemon):
        with caplog.at_level(logging.WARNING):
            entry = await store.get(key)
            assert entry is not None
            if stolen:
                await store.update(key, b'{"PublicIP":"192.168.56.200"}', entry.mod_revision)
                await eventually(lambda: daemon.subnets == ("10.244.2.0/24",))
                assert (await held(store))["10.244.1.0-24"] == "192.168.56.200"
            else:
                await store.revoke(entry.lease)
                while (again := await store.get(key)) is None or again.lease == entry.lease:
                    await asyncio.sleep(0.02)
                assert daemon.subnets == ("10.244.1.0/24",)
        await eventually(lambda: "its lease" in caplog.text)
        assert "10.244.1.0-24 was" in caplog.text


async def test_a_name_in_use_is_refused_until_its_machine_is_gone(store: Store) -> None:
    await store_lab(store)
    first, second = Daemon(store, 1, heartbeat=2), Daemon(store, 7, name="node1", heartbeat=2)
    await first.start()
    await first.leases.registered()
    await second.start()
    with pytest.raises(
        ConflictError, match=r"another machine is node node1 already: host1 192\.168\.56\.11"
    ) as refused:
        await second.leases.registered()
    assert "choose another --name" in refused.value.hint
    assert "another machine is node node1" in second.leases.problems["node"]
    assert second.node("node1").addresses == ("192.168.56.11",)
    await first.kill()
    await eventually(lambda: second.node("node1").addresses == ("192.168.56.17",))
    assert second.subnets == ("10.244.1.0/24",)
    assert await held(store) == {"10.244.1.0-24": "192.168.56.17"}
    await second.kill()


async def test_the_address_of_another_node_is_refused(store: Store) -> None:
    """The NAT address that Vagrant gives every machine."""
    await store_lab(store)
    first, second = Daemon(store, 1), Daemon(store, 2, address="192.168.56.11")
    async with running(first):
        await second.start()
        with pytest.raises(ConflictError, match=r"192\.168\.56\.11 is the address of node1 already"):
            await second.leases.registered()
        assert second.cluster.snapshot.get(Node, "node2") is None
        assert await held(store) == {"10.244.1.0-24": "192.168.56.11"}
        await second.kill()


async def test_two_machines_with_one_address_at_once(store: Store) -> None:
    await store_lab(store)
    first, second = Daemon(store, 1), Daemon(store, 2, address="192.168.56.11")
    await asyncio.gather(first.start(), second.start())
    await eventually(lambda: (first.leases.problems or second.leases.problems)
                     and len(first.cluster.snapshot.all(Node)) == 1)  # fmt: skip
    (name,) = (name for _, name in first.cluster.snapshot.all(Node))
    winner, loser = (first, second) if name == "node1" else (second, first)
    await eventually(
        lambda: not winner.leases.problems and "is the address of" in loser.leases.problems.get("node", "")
    )
    while await held(store) != {winner.subnets[0].replace("/", "-"): "192.168.56.11"}:
        await asyncio.sleep(0.02)
    await asyncio.gather(first.kill(), second.kill())


async def test_a_dead_leader_is_followed_by_another(etcd: EtcdProcess, store: Store) -> None:
    async with clients(etcd, 3) as stores:
        used = stores if isinstance(store, EtcdStore) else [store] * 3
        await store_lab(store)
        daemons = [Daemon(one, number) for number, one in enumerate(used, 1)]
        worked: list[str] = []

        def leader() -> Daemon:
            return next((daemon for daemon in daemons if daemon.leases.leader), Daemon(store, 0))

        async def work(daemon: Daemon) -> None:
            worked.append(daemon.machine.node)
            try:
                await asyncio.Event().wait()
            finally:
                worked.remove(daemon.machine.node)

        async with running(*daemons), asyncio.TaskGroup() as group:
            working = [group.create_task(d.leases.while_leading(partial(work, d))) for d in daemons]
            await eventually(lambda: len(worked) == 1)
            first = leader()
            entry = await store.get(keys.LEADER)
            assert entry is not None and keys.holder_of(entry.value).identity.startswith(f"{first.machine.node}_")
            await store.revoke(entry.lease)  # as if nobody had heard of it for its whole time
            while (again := await store.get(keys.LEADER)) is None or again.value == entry.value:
                await asyncio.sleep(0.02)
            await eventually(lambda: worked == [leader().machine.node])
            dead = leader()
            await dead.kill()
            await eventually(lambda: len(worked) == 1 and worked != [dead.machine.node])
            for task in working:
                task.cancel()


POD = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {nodeName: node2, containers: [{name: c}]}
"""


async def test_a_dead_node_is_lost_and_comes_back(store: Store) -> None:
    await store_lab(store, ttl=3)
    one, two = Daemon(store, 1, heartbeat=2), Daemon(store, 2, heartbeat=2)
    async with running(one):
        await two.start()
        await two.leases.registered()
        await eventually(lambda: one.subnets and one.node("node2").podCIDRs and one.leases.leader)
        (pod,) = load([("pod.yaml", POD)]).objects
        assert isinstance(pod, Pod)
        pod = await one.cluster.create(pod)
        ready = (Condition(type="Ready", status="True"),)
        pod = await one.cluster.edit(
            pod, lambda p: replace(p, status=replace(p.status, phase="Running", podIP="10.244.2.2", conditions=ready))
        )

        def leads(subnet: str) -> bool:
            state = render_node.render(one.cluster.snapshot, "node1").node
            lines = [*state.routes, *state.neighbours, *state.fdb]
            return any(subnet in str(line) or "192.168.56.12" in str(line) for line in lines)

        assert leads("10.244.2.0/24")
        await two.kill()
        await eventually(lambda: one.condition("node2", "Ready") == ("Unknown", "NodeStatusUnknown"))
        await eventually(lambda: not one.cluster.current(Pod, "web", "default").ready)
        status = one.cluster.current(Pod, "web", "default").status
        assert (status.reason, status.phase) == ("NodeLost", "Running")
        assert "Node node2 which was running pod web is unresponsive" in status.message
        await eventually(lambda: one.condition("node2", "NetworkUnavailable") == ("True", "FlannelLeaseExpired"))
        assert not leads("10.244.2.0/24")
        again = Daemon(store, 2, heartbeat=2)
        async with running(again):
            await eventually(lambda: one.condition("node2", "NetworkUnavailable") == ("False", "FlannelIsUp"))
            assert again.subnets == ("10.244.2.0/24",) and leads("10.244.2.0/24")


@pytest.mark.slow
async def test_an_unreachable_store_ends_no_node(etcd: EtcdProcess, connect: Callable[..., EtcdStore]) -> None:
    """The watch of the leader is cut for longer than heartbeats last: nobody says that node2's is gone."""
    from k8snetlab.testing.etcd import Proxy

    direct = connect([etcd.endpoint])
    for entry in (await direct.list("")).entries:
        await direct.delete(entry.key)
    await store_lab(direct)
    async with Proxy(int(etcd.endpoint.rsplit(":", 1)[1])) as proxy:
        one = Daemon(connect([proxy.endpoint], timeout=1.0, patience=1.0), 1, heartbeat=2)
        two = Daemon(direct, 2, heartbeat=2)
        async with running(one, two):
            await eventually(lambda: one.leases.leader or two.leases.leader)
            proxy.silent = True
            await asyncio.sleep(5)
            assert one.condition("node2", "Ready") == ("", ""), "it hears nothing, and believes nothing"
            assert not one.leases.leader
            await eventually(lambda: two.leases.leader)
            await eventually(lambda: two.condition("node1", "Ready") == ("Unknown", "NodeStatusUnknown"))
            proxy.silent = False
            proxy.cut()
            await eventually(lambda: one.condition("node1", "Ready") == ("Unknown", "NodeStatusUnknown"))
            assert one.subnets == ("10.244.1.0/24",) or one.subnets == ("10.244.2.0/24",)
            while await direct.get(keys.NODE_LEASES + "node1") is None:
                await asyncio.sleep(0.02)


async def test_who_leaves_takes_its_pods_and_leases_along(store: Store) -> None:
    await store_lab(store)
    one, two = Daemon(store, 1), Daemon(store, 2)
    async with running(one, two):
        name = two.machine.node
        (pod,) = load([("pod.yaml", POD)]).objects
        await one.cluster.create(pod)
        await eventually(lambda: two.cluster.snapshot.get(Pod, "web", "default"))
        await two.leases.leave()
        await eventually(lambda: one.cluster.snapshot.get(Node, name) is None)
        assert one.cluster.snapshot.get(Pod, "web", "default") is None
        assert list((await held(store)).values()) == ["192.168.56.11"]
        assert await store.get(keys.NODE_LEASES + name) is None
        await asyncio.sleep(1.5)
        assert one.cluster.snapshot.get(Node, name) is None, "it does not come back by itself"


async def test_a_strangers_subnet_env_stays_as_it_is(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "flannel").mkdir()
    file = tmp_path / "flannel" / "subnet.env"
    file.write_text("FLANNEL_NETWORK=10.1.0.0/16\n")
    await store_lab(store)
    async with running(Daemon(store, 1)):
        await eventually(lambda: "it stays as it is" in caplog.text)
    assert file.read_text() == "FLANNEL_NETWORK=10.1.0.0/16\n"
    assert Ledger(LabPaths("lab").ledger).additions == []
