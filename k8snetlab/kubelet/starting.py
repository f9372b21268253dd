"""How a container's command is started: in which namespaces, control group, environment and view of files."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from k8snetlab.api.workload import LOGS, ContainerWork, PodWork
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import bounds, cgroups, launch, processes, views

MARK = "K8SNETLAB_CONTAINER"
"""The variable by which processes of a container are found again."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def mark(pod: PodWork, work: ContainerWork) -> str:
    """What its processes have in their environment, by which they are found again."""
    return f"{pod.uid}/{work.name}"


def group(pod: PodWork, work: ContainerWork) -> str:
    """Its control group, "" where the pod has none."""
    return f"{pod.cgroup}/{work.name}" if pod.cgroup else ""


def command(pod: PodWork, work: ContainerWork, sandbox: int) -> tuple[launch.Setting, tuple[str, ...], dict[str, str]]:
    """Its setting, its words and its environment; `sandbox` is the pid of its pod's pause, 0 where there is none."""
    environment = {
        "PATH": PATH if work.root else os.environ.get("PATH", PATH),
        "HOSTNAME": pod.hostname,
        "HOME": "/root",
        **work.env,
        LOGS: pod.log_directory,
        MARK: mark(pod, work),
    }
    at = group(pod, work)
    setting = launch.Setting(
        pod.netns,
        pod.hostname,
        work.workingDir or "/",
        pod.flannel,
        at,
        account=pod.account,
        etc=pod.etc,
        stdin=work.stdin,
        own=_own(pod, work, sandbox) if pod.scratch else None,
        bounds=bounds.joined(Path(at)) if at and pod.scratch else (),
    )
    return setting, work.command, environment


def _own(pod: PodWork, work: ContainerWork, sandbox: int) -> views.Own:
    scratch = Path(pod.scratch, f"root-{work.name}")
    scratch.mkdir(parents=True, exist_ok=True)
    shared = views.Mount(str(Path(pod.scratch, "shm")), "/dev/shm")
    mounts = (views.Mount(one.source, one.target, one.part, one.sealed) for one in work.mounts)
    return views.Own(sandbox, pod.shared, (shared, *mounts), work.root, str(scratch))


def end_leftovers(netns: str, group: str, mark: str) -> None:
    """Ends what a kubelet that was killed left running of a container, or of a pause. Blocking."""
    if group:
        with contextlib.suppress(OSError, ValueError):
            cgroups.end(Path(group))
    with contextlib.suppress(K8sNetLabError, OSError, ValueError):
        processes.terminate(processes.with_environment(netns, f"{MARK}={mark}"), 1.0)
