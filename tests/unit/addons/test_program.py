"""A program as the kubelet runs it."""

from __future__ import annotations

from k8snetlab.addons.program import Place, Program, uid, uids_of, work

HOME, GROUP = "/run/k8snetlab/lab/addons/node1", "/sys/fs/cgroup/k8snetlab/lab"
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
    assert pod.cgroup.startswith(f"{GROUP}/addon.node1.nginx.")
    assert pod.cgroup.count("/") == GROUP.count("/") + 1, "one group below the lab's"
