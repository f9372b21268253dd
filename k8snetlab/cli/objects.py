"""apply, delete, get, scale: the verbs of kubectl."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from k8snetlab.cli import kinds, screen, subnets
from k8snetlab.cli.options import (
    FieldSelectorOption,
    FilesOption,
    LabOption,
    NamespaceOption,
    ObjectOutput,
    Output,
    OutputOption,
    SelectorOption,
    TimeoutOption,
    Wait,
    WaitOption,
    client_of,
    complete_object,
    example,
    print_json,
)
from k8snetlab.errors import InputError, K8sNetLabError, NotFoundError
from k8snetlab.messages.timeouts import CHANGE_TIMEOUT
from k8snetlab.wording import nearest

if TYPE_CHECKING:
    from k8snetlab.api.scaled import Scaled
    from k8snetlab.api.scheme import Resource
    from k8snetlab.client.client import Client
    from k8snetlab.messages.changes import ChangeEvent

TargetArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="KIND [NAME]", autocompletion=complete_object, help="KIND NAME…, or KIND/NAME…"),
]
ALL = "pods,replicationcontrollers,services,daemonsets,deployments,replicasets,statefulsets,jobs"


def register(app: typer.Typer) -> None:
    app.command(epilog=example("apply -f services.yaml"))(apply)
    app.command(epilog=example("delete service business-manager"))(delete)
    app.command(epilog=example("get pods -o wide"))(get)
    app.command(epilog=example("scale deployment/business-manager --replicas 5"))(scale)


def apply(
    filename: FilesOption = None,
    timeout: TimeoutOption = CHANGE_TIMEOUT,
    wait: WaitOption = Wait.TRUE,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Create objects from manifests, or change those that differ, and wait until they are in the kernels."""
    from k8snetlab.cli import manifests, progress
    from k8snetlab.messages.changes import APPLY, Change

    asked_of = _Lab(lab)
    loaded = manifests.loaded(filename, "apply", asked_of.brought)
    events: Iterable[ChangeEvent] = ()
    if loaded.objects or loaded.ignored:
        client = asked_of.client
        objects = manifests.for_lab(loaded, "apply", client.lab, lab)
        asked = Change(objects=objects, timeout=timeout, wait=wait is Wait.TRUE)
        events = client.stream(APPLY, asked)
    outcome = progress.follow(events, quiet=output is not None, changes=True)
    if output:
        print_json(outcome)


