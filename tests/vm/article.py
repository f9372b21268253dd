"""The article's cluster on one machine: the scenario calico, with a pool whose packets travel in others."""

from __future__ import annotations

import json
from typing import Any

from .machine import Machine

NAME = "calico"
SCENARIO = f"/opt/k8snetlab/scenarios/{NAME}"
FILES = f"/tmp/{NAME}"
ADDED = r"s#backend: calico#backend: calico\n    routing: {timers: textbook, routes: %s}#"
"""On an emulated processor a second is short."""
NO_DNS = r"s#^  nodes:#  dns: {enabled: false}\n  nodes:#"


class Article:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def up(self, mode: str, routes: str = "classic") -> None:
        """With this ipipMode, and as little else as it can be without."""
        self.machine.run("rm", "-rf", FILES)
        self.machine.run("cp", "-r", SCENARIO, FILES)
        edits = (ADDED % routes, f"s#ipipMode: Never#ipipMode: {mode}#", NO_DNS)
        self.machine.run("sed", "-i", *(word for edit in edits for word in ("-e", edit)), f"{FILES}/lab.yaml")
        self.machine.run("k8snetlab", "up", FILES, timeout=900)

    def asked(self, *words: str, code: int = 0) -> Any:
        return self.machine.json("k8snetlab", "--lab", NAME, *words, "-o", "json", code=code)

    def on(self, node: str, *words: str) -> str:
        return self.machine.run("ip", "netns", "exec", f"{NAME}.{node}", *words)

    def iptables(self, node: str, *words: str) -> str:
        """As typed, where `iptables` may be of either variant: the legacy one would leave /run/xtables.lock behind."""
        return self.on(node, "env", f"XTABLES_LOCKFILE={FILES}/xtables.lock", "iptables", *words)

    def routes(self, node: str) -> set[str]:
        return {line.strip() for line in self.on(node, "ip", "route").splitlines()}

    def tunnel(self, node: str) -> Any:
        """tunl0 as `ip` tells of it, with its counters."""
        (device,) = json.loads(self.on(node, "ip", "-s", "-j", "address", "show", "tunl0"))
        return device

    def answered(self, source: str, *targets: str) -> bool:
        """Whether pings come back."""
        return all(self.asked("probe", source, one, "-p", "icmp")["results"][0]["reached"] for one in targets)
