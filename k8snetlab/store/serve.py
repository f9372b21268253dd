"""A local etcd: the shared store of a workshop, and of the tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from k8snetlab.errors import InputError, StoreError, UnsupportedError

LOG = "etcd.log"


class ServerTls(msgspec.Struct, frozen=True):
    """PEM files of an etcd that speaks TLS; with `ca`, clients (and other members, where no `peer` is given) must
    show a certificate signed by it."""

    cert: str
    key: str
    ca: str = ""


class EtcdProcess:
    """A running etcd. `endpoint` is what clients are given; it writes its log to `etcd.log` in its directory."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path, endpoint: str, health: str) -> None:
        self._process = process
        self._health = health
        self.directory = directory
        self.endpoint = endpoint

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Until etcd has a leader and answers. Raises StoreError with the end of its log when it does not."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self.ended()
            if _is_healthy(self._health):
                return
            time.sleep(0.02)
        raise StoreError(f"etcd at {self.endpoint} was not ready after {timeout:g} s: {self._last_words()}")

    def wait(self) -> int:
        """Until it ends; its exit code."""
        return self._process.wait()

    def ended(self) -> StoreError:
        """Why it ended by itself, in its own words."""
        code = self._process.returncode
        return StoreError(f"etcd ended with exit code {code}: {self._last_words()}", f"its log is {self._log}")

    def stop(self, timeout: float = 5.0) -> None:
        """End it and wait for that; its data stays."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """As by a power cut."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop it from answering (SIGSTOP) until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "it said nothing"
        try:
            said = msgspec.json.decode(last, type=dict[str, Any])
        except msgspec.DecodeError:
            return last
        return str(said.get("error") or said.get("msg") or last)

    @property
    def _log(self) -> Path:
        return self.directory / LOG


class Member(NamedTuple):
    """One etcd of several: its name, the URL at which it is to be reached by the others ("" for a free port of the
    loopback address), and such URLs of all members by name, where there are others."""

    name: str = "k8snetlab"
    peer: str = ""
    cluster: Mapping[str, str] | None = None


ALONE = Member()


def serve(
    directory: Path,
    listen: str = "http://127.0.0.1:2379",
    *,
    advertise: str = "",
    metrics: str = "",
    member: Member = ALONE,
    tls: ServerTls | None = None,
    quota: int = 0,
) -> EtcdProcess:
    """Start etcd with its data in `directory`; `wait_ready` tells when it answers.

    `listen` is the URL for clients, `advertise` the one they are told where `listen` is a wildcard such as
    "http://0.0.0.0:2379"; `metrics` the one for the readiness check. Left out, it and the member's own are free ports
    of the loopback address, since there may be another etcd (kubeadm's has 2380 and 2381). `quota` is the size at which
    etcd is full, in bytes (0: etcd's own 2 GB). Raises UnsupportedError when there is no etcd on this machine,
    InputError for a `listen` that is no URL for clients, StoreError for a `directory` that cannot be used.
    """
    binary = shutil.which("etcd")
    if binary is None:
        raise UnsupportedError("there is no etcd on this machine", "apt-get install etcd-server etcd-client")
    refuse_url(listen)
    if urlsplit(listen).scheme == "https" and tls is None:
        raise InputError(f"{listen}: etcd needs a certificate for TLS", "http://, or `k8snetlab store serve`")
    advertised = advertise or listen
    if urlsplit(advertised).hostname in ("0.0.0.0", "::"):
        raise InputError(f"{listen} is no address that clients can use", "name one of this machine's own addresses")
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}", "a directory for etcd's data is wanted") from error
    secure_peers = bool(tls and tls.ca and not member.peer)
    peer = member.peer or _free_url("https" if secure_peers else "http")
    metrics = metrics or _free_url("http")
    options = {
        "name": member.name,
        "data-dir": str(directory / "data"),
        "listen-client-urls": listen,
        "advertise-client-urls": advertised,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": ",".join(f"{n}={url}" for n, url in (member.cluster or {member.name: peer}).items()),
        "listen-metrics-urls": metrics,
        "auto-compaction-mode": "revision",
        "auto-compaction-retention": "10000",
        "experimental-watch-progress-notify-interval": "3s",
        "logger": "zap",
        "log-outputs": "stderr",
    }
    if tls:
        options |= {"cert-file": tls.cert, "key-file": tls.key}
        if tls.ca:
            options |= {"trusted-ca-file": tls.ca, "client-cert-auth": "true"}
        if secure_peers:
            options |= {"peer-cert-file": tls.cert, "peer-key-file": tls.key, "peer-trusted-ca-file": tls.ca}
            options["peer-client-cert-auth"] = "true"
    if quota:
        options["quota-backend-bytes"] = str(quota)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD_")}
    with (directory / LOG).open("ab") as log:
        process = subprocess.Popen(
            [binary, *(f"--{option}={value}" for option, value in options.items())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        )
    return EtcdProcess(process, directory, advertised, f"{metrics}/health")


def refuse_url(listen: str) -> None:
    """Raises InputError for what etcd could not listen at; it would say so with all of its options."""
    try:
        url = urlsplit(listen)
        right = url.scheme in ("http", "https") and url.hostname and url.port and listen.isprintable()
    except ValueError:
        right = False
    if not right:
        raise InputError(f"{listen!r} is no URL for clients", "write https://ADDRESS:2379")


def _free_url(scheme: str) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"{scheme}://127.0.0.1:{server.getsockname()[1]}"


def _is_healthy(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(json.load(answer).get("health") == "true")
    except (urllib.error.URLError, OSError, ValueError):
        return False
