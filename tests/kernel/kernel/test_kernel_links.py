"""What `diff` plans, `execute` does and `read` finds must agree, in real namespaces."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable

import msgspec
import pytest

from k8snetlab.dataplane.delta import diff
from k8snetlab.dataplane.links import Address, Bridge, Device, Veth, Vxlan
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import Item, ItemOperation, NetnsOperation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.errors import AlreadyExistsError, KernelError, NotFoundError
from k8snetlab.kernel import neighbours, netns
from k8snetlab.kernel.execute import execute
from k8snetlab.kernel.netlink import Netlink
from k8snetlab.kernel.read import read

Make = Callable[..., str]
NO_IPV6 = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}


def node(name: str, number: int, peers: tuple[int, ...], pods: dict[str, str]) -> Netns:
    """A flannel node with address 192.168.0.<number> and pod subnet 172.30.<number>.0/24; pods by veth name."""
    return Netns(
        name=name,
        sysctls=NO_IPV6 | {"net.ipv4.ip_forward": "1", "net.ipv4.neigh.flannel/1.app_solicit": "3"},
        links=(
            Device("lo"),
            Device("eth0", mtu=1500),
            Bridge("cni0", mac=f"0a:58:ac:1e:{number:02x}:01", mtu=1450),
            Vxlan("flannel.1", 1, f"192.168.0.{number}", "eth0", mac=f"02:00:00:00:00:{number:02x}"),
            *(
                Veth(
                    veth,
                    "eth0",
                    pod,
                    peer_mac=f"0a:58:ac:1e:{number:02x}:{i:02x}",
                    mtu=1450,
                    master="cni0",
                    hairpin=True,
                )
                for i, (veth, pod) in enumerate(pods.items(), 2)
            ),
        ),
        addresses=(
            Address("eth0", f"192.168.0.{number}/24", broadcast=True),
            Address("cni0", f"172.30.{number}.1/24", broadcast=True),
            Address("flannel.1", f"172.30.{number}.0/32"),
        ),
        routes=(
            Route("default", "eth0", "192.168.0.1"),
            *(Route(f"172.30.{p}.0/24", "flannel.1", f"172.30.{p}.0", onlink=True) for p in peers),
        ),
        neighbours=tuple(Neighbour("flannel.1", f"172.30.{p}.0", f"02:00:00:00:00:{p:02x}") for p in peers),
        fdb=tuple(FdbEntry("flannel.1", f"02:00:00:00:00:{p:02x}", f"192.168.0.{p}") for p in peers),
        owned=("cni0", "flannel.1"),
    )


def pod(name: str, subnet: int, host: int) -> Netns:
    return Netns(
        name=name,
        role="pod",
        sysctls=NO_IPV6,
        links=(Device("lo"), Device("eth0", mtu=1450)),
        addresses=(Address("eth0", f"172.30.{subnet}.{host}/24", broadcast=True),),
        routes=(
            Route("default", "eth0", f"172.30.{subnet}.1"),
            Route("172.30.0.0/16", "eth0", f"172.30.{subnet}.1"),
        ),
    )


def underlay(name: str, nodes: dict[str, str]) -> Netns:
    """A bridge that nodes are plugged into; `nodes` from port to namespace."""
    ports = (Veth(port, "eth0", ns, master="underlay0") for port, ns in nodes.items())
    return Netns(
        name=name,
        sysctls=NO_IPV6,
        links=(Device("lo"), Bridge("underlay0"), *ports),
        addresses=(Address("underlay0", "192.168.0.1/24", broadcast=True),),
    )


def settle(*wanted: Netns) -> None:
    """Bring each namespace in turn to its desired state."""
    for state in wanted:
        execute(diff(state, read(state.name, state.sysctls), state))


def drift(state: Netns) -> list[str]:
    return [str(operation) for operation in diff(state, read(state.name, state.sysctls), state)]


def essence(state: Netns) -> Netns:
    """What of a desired state the kernel can tell: not a veth's other end, nor what a Device is."""
    links = []
    for link in state.links:
        if isinstance(link, Veth):
            link = msgspec.structs.replace(link, peer="", peer_netns="", peer_mac="")
        links.append(link)
    return msgspec.structs.replace(state, links=tuple(links), owned=(), role="node", hostname="")