def delete(
    target: TargetArgument = None,
    filename: FilesOption = None,
    namespace: NamespaceOption = "default",
    selector: SelectorOption = "",
    field_selector: FieldSelectorOption = "",
    everything: Annotated[bool, typer.Option("--all", help="All of the kind in the namespace.")] = False,
    timeout: TimeoutOption = CHANGE_TIMEOUT,
    wait: WaitOption = Wait.TRUE,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Delete objects, named, selected or listed in manifests, and wait until no kernel has anything of them."""
    from k8snetlab.cli import progress
    from k8snetlab.messages.changes import DELETE, Change

    if bool(target) == bool(filename):
        raise InputError("delete takes either KIND NAME or -f FILE", "k8snetlab delete pod client")
    chosen = bool(selector or field_selector)
    if filename and (chosen or everything):
        raise InputError("-f names the objects itself: no --all, -l or --field-selector goes with it")
    if filename:
        from k8snetlab.cli import manifests

        asked_of = _Lab(lab)
        loaded = manifests.loaded(filename, "delete", asked_of.brought)
        client = asked_of.client
        objects = manifests.for_lab(loaded, "delete", client.lab, lab)
    else:
        asked_of = _Lab(lab)
        wanted = parse_targets(target or (), asked_of.brought)
        named = [name for _, name in wanted if name]
        if named and (chosen or everything):
            raise InputError("a name and --all, -l or --field-selector do not go together", "one or the other")
        if not named and not (chosen or everything):
            hint = "k8snetlab delete KIND NAME; -l LABELS or --all for more than one"
            raise InputError(f"delete {' '.join(target or ())}: which one?", hint)
        if everything and selector:
            raise InputError("--all and -l do not go together", "one or the other")
        client = asked_of.client
        found = _fetch(client, wanted, namespace, False, selector, field_selector)
        objects = [obj for _, objects in found for obj in objects]
        if not objects:
            typer.echo("No resources found", err=True)
    asked = Change(objects=objects, timeout=timeout, wait=wait is Wait.TRUE)
    events: Iterable[ChangeEvent] = client.stream(DELETE, asked) if objects else ()
    outcome = progress.follow(events, quiet=output is not None, changes=True)
    if output:
        print_json(outcome)


def get(
    target: TargetArgument = None,
    namespace: NamespaceOption = "default",
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Those of every namespace.")] = False,
    selector: SelectorOption = "",
    field_selector: FieldSelectorOption = "",
    output: Annotated[ObjectOutput | None, typer.Option("-o", "--output", help="Another form than a table.")] = None,
    lab: LabOption = None,
) -> None:
    """Show objects. Kinds as kubectl takes them: `get pods`, `get deploy,svc`, `get pod/client`, `get all`.

    `get subnet [NODE]` shows which pod subnet a node holds, and its /run/flannel/subnet.env.
    """
    if (node := subnets.node_of(target or ())) is not None:
        subnets.show(lab, node, output)
        return
    if not target:
        raise InputError("get: which kind?", "kinds: " + ", ".join(kinds.plurals()))
    asked = _Lab(lab)
    wanted = parse_targets(target, asked.brought)
    client = asked.client
    named = any(name for _, name in wanted)
    if named and (selector or field_selector):
        raise InputError("a name and a selector do not go together", "one or the other")
    try:
        found = list(_fetch(client, wanted, namespace, all_namespaces, selector, field_selector))
    except NotFoundError as error:
        error.hint = "; ".join(filter(None, (error.hint, *_of_leases(wanted))))
        raise
    if output in (ObjectOutput.JSON, ObjectOutput.YAML):
        _print_objects(
            [obj for _, objects in found for obj in objects], single=named, as_yaml=output is ObjectOutput.YAML
        )
        return
    _print_tables(found, output, all_namespaces)
    if not any(objects for _, objects in found):
        _say_nothing(client, wanted, namespace, all_namespaces)


def scale(
    target: Annotated[
        list[str],
        typer.Argument(metavar="KIND/NAME", autocompletion=complete_object, help="A workload with replicas."),
    ],
    replicas: Annotated[int, typer.Option("--replicas", min=0, help="How many pods there shall be.")],
    namespace: NamespaceOption = "default",
    timeout: TimeoutOption = CHANGE_TIMEOUT,
    wait: WaitOption = Wait.TRUE,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Set the number of pods of a Deployment, StatefulSet or ReplicaSet, and wait until they run or are gone."""
    from k8snetlab.api import scaled
    from k8snetlab.cli import progress
    from k8snetlab.messages import changes as messages

    resource, name = scaled.target(target) or _to_scale(target)
    client = client_of(lab)
    scale = client.scale(resource.kind, name, namespace, replicas)
    if output is None:
        screen.say(f"{kinds.qualified(resource, name)} scaled to {replicas}")
    asked = messages.Wait(objects=(messages.Named(resource.kind, name, namespace),), timeout=timeout)
    events: Iterable[ChangeEvent] = client.stream(messages.WAIT, asked) if wait is Wait.TRUE else ()
    outcome = progress.follow(events, quiet=output is not None)
    if output is Output.JSON:
        print_json(scale)
    progress.refuse_failed(outcome)


def _to_scale(words: Sequence[str]) -> tuple[Scaled, str]:
    """A kind that is called otherwise than most do, as deployments.apps. Raises InputError for what has no replicas."""
    from k8snetlab.api import scaled

    wanted = [(resource, name) for resource, name in parse_targets(words) if name]
    if len(wanted) != 1:
        raise InputError("scale takes one KIND/NAME", "k8snetlab scale deployment/NAME --replicas 5")
    [(resource, name)] = wanted
    found = scaled.named(resource.kind)
    if found is None:
        raise InputError(f"a {resource.kind} has no replicas", "scale a deployment, a statefulset or a replicaset")
    return found, name


def _say_nothing(
    client: Client, wanted: Sequence[tuple[Resource, str | None]], namespace: str, all_namespaces: bool
) -> None:
    everywhere = all_namespaces or not any(resource.type.namespaced for resource, _ in wanted)
    screen.say("No resources found" + ("" if everywhere else f" in {namespace} namespace."), err=True)
    for hint in _of_leases(wanted):
        screen.say(f"hint: nodes' Leases are in namespace kube-node-lease; {hint}", err=True)
    if not everywhere and namespace != "default":
        known = [space["metadata"]["name"] for space in client.list("Namespace")]
        if known and namespace not in known:
            there = nearest(namespace, known, f"namespaces: {', '.join(known)}")
            screen.say(f"hint: there is no namespace {namespace}; {there}", err=True)


def _of_leases(wanted: Sequence[tuple[Resource, str | None]]) -> tuple[str, ...]:
    """What is told to who finds no Lease: `get lease` showed subnets before it was Kubernetes'."""
    return (subnets.BEFORE,) if any(resource.kind == "Lease" for resource, _ in wanted) else ()


class _Lab:
    """The lab, found once it is asked: a wrong word is said without one, too."""

    def __init__(self, name: str | None) -> None:
        self._name = name

    @cached_property
    def client(self) -> Client:
        return client_of(self._name)

    def brought(self) -> Iterable[Resource]:
        """The kinds that its users have brought; none where no lab answers."""
        try:
            return kinds.brought(self.client)
        except K8sNetLabError:
            return ()


# --- KIND NAME, KIND/NAME, KIND,KIND --------------------------------------------------------------------------------


def parse_targets(words: Sequence[str], brought: kinds.Brought = tuple) -> list[tuple[Resource, str | None]]:
    """(kind, name or None for all of the kind) of the words kubectl takes."""
    if any("/" in word for word in words):
        wrong = next((word for word in words if word.count("/") != 1 or word.endswith("/")), None)
        if wrong is not None:
            raise InputError(f"{wrong!r} is not of the form KIND/NAME", "either all words are KIND/NAME, or none is")
        return [(kinds.resource_of(kind, brought), name) for kind, name in (word.split("/") for word in words)]
    if not words:
        return []
    said = (ALL if words[0] == "all" else words[0]).split(",")
    resources = [kinds.resource_of(kind, brought) for kind in said if kind]
    names: Sequence[str | None] = words[1:] or (None,)
    return [(resource, name) for resource in resources for name in names]


# --- Fetching and printing -------------------------------------------------------------------------------------------

Found = tuple["Resource", list[dict[str, Any]]]


def _fetch(
    client: Client,
    wanted: Sequence[tuple[Resource, str | None]],
    namespace: str,
    everywhere: bool,
    labels: str = "",
    fields: str = "",
) -> Iterator[Found]:
    """The objects of each wanted kind, those of one kind together."""
    from k8snetlab.api.scheme import BY_KIND

    by_kind: dict[str, Found] = {}
    for resource, name in wanted:
        within = namespace if resource.type.namespaced and not everywhere else ""
        asked = resource.kind if BY_KIND.get(resource.kind) is resource else resource
        _, objects = by_kind.setdefault(f"{resource.group}/{resource.kind}", (resource, []))
        if name is None:
            objects += client.list(asked, within, labels, fields)
        elif everywhere and resource.type.namespaced:
            raise InputError("a name and --all-namespaces do not go together", f"-n NAMESPACE {resource.plural} {name}")
        else:
            objects.append(client.get(asked, name, within))
    yield from by_kind.values()


def _print_objects(objects: list[dict[str, Any]], *, single: bool, as_yaml: bool) -> None:
    whole: dict[str, Any] = (
        objects[0]
        if single and len(objects) == 1
        else {
            "apiVersion": "v1",
            "items": objects,
            "kind": "List",
            "metadata": {"resourceVersion": ""},
        }
    )
    whole = _sorted(whole)
    if not as_yaml:
        print_json(whole)
        return
    from k8snetlab.cli.yaml_text import as_yaml as text

    typer.echo(text(whole), nl=False)


def _sorted(value: Any) -> Any:
    """Every mapping by its keys, as kubectl prints them."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _print_tables(found: Sequence[Found], output: ObjectOutput | None, with_namespace: bool) -> None:
    shown = [(resource, objects) for resource, objects in found if objects]
    if output is ObjectOutput.NAME:
        for resource, objects in shown:
            for obj in objects:
                typer.echo(kinds.qualified(resource, obj["metadata"]["name"]))
        return
    from k8snetlab.cli import views

    tables = (
        views.objects(
            resource,
            objects,
            wide=output is ObjectOutput.WIDE,
            with_namespace=with_namespace,
            with_kind=len(shown) > 1,
        )
        for resource, objects in shown
    )
    text = "\n\n".join(tables)
    if text:
        typer.echo(text)
