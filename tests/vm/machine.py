"""A virtual machine: QEMU without KVM, a disk of its own over the image, and an agent that runs what a test asks for.

Its interfaces are Vagrant's: eth0 is a NAT network on which every machine is 10.0.2.15, eth1 the network of the nodes.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

from .image import Image
from .network import Network
from .waiting import eventually

NEEDS = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "setpriv": "util-linux", "ip": "iproute2"}
BOOT = 900.0
"""Seconds in which a guest must answer for the first time; some 5 on an idle machine."""


def missing() -> list[str]:
    """The Debian packages that running machines takes and this machine lacks."""
    return [package for tool, package in NEEDS.items() if shutil.which(tool) is None]


class Finished:
    """What became of a command: `code`, `stdout`, `stderr`."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.code: int = answer["code"]
        self.stdout: str = answer["stdout"]
        self.stderr: str = answer["stderr"]


class Machine:
    """One machine, plugged into `network` with `address` (with prefix length); its files are in `directory`."""

    def __init__(
        self, name: str, address: str, image: Image, checkout: Path, network: Network, directory: Path
    ) -> None:
        self.name = name
        self.address = address.split("/")[0]
        self._interface = address
        self._image = image
        self._checkout = checkout
        self._network = network
        self._disk = directory / f"{name}.qcow2"
        self.console = directory / f"{name}.console"
        self._tap = f"tap-{name}"
        self._qemu: subprocess.Popen[bytes] | None = None
        self._agent: Agent | None = None
        backing = ["-b", str(image.disk), "-F", "raw"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(self._disk)], check=True)
        network.plug(self._tap)

    @property
    def running(self) -> bool:
        return self._qemu is not None and self._qemu.poll() is None

    def begin(self) -> None:
        """Switch it on; `wait` tells when it is there."""
        assert not self.running, f"{self.name} runs already"
        ours, theirs = socket.socketpair()
        with theirs, self.console.with_suffix(".qemu").open("wb") as log:
            self._qemu = subprocess.Popen(
                # killed with the tests, whatever ends them
                ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self._network.netns, *self._command(theirs)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
            )
        self._agent = Agent(ours)

    def wait(self) -> None:
        """Until it answers and its interfaces have their addresses."""
        self.run("true", timeout=BOOT)
        self.run("hostname", self.name)
        settings = f"""
            link set lo up
            link set eth0 up
            address add 10.0.2.15/24 dev eth0
            route add default via 10.0.2.2 dev eth0
            link set eth1 up
            address add {self._interface} dev eth1
        """
        self.run("ip", "-batch", "-", stdin=settings)
        eventually(lambda: self.run("ip", "-6", "address", "show", "tentative") == "")

    def start(self) -> None:
        self.begin()
        self.wait()

    def kill(self) -> None:
        """As by pulling the plug; its disk stays."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()
        if self._agent is not None:
            self._agent.close()

    def discard(self) -> None:
        """Kill it, take its plug out of the network and throw its disk away."""
        self.kill()
        self._network.unplug(self._tap)
        self._disk.unlink()

    def ask(self, *argv: str, stdin: str = "") -> Future:
        """Begin a command; the result's `Finished` comes when it ends."""
        assert self._agent is not None, f"{self.name} was never started"
        return self._agent.ask({"argv": argv, "stdin": stdin})

    def attempt(self, *argv: str, stdin: str = "", timeout: float = 600.0) -> Finished:
        """Run a command to its end, whatever its exit code."""
        try:
            return Finished(self.ask(*argv, stdin=stdin).result(timeout))
        except (concurrent.futures.TimeoutError, ConnectionError) as error:
            raise AssertionError(
                f"{self.name}: {' '.join(argv)}: {error or f'no answer in {timeout} s'}\n{self._last_words()}"
            ) from error

    def run(self, *argv: str, code: int = 0, stdin: str = "", timeout: float = 600.0) -> str:
        """Run a command and return what it printed; fails when its exit code is not `code`."""
        done = self.attempt(*argv, stdin=stdin, timeout=timeout)
        assert done.code == code, f"{self.name}: {' '.join(argv)}: exit {done.code}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *argv: str, code: int = 0, timeout: float = 600.0) -> Any:
        return json.loads(self.run(*argv, code=code, timeout=timeout))

    def _command(self, agent: socket.socket) -> list[str]:
        mac = ":".join(f"{byte:02x}" for byte in (0x52, 0x54, *map(int, self.address.split("."))))
        return [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-m", "512",
            "-kernel", str(self._image.kernel), "-initrd", str(self._image.initramfs),
            "-append", "console=ttyS0 quiet panic=-1 no_timer_check",
            "-serial", f"file:{self.console}",
            "-drive", f"file={self._disk},format=qcow2,if=virtio",
            "-drive", f"file={self._checkout},format=raw,if=virtio,snapshot=on",
            "-netdev", "user,id=nat,restrict=on,ipv6=off", "-device", "virtio-net-pci,netdev=nat",
            "-netdev", f"tap,id=nodes,ifname={self._tap},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=nodes,mac={mac}",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,fd={agent.fileno()}",
            "-device", "virtserialport,chardev=agent,name=k8snetlab.agent",
        ]  # fmt: skip

    def _last_words(self) -> str:
        files = (self.console, self.console.with_suffix(".qemu"))
        return "".join(file.read_text(errors="replace")[-2000:] for file in files if file.exists())


Future = concurrent.futures.Future[dict[str, Any]]


class Agent:
    """This side of the conversation with guest/agent.py."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._numbers = itertools.count()
        self._pending: dict[int, Future] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, request: dict[str, Any]) -> Future:
        future: Future = concurrent.futures.Future()
        with self._lock:
            if not self._reader.is_alive():
                raise ConnectionError("the machine is off")
            number = next(self._numbers)
            self._pending[number] = future
            self._connection.sendall(json.dumps({"id": number, **request}).encode() + b"\n")
        return future

    def close(self) -> None:
        self._connection.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._connection.close()

    def _read(self) -> None:
        with self._connection.makefile("rb") as answers, contextlib.suppress(ConnectionError):
            for line in answers:
                answer = json.loads(line)
                self._pending.pop(answer["id"]).set_result(answer)
        with self._lock:
            for future in self._pending.values():
                future.set_exception(ConnectionError("the machine went off"))
            self._pending.clear()
