"""policy: what NetworkPolicies allow, from manifests alone or of a running lab."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    Form,
    LabOption,
    OutputOption,
    ScenarioFilesOption,
    client_of,
    complete_pod,
    example,
    form_of,
    print_json,
    write,
)
from k8snetlab.errors import InputError
from k8snetlab.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8snetlab.policies.sentences import AllowedBy, EndpointReason, PodDirection, PolicyReason, Side, Where
    from k8snetlab.policies.world import World

FORMS = ("table", "json", "svg")
PROTOCOLS = ("TCP", "UDP", "SCTP")
SHOWN = 4
"""Endpoints that are named."""
_PORT = re.compile(r"([0-9]{1,5})(?:/([A-Za-z]{1,4}))?")


def register(app: typer.Typer) -> None:
    policy = typer.Typer(
        help="What NetworkPolicies allow: from manifests alone (-f) or of a running lab.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("policy matrix -f network-policy"),
    )
    policy.command(epilog=example("policy matrix -f network-policy --port 80/TCP"))(matrix)
    policy.command(epilog=example("policy explain web -f three-tiers"))(explain)
    policy.command(epilog=example("policy why client web:80/TCP"))(why)
    policy.command(epilog=example("policy lint -f three-tiers"))(lint)
    app.add_typer(policy, name="policy")


PortOption = Annotated[
    list[str] | None,
    typer.Option("--port", metavar="PORT[/PROTOCOL]", help="80/TCP, 53/UDP; again for more. Left out: all pods' own."),
]


def matrix(
    filename: ScenarioFilesOption = None,
    port: PortOption = None,
    places: Annotated[
        bool, typer.Option("--places", help="In JSON too: nodes and the host outside; a table has them anyway.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FORM|FILE", help="table, json or svg; FILE.svg writes FILE. Left out: table."
        ),
    ] = None,
    lab: LabOption = None,
) -> None:
    """Say who may reach whom, by both ends' policies. With -f neither root nor a lab is needed."""
    form = form_of(output, FORMS) if output else Form("table")
    asked = [port_of(text) for text in port or ()]
    world, _ = _world(filename, lab)
    from msgspec.structs import replace

    from k8snetlab.cli import policy_table
    from k8snetlab.policies.matrix import matrix as judged
    from k8snetlab.policies.world import without_effect

    ends = (*world.pods, *world.others) if places or form.name != "json" else world.pods
    found = judged(world.resolved, ends, dict.fromkeys(asked or world.ports))
    found = replace(found, withoutEffect=without_effect(world.snapshot))
    if form.name == "json":
        text = policy_table.as_json(found)
        write(form.file, f"{text}\n") if form.file else typer.echo(text)
        return
    if form.name == "svg":
        from k8snetlab.policies.drawing import svg

        drawn = svg(found.checks)
        write(form.file, drawn) if form.file else typer.echo(drawn, nl=False)
        return
    _say_idle(found.withoutEffect)
    policy_table.show(found)


def explain(
    pod: Annotated[str, typer.Argument(metavar="POD", help="[NAMESPACE/]POD", autocompletion=complete_pod)],
    filename: ScenarioFilesOption = None,
    output: OutputOption = None,
    lab: LabOption = None,
) -> None:
    """Say in sentences what may come into a pod and what may go out, and which lines say so."""
    world, where = _world(filename, lab)
    from msgspec.structs import replace

    from k8snetlab.policies.sentences import explain as explained
    from k8snetlab.policies.world import without_effect

    found = replace(explained(world.resolved, world.pod(pod), where), withoutEffect=without_effect(world.snapshot))
    if output:
        print_json(found)
        return
    _say_idle(found.withoutEffect)
    if found.hostNetwork:
        screen.say(f"{found.pod} is in its node's network (hostNetwork): no policy selects it, everything passes")
        return
    for way, side in (("come into", found.ingress), ("go out of", found.egress)):
        _say_direction(f"{way} {found.pod}", "from" if way == "come into" else "to", side)
    screen.say("besides: answers, what the pod says to itself, and what comes from its own node")


