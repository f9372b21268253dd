"""The lab's own control plane: members of an etcd, API servers over it, and a balancer before these at the router;
beside each API server a scheduler and a controller manager, of which one of each leads.

Each is found by its number: etcd-1 and apiserver-1 are control-plane1's. Data, keys and certificates are in a directory
of the lab's (`api.plane.FILES`), which a node keeps when it loses its power. Source: etcd's op-guide (clustering,
security), kubeadm's "Options for Highly Available Topology" (haproxy in TCP mode).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from k8snetlab.addons.program import CONF, Program
from k8snetlab.api import plane
from k8snetlab.api.addressing import parse_networks, split
from k8snetlab.api.lab import Lab
from k8snetlab.api.plane import API, CLIENTS, FILES, HEALTH, PEERS, Seat
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.leaders import MANAGER, SCHEDULER
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.store.open import NEAR

BALANCER, APISERVER, ETCD = "haproxy", "apiserver", "etcd"
COMPONENTS = (SCHEDULER, MANAGER)
PACKAGES = (("etcd", "etcd-server"), ("haproxy", "haproxy"))
"""Programs that are needed, and Debian's packages of them."""
HOME = f"../../../{FILES}"
"""As the programs see it from their own directories."""
SOCKET = "haproxy.sock"
_HEALTHY = "import urllib.request as u; u.urlopen('http://127.0.0.1:%d/health', timeout=1)"
_ANSWERS = "import socket; socket.create_connection(('%s', %d), 1)"
BEGINNING = 60.0
"""Seconds that they may take: members of an etcd wait for each other, and API servers for these."""


def programs(snapshot: Snapshot, node: str) -> Iterator[Program]:
    """Those of one node, or of the router."""
    lab = snapshot.lab
    if not lab.spec.controlPlane.etcd:
        return
    yield from (_etcd(lab, seat) for seat in plane.members(lab) if seat.node == node)
    for seat in plane.servers(lab):
        if seat.node == node:
            yield _server(lab, seat)
            yield from (_component(lab, seat, name) for name in COMPONENTS)
    if node == ROUTER:
        yield _balancer(lab)


def balanced(lab: Lab) -> str:
    """The address at which the balancer takes connections."""
    return next((one for one in split(lab.spec.underlay.router) if ":" not in one), "")


def _etcd(lab: Lab, seat: Seat) -> Program:
    name = f"{ETCD}-{seat.number}"
    clients, peer = f"https://{seat.address}:{CLIENTS}", f"https://{seat.address}:{PEERS}"
    pair = (f"{HOME}/pki/{name}.crt", f"{HOME}/pki/{name}.key")
    options = {
        "name": name,
        "data-dir": f"{HOME}/{name}",
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": ",".join(f"etcd-{n}=https://{address}:{PEERS}" for n, _, address in plane.members(lab)),
        "initial-cluster-token": lab.name,
        "listen-metrics-urls": f"http://127.0.0.1:{HEALTH}",
        "cert-file": pair[0],
        "key-file": pair[1],
        "trusted-ca-file": f"{HOME}/pki/ca.crt",
        "client-cert-auth": "true",
        "peer-cert-file": pair[0],
        "peer-key-file": pair[1],
        "peer-trusted-ca-file": f"{HOME}/pki/ca.crt",
        "peer-client-cert-auth": "true",
        "auto-compaction-mode": "revision",
        "auto-compaction-retention": "10000",
        "experimental-watch-progress-notify-interval": "3s",
        "heartbeat-interval": "100",
        "election-timeout": "500",
        "logger": "zap",
        "log-outputs": "stderr",
    }
    return Program(
        name,
        ("etcd", *(f"--{option}={value}" for option, value in options.items())),
        ready=(sys.executable, "-c", _HEALTHY % HEALTH),
        ready_within=BEGINNING,
        package="etcd-server",
        spare=len(plane.members(lab)) > 1,
    )


def _server(lab: Lab, seat: Seat) -> Program:
    name = f"{APISERVER}-{seat.number}"
    services = (str(network[1]) for network in parse_networks(lab.spec.serviceCIDR))
    argv = (
        *(sys.executable, "-m", "k8snetlab.apiserver", *_store(lab, seat), "--patience", f"{NEAR:g}"),
        *("--listen", f"{seat.address}:{API}", "--keys", f"{HOME}/{name}"),
        *("--names", ",".join((balanced(lab), *services))),
    )
    return Program(
        name,
        argv,
        ready=(sys.executable, "-c", _ANSWERS % (seat.address, API)),
        ready_within=BEGINNING,
        spare=len(plane.servers(lab)) > 1,
    )


def _component(lab: Lab, seat: Seat, name: str) -> Program:
    return Program(
        f"{name}-{seat.number}",
        (sys.executable, "-m", "k8snetlab.components", name, *_store(lab, seat)),
        ready_within=BEGINNING,
        spare=len(plane.servers(lab)) > 1,
    )


def _store(lab: Lab, seat: Seat) -> tuple[str, ...]:
    """What a program of that seat is told of the etcd: its own node's member comes first."""
    members = sorted(plane.members(lab), key=lambda member: (member.number < seat.number, member.number))
    endpoints = ",".join(f"https://{address}:{CLIENTS}" for _, _, address in members)
    pair = ("--cert", f"{HOME}/pki/client.crt", "--key", f"{HOME}/pki/client.key")
    return ("--store", endpoints, "--ca", f"{HOME}/pki/ca.crt", *pair)


def _balancer(lab: Lab) -> Program:
    """Asks each server twice a second whether it lives, and leads to those that do in turn."""
    lines = [
        "global",
        f"    stats socket unix@{SOCKET} mode 600",
        "    maxconn 2000",
        "defaults",
        "    mode tcp",
        "    timeout connect 500ms",
        "    timeout client 1h",
        "    timeout server 1h",
        "    retries 2",
        "    option redispatch 1",
        "frontend kubernetes",
        f"    bind {balanced(lab)}:{API}",
        "    default_backend apiservers",
        "backend apiservers",
        "    balance roundrobin",
        "    option httpchk",
        "    http-check connect ssl",
        "    http-check send meth GET uri /livez?exclude=etcd",
        "    http-check expect status 200",
        "    default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions",
        *(f"    server apiserver-{n} {address}:{API} check verify none" for n, _, address in plane.servers(lab)),
    ]
    file = f"{CONF}/haproxy.cfg"
    return Program(
        BALANCER,
        ("haproxy", "-db", "-f", file),
        files={"haproxy.cfg": "\n".join(lines) + "\n"},
        check=("haproxy", "-c", "-f", file),
        ready=("/usr/bin/test", "-S", SOCKET),
        package="haproxy",
    )
