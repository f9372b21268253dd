"""`probe --all` and `diagnose` say the same: what one sees broken has a reason in the other, what is meant is good."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.testing import Lab, eventually

Json = dict[str, Any]
SEEDS = int(os.environ.get("K8SNETLAB_FAULTS", "5"))
"""Faults of the generator; `K8SNETLAB_FAULTS=500` for a long run."""

HEAD = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {nodes: 2, dns: {enabled: false}}\n"
SOCKET = "import socket, time; s = socket.%s; time.sleep(9999)"
PROCESSES = {
    "shy": (
        ["python3", "-m", "http.server", "8080", "--bind", "127.0.0.1"],
        "tcp port 8080 is bound to 127.0.0.1 only",
    ),
    "six": (
        ["python3", "-c", SOCKET % "create_server(('::', 8080), family=socket.AF_INET6)"],
        "tcp port 8080 is bound to IPv6 ([::]) only",
    ),
    "udp": (
        ["python3", "-c", SOCKET % "socket(type=socket.SOCK_DGRAM); s.bind(('', 8080))"],
        "port 8080 is open for udp only",
    ),
    "moved": (["python3", "-m", "http.server", "8081"], "(but on tcp 8081)"),
    "late": (["sleep", "9999"], "nobody listens on tcp"),
}


def document(**fields: Any) -> str:
    return "---\n" + json.dumps(fields) + "\n"


def pod(name: str, node: str = "node1", command: list[str] | None = None, port: int | None = 8080) -> str:
    container = {"name": "c"} | ({"command": command} if command else {})
    if port:
        container |= {"ports": [{"containerPort": port}]}
    metadata = {"name": name, "labels": {"app": name}}
    return document(apiVersion="v1", kind="Pod", metadata=metadata, spec={"nodeName": node, "containers": [container]})


def service(name: str, **spec: Any) -> str:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]} | spec
    return document(apiVersion="v1", kind="Service", metadata={"name": name}, spec=spec)


def test_a_process_that_listens_elsewhere_is_named_and_a_closed_service_is_meant(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    text = HEAD + pod("client", "node2", port=None)
    text += "".join(pod(name, command=command) + service(name) for name, (command, _) in PROCESSES.items())
    (tmp_path / "lab.yaml").write_text(text)

    def missing() -> list[str]:
        found = {f["object"]: f["message"] for f in lab.json("diagnose", code=1)["findings"]}
        return [name for name, (_, words) in PROCESSES.items() if words not in found.get(f"default/{name} 8080", "")]

    try:
        lab.run("up", str(tmp_path / "lab.yaml"))
        eventually(lambda: not missing())
        results: list[Json] = []

        def refused() -> bool:
            """A busy machine may lose a probe's SYN, and the kernel sends another only after the probe has given up."""
            results[:] = [r for r in lab.json("probe", "--all", code=1)["results"] if r["from"] == "client"]
            return all(r["seen"] == "refused" for r in results if r["to"] in PROCESSES)

        eventually(refused)
        for name, (_, words) in PROCESSES.items():
            whys = {r["why"] for r in results if r["to"] == name}
            assert all(f"pod default/{name}: " in why and words in why for why in whys) and whys
        closed = HEAD + pod("client", "node2", port=None) + pod("web")
        closed += service("web", type="NodePort", internalTrafficPolicy="Local", externalTrafficPolicy="Local")
        closed += service("none")
        (tmp_path / "lab.yaml").write_text(closed)
        lab.run("up", "--yes", str(tmp_path / "lab.yaml"))
        results = lab.json("probe", "--all")["results"]
        assert {r["verdict"] for r in results} == {"as intended", "closed on purpose"}
        whys = " ".join({r["why"] for r in results})
        assert "internalTrafficPolicy" in whys and "externalTrafficPolicy" in whys and "no endpoints" in whys
        answer = lab.json("diagnose")
        assert answer["findings"] == [] and len(answer["closed"]) == 2 and len(answer["notes"]) == 1
    finally:
        lab.run("down")