def _say_direction(may: str, word: str, side: PodDirection) -> None:
    first = [rule for rule in side.rules if rule.tier == "Admin"]
    rules = [rule for rule in side.rules if rule.tier == "NetworkPolicy"]
    last = [rule for rule in side.rules if rule.tier == "Baseline"]
    if any(rule.tier == "default" for rule in side.rules) or (side.isolated and not rules and _is_calicos(side)):
        _say_in_order(may, word, side)
        return
    if first:
        screen.say(f"what may {may} tier Admin says first; the first rule that fits decides:")
        _say_rules(first, word, acting=True)
    by, rest = ", ".join(side.policies), "else " if first else ""
    if side.isolated:
        only = f"{'besides ' if first else ''}only this may {may}, by {by}:"
        screen.say(only if rules else f"nothing {rest}may {may}: {by}")
        _say_rules(rules, word)
        return
    if last:
        what = f"what {rest}may {may} tier Baseline says"
        screen.say(f"{what}, as no NetworkPolicy does; the first rule that fits decides:")
        _say_rules(last, word, acting=True)
    if first or last:
        screen.say(f"everything else may {may}: no policy speaks of it")
    else:
        screen.say(f"everything may {may}: no policy selects it for that direction")


def _is_calicos(side: PodDirection) -> bool:
    return any(name.startswith(("np/", "gnp/")) for name in side.policies)


def _say_in_order(may: str, word: str, side: PodDirection) -> None:
    """Where Calico's own policies stand among others."""
    screen.say(f"what may {may} the first rule that fits decides, of {', '.join(side.policies)}:", hang=4)
    _say_rules(side.rules, word, acting=True)
    passes = any(rule.action == "Pass" and rule.tier == "default" for rule in side.rules)
    screen.say(f"nothing else may {may}" + ("; what is passed may, unless tier Baseline denies it" if passes else ""))


def _say_rules(rules: Sequence[AllowedBy], word: str, acting: bool = False) -> None:
    for rule in rules:
        action = f"{rule.action} " if acting else ""
        screen.say(f"  {action}{word} {rule.peers}, at {rule.ports} ({rule.policy}, {rule.line})", hang=4)


def why(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A pod, a node, outside, or an address.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TO:PORT[/PROTOCOL]",
            help="One of these, a Service by its name or DNS name, or a node with a NodePort; and a port.",
        ),
    ],
    filename: ScenarioFilesOption = None,
    output: OutputOption = None,
    lab: LabOption = None,
) -> None:
    """Name the policies and lines that decide about a connection; where it is denied, what would allow it.

    A Service is judged for each of its endpoints, after its address was translated. Of a pod and a Service of one name
    the pod is meant, where svc/NAME does not say otherwise or only the Service has the port. The exit code is 1 when it
    is denied.
    """
    name, colon, port = target.rpartition(":")
    if not colon:
        raise InputError(f"{target}: no port", f"say which one is asked for: {target}:80, or {target}:53/UDP")
    at = port_of(port)
    world, where = _world(filename, lab)
    from k8snetlab.explain.asked import reason

    found = reason(world, source, name.strip("[]"), at, where)
    if output:
        print_json(found)
    else:
        _say_reason(found)
    if not found.allowed:
        raise typer.Exit(1)


def _say_reason(found: PolicyReason) -> None:
    """Endpoints of which the same is said are said together."""
    _say_idle(found.withoutEffect)
    number = sum(one.allowed for one in found.endpoints)
    verdict = "allowed" if found.allowed else "denied"
    if 0 < number < len(found.endpoints):
        verdict = f"allowed to {number} of {len(found.endpoints)} endpoints"
    asked = found.to if found.to.endswith(f":{found.port}") else f"{found.to}:{found.port}"
    asked = f"Service {asked}" if found.to == found.service else asked
    screen.say(f"{found.from_} -> {asked}/{found.protocol}: {verdict}")
    if not found.service:
        _say_sides(found.from_, found.to, found)
    groups: dict[tuple[Side, Side, str], list[EndpointReason]] = {}
    for one in found.endpoints:
        groups.setdefault((one.ingress, one.egress, one.source), []).append(one)
    for alike in groups.values():
        ends = ", ".join(f"{one.to}:{one.port}" for one in alike[:SHOWN])
        more = f" and {len(alike) - SHOWN} more" if len(alike) > SHOWN else ""
        seen = f", which see{'s' if len(alike) == 1 else ''} {alike[0].source}" if alike[0].source else ""
        screen.say(f"  Service {found.service} leads to {ends}{more}{seen}:", hang=4)
        _say_sides(found.from_, alike[0].to, alike[0])


