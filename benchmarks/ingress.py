"""In by an Ingress: requests beside the same nginx configured by hand, a changed endpoint, 1,000 hosts.

Whoever is asked in the end is an nginx that answers by itself, so that it is nobody's bottleneck; all of them are pods
of one lab, and the client is its node.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.labs import Lab, lab, lab_object
from benchmarks.rows import Goal, Row
from benchmarks.run import CannotRunError, FailedError, Run
from k8snetlab.dataplane import names
from k8snetlab.kernel import netns, processes
from k8snetlab.messages.changes import APPLY, Change

REQUESTS, PARTS, AT_ONCE = 20_000, 8, 50
"""PARTS of them by turns, ours and the floor's: a machine's speed changes within a second."""
HOSTS, CHANGES = 1000, 10
HAND = """
pid {directory}/hand.pid; daemon off; worker_processes 1; user root; error_log stderr;
events {{ multi_accept on; worker_connections 16384; }}
http {{
  log_format long '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
    '"$http_user_agent" $request_length $request_time [$host] $upstream_addr $upstream_response_length '
    '$upstream_response_time $upstream_status $request_id';
  access_log {directory}/hand.log long; keepalive_requests 100000; client_body_temp_path {directory}/hand.body;
  proxy_temp_path {directory}/hand.proxy; fastcgi_temp_path {directory}/hand.f; uwsgi_temp_path {directory}/hand.u;
  scgi_temp_path {directory}/hand.s;
  upstream there {{ server {there}:8080; keepalive 320; keepalive_requests 10000; }}
  server {{ listen 80; location / {{ proxy_pass http://there; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_buffering off; proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Request-ID $request_id; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Proto $scheme; }} }}
}}
"""
THERE = """
pid {directory}/{name}.pid; daemon off; worker_processes 1; user root; error_log stderr;
events {{ multi_accept on; worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {directory}/{name}.body;
  proxy_temp_path {directory}/{name}.proxy; fastcgi_temp_path {directory}/{name}.f;
  uwsgi_temp_path {directory}/{name}.u; scgi_temp_path {directory}/{name}.s;
  server {{ listen 8080; location / {{ return 200 "{name}"; }} }}
}}
"""


def rows(run: Run) -> Iterator[Row]:
    if shutil.which("nginx") is None:
        raise CannotRunError("nginx is not installed: apt-get install nginx-light")
    with lab() as one:
        run.say("up")
        _built(one)
        ours, hand = [], []
        for number in range(run.scale.rounds):
            run.say(f"round {number + 1}")
            took = [[_asked(one, each) for each in (_address(one, "hand"), _controller(one))] for _ in range(PARTS)]
            hand.append(sum(floor for floor, _ in took))
            ours.append(sum(mine for _, mine in took))
        note = "the floor is the same nginx, configured by hand for that one Service: the same headers, the same log"
        yield Row(f"{REQUESTS:,} requests", tuple(ours), tuple(hand), goals=(Goal(1 / 0.9),), note=note)
        run.say("changed endpoints")
        yield Row("a changed endpoint is served", tuple(_changes(one)), goals=(Goal(0.2, ""),))
        run.say(f"{HOSTS} hosts")
        note = "the floor: the same nginx.conf copied, nginx -t, a reload, and its last host asked until it answers"
        every, more, floor = _hosts(one, run)
        yield Row(f"{HOSTS:,} hosts, applied and in use", (every,), (floor[0],), goals=(Goal(2.0, ""),), note=note)
        yield Row(f"{HOSTS:,} hosts, one more of them in use", more, floor, goals=(Goal(2.0, ""),), note=note)


def _built(one: Lab) -> None:
    spec = lab_object(nodes=1, ingress={"controller": "nginx"})
    objects = [spec, *(_pod(one, name, THERE) for name in ("there", "other"))]
    objects += [_service("there"), _ingress("there.example", "there")]
    one.up(objects)
    _point(one, "there")
    file = one.directory / "hand.json"
    file.write_text(json.dumps(_pod(one, "hand", HAND, there=_address(one, "there"))))
    one.timed("apply", "-f", str(file))
    _until(one, _controller(one), "there.example", b"there")
    _until(one, _address(one, "hand"), "there.example", b"there")


def _pod(one: Lab, name: str, text: str, **more: str) -> dict[str, Any]:
    file = one.directory / f"{name}.conf"
    file.write_text(text.format(directory=one.directory, name=name, **more))
    container = {"name": "c", "command": ["nginx", "-e", "stderr", "-c", str(file)]}
    spec = {"nodeName": "node1", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _service(name: str) -> dict[str, Any]:
    spec = {"ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _slices(name: str, address: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"port": 8080, "protocol": "TCP"}],
    }


def _ingress(host: str, name: str) -> dict[str, Any]:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": host.replace(".", "-")},
        "spec": {"ingressClassName": "nginx", "rules": [rule]},
    }


def _address(one: Lab, name: str, namespace: str = "default") -> str:
    address: str = one.json("get", "pod", name, "-n", namespace)["status"]["podIP"]
    return address


def _controller(one: Lab) -> str:
    (pod,) = one.json("get", "pods", "-n", "ingress-nginx")["items"]
    address: str = pod["status"]["podIP"]
    return address


def _point(one: Lab, name: str) -> None:
    """Has the Service lead to the pod `name`."""
    file = one.directory / "slice.json"
    file.write_text(json.dumps(_slices("there", _address(one, name))))
    one.timed("apply", "-f", str(file))


def _asked(one: Lab, address: str) -> float:
    """Seconds for one of the PARTS of requests, one connection's after the other, some always under way."""
    request = b"GET / HTTP/1.1\r\nHost: there.example\r\n\r\n"
    with netns.inside(one.netns("node1")):
        line = socket.create_connection((address, 80), timeout=60)
    with line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began, sent = time.perf_counter(), 0
        while sent < REQUESTS // PARTS:
            if sent % 500 == 0 and sent:  # nginx ends a connection after so many (keepalive_requests 1000)
                line.close()
                with netns.inside(one.netns("node1")):
                    line = socket.create_connection((address, 80), timeout=60)
            line.sendall(request * AT_ONCE)
            sent += AT_ONCE
            _read(line, AT_ONCE)
        return time.perf_counter() - began


def _read(line: socket.socket, count: int) -> None:
    found, rest = 0, b""
    while found < count:
        piece = line.recv(1 << 16)
        if not piece:
            raise FailedError(f"{found} of {count} answers came")
        rest += piece
        found = rest.count(b"HTTP/1.1 200")
        if b"HTTP/1.1 5" in rest or b"HTTP/1.1 4" in rest:
            raise FailedError(rest[:200].decode(errors="replace"))
        if found == count and not rest.rstrip().endswith((b"there", b"other")):
            found = count - 1


def _get(one: Lab, address: str, host: str) -> bytes:
    with netns.inside(one.netns("node1")):
        line = socket.create_connection((address, 80), timeout=10)
    with line:
        line.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := line.recv(4096):
            answer += piece
    return answer


def _until(one: Lab, address: str, host: str, wanted: bytes) -> float:
    until = time.perf_counter() + 20
    while time.perf_counter() < until:
        try:
            if wanted in _get(one, address, host).partition(b"\r\n\r\n")[2]:
                return time.perf_counter()
        except OSError:
            pass
        time.sleep(0.002)
    raise FailedError(f"{host} is not answered by {wanted.decode()} after 20 s")


def _changes(one: Lab) -> Iterator[float]:
    """From the request to write it until nginx serves by it."""
    controller, client = _controller(one), one.client
    addresses = {name: _address(one, name) for name in ("there", "other")}
    for number in range(CHANGES):
        name = ("other", "there")[number % 2]
        changed = Change(objects=[_slices("there", addresses[name])], wait=False)
        began = time.perf_counter()
        for _ in client.stream(APPLY, changed):
            pass
        yield _until(one, controller, "there.example", name.encode()) - began


def _hosts(one: Lab, run: Run) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """Seconds of `apply`, at whose end they are answered: of all, of one more, and of the same by hand."""
    controller = _controller(one)

    def applied(*hosts: str) -> float:
        file = one.directory / "hosts.json"
        file.write_text("\n---\n".join(json.dumps(_ingress(host, "there")) for host in hosts))
        took = one.timed("apply", "-f", str(file))
        if b"there" not in _get(one, controller, hosts[-1]):
            raise FailedError(f"apply ended, and {hosts[-1]} is not answered")
        return took

    every = applied(*(f"h{n}.example" for n in range(HOSTS - 1)))
    more, floor = [], []
    by_hand = _Copy(one)
    for number in range(run.scale.rounds):
        run.say(f"round {number + 1}")
        more.append(applied(f"last{number}.example"))
        floor.append(by_hand.taken_up(f"last{number}.example"))
    return every, tuple(more), tuple(floor)


class _Copy:
    """A pod whose nginx serves by a copy of what the controller's does."""

    def __init__(self, one: Lab) -> None:
        self._one, self._home = one, one.directory / "copy"
        self._home.mkdir()
        self._command = ("nginx", "-p", f"{self._home}/", "-e", "stderr", "-c", "nginx.conf")
        self._write()
        made = _pod(one, "copy", "")
        made["spec"]["containers"][0]["command"] = list(self._command)
        file = one.directory / "copy.json"
        file.write_text(json.dumps(made))
        one.timed("apply", "-f", str(file))
        _until(one, _address(one, "copy"), "there.example", b"there")

    def taken_up(self, host: str) -> float:
        """Seconds until a host answers that is new."""
        address, inside = _address(self._one, "copy"), names.pod_netns(self._one.name, "default", "copy")
        began = time.perf_counter()
        self._write()
        subprocess.run(("ip", "netns", "exec", inside, *self._command, "-t", "-q"), check=True, capture_output=True)
        os.kill(self._master(inside), signal.SIGHUP)
        return _until(self._one, address, host, b"there") - began

    @staticmethod
    def _master(namespace: str) -> int:
        """What nginx.pid names is a number of the pod's own."""
        titles = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes.pids_in(namespace)}
        return next(pid for pid, title in titles.items() if title.startswith(b"nginx: master"))

    def _write(self) -> None:
        (made,) = self._one.directory.glob("run/*/ingress/*/conf/")
        for file in made.iterdir():
            (self._home / file.name).write_bytes(file.read_bytes())
