"""What a request's headers ask for: which form its body has, which form its answer may have.

Source: apiserver pkg/endpoints/handlers/negotiation. Answers are JSON, of which there are several views.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from k8snetlab.errors import RequestError

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)
TEXT = "text/plain"
META = "meta.k8s.io"


class Form(msgspec.Struct, frozen=True):
    """A form of an answer: JSON, or a view of the object in it: `kind` of an API `group` and `version`."""

    media: str = JSON
    kind: str = ""
    group: str = ""
    version: str = ""

    @property
    def content_type(self) -> str:
        """With its parameters, for a view that has any (discovery; that of a Table goes without)."""
        view = f";g={self.group};v={self.version};as={self.kind}" if self.kind and self.group != META else ""
        return f"{self.media}{view}"


WHOLE = Form()
TABLES = tuple(Form(JSON, "Table", META, version) for version in ("v1", "v1beta1"))
OBJECT = (WHOLE, *TABLES, *(Form(JSON, "PartialObjectMetadata", META, version) for version in ("v1", "v1beta1")))
"""How an object is answered, and each of a watch."""
LIST = (WHOLE, *TABLES, *(Form(JSON, "PartialObjectMetadataList", META, version) for version in ("v1", "v1beta1")))


def check_body(said: str) -> None:
    """Raises RequestError (415) for a body of a verb that is no JSON; `said` is the Content-Type."""
    check_form(said, ("", JSON))


def check_form(said: str, known: Iterable[str]) -> None:
    """Raises RequestError (415) where the Content-Type is none of these."""
    media, known = media_type(said), tuple(known)
    if media not in known:
        raise RequestError(
            "the body of the request was in an unknown format - accepted media types include: "
            f"{', '.join(one for one in known if one)}",
            f"it is {media}" if media else "its Content-Type names none",
            "UnsupportedMediaType",
            415,
        )


def media_type(said: str) -> str:
    """Of a Content-Type, without its parameters."""
    return said.partition(";")[0].strip().lower()


def check_accepted(said: str, offered: Iterable[str] = (JSON,)) -> None:
    """Raises RequestError (406) where none of the forms `offered` is among those accepted; `said` is Accept."""
    chosen(said, [Form(media) for media in offered])


def chosen(said: str, offered: Iterable[Form]) -> Form:
    """The one of `offered` that Accept likes best; the first where it says nothing. Raises RequestError (406)."""
    offered = tuple(offered)
    if not said.strip():
        return offered[0]
    for media, parameters in _ranges(said):
        for form in offered:
            if _admits(media, form.media) and _is_view(parameters, form):
                return form
    media_types = ", ".join(dict.fromkeys(form.media for form in offered))
    raise RequestError(f"only the following media types are accepted: {media_types}", "", "NotAcceptable", 406)


def _ranges(said: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The media ranges with their parameters, the best liked first; not those of weight 0."""
    found = []
    for part in said.split(","):
        media, *parameters = (word.strip() for word in part.split(";"))
        known = {name.strip().lower(): value.strip() for name, _, value in (word.partition("=") for word in parameters)}
        weight = _weight(known.get("q", "1"))
        if weight and media:
            found.append((-weight, media.lower(), known))
    for _, media, known in sorted(found, key=lambda one: one[0]):
        yield media, known


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 1.0
    return weight if 0 <= weight <= 1 else 1.0


def _admits(accepted: str, form: str) -> bool:
    return accepted in ("*/*", form, form.partition("/")[0] + "/*")


def _is_view(parameters: Mapping[str, str], form: Form) -> bool:
    wanted = (parameters.get("as", ""), parameters.get("g", ""), parameters.get("v", ""))
    return wanted[0] == form.kind and (not form.kind or wanted[1:] == (form.group, form.version))
