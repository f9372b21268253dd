"""resolve: on-miss in a running lab: the kernel asks, the responder answers, and no first packet is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import backlog
import pytest

from k8snetlab.kernel import netns, sysctl
from k8snetlab.testing import Lab, eventually

PODS = 12
"""On node2; on node1 there is one, `a`, and on node3 (where there is one) `c`."""


POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {nodeName: NODE, containers: [{name: c, ports: [{containerPort: 7, protocol: UDP}, {containerPort: 80}]}]}
"""


def manifests(routes: str, nodes: int = 2, resolve: str = "on-miss", six: bool = False) -> str:
    spec = {"nodes": nodes, "podCIDR": "172.30.0.0/16", "network": {"resolve": resolve, "routes": routes}}
    spec["dns"] = {"enabled": False}
    if six:
        spec["underlay"] = {"cidr": "192.168.0.0/24,fd00:192::/64"}
        spec |= {"podCIDR": "172.30.0.0/16,fd00:172::/48", "serviceCIDR": "10.96.0.0/16,fd00:96::/112"}
    lab = json.dumps({"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "spec": spec})
    pods = [("a", "node1"), *((f"b{n}", "node2") for n in range(PODS)), *([("c", "node3")] if nodes > 2 else [])]
    return "\n---\n".join([lab, *(POD.replace("NAME", name).replace("NODE", node) for name, node in pods)])


class Asking:
    """A lab whose pod `a` asks others over UDP, which nobody repeats: an answer means that both packets arrived."""

    def __init__(self, directory: Path, routes: str, six: bool = False) -> None:
        self.lab, self.routes, self.six = Lab(directory), routes, six
        self.file = directory / "lab.yaml"
        self.up()
        self.addresses = {
            pod["metadata"]["name"]: [entry["ip"] for entry in pod["status"]["podIPs"]]
            for pod in self.lab.json("get", "pods")["items"]
        }

    def up(self, nodes: int = 2, resolve: str = "on-miss") -> None:
        self.file.write_text(manifests(self.routes, nodes, resolve, self.six))
        self.lab.run("up", str(self.file))

    def close(self) -> None:
        subprocess.run(self.lab.command("down"), env=self.lab.environment, capture_output=True, timeout=200)

    def send(self, addresses: Sequence[str]) -> socket.socket:
        """A datagram to port 7 of each, from a new socket."""
        family = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
        with netns.inside(self.lab.netns("default", "a")):
            sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.settimeout(60)
        for number, address in enumerate(addresses):
            if not number % 100:
                backlog.room()
            sock.sendto(b"?", (address, 7))
        return sock

    def ask(self, *addresses: str) -> set[str]:
        """The names of the pods that answer the one datagram each address is sent; from the beginning once more where
        the machine has lost packets meanwhile."""
        while True:
            before = backlog.lost()
            try:
                with self.send(addresses) as sock:
                    return heard(sock, len(addresses))
            except TimeoutError:
                if backlog.lost() == before:
                    raise
            self.forget()

    def forget(self) -> None:
        """Neither node knows anything of the other: the neighbours go first, so that no packet meets half of it."""
        for node in ("node1", "node2"):
            for device in self.devices(node):
                for dst in [dst for dst, entry in self.neighbours(node, device).items() if "lladdr" in entry]:
                    self.command("ip", "-n", self.lab.netns(node), "neigh", "del", dst, "dev", device)
                for mac in self.fdb(node, device):
                    self.command("bridge", "-n", self.lab.netns(node), "fdb", "del", mac, "dev", device)

    def command(self, *words: str) -> None:
        subprocess.run(words, capture_output=True, check=False, timeout=200)

    def devices(self, node: str) -> list[str]:
        return ["flannel.1", *(["flannel-v6.1"] if self.six else [])]

    def neighbours(self, node: str, device: str = "flannel.1") -> dict[str, Any]:
        shown = [
            entry
            for family in ("-4", "-6")
            for entry in json.loads(self.lab.shell(node, "ip", family, "-j", "neigh", "show", "dev", device) or "[]")
        ]
        return {entry["dst"]: entry for entry in shown}

    def fdb(self, node: str, device: str = "flannel.1") -> dict[str, str]:
        """The forwarding entries: from a MAC to where it is."""
        shown = json.loads(self.lab.shell(node, "bridge", "-j", "fdb", "show", "dev", device) or "[]")
        return {entry["mac"]: entry["dst"] for entry in shown if "dst" in entry}

    def others(self, family: int = 4) -> list[str]:
        return [
            ip for name, ips in self.addresses.items() if name != "a" for ip in ips if ip_address(ip).version == family
        ]

    @contextlib.contextmanager
    def stray(self, address: str) -> Iterator[str]:
        """An address that the nodes send into the tunnel and that nobody has."""
        route = (f"{address.rpartition('.')[0]}.0/24", "dev", "flannel.1")
        if self.routes == "per-node":
            self.lab.shell("node1", "ip", "route", "add", *route)
        yield address
        if self.routes == "per-node":
            self.lab.shell("node1", "ip", "route", "del", *route)

    @contextlib.contextmanager
    def asking_once(self) -> Iterator[None]:
        """node1's kernel repeats a question after a minute only, instead of a second."""
        namespace, key = self.lab.netns("node1"), "net.ipv4.neigh.flannel/1.retrans_time_ms"
        before = sysctl.read(namespace, [key])
        sysctl.write(namespace, {key: "60000"})
        yield
        sysctl.write(namespace, before)

    @contextlib.contextmanager
    def misses(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A `k8snetlab misses` that listens already."""
        process = self.lab.start("misses", *words)
        try:
            assert process.stderr is not None and process.stderr.readline().startswith("listening on ")
            yield process
        finally:
            process.terminate()
            process.communicate()

    def log(self) -> list[str]:
        return (self.lab.run_directory / self.lab.name / "daemon.log").read_text().splitlines()


def heard(sock: socket.socket, count: int) -> set[str]:
    return {json.loads(sock.recv(4096).splitlines()[0])["pod"] for _ in range(count)}


def events(process: subprocess.Popen[str], count: int) -> list[dict[str, Any]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(count)]


@pytest.fixture(scope="module", params=["per-node", "flat"])
def asking(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    asking = Asking(tmp_path_factory.mktemp("misses"), request.param)
    yield asking
    asking.close()


def test_a_node_knows_nothing_until_it_is_asked(asking: Asking) -> None:
    asking.forget()
    asking.up()
    assert (asking.neighbours("node1"), asking.fdb("node1")) == ({}, {})
    assert asking.lab.shell("node1", "sysctl", "-n", "net.ipv4.neigh.flannel/1.app_solicit").strip() == "3"
    assert asking.ask(asking.addresses["b0"][0]) == {"b0"}
    mac = json.loads(asking.lab.shell("node2", "ip", "-j", "link", "show", "flannel.1"))[0]["address"]
    assert asking.fdb("node1") == {mac: "192.168.0.22"}
    asked = asking.addresses["b0"][0] if asking.routes == "flat" else "172.30.2.0"
    neighbours = asking.neighbours("node1")
    assert set(neighbours) == {asked}
    assert (neighbours[asked]["lladdr"], neighbours[asked]["state"]) == (mac, ["REACHABLE"])


def test_no_first_packet_is_lost(asking: Asking) -> None:
    """A hundred times nobody knows anything, neither on the way there nor on the way back."""
    for number in range(100):
        asking.forget()
        name = f"b{number % PODS}"
        assert asking.ask(asking.addresses[name][0]) == {name}


def test_no_packet_of_many_to_many_is_lost(asking: Asking) -> None:
    for _ in range(10):
        asking.forget()
        assert asking.ask(*asking.others()) == {f"b{n}" for n in range(PODS)}


def test_several_packets_wait_for_one_answer(asking: Asking) -> None:
    asking.forget()
    with asking.send([asking.addresses["b0"][0]] * 20) as sock:
        assert [heard(sock, 1) for _ in range(20)] == [{"b0"}] * 20


def test_every_probe_is_answered_and_nothing_drifts(asking: Asking) -> None:
    asking.forget()
    assert asking.lab.whole()
    assert [node["agent"]["drift"] for node in asking.lab.json("status")["nodes"]] == [[], []]


def test_entries_grow_old_and_live(asking: Asking) -> None:
    """flat: the kernel probes, nobody on the wire answers, it asks again. per-node: the other kernel answers."""
    namespace, prefix = asking.lab.netns("node1"), "net.ipv4.neigh.flannel/1."
    quick = {"base_reachable_time_ms": "200", "delay_first_probe_time": "1", "retrans_time_ms": "400"}
    before = sysctl.read(namespace, [prefix + key for key in quick])
    asking.forget()
    with asking.misses("--node", "node1", "-o", "json") as process:
        sysctl.write(namespace, {prefix + key: value for key, value in quick.items()})
        try:
            for _ in range(40):
                assert asking.ask(asking.addresses["b0"][0]) == {"b0"}
                time.sleep(0.1)
        finally:
            sysctl.write(namespace, before)
        first, *more = events(process, 3 if asking.routes == "flat" else 1)
    assert first["state"] == "INCOMPLETE"
    assert [event["state"] for event in more] == (["PROBE", "PROBE"] if asking.routes == "flat" else [])
    assert all(event["key"] == "/registry/minions/node2" for event in more)


def test_an_unknown_address_is_not_answered_and_hardly_logged(asking: Asking) -> None:
    with asking.stray("172.30.200.7") as stranger, asking.misses("-o", "json") as process:
        begin = len(asking.log())
        for _ in range(25):
            asking.send([stranger.rpartition(".")[0] + f".{n}" for n in range(1, 30)]).close()
            time.sleep(0.1)
        neighbour = asking.neighbours("node1")[stranger]
        assert "lladdr" not in neighbour
        told = events(process, 29)
    assert {(event["node"], event["key"], event["lladdr"]) for event in told} == {("node1", "", "")}
    lines = [line for line in asking.log()[begin:] if "which no node has" in line]
    seconds = [line.split()[0] for line in lines]
    assert lines and len(seconds) == len(set(seconds)), "two lines within a second"
    assert all("node1: flannel.1 asks for 172.30.200." in line for line in lines)


def test_a_flood_to_unknown_addresses_loses_no_later_first_packet(asking: Asking) -> None:
    strangers = [f"172.30.200.{n % 250 + 1}" for n in range(20_000)]
    if asking.routes == "flat":  # few enough for the machine's neighbour table, which others' diagnoses look at, too
        strangers = [f"172.30.{100 + n // 250 % 2}.{n % 250 + 1}" for n in range(20_000)]
    with asking.stray("172.30.200.1"):
        asking.send(strangers).close()
        for number in range(20):
            asking.forget()
            assert asking.ask(asking.addresses[f"b{number % PODS}"][0]) == {f"b{number % PODS}"}
    assert asking.lab.whole()


@contextlib.contextmanager
def false_vtep(asking: Asking) -> Iterator[tuple[str, str]]:
    """An address said to be behind a VTEP that no node has, and the VTEP's MAC: an L2 miss for each packet there."""
    mac = "02:de:ad:00:00:01"
    with asking.stray("172.30.200.1") as stranger:
        entry = (stranger, "lladdr", mac, "dev", "flannel.1", "nud", "permanent")
        asking.lab.shell("node1", "ip", "neigh", "replace", *entry)
        yield stranger, mac


def test_a_flood_of_l2_misses_loses_no_later_first_packet(asking: Asking) -> None:
    with false_vtep(asking) as (stranger, mac):
        asking.send([stranger] * 20_000).close()
        asking.forget()
        assert asking.ask(*asking.others()) == {f"b{n}" for n in range(PODS)}
        assert mac not in asking.fdb("node1")


def test_questions_that_found_no_room_in_the_socket_are_answered(asking: Asking) -> None:
    """A stopped daemon hears nothing: 20,000 misses fill its socket, and those that matter are lost."""
    asking.forget()
    pid = asking.lab.pids()["daemon"]
    with asking.asking_once(), false_vtep(asking) as (stranger, _):
        os.kill(pid, signal.SIGSTOP)
        try:
            asking.send([stranger] * 20_000).close()
            waiting = asking.send(asking.others())
        finally:
            os.kill(pid, signal.SIGCONT)
        with waiting:
            assert heard(waiting, PODS) == {f"b{n}" for n in range(PODS)}


def test_what_is_asked_while_the_agent_is_dead_is_answered_when_it_is_back(asking: Asking) -> None:
    assert asking.ask(asking.addresses["b1"][0]) == {"b1"}
    asking.lab.kill("daemon")
    assert asking.ask(asking.addresses["b1"][0]) == {"b1"}, "what was answered holds"
    asking.forget()
    with asking.asking_once(), asking.send([asking.addresses["b2"][0]]) as sock:
        asking.up()
        assert heard(sock, 1) == {"b2"}
    before = asking.fdb("node1")
    assert before
    asking.up()
    assert asking.fdb("node1") == before, "an agent that adopts a lab leaves what was answered"
    assert [node["agent"]["drift"] for node in asking.lab.json("status")["nodes"]] == [[], []]


def test_a_paused_node_gets_no_answers_until_it_is_resumed(asking: Asking) -> None:
    asking.forget()
    asking.lab.run("pause", "node1")
    with asking.asking_once(), asking.send([asking.addresses["b3"][0]]) as sock:
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            heard(sock, 1)
        asking.lab.run("resume", "node1")
        sock.settimeout(60)
        assert heard(sock, 1) == {"b3"}


def test_a_node_that_comes_is_known_and_one_that_goes_leaves_nothing(asking: Asking) -> None:
    asking.up(nodes=3)
    three = next(p for p in asking.lab.json("get", "pods")["items"] if p["metadata"]["name"] == "c")["status"]["podIP"]
    assert asking.ask(three) == {"c"}
    assert "192.168.0.23" in asking.fdb("node1").values()
    asking.up()
    assert "192.168.0.23" not in asking.fdb("node1").values()
    assert not [dst for dst in asking.neighbours("node1") if dst.startswith("172.30.3.")]
    assert "172.30.3." not in asking.lab.shell("node1", "ip", "route")
    assert asking.ask(asking.addresses["b0"][0]) == {"b0"}


def test_the_stream_says_what_was_asked_and_told(asking: Asking) -> None:
    mac = json.loads(asking.lab.shell("node2", "ip", "-j", "link", "show", "flannel.1"))[0]["address"]
    asked = asking.addresses["b0"][0] if asking.routes == "flat" else "172.30.2.0"
    asking.forget()
    with asking.misses("--node", "node1", "-o", "json") as process, asking.misses() as text:
        asking.ask(asking.addresses["b0"][0])
        (event,) = events(process, 1)
        assert event.pop("time") > 1_700_000_000 and event.pop("microseconds") > 0
        assert event == {
            "node": "node1",
            "device": "flannel.1",
            "miss": "L3",
            "address": asked,
            "state": "INCOMPLETE",
            "lladdr": mac,
            "dst": "192.168.0.22",
            "key": "/registry/minions/node2",
            "error": "",
        }
        asking.lab.shell("node1", "bridge", "fdb", "del", mac, "dev", "flannel.1")
        asking.send([asking.addresses["b0"][0]]).close()
        (event,) = events(process, 1)
        assert (event["miss"], event["address"], event["dst"]) == ("L2", mac, "192.168.0.22")
        eventually(lambda: asking.fdb("node1") == {mac: "192.168.0.22"})
        assert text.stdout is not None
        line = text.stdout.readline()
        assert f" node1 flannel.1: L3 miss, who has {asked}? {mac}, which is at 192.168.0.22" in line
        assert " node2 " in text.stdout.readline()
    assert "nodes: node1, node2" in asking.lab.run("misses", "--node", "node9", code=1)


def test_where_every_entry_is_there_already_nothing_is_asked(asking: Asking) -> None:
    asking.up(resolve="proactive")
    said = asking.lab.run("misses", code=1)
    assert "the kernel asks nothing" in said and "resolve: on-miss" in said
    asking.up()
    assert asking.ask(asking.addresses["b0"][0]) == {"b0"}


@pytest.mark.parametrize("routes", ["per-node", "flat"])
def test_misses_of_both_families_are_answered(tmp_path: Path, routes: str) -> None:
    asking = Asking(tmp_path, routes, six=True)
    try:
        for number in range(20):
            asking.forget()
            name = f"b{number % PODS}"
            for address in asking.addresses[name]:
                assert asking.ask(address) == {name}
        assert set(asking.fdb("node1", "flannel-v6.1").values()) == {"fd00:192::22"}
        assert asking.lab.whole()
    finally:
        asking.close()


def test_the_story_of_the_scenario(tmp_path: Path) -> None:
    """What its README lets a student see, and then do in flannel's place."""
    lab = Lab(tmp_path)

    def asked() -> dict[str, Any]:
        return {e["dst"]: e for e in json.loads(lab.shell("node1", "ip", "-j", "neigh", "show", "dev", "flannel.1"))}

    lab.run("up", "flannel-on-miss")
    try:
        assert asked() == {} and not lab.shell("node1", "bridge", "fdb", "show", "dev", "flannel.1").strip()
        assert "172.30.0.0/16 dev flannel.1" in lab.shell("node1", "ip", "route")
        assert lab.probe("client", "web-1:80").answeredBy == "web-1"
        assert asked().keys() == {"172.30.9.2"}
        mac = json.loads(lab.shell("node2", "ip", "-j", "link", "show", "flannel.1"))[0]["address"]
        assert f'\\"VtepMAC\\":\\"{mac}\\"' in lab.run("store", "dump", "/registry/minions/node2")
        lab.run("pause", "node1")
        lab.shell("node1", "ip", "neigh", "flush", "dev", "flannel.1")
        lab.shell("node1", "bridge", "fdb", "del", mac, "dev", "flannel.1")
        assert not lab.probe("client", "web-1:80").reached
        assert "lladdr" not in asked()["172.30.9.2"]
        lab.shell(
            "node1", "bridge", "fdb", "replace", mac, "dev", "flannel.1", "dst", "192.168.0.22", "self", "permanent"
        )
        lab.shell(
            "node1", "ip", "neigh", "replace", "172.30.9.2", "lladdr", mac, "dev", "flannel.1", "nud", "reachable"
        )
        assert lab.probe("client", "web-1:80").answeredBy == "web-1"
        lab.run("resume", "node1")
        assert lab.probe("client", "web-2:80").answeredBy == "web-2"
    finally:
        lab.run("down")