@pytest.fixture
def cluster(namespace: Make) -> tuple[Netns, ...]:
    """Router, two nodes, one pod on each: up."""
    router, one, two, pod1, pod2 = (namespace(part) for part in ("router", "n1", "n2", "p1", "p2"))
    states = (
        underlay(router, {"node1": one, "node2": two}),
        node(one, 21, (22,), {"vethaaaa1111": pod1}),
        node(two, 22, (21,), {"vethbbbb2222": pod2}),
        pod(pod1, 21, 2),
        pod(pod2, 22, 2),
    )
    settle(*states)
    return states


def test_what_was_executed_reads_back_equal(cluster: tuple[Netns, ...]) -> None:
    one = cluster[1]
    want, have = essence(one), read(one.name, one.sysctls)
    assert set(have.addresses) == set(want.addresses)
    assert set(have.routes) == set(want.routes)
    assert {n for n in have.neighbours if n.state == "PERMANENT"} == set(want.neighbours)
    assert set(have.fdb) == set(want.fdb)
    assert have.sysctls == want.sysctls
    by_name = {link.name: link for link in have.links}
    for link in want.links:
        if isinstance(link, Bridge | Vxlan):
            assert by_name[link.name] == link
        elif isinstance(link, Veth):
            assert by_name[link.name] == msgspec.structs.replace(link, mac=by_name[link.name].mac)


def test_a_second_diff_is_empty(cluster: tuple[Netns, ...]) -> None:
    for state in cluster:
        assert drift(state) == []
        assert diff(state, read(state.name, state.sysctls)) == [], "an agent that adopts finds everything in place"


def test_the_far_end_of_a_veth_has_the_mac_and_mtu_it_was_given(cluster: tuple[Netns, ...]) -> None:
    far = next(link for link in read(cluster[3].name).links if link.name == "eth0")
    assert (far.mac, far.mtu, far.up) == ("0a:58:ac:1e:15:02", 1450, True)


BREAKAGES = [
    "ip -n {node} route del 172.30.22.0/24",
    "ip -n {node} route replace 172.30.22.0/24 via 192.168.0.9 dev eth0",
    "ip -n {node} route del default",
    "ip -n {node} neigh del 172.30.22.0 dev flannel.1",
    "ip -n {node} neigh replace 172.30.22.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent",
    "bridge -n {node} fdb del 02:00:00:00:00:16 dev flannel.1 dst 192.168.0.22 self",
    "bridge -n {node} fdb replace 02:00:00:00:00:16 dev flannel.1 dst 192.168.0.99 self permanent",
    "ip -n {node} addr del 172.30.21.1/24 dev cni0",
    "ip -n {node} addr flush dev flannel.1",
    "ip -n {node} link set cni0 down",
    "ip -n {node} link set flannel.1 mtu 1400",
    "ip -n {node} link set flannel.1 address 02:00:00:00:00:77",
    "ip -n {node} link del flannel.1",
    "ip -n {node} link del cni0",
    "ip -n {node} link set vethaaaa1111 nomaster",
    "ip -n {node} link set vethaaaa1111 type bridge_slave hairpin off",
    "ip netns exec {node} sysctl -qw net.ipv4.ip_forward=0",
    "ip netns exec {node} sysctl -qw net.ipv4.neigh.flannel/1.app_solicit=0",
    "ip -n {node} link del vethaaaa1111",
]


@pytest.mark.parametrize("command", BREAKAGES)
def test_what_is_broken_by_hand_is_repaired(cluster: tuple[Netns, ...], command: str) -> None:
    one, in_pod = cluster[1], cluster[3]
    subprocess.run(command.format(node=one.name).split(), check=True)
    assert drift(one)
    settle(one, in_pod)
    assert drift(one) == []
    assert drift(in_pod) == []


