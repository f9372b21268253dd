"""How a container's command is started: in which namespaces, control group, environment and view of files."""

from __future__ import annotations

import os
from pathlib import Path

from k8snetlab.api.workload import LOGS, ContainerWork, PodWork
from k8snetlab.kernel import bounds, launch, views
from k8snetlab.kubelet.sandbox import Sandbox

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def mark(pod: PodWork, work: ContainerWork) -> str:
    """What its processes have in their environment, by which they are found again."""
    return f"{pod.uid}/{work.name}"


def group(pod: PodWork, work: ContainerWork) -> str:
    """Its control group, "" where the pod has none."""
    return f"{pod.cgroup}/{work.name}" if pod.cgroup else ""


def command(
    pod: PodWork, work: ContainerWork, sandbox: Sandbox | None
) -> tuple[launch.Setting, tuple[str, ...], dict[str, str]]:
    """Its setting, its words and its environment."""
    environment = {
        "PATH": PATH if work.root else os.environ.get("PATH", PATH),
        "HOSTNAME": pod.hostname,
        "HOME": "/root",
        **work.env,
        LOGS: pod.log_directory,
        "K8SNETLAB_CONTAINER": mark(pod, work),
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


def _own(pod: PodWork, work: ContainerWork, sandbox: Sandbox | None) -> views.Own:
    scratch = Path(pod.scratch, f"root-{work.name}")
    scratch.mkdir(parents=True, exist_ok=True)
    shared = views.Mount(str(Path(pod.scratch, "shm")), "/dev/shm")
    mounts = (views.Mount(one.source, one.target, one.part, one.sealed) for one in work.mounts)
    return views.Own(sandbox.pid if sandbox else 0, pod.shared, (shared, *mounts), work.root, str(scratch))
