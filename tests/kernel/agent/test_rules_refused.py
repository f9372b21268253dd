"""Rules that iptables or the kernel does not take: the Services to blame are found, and all others stand."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest
from proxied import AloneProxy

from k8snetlab.agent.additions import Owner
from k8snetlab.agent.kube_router import KubeRouter
from k8snetlab.agent.protocol import Surroundings
from k8snetlab.agent.steps import Steps
from k8snetlab.agent.tables import NodeTables
from k8snetlab.api.core import Service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import service_chain
from k8snetlab.dataplane.rules import ChainKey, RuleSet
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import iptables
from k8snetlab.kernel.iptables import Iptables
from k8snetlab.testing.services import NODE1, POD1, cluster, endpoint, lab, node, service, slice_of

Make = Callable[..., str]
STICKY = (3, 4, 11, 26)


def many(sticky: tuple[int, ...] = STICKY, layout: str = "current") -> Snapshot:
    """Forty Services, some of them with session affinity."""
    objects = [
        service(f"s{n}", clusterIPs=[f"10.96.0.{n + 1}"], sessionAffinity="ClientIP" if n in sticky else "None")
        for n in range(40)
    ]
    return cluster(*objects, *(slice_of(f"s{n}", endpoint(POD1, "node1")) for n in range(40)), layout=layout)


def balanced(table: Iptables) -> set[int]:
    """The Services whose packets are led on to an endpoint."""
    rules = [
        rule for rules in table.save().values() for rule in rules if "cluster IP" in rule and "-j KUBE-SVC" in rule
    ]
    return {n for n in range(40) if any(f'"default/s{n}:http cluster IP"' in rule for rule in rules)}


@pytest.fixture
def extensions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the extensions of iptables, which a test may take some out of."""
    real = next(iter(Path("/usr/lib").glob("*/xtables")), None)
    if real is None or not (real / "libxt_recent.so").exists():
        pytest.skip("iptables' extensions are not files here")
    shutil.copytree(real, tmp_path / "xtables", symlinks=True)
    monkeypatch.setenv("XTABLES_LIBDIR", str(tmp_path / "xtables"))
    return tmp_path / "xtables"


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_some_services_among_many(variant: iptables.Variant, extensions: Path, namespace: Make, tmp_path: Path) -> None:
    table = iptables.open(namespace(), "ipv4", variant, tmp_path / "lock")
    proxy = AloneProxy(table)
    recent = (extensions / "libxt_recent.so").read_bytes()
    (extensions / "libxt_recent.so").unlink()
    snapshot = many()
    proxy.sync(snapshot)
    assert proxy.failure is not None
    assert "default/s3 and 3 more" in proxy.failure.message and "-m recent" in proxy.failure.operation
    assert balanced(table) == set(range(40)) - set(STICKY)
    # One is mended, one is new among the refused, one goes; and another changes meanwhile.
    changes = {3: service("s3", clusterIPs=["10.96.0.4"]), 7: service("s7", sessionAffinity="ClientIP"), 39: None}
    later = snapshot.changed([(Service, ("default", f"s{n}"), obj) for n, obj in changes.items()], 2)
    proxy.sync(later)
    assert proxy.failure is not None and "3 more" in proxy.failure.message
    assert balanced(table) == set(range(39)) - {4, 11, 26}, "s7 is as it was"
    (extensions / "libxt_recent.so").write_bytes(recent)
    proxy.sync(later)
    assert proxy.failure is None
    assert balanced(table) == set(range(39))


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_a_service_that_the_kernel_itself_refuses(namespace: Make, tmp_path: Path) -> None:
    """A stranger has given one Service's chain a hook of its own; the kernel lets no rule jump to such a chain."""
    name = namespace()
    table = iptables.open(name, "ipv4", "nft", tmp_path / "lock")
    chain = service_chain("default/s5:http", "tcp", "KUBE-SVC-")
    for words in ("add table ip nat", f"add chain ip nat {chain} {{ type filter hook input priority 0; }}"):
        subprocess.run(["ip", "netns", "exec", name, "nft", words], check=True)
    proxy = AloneProxy(table)
    proxy.sync(many(()))
    assert proxy.failure is not None and "default/s5:" in proxy.failure.message
    assert balanced(table) == set(range(40)) - {5}
    subprocess.run(["ip", "netns", "exec", name, "nft", f"delete chain ip nat {chain}"], check=True)
    proxy.sync(many(()))
    assert proxy.failure is None and balanced(table) == set(range(40))


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_another_layout_while_some_are_refused(
    variant: iptables.Variant, extensions: Path, namespace: Make, tmp_path: Path
) -> None:
    """What one layout made of a Service does not fit the other: a refused one is away until it is taken."""
    table = iptables.open(namespace(), "ipv4", variant, tmp_path / "lock")
    proxy = AloneProxy(table)
    (extensions / "libxt_recent.so").unlink()
    plain = many(())
    proxy.sync(plain)
    assert balanced(table) == set(range(40))
    both = [(type(obj), obj.key, obj) for obj in (lab("classic"), *many().all(Service).values())]
    proxy.sync(plain.changed(both, 2))
    assert proxy.failure is not None and "default/s3 and 3 more" in proxy.failure.message
    assert balanced(table) == set(range(40)) - set(STICKY)


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_a_new_agent_leaves_what_works(
    variant: iptables.Variant, extensions: Path, namespace: Make, tmp_path: Path
) -> None:
    """It knows nothing of how a refused Service was before, and still takes nothing away."""
    (extensions / "libxt_recent.so").unlink()
    table = iptables.open(namespace(), "ipv4", variant, tmp_path / "lock")
    AloneProxy(table).sync(many(()))
    before = table.save()
    again = AloneProxy(table)
    again.sync(many())
    assert again.failure is not None and "default/s3 and 3 more" in again.failure.message
    assert balanced(table) == set(range(40))
    assert table.save() == before


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_where_nothing_could_be_written_the_node_does_not_rest(
    variant: iptables.Variant, extensions: Path, namespace: Make, tmp_path: Path
) -> None:
    """While pods come, rules wait. Who is told nothing then takes the rules of new pods to stand, and plugs them in."""
    own = lab(podCIDR="10.244.0.0/16")
    proxy = msgspec.structs.replace(own.spec.proxy, iptables=variant)
    own = msgspec.structs.replace(own, spec=msgspec.structs.replace(own.spec, proxy=proxy))
    coming = Snapshot.of([node("node1", NODE1), own])
    around = Surroundings("node1", cast(Owner, None), tmp_path)
    part = KubeRouter("kube-router", None, around).table_part
    tables = NodeTables(around.owner, tmp_path, {"kube-router": part}, Steps(lambda: coming, clock=lambda: 0.0))
    name, chain = namespace(), ChainKey("filter", "KUBE-ROUTER-FORWARD")

    def sync(*addresses: str) -> int:
        rules = tuple(f"-d {one}/32 -m physdev --physdev-is-bridged -j ACCEPT" for one in addresses)
        return tables.sync(coming, name, lambda _: (RuleSet("ipv4", {chain: rules}, (chain.chain,)),), trusting=True)

    tables.coming = 1
    assert sync("10.244.1.2") == 1 and sync("10.244.1.2") == 0
    assert tables.rest, "more pods are to come"
    (extensions / "libxt_physdev.so").rename(extensions / "away")
    for _ in range(3):
        with pytest.raises(K8sNetLabError):
            sync("10.244.1.2", "10.244.1.3")
    (extensions / "away").rename(extensions / "libxt_physdev.so")
    assert sync("10.244.1.2", "10.244.1.3") == 1
    held = iptables.open(name, "ipv4", variant, tmp_path / "lock").save()
    assert len(held[chain]) == 2
    tables.forget()