def test_stale_entries_go_and_those_of_strangers_stay(cluster: tuple[Netns, ...]) -> None:
    one = cluster[1]
    foreign = Route("10.99.0.0/16", "eth0", "192.168.0.1")
    execute([ItemOperation("add", one.name, foreign)])
    alone = node(one.name, 21, (), {})
    execute(diff(alone, read(one.name, one.sysctls), one))
    have = read(one.name)
    assert set(have.routes) == {*alone.routes, foreign}
    assert have.fdb == ()
    assert not [n for n in have.neighbours if n.state == "PERMANENT"]
    assert "vethaaaa1111" not in {link.name for link in have.links}
    assert drift(alone) == []


def test_an_agent_that_adopts_removes_leftovers_on_its_own_devices_only(cluster: tuple[Netns, ...]) -> None:
    one = cluster[1]
    execute([ItemOperation("add", one.name, Neighbour("eth0", "192.168.0.77", "02:00:00:00:00:77"))])
    alone = node(one.name, 21, (), {"vethaaaa1111": cluster[3].name})
    execute(diff(alone, read(one.name, one.sysctls)))
    have = read(one.name)
    assert (have.fdb, [n.dst for n in have.neighbours if n.state == "PERMANENT"]) == ((), ["192.168.0.77"])
    assert "eth0" in {link.name for link in have.links}


def exchange(server: Netns, address: str, client: Netns) -> tuple[bytes, bytes]:
    """Send a word from `client` to `address` in `server` and back, over TCP and over UDP."""
    with netns.inside(server.name):
        tcp = socket.create_server((address, 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, 0))
    with netns.inside(client.name):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with tcp, udp, sender, stream:
        for each in (tcp, udp, sender, stream):
            each.settimeout(10)
        stream.connect((address, tcp.getsockname()[1]))
        connection, _ = tcp.accept()
        with connection:
            stream.sendall(b"over tcp")
            first = connection.recv(100)
        sender.sendto(b"over udp", (address, udp.getsockname()[1]))
        second, _ = udp.recvfrom(100)
    return first, second


def test_pods_on_two_nodes_exchange_packets_over_the_vxlan_tunnel(cluster: tuple[Netns, ...]) -> None:
    _, one, two, pod1, pod2 = cluster
    assert exchange(pod2, "172.30.22.2", pod1) == (b"over tcp", b"over udp")
    assert exchange(pod1, "172.30.21.2", two) == (b"over tcp", b"over udp")
    with Netlink(one.name):
        counted = subprocess.run(
            ["ip", "-n", one.name, "-s", "link", "show", "flannel.1"], capture_output=True, text=True, check=True
        ).stdout.split()
    assert int(counted[counted.index("TX:") + 8]) > 0


def test_ipv6_addresses_are_usable_at_once_and_read_back_equal(namespace: Make) -> None:
    outer, inner = namespace("a"), namespace("b")
    left = Netns(
        outer,
        links=(Device("lo"), Bridge("br0"), Veth("va", "eth0", inner, master="br0")),
        addresses=(Address("br0", "fd00::1/64"),),
        routes=(Route("fd99::/64", "br0", "fd00::2"), Route("default", "br0", "fd00::2", metric=7)),
    )
    right = Netns(inner, links=(Device("eth0"),), addresses=(Address("eth0", "fd00::2/64"),))
    settle(left, right)
    with netns.inside(outer):
        probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with probe:
        probe.bind(("fd00::1", 0))
    have = read(outer)
    assert (set(have.routes), set(have.addresses)) == (set(left.routes), set(left.addresses))
    assert drift(left) == [] and drift(right) == []


def test_doing_it_again_is_no_error(cluster: tuple[Netns, ...]) -> None:
    one = cluster[1]
    again = diff(one, Netns(one.name, links=(Device("eth0"), Device("lo"))))
    execute(again)
    assert drift(one) == []
    items: list[Item] = [*one.routes, *one.neighbours, *one.fdb, *one.addresses]
    deletions = [ItemOperation("del", one.name, item) for item in items]
    execute([*deletions, *deletions, ItemOperation("del", one.name, one.links[3]), *deletions])
    execute([NetnsOperation("del", cluster[4].name), NetnsOperation("del", cluster[4].name)])


