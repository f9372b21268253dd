"""A program as the kubelet runs it."""

from __future__ import annotations

import pytest

from k8snetlab.addons.program import Place, Program, uid, uids_of, work
from k8snetlab.errors import InputError

HOME, GROUP = "/run/k8snetlab/lab/addons/node1", "/sys/fs/cgroup/k8snetlab/lab/addons/node1"
PLACE = Place("node1", "lab.node1", 4026532000, HOME, cgroup=GROUP)
PROGRAM = Program("nginx", ("nginx", "-c", "conf/nginx.conf"), files={"nginx.conf": "old"})


def test_other_files_are_the_same_program_and_another_command_line_is_another() -> None:
    own = uid(PROGRAM, PLACE)
    assert own.startswith(uids_of("node1")) and not own.startswith(uids_of("node"))
    assert own == uid(Program("nginx", PROGRAM.argv, files={"nginx.conf": "new"}, check=("nginx", "-t")), PLACE)
    assert own != uid(Program("nginx", (*PROGRAM.argv, "-q"), files={"nginx.conf": "old"}), PLACE)
    assert own != uid(PROGRAM, Place("node1", "lab.node1", 4026532001, HOME))


def test_the_kubelet_keeps_a_program_as_a_pod_that_is_always_started_again() -> None:
    pod = work(PROGRAM, PLACE)
    (container,) = pod.containers
    assert (pod.restart, pod.netns, pod.hostname) == ("Always", "lab.node1", "node1")
    assert container.command == PROGRAM.argv and container.workingDir == f"{HOME}/nginx"
    assert pod.cgroup == f"{GROUP}/nginx"


def test_another_command_line_has_the_same_control_group() -> None:
    other = Program("nginx", (*PROGRAM.argv, "-q"))
    assert work(other, PLACE).cgroup == work(PROGRAM, PLACE).cgroup and uid(other, PLACE) != uid(PROGRAM, PLACE)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a.b", "-a", "A", "a" * 64, "a\n"])
def test_a_name_that_is_no_label_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot name a program"):
        Program(name, ("true",))


@pytest.mark.parametrize("file", ["", ".", "..", "../x", "/etc/passwd", "a/b", ".hidden", "a\0b"])
def test_a_file_that_is_a_path_is_refused(file: str) -> None:
    with pytest.raises(InputError, match="cannot name a file of nginx"):
        Program("nginx", ("true",), files={file: ""})


def test_a_guest_begins_where_the_user_says_in_its_pod_and_is_no_add_on_of_that_name() -> None:
    guest = Program("guest.nginx", ("nginx",), directory="/root", pod="default/web")
    inside = Place("node1", "lab.default.web", 4026532002, HOME, cgroup=GROUP, hostname="web")
    pod = work(guest, inside)
    assert (pod.netns, pod.hostname, pod.containers[0].workingDir) == ("lab.default.web", "web", "/root")
    assert (guest.title, PROGRAM.title) == ("guest nginx", "nginx")
    assert pod.cgroup == f"{GROUP}/guest.nginx" and uid(guest, inside).startswith("addon/node1/guest.nginx/")
