"""Machines of a lab under test: each a network namespace in which the real command line begins, all on one wire.

To what runs in it, the namespace is the machine's own (""). Files are shared, but each has a run directory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from k8snetlab.dataplane.names import ETH0
from k8snetlab.kernel import netns, processes
from k8snetlab.store.serve import EtcdProcess, serve
from k8snetlab.testing import madeup
from k8snetlab.testing.lab import Lab
from k8snetlab.testing.waiting import eventually

NETWORK = "192.168.56"
PORT = 2379


class Machine(Lab):
    """A machine: `run`, `json`, `probe` are its own k8snetlab; `here` runs any command on it.

    Like a Vagrant machine it has eth0 with the NAT address that all have, and eth1 at 192.168.56.<10 + number>.
    """

    def __init__(self, lab: str, number: int, namespace: str, directory: Path) -> None:
        super().__init__(directory / f"machine{number}")
        self.name = lab
        self.environment["K8SNETLAB_LAB"] = lab
        self.node, self.namespace = f"node{number}", namespace
        self.address = f"{NETWORK}.{10 + number}"

    def here(self, *command: str, code: int | None = 0) -> str:
        argv = ["nsenter", f"--net=/run/netns/{self.namespace}", *command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=200)
        assert code is None or done.returncode == code, f"{self.node}: {command}: {done.stdout}{done.stderr}"
        return done.stdout

    def settle(self) -> None:
        """Waits until the kernel has told each device that is up whether it has a carrier, and given it the address of
        its link: a moment after `ip link set DEVICE up` has returned."""
        eventually(self._settled)

    def _settled(self) -> bool:
        six = {
            one["ifname"] for one in json.loads(self.here("ip", "-j", "-6", "address", "show", "scope", "link")) if one
        }
        for link in json.loads(self.here("ip", "-j", "link")):
            if "UP" not in link["flags"] or "LOOPBACK" in link["flags"]:
                continue
            carrier = "LOWER_UP" in link["flags"]
            if carrier != (link["operstate"] in ("UP", "UNKNOWN")) or (carrier and link["ifname"] not in six):
                return False
        return True

    def state(self) -> dict[str, str]:
        """What the machine's own network looks like, in the words of its tools, without what only counts or ages."""
        commands = {
            "links": "ip -o link",
            "addresses": "ip -o -4 address",
            "routes": "ip route",
            "routes6": "ip -6 route",
            "rules": "ip rule",
            "neighbours": "ip neigh show nud permanent",
            "fdb": "bridge fdb",
            "nft": "iptables-nft-save",
            "nft6": "ip6tables-nft-save",
            "legacy": "iptables-legacy-save",
            "sysctls": "sysctl -a --pattern ^net\\.(ipv4\\.(ip_forward|conf)|ipv6\\.conf|bridge)",
        }
        found = {what: self.here(*command.split(), code=None) for what, command in commands.items()}
        return {what: _lasting(text) for what, text in found.items()}


def _lasting(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


class Wire:
    """A switch in a namespace of its own, and the machines plugged into it."""

    def __init__(self, namespace: Callable[[str], str], directory: Path) -> None:
        self._namespace, self._directory = namespace, directory
        self.switch = namespace("switch")
        self.lab = madeup.name()
        self.machines: list[Machine] = []
        _ip(self.switch, "link add wire type bridge", "link set wire up")

    def machine(self) -> Machine:
        number = len(self.machines) + 1
        namespace = self._namespace(f"machine{number}")
        one = Machine(self.lab, number, namespace, self._directory)
        # Addresses are there at once, instead of after a second in which nobody else claimed them.
        one.here("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
        _ip(
            self.switch,
            f"link add port{number} master wire up type veth peer name eth1 netns {namespace}",
            f"link add nat{number} up type veth peer name eth0 netns {namespace}",
        )
        _ip(
            namespace,
            *(f"link set {device} up" for device in ("lo", ETH0, "eth1")),
            "address add 10.0.2.15/24 dev eth0",
            "route add default via 10.0.2.2 dev eth0",
            f"address add {one.address}/24 dev eth1",
        )
        one.settle()
        self.machines.append(one)
        return one

    def cut(self, machine: Machine) -> None:
        """Its cable to the others is pulled out."""
        _ip(self.switch, f"link set port{self.machines.index(machine) + 1} down")

    def mend(self, machine: Machine) -> None:
        _ip(self.switch, f"link set port{self.machines.index(machine) + 1} up")


@contextmanager
def store_on(machine: Machine, directory: Path) -> Iterator[EtcdProcess]:
    """A real etcd on the machine, for all the others."""
    with netns.inside(machine.namespace):
        etcd = serve(directory / "etcd", f"http://{machine.address}:{PORT}")
        etcd.wait_ready()
    try:
        yield etcd
    finally:
        etcd.kill()


def url(machine: Machine) -> str:
    return f"http://{machine.address}:{PORT}"


def take_down(machines: list[Machine]) -> None:
    """Every machine leaves, whatever state it is in."""
    for machine in machines:
        if (machine.run_directory / machine.name).exists():
            machine.run("node", "leave", "--force")
        assert not (machine.run_directory / machine.name).exists()


@contextmanager
def pair(objects: str, directory: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines of a lab with these objects, node1 (which has the store) and node2, both in step."""
    with namespaces() as namespace:
        wire = Wire(namespace, directory)
        one, two = wire.machine(), wire.machine()
        file = directory / "lab.yaml"
        file.write_text(objects)
        with store_on(one, directory):
            try:
                one.run("up", str(file), "--node", "node1", "--store", url(one), "--insecure", "--iface", "eth1")
                two.run("node", "join", "--store", url(one), "--insecure", "--name", "node2", "--iface", "eth1")
                eventually(lambda: _synced(one))
                yield one, two
            finally:
                take_down([two, one])


@contextmanager
def namespaces() -> Iterator[Callable[[str], str]]:
    """Makes namespaces, each called after a part."""
    made: list[str] = []

    def make(part: str) -> str:
        made.append(f"{madeup.name('kr')}.{part}")
        netns.create(made[-1])
        return made[-1]

    try:
        yield make
    finally:
        for name in made:
            processes.terminate(processes.pids_in(name), 0.2)
            netns.delete(name)


def _synced(machine: Machine) -> bool:
    return all(node["agent"]["synced"] for node in machine.json("status")["nodes"])


def conversations(machine: Machine) -> list[str]:
    """What the machines' conversations have left in the store."""
    dumped = machine.run("store", "dump", "/k8snetlab/re", "-o", "json")  # requests and responses
    return [json.loads(line)["key"] for line in dumped.splitlines()]


def commands_of(text: str) -> list[int]:
    """The processes with `text` in their command line."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if text in (place / "cmdline").read_text() and "k8snetlab\0" not in (place / "cmdline").read_text():
                found.append(int(place.name))
        except OSError:
            continue
    return found


def _ip(namespace: str, *lines: str) -> None:
    subprocess.run(
        ["ip", "-netns", namespace, "-batch", "-"], input="\n".join(lines), text=True, check=True, stdout=sys.stderr
    )
