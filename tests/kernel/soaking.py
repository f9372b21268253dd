"""What a soak does to a lab: changes at random, each by the command line or by hand, and what it must find afterwards.

Some changes are of no concern to who uses a Service with a ready endpoint, others break the network for a while; those
run between two calls of `Changes.broken`.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from k8snetlab.testing import Lab, eventually

LAB = """apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {{dns: {{enabled: false}}, nodes: {nodes}, network: {{backend: {backend}}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: c, ports: [{{containerPort: 8080}}, {{containerPort: 8080, protocol: UDP}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: NodePort
  clusterIP: 10.96.0.80
  selector: {{app: web}}
  ports:
  - {{name: tcp, port: 80, targetPort: 8080, nodePort: 30080}}
  - {{name: udp, port: 80, targetPort: 8080, nodePort: 30080, protocol: UDP}}
---
apiVersion: v1
kind: Service
metadata: {{name: sticky}}
spec:
  clusterIP: 10.96.0.81
  sessionAffinity: ClientIP
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: churn}}
spec:
  replicas: {nodes}
  selector: {{matchLabels: {{app: churn}}}}
  template:
    metadata: {{labels: {{app: churn}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: c, command: [/bin/sh, -c, "while sleep 1; do date; done"]}}
      - {{name: d, ports: [{{containerPort: 80}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: churn}}
spec: {{selector: {{app: churn}}, ports: [{{port: 80}}]}}
"""
CLIENT = """---
apiVersion: v1
kind: Pod
metadata: {{name: client-{number}}}
spec: {{nodeName: node{number}, containers: [{{name: c}}]}}
"""
EXTRA = tuple(f"extra-{number}" for number in range(5))
CLIENTS = 3
"""Nodes with a client pod; these and their cables are let alone by what is not to break traffic."""

Pod = dict[str, Any]


class Changes:
    """One change after the other, from one seeded source of chance."""

    def __init__(self, lab: Lab, nodes: int, chance: random.Random, directory: Path, now: Callable[[], float]) -> None:
        self.lab, self.nodes, self.chance, self.now = lab, nodes, chance, now
        self.file, self.backend, self.replicas = directory / "lab.yaml", "vxlan", nodes
        self.done: Counter[str] = Counter()
        self.breaks: list[tuple[float, float, str]] = []
        """When the network was broken on purpose, and by what."""
        self.log: list[tuple[float, str]] = []
        self.paused: str = ""
        self.settling = 0.0

    # --- the whole ---

    def up(self) -> None:
        text = LAB.format(nodes=self.nodes, replicas=self.replicas, backend=self.backend)
        self.file.write_text(text + "".join(CLIENT.format(number=number + 1) for number in range(CLIENTS)))
        self.lab.run("up", str(self.file), "--yes")

    def one(self, kills: bool) -> None:
        """`kills`: daemon and kubelet may be killed."""
        usual = [self.scale] * 3 + [self.delete_pods] * 2 + [self.by_hand] * 2
        usual += [self.roll, self.services, self.churn, self.pause, self.resume, self.impatient]
        rare = [self.switch_backend, self.cut]
        deadly = [self.kill_daemon] * 3 + [self.kill_kubelet] if kills else []
        change = self.chance.choice(usual * 3 + rare + deadly * 2)
        self.log.append((self.now(), change.__name__))
        change()
        self.done[change.__name__] += 1

    def rest(self) -> None:
        """Everything is as the lab file says; fails with what is not."""
        if self.paused:
            self.resume()
        self.lab.run("delete", "-f", "-", stdin=self._extra(EXTRA), code=None)
        self.up()
        self.lab.run("scale", "deploy/churn", "--replicas", str(self.nodes))
        self._settle()

    def broken(self, name: str, breaking: Callable[[], object]) -> None:
        began = self.now()
        breaking()
        self._settle()
        self.breaks.append((began, self.now() + 1.0, name))

    def _settle(self) -> None:
        """Until nothing is wrong and nothing differs, of what agents keep, and a pod serves: while none does, its
        Services refuse, as they should.
        """
        paused, said = self.paused, [""]

        def settled() -> bool:
            serves = any(_ready(pod) and not pod["metadata"].get("deletionTimestamp") for pod in self.pods("web"))
            status = self.lab.json("status")
            wrong = [p for p in status["problems"] if not (paused and paused in p)]
            late = [n for n in status["nodes"] if not n["agent"]["synced"] and not n["paused"]]
            drift = [line for n in late for line in n["agent"]["drift"]]
            said[0] = f"{wrong} {[n['name'] for n in late]} {drift} {'' if serves else 'no pod is ready'}"
            return serves and not wrong and not late

        began = time.monotonic()
        try:
            eventually(settled, 120)
        except AssertionError as error:
            raise AssertionError(f"the lab does not settle: {said[0]}\n{self.lab.logs()}") from error
        self.settling = max(self.settling, time.monotonic() - began)

    def _extra(self, names: Sequence[str]) -> str:
        app = self.chance.choice(["web", "churn"])
        return "".join(
            f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
            f"spec: {{selector: {{app: {app}}}, ports: [{{port: 80}}]}}\n---\n"
            for name in names
        )

    def pods(self, app: str) -> list[Pod]:
        return [p for p in self.lab.json("get", "pods")["items"] if p["metadata"].get("labels", {}).get("app") == app]

    # --- of no concern to traffic ---

    def scale(self) -> None:
        self.lab.run("scale", "deploy/web", "--replicas", str(self.chance.randint(2, 2 * self.nodes)), code=self._code)

    def roll(self) -> None:
        """A rolling update."""
        text = LAB.format(nodes=self.nodes, replicas=self.chance.randint(3, self.nodes + 2), backend=self.backend)
        web = text.split("---\n")[1].replace("labels: {app: web}", f"labels: {{app: web, turn: t{len(self.log)}}}")
        self.lab.run("apply", "-f", "-", stdin=web, code=self._code)

    def delete_pods(self) -> None:
        """Some of those that answer, never all."""
        pods = self.pods("web")
        ready = [p["metadata"]["name"] for p in pods if not p["metadata"].get("deletionTimestamp") and _ready(p)]
        some = self.chance.sample(ready, min(max(0, len(ready) - 1), self.chance.randint(1, 3)))
        if some:
            self.lab.run("delete", "pod", *some, code=None)

    def services(self) -> None:
        """Others' Services come and go."""
        text = self._extra(self.chance.sample(EXTRA, 3))
        self.lab.run(self.chance.choice(["apply", "apply", "delete"]), "-f", "-", stdin=text, code=None)

    def churn(self) -> None:
        replicas = str(self.chance.randint(0, 2 * self.nodes))
        self.lab.run("scale", "deploy/churn", "--replicas", replicas, code=self._code)

    def pause(self) -> None:
        """A node where no client is."""
        if not self.paused:
            self.paused = f"node{self.chance.randint(CLIENTS + 1, self.nodes)}"
            self.lab.run("pause", self.paused)

    def resume(self) -> None:
        if self.paused:
            self.lab.run("resume", self.paused)
            self.paused = ""

    def by_hand(self) -> None:
        """A person breaks what is others' with iproute2 and iptables."""
        pods = [p for p in self.pods("churn") if _ready(p)]
        if not pods:
            return
        pod = self.chance.choice(pods)
        inside = self.lab.netns("default", pod["metadata"]["name"])
        node = self.lab.netns(pod["spec"]["nodeName"])
        commands = [
            f"ip -n {inside} link set eth0 down",
            f"ip -n {inside} link del eth0",
            f"ip -n {inside} route flush table main",
            f"ip -n {inside} address flush dev eth0",
            f"ip netns del {inside}",
            f"ip netns exec {node} iptables -t nat -N KUBE-SOAK",
        ]
        command = self.chance.choice(commands).split()
        subprocess.run(command, capture_output=True, timeout=60)

    def impatient(self) -> None:
        """A client that is killed in the middle of its request."""
        scale, up = ("scale", "deploy/web", "--replicas", "4"), ("up", str(self.file), "--yes")
        words = self.chance.choice([scale, up, ("status",), ("probe", "--all")])
        process = self.lab.start(*words)
        time.sleep(self.chance.uniform(0.1, 1.5))
        process.kill()
        process.communicate()

    def kill_daemon(self) -> None:
        """In the middle of a change; traffic goes on."""
        pid = self.lab.pids()["daemon"]
        process = self.lab.start("scale", "deploy/web", "--replicas", str(self.chance.randint(2, 2 * self.nodes)))
        time.sleep(self.chance.uniform(0.0, 1.5))
        os.kill(pid, signal.SIGKILL)
        process.communicate()
        self.up()

    # --- what breaks traffic ---

    def kill_kubelet(self) -> None:
        self.broken("kubelet", lambda: (self.lab.kill("kubelet"), time.sleep(1)))

    def switch_backend(self) -> None:
        self.backend = "host-gw" if self.backend == "vxlan" else "vxlan"
        self.broken("backend", self.up)

    def cut(self) -> None:
        """A device of a node is taken down by hand."""
        device = self.chance.choice(["cni0", "eth0", *(["flannel.1"] if self.backend == "vxlan" else [])])
        node = f"node{self.chance.randint(1, self.nodes)}"
        if node != self.paused:
            self.broken(device, lambda: self.lab.shell(node, "ip", "link", "set", device, "down"))

    @property
    def _code(self) -> int | None:
        """What concerns a paused node may not become so."""
        return None if self.paused else 0


def _ready(pod: Pod) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def figures(lab: Lab) -> dict[str, int]:
    """What must not grow, of a lab at rest."""
    pids, run, found = lab.pids(), lab.run_directory / lab.name, dict[str, int]()
    for role, pid in pids.items():
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        opened = list(Path(f"/proc/{pid}/fd").iterdir())
        sysctls = sum(_is_sysctl(file) for file in opened)  # kept open from an agent's first look on
        found[f"{role}: descriptors"] = len(opened) - sysctls
        found[f"{role}: open sysctls"] = sysctls
        found[f"{role}: threads"] = int(status["Threads"])
        found[f"{role}: memory, MiB"] = int(status["VmRSS"].split()[0]) >> 10
    found["namespaces"] = len(lab.namespaces())
    files = [file for file in run.rglob("*") if file.is_file()]
    found["files"] = len(files)
    found["ledger, KiB"] = (run / "ledger").stat().st_size >> 10
    found["own logs, KiB"] = sum(file.stat().st_size for file in run.glob("*.log")) >> 10
    found["links of the machine"] = len(list(Path("/sys/class/net").iterdir()))
    return found


def _is_sysctl(descriptor: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):  # closed meanwhile
        return "/sys/net/" in str(descriptor.readlink())
    return False


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, str]:
    """Of the figures those that have grown by more than what caches and a pool of threads take."""
    more = {"descriptors": (0.1, 10), "threads": (0.0, 10), "memory, MiB": (0.25, 32), "files": (0.1, 10)}
    more["open sysctls"] = (0.0, 16 * 20)  # of each of twenty nodes at most
    more |= {"ledger, KiB": (1.0, 256), "own logs, KiB": (1.0, 1024)}
    found = {}
    for name, value in after.items():
        part, number = more.get(name.rpartition(": ")[2], (0.0, 0))
        if value > before[name] * (1 + part) + number:
            found[name] = f"{before[name]} -> {value}"
    return found
