"""How a name was looked up, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from k8snetlab.messages.dig import Dig, DnsQuery

_DATA, _TIME = 42, 13
SHOWN = 8
"""So many records of one reply, and addresses of one name, are shown; of more it is said how many there are."""


def lines(answer: Dig) -> Iterator[str]:
    """Every query with what became of it, and who answered."""
    servers = " and ".join(answer.nameservers)
    yield f"{answer.source} asks {servers}, as {answer.library} does"
    yield _why(answer)
    who = ""
    for number, (name, queries) in enumerate(groupby(answer.queries, key=lambda query: query.name), 1):
        yield f"{number}  {name}"
        for query in queries:
            yield from _query(query)
            if query.answeredIP and who != (who := _who(query)):
                yield f"   {who}"
    yield from answer.notes
    yield _outcome(answer)


def _why(answer: Dig) -> str:
    if answer.queries and answer.queries[0].type == "PTR" and answer.queries[0].name.endswith(".arpa."):
        return "the name of an address"
    if answer.name.endswith("."):
        return "a dot ends the name, it is asked for as it is"
    dots = answer.name.count(".")
    few = dots < answer.ndots
    count = f"{dots} {'dot' if dots == 1 else 'dots'}, {'fewer than' if few else 'not fewer than'} ndots:{answer.ndots}"
    if few:
        return f"{count}, so the search list goes first" if answer.searches else f"{count}, and no search list"
    return f"{count}, so the name as it is goes first" if answer.library == "glibc" else f"{count}: no search list"


def _query(query: DnsQuery) -> Iterator[str]:
    status = query.status or query.error
    took = f"{query.milliseconds:.1f} ms"
    data = _few([r.data if r.type == query.type else f"{r.type} {r.data}" for r in query.records]) or [""]
    if query.truncated:
        data = [f"{len(query.records)} records fit: truncated"]
    first = f"   {query.type:<5} {status:<9} {data[0]:<{_DATA}}"
    by = " by TCP" if query.transport == "tcp" else ""
    yield f"{first.rstrip():<{80 - _TIME}}{took:>{_TIME - 1}}{by}"
    for more in data[1:]:
        yield f"{'':<19}{more}"


def _few(texts: Sequence[str]) -> list[str]:
    return list(texts) if len(texts) <= SHOWN else [*texts[: SHOWN - 1], f"and {len(texts) - SHOWN + 1} more"]


def _who(query: DnsQuery) -> str:
    at = f" on {query.answeredNode}" if query.answeredNode else ""
    whom = f"{query.answeredBy or 'no pod of the lab'}{at}" if query.status else "nobody answered"
    if query.service:
        return f"{query.server}:53 → {query.answeredIP}, {whom}"
    return f"{query.answeredIP}, {whom}"


def _outcome(answer: Dig) -> str:
    asked = len(answer.queries)
    count = f"{asked} {'query' if asked == 1 else 'queries'} in {answer.milliseconds:.1f} ms"
    if answer.found:
        what = ", ".join(_few(answer.addresses)) or "found"
        return f"{answer.name}: {what} ({count})"
    if not any(query.status for query in answer.queries):
        return f"{answer.name}: no answer ({count})"
    return f"{answer.name}: not found ({count})"