def _say_sides(source: str, target: str, found: PolicyReason | EndpointReason) -> None:
    for way, of, side in (("out", source, found.egress), ("in", target, found.ingress)):
        _say_side(way, of, side)


def _say_side(way: str, of: str, side: Side) -> None:
    said = {
        "loopback": "a pod always reaches itself",
        "itself": "by its own Service, where one direction is enough",
        "own node": "a pod's own node always reaches it",
        "not isolated": f"no policy judges what goes {way} of {of}" if way == "out" else f"no policy judges {of}",
    }
    if side.why in said:
        screen.say(f"  {way}: allowed, {said[side.why]}", hang=4)
        return
    lines = ", ".join(side.lines)
    if side.why == "passed":
        screen.say(
            f"  {way}: allowed by Calico's profiles: {', '.join(side.policies)} passes it to them: {lines}", hang=4
        )
        return
    if side.allowed:
        screen.say(f"  {way}: allowed by {', '.join(side.policies)}: {lines}", hang=4)
        return
    if side.why == "denied":
        kind = "Calico policy" if side.policies[0].startswith(("np/", "gnp/")) else "ClusterNetworkPolicy"
        screen.say(f"  {way}: denied by {kind} {', '.join(side.policies)}: {lines}", hang=4)
        screen.say(f"    before that, a rule of its tier would have to say: {side.wanted}", hang=6)
        return
    screen.say(f"  {way}: denied: no rule of {', '.join(side.policies)} allows it: {lines}", hang=4)
    screen.say(f"    one of them would have to say: {side.wanted}", hang=6)
    if "podSelector: {}" in side.wanted:
        screen.say("    (podSelector: {} is every pod there: the one that is meant has no label to tell it by)", hang=6)


def _say_idle(sentence: str) -> None:
    """That nobody brings policies into the kernel."""
    if sentence:
        screen.say(f"note: {sentence}; this is what they would do", hang=6)


def lint(filename: ScenarioFilesOption = None, output: OutputOption = None, lab: LabOption = None) -> None:
    """Name what surprises people: selectors that match nothing, egress without DNS, names of ports that no pod has.

    The exit code is 1 when there is any.
    """
    world, where = _world(filename, lab, dns=True)
    from msgspec.structs import replace

    from k8snetlab.policies.lint import lint as linted
    from k8snetlab.policies.world import without_effect

    found = linted(world.snapshot, world.resolved, where)
    found = replace(found, withoutEffect=without_effect(world.snapshot))
    if output:
        print_json(found)
    else:
        _say_idle(found.withoutEffect)
        for one in found.surprises:
            screen.say(f"{one.line}: {one.policy}: {one.message} ({one.kind})", hang=2)
        if not found.surprises:
            number = len(world.resolved.policies)
            screen.say(f"nothing surprising in {counted(number, 'policy', 'policies')}")
    if found.surprises:
        raise typer.Exit(1)


def port_of(text: str) -> tuple[str, int]:
    """(protocol, port) of 80, 80/TCP or 53/udp. Raises InputError."""
    found = _PORT.fullmatch(text)
    protocol = (found[2] or "TCP").upper() if found else ""
    if not found or not 1 <= int(found[1]) <= 65535 or protocol not in PROTOCOLS:
        raise InputError(f"{text!r} is no port", "write it like 80, 80/TCP, 53/UDP or 9999/SCTP; ports are 1 to 65535")
    return protocol, int(found[1])


def _world(paths: list[str] | None, lab: str | None, *, dns: bool = False) -> tuple[World, Where]:
    """The objects, and what says where a policy's field is written; `dns`: with the cluster's DNS."""
    from k8snetlab.cli import manifests, policy_world
    from k8snetlab.policies.sentences import lines_of
    from k8snetlab.policies.world import world

    objects = policy_world.of_files(manifests.loaded(paths, "policy")) if paths else None
    snapshot = objects or policy_world.of_lab(client_of(lab))
    snapshot = policy_world.with_dns(snapshot) if dns else snapshot
    return world(snapshot), lines_of(snapshot)
