"""What a routing daemon would refuse is refused by `up`, in its words and with the lab file's line."""

from __future__ import annotations

import shutil

import pytest
from msgspec.structs import replace

from k8snetlab.addons import routing, trial
from k8snetlab.addons.program import Program
from k8snetlab.api.lab import Lab
from k8snetlab.api.load import load
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import ManifestError
from k8snetlab.lab.operations.refusing import refuse_unread

pytestmark = pytest.mark.skipif(not shutil.which("bird", path="/usr/sbin:/usr/bin"), reason="bird is missing")


def lab(network: str) -> list[Object]:
    spec = f"{{nodes: 5, dns: {{enabled: false}}, network: {network}}}"
    text = f"# mine\n{{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {{name: lab}}, spec: {spec}}}\n"
    return list(load([("lab.yaml", text)]).objects)


@pytest.mark.parametrize(
    "network", ["{backend: bgp}", "{backend: rip}", "{backend: calico}", "{backend: ospf}", "{backend: vxlan}"]
)
def test_what_daemons_read_goes_on(network: str) -> None:
    refuse_unread(lab(network), Snapshot())


def test_a_daemons_words_are_shown_with_the_lab_files_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lab file is known that gives one; so a line is put into what is really written."""
    written, asked = routing.programs, list[str]()

    def spoilt(snapshot: Snapshot, node: str) -> tuple[Program, ...]:
        asked.append(node)
        (program,) = written(snapshot, node)
        text = program.files["bird.conf"] + ("protocol bgp { local as 0; }\n" if node == "router" else "")
        return (replace(program, files={"bird.conf": text}),)

    monkeypatch.setattr(routing, "programs", spoilt)
    objects = lab("{backend: bgp}")
    with pytest.raises(ManifestError) as failure:
        refuse_unread(objects, Snapshot())
    (problem,) = failure.value.problems
    assert problem.startswith("lab.yaml:2: spec.network: bird of router would refuse its configuration: ")
    assert problem.endswith(" (protocol bgp { local as 0; })") and "bird.conf" not in problem
    assert asked == ["node1", "node2", "node3", "router"] and failure.value.hint == "nothing was changed"
    (only,) = [obj for obj in objects if isinstance(obj, Lab)]
    refuse_unread(objects, Snapshot.of([only]))  # what stands already is not asked of again


def test_a_program_that_is_not_there_cannot_be_asked() -> None:
    assert trial.refusal(Program("bird", ("bird",), files={"bird.conf": "?"}, check=("no-such-bird", "-p"))) == ""
