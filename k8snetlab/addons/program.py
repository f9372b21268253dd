"""A program that a node has besides its pods: a DNS server, a proxy, a routing daemon."""

from __future__ import annotations

import hashlib
import re
import signal
from collections.abc import Mapping

import msgspec

from k8snetlab.addons.access import ACCOUNT, KUBECONFIG, Access
from k8snetlab.api.workload import ADDON, ContainerWork, PodWork
from k8snetlab.errors import InputError

KUBECONFIG_VARIABLE = "KUBECONFIG"
CONF = "conf"
"""Below a program's directory: its files as they are now."""
GUEST = "guest."
"""What the name of a guest's program begins with: so it is never that of an add-on."""
HOST = "host."
"""What the name of the responder of a host outside begins with."""
_LABEL = re.compile(r"((guest|host)\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_FILE = re.compile(r"(?!\.)[-._A-Za-z0-9]{1,255}")


class Program(msgspec.Struct, frozen=True):
    """What is run in a node's namespace, for as long as somebody wants it.

    `argv` begins in the program's directory, which is its alone, and must stay in the foreground; what it prints is its
    log. `files` (a name without a slash, and the text) are in `conf/` there. `check` is a command that says with exit
    code 0 that the files in `conf/` are good: without one they are taken as they are. `reload` is the signal by which
    it takes up other files; without one it is started again. `ready` is a command that says with 0 that it serves.
    Where these two are `plain` they need nothing of the node, and enter no namespace: that takes 20 times as long.
    `ready` is asked anew of every run and of other files; it may take `ready_within` seconds to be so. `grace` is the
    seconds between SIGTERM and SIGKILL.

    It finds its files by relative paths also where it gives up being root: the directory is open to all.
    A guest is the user's: it begins in `directory`, not in its own, and where it fails the node's agent does not. With
    a `pod`, NAMESPACE/NAME, it runs in the namespaces of that one instead. `access` is its way to the API.
    `package` is Debian's that brings it. Of one that is a `spare` others do the work while it is away: where it fails,
    the node's agent does not either.
    With `ports` it is no program: the kubelet itself answers on these TCP ports, in the namespace of the lab's `host`,
    which has these `addresses`.
    Raises InputError for a name that is no DNS label, and for a file's that is not just one.
    """

    name: str
    argv: tuple[str, ...] = ()
    files: Mapping[str, str] = {}
    check: tuple[str, ...] = ()
    reload: signal.Signals | None = None
    ready: tuple[str, ...] = ()
    ready_within: float = 10.0
    plain: bool = False
    env: Mapping[str, str] = {}
    grace: float = 5.0
    directory: str = ""
    pod: str = ""
    access: Access | None = None
    package: str = ""
    spare: bool = False
    ports: tuple[int, ...] = ()
    host: str = ""
    addresses: tuple[str, ...] = ()

    @property
    def is_guest(self) -> bool:
        return self.name.startswith(GUEST)

    @property
    def title(self) -> str:
        """As a message names it."""
        if self.host:
            return f"host {self.host}"
        return f"guest {self.name.removeprefix(GUEST)}" if self.is_guest else self.name

    def __post_init__(self) -> None:
        if not _LABEL.fullmatch(self.name):
            raise InputError(f"{self.name!r} cannot name a program", "lower-case letters, digits and -, at most 63")
        for file in self.files:
            if not _FILE.fullmatch(file):
                raise InputError(f"{file!r} cannot name a file of {self.name}", "letters, digits, . _ -, no path")


class Place(msgspec.Struct, frozen=True):
    """Where a node's programs run: `number` is that of the network namespace `netns`, `directory` holds all of the
    node's, `flannel` is what they see as /run/flannel, `cgroup` is the control group of all of them ("" for none).
    `hostname` is what they see, that of the node where left out."""

    node: str
    netns: str
    number: int
    directory: str
    flannel: str = ""
    cgroup: str = ""
    hostname: str = ""

    def group_of(self, program: str) -> str:
        """A program's control group, "" for none: by its name alone, so that what another command line of it has left
        is found in it."""
        return f"{self.cgroup}/{program}" if self.cgroup else ""


def uids_of(node: str) -> str:
    """What the uids of a node's programs begin with."""
    return f"{ADDON}{node}/"


def uid(program: Program, place: Place) -> str:
    """Of the program as it is to run: another command line, or another namespace of the same name, is another one."""
    how = repr((program.argv, sorted(program.env.items()), program.grace, place.number))
    if program.directory:
        how += program.directory
    if program.ports:
        how += repr((program.ports, program.addresses))
    return f"{uids_of(place.node)}{program.name}/{hashlib.sha256(how.encode()).hexdigest()[:12]}"


def work(program: Program, place: Place) -> PodWork:
    """The program as the kubelet runs it: as a pod with one container that is always started again."""
    directory = f"{place.directory}/{program.name}"
    begins = program.directory or directory
    env = {KUBECONFIG_VARIABLE: f"{directory}/{KUBECONFIG}", **program.env} if program.access else dict(program.env)
    ports = tuple((port, "TCP") for port in program.ports)
    container = ContainerWork(program.name, program.argv, ports=ports, env=env, workingDir=begins)
    return PodWork(
        uid=uid(program, place),
        namespace="",
        name=program.host or program.name,
        node="" if program.host else place.node,
        netns=place.netns,
        hostname=place.hostname or place.node,
        ips=program.addresses,
        containers=(container,),
        log_directory=f"{directory}/log",
        grace=program.grace,
        flannel=place.flannel,
        cgroup=place.group_of(program.name),
        account=f"{directory}/{ACCOUNT}" if program.access else "",
    )
