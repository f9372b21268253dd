"""What a container is started with: its variables and its command's words, as kubelet expands them."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8snetlab.api.core import Container, ContainerPort, EnvVar, Pod, PodSpec
from k8snetlab.api.workload import PodWork, expanded
from k8snetlab.kernel.launch import Hindrance
from k8snetlab.kubelet.telling import explained


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A) $$$(A) $$", "$(A) $1 $"),
        ("$A $ $(A $", "$A $ $(A $"),
        ("$()$(A)", "$()1"),
        ("", ""),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, result: str) -> None:
    assert expanded(text, {"A": "1"}) == result


def test_commands_and_variables_refer_to_variables_before_them() -> None:
    env = (EnvVar(name="A", value="1"), EnvVar(name="B", value="$(A)$(C)"), EnvVar(name="C", value="$(B)"))
    container = Container(name="c", command=("run", "$(C)"), args=("$$(A)", "$(A)"), env=env)
    (work,) = PodWork.of(Pod(spec=PodSpec(containers=(container,))), "n", "/logs").containers
    assert work.env == {"A": "1", "B": "1$(C)", "C": "1$(C)"}
    assert work.command == ("run", "1$(C)", "$(A)", "1")


@pytest.mark.parametrize(
    ("command", "args", "ports", "runs"),
    [
        ((), ("sh", "-c", "echo hi"), (), True),
        ((), ("/bin/sh", "-c", "echo hi"), (80,), True),
        ((), ("sleep", "3600"), (), True),
        ((), ("netexec", "--http-port=80"), (80,), False),
        ((), ("-text=hello",), (), False),
        ((), ("",), (), False),
        ((), (), (), False),
        (("/agnhost",), ("-x",), (80,), True),
    ],
)
def test_args_alone_are_run_where_they_are_no_words_to_an_images_own_program(
    command: tuple[str, ...], args: tuple[str, ...], ports: tuple[int, ...], runs: bool
) -> None:
    container = Container(
        name="c", command=command, args=args, ports=tuple(ContainerPort(containerPort=port) for port in ports)
    )
    (work,) = PodWork.of(Pod(spec=PodSpec(containers=(container,))), "n", "/logs").containers
    assert work.command == container.argv == ((*command, *args) if runs else ())


def test_a_program_that_is_there_is_not_said_to_be_absent(tmp_path: Path) -> None:
    script = tmp_path / "run"
    script.write_text("#!/nonexistent/interpreter\n")
    told = explained(Hindrance("exec: no such file or directory", missing=True), str(script))
    assert told.endswith("is there: what its first line, or its loader, names is not on this machine")
    assert "/none/such is not on this machine" in explained(Hindrance("no such file", missing=True), "/none/such")
