"""doctor: this machine, and the way to another one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import OutputOption, complete_scenario, example, need_root, print_json


def register(app: typer.Typer) -> None:
    app.command(epilog=example("doctor --peer 192.168.56.12"))(doctor)


def doctor(
    scenario: Annotated[
        str | None,
        typer.Argument(
            metavar="[SCENARIO|DIR|FILE]",
            autocompletion=complete_scenario,
            help="The lab whose addresses are compared with this machine's.",
        ),
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option(
            "--peer", metavar="ADDRESS", help="Only this: does VXLAN pass to the machine at ADDRESS and back?"
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="With --peer: the UDP port; default the lab's, 8472.")
    ] = None,
    vni: Annotated[
        int | None, typer.Option("--vni", min=0, max=(1 << 24) - 1, help="With --peer: the VNI; default the lab's, 1.")
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0.1, help="With --peer: how long to listen at most.")
    ] = 5.0,
    output: OutputOption = None,
) -> None:
    """Check what this machine offers. Says what each missing piece rules out, and how to get it.

    With --peer: whether firewalls let VXLAN pass between this machine and another one. The same command on the other
    machine at the same time sees both ways.
    """
    from k8snetlab.api.defaults import with_defaults
    from k8snetlab.api.lab import Lab
    from k8snetlab.checkup.doctor import examine
    from k8snetlab.cli import manifests
    from k8snetlab.state import scenarios

    objects = list(manifests.of(scenarios.find(scenario)).objects) if scenario else []
    lab = next((obj for obj in objects if isinstance(obj, Lab)), with_defaults(Lab()))
    if peer is not None:
        network = lab.spec.network
        _peer(peer, port or network.port, network.vni if vni is None else vni, wait, output)
        return
    found = examine(lab, objects)
    missing = [feature for feature in found if not feature.present]
    if output:
        print_json(found)
    else:
        for feature in found:
            mark = "ok" if feature.present else "MISSING" if feature.needed else "lacking"
            screen.say(f"{mark:<7}  {feature.name}")
            if not feature.present:
                screen.say(f"         rules out: {feature.rules_out}")
                screen.say(f"         get it:    {feature.how_to_get}")
        screen.say("")
        screen.say(_verdict(len(found), sum(f.needed for f in missing), sum(not f.needed for f in missing)))
    if any(feature.needed for feature in missing):
        raise typer.Exit(1)


def _verdict(count: int, needed: int, wanted: int) -> str:
    if needed:
        return f"{needed} of {count} are missing: no lab will work as it should"
    return "this machine has everything" if not wanted else f"labs work here; {wanted} of {count} would be good to have"


def _peer(address: str, port: int, vni: int, wait: float, output: Any) -> None:
    need_root("doctor --peer")
    from k8snetlab.checkup.peer import examine

    found = examine(address, port, vni, wait)
    if output:
        print_json(found)
    else:
        for name, way in (("there", found.there), ("back", found.back)):
            screen.say(f"{name:<5}  {way.state}: {way.why}")
            if way.hint:
                screen.say(f"       {way.hint}")
    if not found.ok:
        raise typer.Exit(1)