def test_a_refusal_names_the_operation_and_what_the_kernel_says(namespace: Make) -> None:
    name = namespace()
    execute(diff(Netns(name, links=(Bridge("br0"),), addresses=(Address("br0", "10.0.0.1/24"),)), read(name)))
    with pytest.raises(KernelError) as refused:
        execute([ItemOperation("replace", name, Route("10.9.0.0/16", "br0", "10.7.0.1"))])
    operation = f"ip -n {name} route replace 10.9.0.0/16 via 10.7.0.1 dev br0"
    assert refused.value.message.startswith(f"{operation}: Network is unreachable (Nexthop has invalid gateway")
    assert refused.value.operation == operation
    assert "onlink" in refused.value.hint
    with pytest.raises(KernelError, match="no device br9"):
        execute([ItemOperation("add", name, Address("br9", "10.0.0.1/24"))])
    with pytest.raises(KernelError, match="File exists"):
        execute([ItemOperation("add", name, Veth("br0", "eth0", name))])
    with pytest.raises(KernelError, match="File exists"):
        execute(
            [
                ItemOperation("add", name, Route("10.9.0.0/16", "br0")),
                ItemOperation("add", name, Route("10.9.0.0/16", via="10.0.0.2")),
            ]
        )


def test_a_refusal_in_one_namespace_stops_nothing_in_another(namespace: Make) -> None:
    first, second = namespace("first"), namespace("second")
    with pytest.raises(KernelError):
        execute(
            [
                ItemOperation("add", first, Route("10.9.0.0/16", via="10.7.0.1")),
                ItemOperation("add", second, Bridge("br0")),
            ]
        )
    assert "br0" in {link.name for link in read(second).links}


def test_missing_and_taken_namespaces_have_their_own_errors(namespace: Make, name: Make) -> None:
    missing = name("missing")
    with pytest.raises(NotFoundError, match=missing):
        read(missing)
    here = namespace("here")
    with pytest.raises(NotFoundError, match=missing):
        execute([ItemOperation("add", here, Veth("va", "eth0", missing))])
    with pytest.raises(AlreadyExistsError, match=here):
        execute([NetnsOperation("add", here)])


def test_one_batch_may_be_larger_than_the_receive_buffer_holds(namespace: Make) -> None:
    name = namespace()
    bridge = Bridge("br0")
    routes = tuple(Route(f"10.{i // 250}.{i % 250}.0/24", "br0") for i in range(3000))
    state = Netns(name, links=(bridge,), addresses=(Address("br0", "192.168.0.1/24"),), routes=routes)
    settle(state)
    assert set(read(name).routes) == set(routes)


def test_a_netlink_socket_stays_in_its_namespace(namespace: Make) -> None:
    import threading

    name = namespace()
    execute([ItemOperation("add", name, Bridge("only-here"))])
    found: list[int] = []
    with Netlink(name) as netlink, netns.inside(namespace("elsewhere")):
        thread = threading.Thread(target=lambda: found.append(netlink.index("only-here")))
        thread.start()
        thread.join()
        found.append(netlink.index("not-there"))
    assert found[0] > 1 and found[1] == 0


def test_neighbours_are_counted_but_for_those_that_stay(namespace: Make) -> None:
    name = namespace()
    before = neighbours.counted(name)
    for command in (
        "link add br0 type bridge",
        "link set br0 up",
        *(f"neigh add 192.0.2.{n} lladdr 02:00:00:00:00:0{n} nud stale dev br0" for n in range(1, 4)),
        *(f"neigh add 192.0.2.1{n} lladdr 02:00:00:00:01:0{n} nud permanent dev br0" for n in range(1, 6)),
        "neigh add 192.0.2.20 lladdr 02:00:00:00:02:00 nud stale extern_learn dev br0",
        "neigh add fd00::1 lladdr 02:00:00:00:00:01 nud stale dev br0",
    ):
        subprocess.run(["ip", "-n", name, *command.split()], check=True)
    # The kernel adds one or two for its own multicast.
    assert 3 <= neighbours.counted(name)["ipv4"] - before["ipv4"] <= 5
    assert neighbours.counted(name)["ipv6"] - before["ipv6"] >= 1
    tables = neighbours.fullness([name])
    assert [one.family for one in tables] in ([], ["ipv4", "ipv6"])  # in a container the limits are not to be seen
    assert all(one.entries >= 1 and one.limit > 0 for one in tables)
