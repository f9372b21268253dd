"""What the kernel holds of a lab, object by object, so that two labs which came about in other ways can be compared.

Addresses of pods and Services (of the default networks), names with a hash and MAC addresses are given in the order in
which things come, so they are masked; everything else is compared line by line.
"""

from __future__ import annotations

import functools
import re
import subprocess
from collections import Counter
from collections.abc import Iterable

from k8snetlab.dataplane.names import is_host

State = dict[str, Counter[str]]
"""The lines of each namespace; those of several pods of one Deployment together."""
COMMANDS = (
    "printf 'link\\naddress\\nroute\\nneigh show nud permanent\\n' | ip -o -d -batch -",
    "ip -6 route",
    "bridge fdb",
    "ipset save",
    "iptables-nft-save",
    "ip6tables-nft-save",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
    "grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/neigh /proc/sys/net/bridge "
    "/proc/sys/net/ipv4/ip_forward",
)
_HASHED = "[b-hj-np-tv-z24-9]"
MASKS = (
    (re.compile(r"^\d+: "), ""),
    # Carrier follows from the flag UP of device and peer; on a bridge without ports the kernel settles it either way.
    (re.compile(r"NO-CARRIER,|,LOWER_UP|state (UP|DOWN|UNKNOWN) | linkdown"), ""),
    (re.compile(r"@if\d+|link-netns \S+|link-netnsid \d+|index \d+|ifindex \d+|\bcan[-\w]+|numtxqueues.*"), ""),
    (re.compile(r"bridge_id \S+|designated_\w+ \S+|[a-z_]*timer +\S+|port_(id|no) \S+|topology_\w+ \S+"), ""),
    (re.compile(r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b"), "MAC"),
    (re.compile(r"\bfe80::[0-9a-f:]+"), "LOCAL"),
    (re.compile(r"\bveth[0-9a-f]+"), "VETH"),
    (re.compile(r"\b10\.244\.(\d+)\.(?!0\b|1\b|255\b)\d+"), r"POD.\1"),
    (re.compile(r"\b10\.96\.(?!0\.1\b)\d+\.\d+"), "SERVICE"),
    (re.compile(r"\b(KUBE-(SVC|SEP|SVL|EXT|FW)|CNI-DN)-\w+"), r"\1"),
    (re.compile(rf"\b([a-z0-9][-a-z0-9]*?)-{_HASHED}{{5,10}}-{_HASHED}{{5}}\b"), r"\1"),  # a Deployment's pods
    (re.compile(r"id: \S+|dnat name: .*|probability [0-9.]+"), ""),
    (re.compile(r"valid_lft.*|expires.*|\[\d+:\d+\]|# .*"), ""),
    (re.compile(r"--to-ports? \S+"), "PORT"),
)  # fmt: skip
_SEPARATOR = "====="
_SCRIPT = f"; echo {_SEPARATOR}; ".join(f"{{ {command}; }} 2>/dev/null" for command in COMMANDS)


def state(lab: str, namespaces: Iterable[str]) -> State:
    """What is in these namespaces of the lab; "" is the machine's own."""
    asked = []
    for name in namespaces:
        argv = [] if is_host(name) else ["nsenter", f"--net=/run/netns/{name}"]
        asked.append((name, subprocess.Popen([*argv, "sh", "-c", _SCRIPT], stdout=subprocess.PIPE, text=True)))
    found: State = {}
    for name, process in asked:
        text = process.communicate(timeout=60)[0].replace(lab, "LAB")
        lines: Counter[str] = Counter()
        for command, part in zip(COMMANDS, text.split(f"{_SEPARATOR}\n"), strict=True):
            short = " ".join(command.rpartition("| ")[2].split()[:3])
            lines.update(f"{short}: {line}" for line in map(masked, part.splitlines()) if told(command, line))
        found.setdefault(masked(name.replace(lab, "LAB")), Counter()).update(lines)
    return found


def differences(found: State, expected: State) -> list[str]:
    """A line for each object that is there and should not be, or the other way round."""
    lines = []
    for name in sorted(found.keys() | expected.keys()):
        if name not in found or name not in expected:
            lines.append(f"{name}: {'left' if name in found else 'missing'}")
            continue
        lines += [f"{name}: left: {line}" for line in (found[name] - expected[name]).elements()]
        lines += [f"{name}: missing: {line}" for line in (expected[name] - found[name]).elements()]
    return lines


def told(command: str, line: str) -> bool:
    """A legacy table that was used stays in its namespace, empty: only the module's end takes it away
    (docs/kernel-facts.md). What a bridge has learned is nobody's doing."""
    if command.startswith("bridge") and "permanent" not in line and "static" not in line:
        return False
    return bool(line) and not ("legacy" in command and re.fullmatch(r"\*\w+|COMMIT|:[A-Z]+ ACCEPT", line))


@functools.lru_cache(maxsize=1 << 16)
def masked(line: str) -> str:
    """Most lines of a look are those of the look before."""
    for pattern, instead in MASKS:
        line = pattern.sub(instead, line)
    return " ".join(line.split())
