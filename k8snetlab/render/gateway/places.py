"""Which matches a location of nginx' is for: those of its path, and of all prefixes of it."""

from __future__ import annotations

from k8snetlab.render.gateway.model import Candidate, Server


def places(server: Server) -> dict[tuple[str, str], tuple[Candidate, ...]]:
    """What nginx has locations for, and which candidates a request that comes there may fit, in their order: up to the
    first that asks for nothing but the path."""
    found: dict[tuple[str, str], tuple[Candidate, ...]] = {}
    spots: dict[tuple[str, str], None] = {}
    for one in server.candidates:
        if one.kind == "exact":
            spots["exact", one.path] = None
        elif one.path == "/":
            spots["prefix", "/"] = None
        else:
            spots |= {("prefix", f"{one.path}/"): None, ("exact", one.path): None}
    for kind, path in spots:
        fitting: list[Candidate] = []
        for one in server.candidates:
            if _fits(one, kind, path):
                fitting.append(one)
                if not one.tests:
                    break
        found[kind, path] = tuple(fitting)
    return found


def _fits(candidate: Candidate, kind: str, path: str) -> bool:
    """Whether all requests of a location have the candidate's path."""
    if candidate.kind == "exact":
        return kind == "exact" and candidate.path == path
    return candidate.path == "/" or path == candidate.path or path.startswith(f"{candidate.path}/")
