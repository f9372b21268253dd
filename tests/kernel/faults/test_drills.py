"""A drill from its start to its grade, as a learner and an instructor type it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from k8snetlab.faults.fault import Command
from k8snetlab.kernel import netns
from k8snetlab.state import drills, sealed
from k8snetlab.state.paths import LabPaths, write_private
from k8snetlab.testing import Lab

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def drilled(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("K8SNETLAB_RUN", str(lab.run_directory))
    yield lab
    lab.run("drill", "give-up", code=None)


def hidden(lab: Lab) -> drills.Drill:
    """What no command tells."""
    drill = drills.running(LabPaths(lab.name))
    assert drill is not None
    return drill


def test_a_drill_is_found_mended_and_graded(drilled: Lab) -> None:
    lab = drilled
    said = lab.run("drill", "start", "--seed", "7", "--level", "1", "--minutes", "5")
    drill = hidden(lab)
    name = drill.fault.name
    assert "something is wrong in the lab" in said and name not in said
    for words in (("fault", "list", "--injected"), ("status",), ("store", "dump"), ("drill", "hint")):
        assert name not in lab.run(*words)
    assert "diagnose is off" in lab.run("diagnose", code=1)
    assert "a drill is under way" in lab.run("fault", "clear", code=2)
    assert "not yet: something is still not as it should be" in lab.run("drill", "check", code=1)
    fault = drill.fault
    lab.run("drill", "answer", "--node", fault.node, "--object", fault.damage.object, "--cause", name)
    mend(lab, drill)
    told = lab.run("drill", "check")
    assert f"it was {name} on {fault.node}" in told
    state = lab.json("drill", "grade")
    points = {row["what"]: row["points"] for row in state["grade"]}
    assert points | {"time": 0} == {
        "detected": 10, "node": 10, "object": 15, "cause": 25, "repaired": 25, "time": 0, "hints": -5,
    }  # fmt: skip
    assert lab.run("drill", "grade", "--csv", "--student", "Ada").startswith(f"Ada,{lab.name},{name},1,")
    assert lab.diagnose().findings == ()


def mend(lab: Lab, drill: drills.Drill) -> None:
    """By hand, as a learner would: what was done is put back."""
    [done] = drill.fault.damage.does[:1] or [Command("", ())]
    inside = done.netns
    match drill.fault.name:
        case "route-missing":
            line = ["ip", "route", "add", "10.244.2.0/24", "via", "10.244.2.0", "dev", "flannel.1", "onlink"]
        case "cni0-down" | "tunnel-down" | "veth-down" | "pod-down" | "uplink-down":
            line = [*done.argv[:-1], "up"]
        case "target-port" | "target-port-name" | "selector":
            lab.run("up", str(lab.run_directory.parent / "lab.yaml"))
            return
        case name:
            pytest.skip(f"seed 7 is {name}")
    with netns.inside(inside):
        subprocess.run(line, check=True)


def test_who_gives_up_is_told_and_the_lab_is_whole(drilled: Lab) -> None:
    lab = drilled
    lab.run("drill", "start", "--seed", "8", "--level", "2", "--allow-diagnose")
    name = hidden(lab).fault.name
    assert "a drill is under way" in lab.run("drill", "start", code=2)
    assert "the drill is not over" in lab.run("drill", "grade", "--csv", code=2)
    lab.json("diagnose", code=None)
    assert f"it was {name}" in lab.run("drill", "give-up")
    assert lab.json("drill", "grade")["points"] == 0
    assert "no drill is under way" in lab.run("drill", "hint", code=1)
    assert lab.diagnose().findings == ()


def test_what_cannot_be_taken_out_as_a_drill_ends_is_told(drilled: Lab) -> None:
    """Here the kernel's own device, which nobody can delete."""
    lab = drilled
    lab.run("drill", "start", "--seed", "8", "--level", "2")
    drill = hidden(lab)
    stays = Command(lab.netns("node1"), ("ip", "link", "del", "lo"))
    damage = replace(drill.fault.damage, undo=(*drill.fault.damage.undo, stays))
    lab.kill("daemon")
    drills.write(LabPaths(lab.name), replace(drill, fault=replace(drill.fault, damage=damage)))
    lab.run("up", str(lab.run_directory.parent / "lab.yaml"))
    said = lab.run("drill", "give-up", code=1)
    assert f"it was {drill.fault.name}" in said and "not mended: " in said and "ip link del lo" in said
    told = json.loads((lab.run_directory / lab.name / "faults.json").read_text())
    assert [one["name"] for one in told] == [drill.fault.name], "`fault clear` tries again"
    (lab.run_directory / lab.name / "faults.json").unlink()
    lab.kill("daemon")
    lab.run("up", str(lab.run_directory.parent / "lab.yaml"))


def test_a_drill_whose_file_was_damaged_is_ended_and_the_lab_is_whole(drilled: Lab) -> None:
    lab, paths = drilled, LabPaths(drilled.name)
    lab.run("drill", "start", "--seed", "9", "--level", "1")
    write_private(paths.drill, sealed.seal(paths, b'{"fault": 1}'))
    for words in (("drill", "hint"), ("drill", "start"), ("drill", "grade")):
        said = lab.run(*words, code=1)
        assert "is no drill" in said and "this is a bug" not in said
    assert "its fault is taken out" in lab.run("drill", "give-up", code=1)
    assert lab.run("fault", "list", "--injected") and lab.diagnose().findings == ()
    assert "there was no drill" in lab.run("drill", "grade", code=1)