def test_a_link_that_a_person_plugs_into_cni0_of_a_flat_lab_is_foreign(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    (tmp_path / "lab.yaml").write_text(
        HEAD.replace("nodes: 2", "nodes: 2, network: {routes: flat}") + pod("a") + pod("b")
    )
    node, hand = lab.netns("node1"), lab.netns("hand")
    try:
        lab.run("up", str(tmp_path / "lab.yaml"))
        out("ip", "netns", "add", hand)
        out("ip", "-n", node, "link", "add", "hand0", "type", "veth", "peer", "name", "eth0", "netns", hand)
        out("ip", "-n", node, "link", "set", "hand0", "up", "master", "cni0")
        (found,) = lab.json("diagnose", code=1)["findings"]
        assert (found["kind"], found["fault"], found["node"], found["object"]) == ("link", "foreign", "node1", "hand0")
        subprocess.run(["sh", "-c", found["mend"]], check=True)
        assert lab.json("diagnose")["findings"] == []
    finally:
        subprocess.run(["ip", "netns", "del", hand], capture_output=True)
        lab.run("down")


# --- random faults ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("faults")
    lab = Lab(directory)
    text = HEAD + pod("client1", port=None) + pod("client2", "node2", port=None) + pod("web", "node1")
    text += pod("far", "node2") + service("web", type="NodePort") + service("far", externalIPs=["198.51.100.9"])
    (directory / "lab.yaml").write_text(text)
    binary = directory / "bin" / "k8snetlab"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nexec {sys.executable} -m k8snetlab "$@"\n')
    binary.chmod(0o755)
    lab.environment["PATH"] = f"{binary.parent}:{os.environ['PATH']}"
    lab.run("up", str(directory / "lab.yaml"))
    pause(lab)
    yield lab
    lab.run("down")


def pause(lab: Lab) -> None:
    for node in ("node1", "node2"):
        lab.run("pause", node)


def out(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def _link(rng: random.Random, netns: str) -> str:
    devices = [link["ifname"] for link in json.loads(out("ip", "-n", netns, "-j", "link")) if link["ifname"] != "lo"]
    return f"ip -n {netns} link set {rng.choice(devices)} {rng.choice(['down', 'mtu 600', 'down'])}"


def _route(rng: random.Random, netns: str) -> str:
    routes = [line for line in out("ip", "-n", netns, "route").splitlines() if line.strip()]
    dst = rng.choice(routes).split()[0]
    return f"ip -n {netns} route {rng.choice([f'del {dst}', f'replace blackhole {dst} metric 0'])}"


def _address(rng: random.Random, netns: str) -> str:
    shown = json.loads(out("ip", "-n", netns, "-4", "-j", "addr"))
    held = [
        (d["ifname"], f"{a['local']}/{a['prefixlen']}") for d in shown for a in d["addr_info"] if d["ifname"] != "lo"
    ]
    device, address = rng.choice(held)
    return f"ip -n {netns} addr del {address} dev {device}"


def _rule(rng: random.Random, netns: str) -> str:
    table = rng.choice(["nat", "nat", "filter"])
    rules = [r for r in out("ip", "netns", "exec", netns, "iptables-save", "-t", table).splitlines() if r[:3] == "-A "]
    chain = rng.choice(rules).split()[1]
    what = rng.choice([f"-F {chain}", f"-D {chain} 1", f"-I {chain} -p tcp -j DROP" if table == "filter" else "-F"])
    return f"ip netns exec {netns} iptables -w -t {table} {what}"


def _tunnel(rng: random.Random, netns: str) -> str:
    entry = out("bridge", "-n", netns, "fdb", "show", "dev", "flannel.1").split()[0]
    gone = next(w for w in out("ip", "-n", netns, "neigh", "show", "dev", "flannel.1", "nud", "permanent").split())
    return rng.choice(
        [f"bridge -n {netns} fdb del {entry} dev flannel.1", f"ip -n {netns} neigh del {gone} dev flannel.1"]
    )


def _sysctl(rng: random.Random, netns: str) -> str:
    keys = ["net.ipv4.ip_forward=0", "net.bridge.bridge-nf-call-iptables=0", "net.ipv4.conf.all.rp_filter=1"]
    return f"ip netns exec {netns} sysctl -qw {rng.choice(keys)}"


def _tc(rng: random.Random, netns: str) -> str:
    return f"tc -n {netns} qdisc add dev {rng.choice(['eth0', 'cni0', 'flannel.1'])} root blackhole"


def _nft(rng: random.Random, netns: str) -> str:
    chain = f"{{ type filter hook {rng.choice(['input', 'forward', 'output'])} priority 5; }}"
    lines = ["add table ip mine", f"add chain ip mine c {chain}", "add rule ip mine c tcp dport { 80, 8080 } drop"]
    return f"ip netns exec {netns} nft '{'; '.join(lines)}'"


def _policy(rng: random.Random, netns: str) -> str:
    return f"ip -n {netns} rule add to 10.244.{rng.choice([1, 2])}.0/24 {rng.choice(['blackhole', 'prohibit'])}"


BREAKERS: list[Callable[[random.Random, str], str]] = [
    *(_link, _route, _address, _rule, _rule, _tunnel, _sysctl, _tc, _nft, _policy)
]
IN_PODS = (_link, _route, _address)
AFTER = (
    "nft delete table ip mine; for d in eth0 cni0 flannel.1; do tc qdisc del dev $d root; done; "
    "for w in blackhole prohibit; do for n in 1 2; do ip rule del to 10.244.$n.0/24 $w; done; done; "
    "ip route flush type blackhole; iptables -w -D FORWARD -p tcp -j DROP; iptables -w -D INPUT -p tcp -j DROP; "
    "iptables -w -D OUTPUT -p tcp -j DROP"
)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_a_probe_sees_broken_has_a_reason_and_its_command_mends_it(paused: Lab, seed: int) -> None:
    rng = random.Random(seed)
    breaker = rng.choice(BREAKERS)
    places = ["node1", "node2"] + (["default.web", "default.far", "default.client1"] if breaker in IN_PODS else [])
    netns = paused.netns(*rng.choice(places).split("."))
    line = breaker(rng, netns)
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=200)
    try:
        results = paused.json("probe", "--all", code=None)["results"]
        answer = paused.json("diagnose", code=None)
        broken = [f"{r['from']} {r['to']}: {r['why']}" for r in results if r["verdict"] == "broken"]
        assert not broken or answer["findings"], f"{line} ({done.stderr}): {broken[:5]}"
        mends = [m for f in answer["findings"] for m in f["mend"].splitlines() if not m.startswith("#")]
        if broken and mends:
            for mend in mends:
                subprocess.run(["sh", "-c", mend], env=paused.environment, capture_output=True, timeout=200)
            pause(paused)
            eventually(lambda: all(r["ok"] for r in paused.json("probe", "--all", code=None)["results"]))
            assert paused.json("diagnose", code=None)["findings"] == [], f"{line}: not mended by {mends}"
    finally:
        for node in ("node1", "node2"):
            subprocess.run(
                ["ip", "netns", "exec", paused.netns(node), "sh", "-c", AFTER], capture_output=True, timeout=60
            )
            paused.run("resume", node)
        eventually(lambda: not any(n["agent"]["drift"] for n in paused.json("status")["nodes"]))
        eventually(lambda: not paused.json("diagnose", code=None)["findings"])
        pause(paused)
    assert re.match(r"ip|bridge|tc", line)
