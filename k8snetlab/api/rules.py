"""The API server's words for what is wrong with a value, and the rules that several kinds share.

Source: apimachinery pkg/util/validation and pkg/util/validation/field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from k8snetlab.api.meta import LabelSelector, Object
from k8snetlab.api.problems import Report, dns_label, dns_subdomain, labels, port_name, qualified_name
from k8snetlab.api.words import Path, shorten, unsupported

PORTS = "must be between 1 and 65535, inclusive"
STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
OPERATORS = ("DoesNotExist", "Exists", "In", "NotIn")
Rule = Callable[[str], str]
_CHARACTERS = "lower case alphanumeric characters"
_ENDS = "must start and end with an alphanumeric character"
_WORDS: dict[Rule, tuple[int, str]] = {
    dns_label: (
        63,
        f"a lowercase RFC 1123 label must consist of {_CHARACTERS} or '-', and {_ENDS} (e.g. 'my-name',  or "
        "'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    ),
    dns_subdomain: (
        253,
        f"a lowercase RFC 1123 subdomain must consist of {_CHARACTERS}, '-' or '.', and {_ENDS} (e.g. 'example.com', "
        "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    ),
    port_name: (
        15,
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), of them at least one letter (a-z), "
        "and hyphens neither twice in a row nor at an end",
    ),
    qualified_name: (
        317,
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
        "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. "
        "'example.com/MyName')",
    ),
}
"""How long a name may be, and what is said of one that the rule refuses."""


def invalid(value: object, why: str) -> str:
    said = f'"{shorten(value)}"' if isinstance(value, str) else shorten(str(value))
    return f"Invalid value: {said}: {why}"


def required(why: str = "") -> str:
    return f"Required value: {why}" if why else "Required value"


def forbidden(why: str) -> str:
    return f"Forbidden: {why}"


def name_problem(report: Report, obj: Object, path: Path, name: str, rule: Rule) -> None:
    """`rule` is one of `problems` that is in _WORDS."""
    if rule(name):
        longest, words = _WORDS[rule]
        too_long = f"must be no more than {longest} bytes"
        report.error(obj, path, invalid(name, too_long if len(name.encode()) > longest else words))


def finalizers(report: Report, obj: Object, path: Path, names: Sequence[str], *, ours: bool = True) -> None:
    """`ours`: of a kind of Kubernetes' own, where a name without a "/" is one of three. Source: ValidateFinalizerName
    of apimachinery and of pkg/apis/core/validation."""
    for number, name in enumerate(names):
        where: Path = (*path, number)
        if qualified_name(name):
            name_problem(report, obj, where, name, qualified_name)
        elif ours and "/" not in name and name not in STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            report.error(obj, where, invalid(name, why))


def path_segment(report: Report, obj: Object, path: Path, text: str) -> None:
    """A name that is to stand in a path."""
    if not text:
        report.error(obj, path, required())
    elif text in (".", ".."):
        report.error(obj, path, invalid(text, f"may not be '{text}'"))
    else:
        for sign in "/%":
            if sign in text:
                report.error(obj, path, invalid(text, f"may not contain '{sign}'"))


def port_number(report: Report, obj: Object, path: Path, number: int) -> None:
    if not 1 <= number <= 65535:
        report.error(obj, path, invalid(number, PORTS))


def not_negative(report: Report, obj: Object, path: Path, number: int | None) -> None:
    if number is not None and number < 0:
        report.error(obj, path, invalid(number, "must be greater than or equal to 0"))


def label_selector(report: Report, obj: Object, path: Path, selector: LabelSelector) -> None:
    """Source: meta/v1/validation (ValidateLabelSelector)."""
    labels(report, obj, (*path, "matchLabels"), selector.matchLabels)
    for number, requirement in enumerate(selector.matchExpressions):
        where: Path = (*path, "matchExpressions", number)
        labels(report, obj, (*where, "key"), {requirement.key: ""})
        match requirement.operator:
            case "In" | "NotIn":
                if not requirement.values:
                    message = "must be specified when `operator` is 'In' or 'NotIn'"
                    report.error(obj, (*where, "values"), required(message))
                labels(report, obj, (*where, "values"), {f"v{n}": value for n, value in enumerate(requirement.values)})
            case "Exists" | "DoesNotExist" if requirement.values:
                message = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                report.error(obj, (*where, "values"), forbidden(message))
            case operator if operator not in OPERATORS:
                report.error(obj, (*where, "operator"), unsupported(operator, OPERATORS))
