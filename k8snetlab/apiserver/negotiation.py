"""What a request's headers ask for: which form its body has, which form its answer may have.

Source: apiserver pkg/endpoints/handlers/negotiation. JSON is all that is spoken here: no protobuf, no YAML, no Tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.errors import RequestError

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
TEXT = "text/plain"


def check_body(method: str, said: str) -> None:
    """Raises RequestError (415) for a body in another form than the one that is read; `said` is the Content-Type."""
    media = said.partition(";")[0].strip().lower()
    wanted = (MERGE_PATCH,) if method == "PATCH" else (JSON, "")
    if media not in wanted:
        raise RequestError(
            f"the body of the request was in an unknown format ({media or 'none is named'}) - accepted media types "
            f"include: {wanted[0]}",
            "a JSON merge patch (RFC 7396) is the one form of patch" if method == "PATCH" else "",
            "UnsupportedMediaType",
            415,
        )


def check_accepted(said: str, offered: Iterable[str] = (JSON,)) -> None:
    """Raises RequestError (406) where none of the forms `offered` is among those accepted; `said` is Accept."""
    offered = tuple(offered)
    if said.strip() and not any(_admits(accepted, form) for accepted in _ranges(said) for form in offered):
        raise RequestError(
            f"only the following media types are accepted: {', '.join(offered)}", "", "NotAcceptable", 406
        )


def _ranges(said: str) -> Iterator[str]:
    """The media ranges that a plain answer satisfies: not those of weight 0 or with another view of the object."""
    for part in said.split(","):
        media, *parameters = (word.strip().lower() for word in part.split(";"))
        known = dict(word.partition("=")[::2] for word in parameters)
        weight = known.get("q", "1")
        if "as" not in known and weight.rstrip("0") not in ("", "0.") and media:
            yield media


def _admits(accepted: str, form: str) -> bool:
    return accepted in ("*/*", form, form.partition("/")[0] + "/*")
