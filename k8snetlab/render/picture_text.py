"""A picture as text for other programs to draw: Mermaid (GitHub, many wikis) and Graphviz's dot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from k8snetlab.dataplane.names import BRIDGE, ETH0, OUTSIDE, ROUTER
from k8snetlab.render.picture_boxes import NodeBox, Picture, ServiceBox


def mermaid(picture: Picture) -> str:
    """A Mermaid flowchart; line ends within a label are <br/>."""

    def label(lines: Iterable[str]) -> str:
        return '"' + "<br/>".join(line.replace("&", "#amp;").replace('"', "#quot;") for line in lines) + '"'

    text = ["flowchart TB"]
    world = f"outside[{label(('outside', *picture.outside))}] --- " if picture.outside else ""
    text.append(f"  {world}router[{label(_router(picture))}]")
    text += [f"  host{n}[{label(host.lines)}] --- router" for n, host in enumerate(picture.hosts)]
    text += [f"  other{r}[{label(lines)}]" for r, lines in enumerate(_others(picture).values())]
    for k, link in enumerate(picture.links):
        text.append(f"  link{k}([{label(link.lines)}])")
        text += [f"  {end} ---|{label((address,))}| link{k}" for end, address in _on_link(picture, k)]
    for n, node in enumerate(picture.nodes):
        text.append(f"  subgraph node{n}[{label((node.name,))}]")
        text.append(f"    node{n}eth0[{label((_port(node),))}]")
        text.append(f"    node{n}cni0[{label((_bridge(node),))}]")
        if node.tunnel:
            text.append(f"    node{n}tunnel[{label(node.tunnel)}]")
            text += [f"    node{n}eth0 --- node{n}tunnel", f"    node{n}tunnel --- node{n}cni0"]
        else:
            text.append(f"    node{n}eth0 --- node{n}cni0")
        for p, pod in enumerate(node.pods):
            end = f"node{n}pod{p}([{label((pod.name, *pod.addresses))}])"
            text.append(f"    {end}" if pod.host else f"    node{n}cni0 --- {end}")
        text += ["  end", f"  {_joint(picture, n)} --- node{n}eth0"]
    for one, other in _tunnels(picture):
        text.append(f"  node{one}tunnel -. {label((picture.backend.partition(',')[0],))} .- node{other}tunnel")
    called = _called(picture)
    for session in picture.sessions:
        text.append(f"  {called[session.one]} -. {label((session.words,))} .- {called[session.other]}")
    if broken := list(_broken(picture)):
        text += ["  classDef broken fill:#fee2e2,stroke:#b91c1c,color:#b91c1c", f"  class {','.join(broken)} broken"]
    for s, service in enumerate(picture.services):
        text.append(f"  service{s}{{{{{label(_service(service))}}}}}")
        text += [f"  service{s} --> {end}" for end in _serving(picture, s)]
        text += [f"  service{s} --> service{s}end{i}[{label((end,))}]" for i, end in enumerate(service.foreign)]
    return "\n".join(text) + "\n"


def dot(picture: Picture) -> str:
    """A graph for dot or fdp; every node is a cluster."""

    def label(lines: Iterable[str]) -> str:
        return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'

    text = [f"graph {label((picture.lab,))} {{", "  node [shape=box, style=rounded];"]
    text.append(f"  router [label={label(_router(picture))}];")
    if picture.outside:
        text += [f"  outside [label={label(('outside', *picture.outside))}];", "  outside -- router;"]
    for n, host in enumerate(picture.hosts):
        text += [f"  host{n} [label={label(host.lines)}];", f"  host{n} -- router;"]
    text += _dot_links(picture, label)
    for n, node in enumerate(picture.nodes):
        text.append(f"  subgraph cluster_node{n} {{")
        text.append(f"    label={label((node.name,))};")
        text.append(f"    node{n}eth0 [label={label((_port(node),))}];")
        text.append(f"    node{n}cni0 [label={label((_bridge(node),))}];")
        if node.tunnel:
            text.append(f"    node{n}tunnel [label={label(node.tunnel)}];")
            text.append(f"    node{n}eth0 -- node{n}tunnel -- node{n}cni0;")
        else:
            text.append(f"    node{n}eth0 -- node{n}cni0;")
        for p, pod in enumerate(node.pods):
            text.append(f"    node{n}pod{p} [label={label((pod.name, *pod.addresses))}];")
            text += [] if pod.host else [f"    node{n}cni0 -- node{n}pod{p};"]
        text += ["  }", f"  {_joint(picture, n)} -- node{n}eth0;"]
    for one, other in _tunnels(picture):
        words = label((picture.backend.partition(",")[0],))
        text.append(f"  node{one}tunnel -- node{other}tunnel [style=dashed, constraint=false, label={words}];")
    text += _dot_sessions(picture, label)
    red = 'style=filled, fillcolor="#fee2e2", color="#b91c1c", fontcolor="#b91c1c"'
    text += [f"  {name} [{red}];" for name in _broken(picture) if name.lstrip("node").strip("0123456789")]
    for s, service in enumerate(picture.services):
        text.append(f"  service{s} [shape=hexagon, label={label(_service(service))}];")
        text += [f"  service{s} -- {end} [dir=forward];" for end in _serving(picture, s)]
        for i, end in enumerate(service.foreign):
            text += [f"  service{s}end{i} [label={label((end,))}];", f"  service{s} -- service{s}end{i} [dir=forward];"]
    return "\n".join([*text, "}"]) + "\n"


def _dot_links(picture: Picture, label: Callable[[Iterable[str]], str]) -> Iterator[str]:
    """Several links, and the routers beside the first."""
    yield from (f"  other{r} [label={label(lines)}];" for r, lines in enumerate(_others(picture).values()))
    for k, link in enumerate(picture.links):
        yield f"  link{k} [shape=ellipse, label={label(link.lines)}];"
        yield from (f"  {end} -- link{k} [label={label((address,))}];" for end, address in _on_link(picture, k))


def _dot_sessions(picture: Picture, label: Callable[[Iterable[str]], str]) -> Iterator[str]:
    called = _called(picture)
    for session in picture.sessions:
        ends, words = f"{called[session.one]} -- {called[session.other]}", label((session.words,))
        yield f'  {ends} [style=dashed, constraint=false, color="#15803d", label={words}];'


def _broken(picture: Picture) -> Iterator[str]:
    """The names, in the text, of what is broken."""
    for n, node in enumerate(picture.nodes):
        for device, name in (("", ""), (node.uplink, ETH0), (BRIDGE, BRIDGE)):
            if node.is_broken(device):
                yield f"node{n}{name}"
        if any(node.is_broken(tunnel.split()[0]) for tunnel in node.tunnel):
            yield f"node{n}tunnel"
        yield from (f"node{n}pod{p}" for p, pod in enumerate(node.pods) if pod.broken)
    yield from (f"service{s}" for s, service in enumerate(picture.services) if service.broken)


def _router(picture: Picture) -> tuple[str, ...]:
    """What joins the nodes."""
    return ("router" if picture.router else "network", *picture.router, *picture.underlay)


def _others(picture: Picture) -> dict[str, tuple[str, ...]]:
    """The routers beside the first, each with what it says."""
    return {box.name: (box.name, *box.lines[1 + len(box.addresses) :]) for box in picture.routers[1:]}


def _called(picture: Picture) -> dict[str, str]:
    """Nodes and routers as the text calls them, by their names."""
    nodes = {node.name: f"node{n}eth0" for n, node in enumerate(picture.nodes)}
    return {ROUTER: ROUTER, OUTSIDE: OUTSIDE, **{name: f"other{r}" for r, name in enumerate(_others(picture))}, **nodes}


def _on_link(picture: Picture, number: int) -> Iterator[tuple[str, str]]:
    """The routers of a link, as the text calls them, each with its address."""
    called = _called(picture)
    for name, address in picture.links[number].routers:
        yield called[name], address


def _joint(picture: Picture, node: int) -> str:
    """What a node is plugged into."""
    return next((f"link{k}" for k, link in enumerate(picture.links) if node in link.nodes), ROUTER)


def _port(node: NodeBox) -> str:
    return " ".join([node.uplink, *node.addresses])


def _bridge(node: NodeBox) -> str:
    return " ".join([node.joint, *node.bridge])


def _service(service: ServiceBox) -> tuple[str, ...]:
    return (f"Service {service.name}", *service.addresses, *(() if service.endpoints else ("no endpoints",)))


def _tunnels(picture: Picture) -> Iterator[tuple[int, int]]:
    """Every pair of nodes with a tunnel."""
    ends = [n for n, node in enumerate(picture.nodes) if node.tunnel]
    for place, one in enumerate(ends):
        for other in ends[place + 1 :]:
            yield one, other


def _serving(picture: Picture, service: int) -> Iterator[str]:
    """The pods that are endpoints of a Service."""
    for n, node in enumerate(picture.nodes):
        for p, pod in enumerate(node.pods):
            if service in pod.services:
                yield f"node{n}pod{p}"
