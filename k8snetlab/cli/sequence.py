"""A trace as a picture: who hands the packet to whom, as SVG or as a Mermaid sequence diagram."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, NamedTuple

from k8snetlab.cli.story import flow

Json = Mapping[str, Any]
TELLING = ("mixed", "rule", "conntrack", "encapsulate", "decapsulate", "deliver", "stop")
"""The decisions that a picture shows; routes and neighbours are left to the story."""
COLUMN, ROW, TOP = 250, 26, 70


class Event(NamedTuple):
    """`to` is "" for a note in the lane of `place`. `kind` is there, back, note, stop or unseen."""

    place: str
    to: str
    text: str
    kind: str


def events(answer: Json) -> Iterator[Event]:
    way = answer["ways"][answer["chosen"]]
    for leg in ("there", "back"):
        last: Json | None = None
        for hop in way[leg]:
            if last is not None and hop["place"] != last["place"]:
                inside = f" in VXLAN {last['outer']['src']} → {last['outer']['dst']}" if last["outer"] else ""
                seen = f" {hop['microseconds']:.0f} µs" if hop["microseconds"] is not None else ""
                kind = "unseen" if hop["seen"] is False else leg
                yield Event(last["place"], hop["place"], f"{flow(last['packet'])}{inside}{seen}", kind)
            for decision in hop["decisions"]:
                if decision["what"] in TELLING:
                    text = decision["text"].partition(": ")[0] if decision["what"] == "rule" else decision["text"]
                    owner = f" ({decision['owner']})" if decision["what"] == "rule" and decision.get("owner") else ""
                    kind = "stop" if decision["what"] == "stop" else "note"
                    yield Event(hop["place"], "", f"{text}{owner}", kind)
            if hop["remark"]:
                yield Event(hop["place"], "", f"{hop['interface']}: {hop['remark']}", "stop")
            last = hop


def mermaid(answer: Json) -> str:
    """Text that GitHub, GitLab and mermaid.live draw."""
    found = list(events(answer))
    names = {place: f"p{number}" for number, place in enumerate(_places(answer))}
    out = ["sequenceDiagram"]
    out += [f"    participant {name} as {_plain(place)}" for place, name in names.items()]
    arrows = {"there": "->>", "back": "-->>", "unseen": "-x"}
    for event in found:
        if event.to:
            out.append(f"    {names[event.place]}{arrows[event.kind]}{names[event.to]}: {_plain(event.text)}")
        else:
            out.append(f"    Note over {names[event.place]}: {_plain(event.text)}")
    return "\n".join(out)


def svg(answer: Json) -> str:
    """A drawing that needs nothing but a browser."""
    found, places = list(events(answer)), _places(answer)
    middle = {place: COLUMN * number + COLUMN // 2 for number, place in enumerate(places)}
    width, height = COLUMN * len(places), TOP + ROW * (len(found) + 1)
    title = f"{answer['from']} → {answer['to']} {answer['address']} {answer['protocol']}"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>',
        f'<text x="10" y="18" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for place, x in middle.items():
        out.append(f'<line x1="{x}" y1="50" x2="{x}" y2="{height - 8}" stroke="#bbb"/>')
        out.append(f'<text x="{x}" y="42" text-anchor="middle" font-weight="bold">{escape(place)}</text>')
    for number, event in enumerate(found):
        out += _drawn(event, middle, TOP + ROW * number)
    return "\n".join([*out, "</svg>", ""])


def _drawn(event: Event, middle: Mapping[str, int], y: int) -> Iterator[str]:
    x = middle[event.place]
    text = escape(event.text)
    if event.to:
        to = middle[event.to]
        dashes = {"there": "", "back": ' stroke-dasharray="6 3"', "unseen": ' stroke-dasharray="2 4"'}[event.kind]
        colour = "#c00" if event.kind == "unseen" else "black"
        yield f'<line x1="{x}" y1="{y}" x2="{to}" y2="{y}" stroke="{colour}"{dashes} marker-end="url(#a)"/>'
        yield f'<text x="{(x + to) // 2}" y="{y - 4}" text-anchor="middle">{text}</text>'
        return
    colour = "#c00" if event.kind == "stop" else "#555"
    yield f'<circle cx="{x}" cy="{y - 4}" r="3" fill="{colour}"/>'
    yield f'<text x="{x + 7}" y="{y}" fill="{colour}">{text}</text>'


def _places(answer: Json) -> list[str]:
    way = answer["ways"][answer["chosen"]]
    return list(dict.fromkeys(hop["place"] for hop in (*way["there"], *way["back"])))


def _plain(text: str) -> str:
    """Without what Mermaid takes for its own."""
    return text.replace(";", ",").replace("#", "").replace("\n", " ")
