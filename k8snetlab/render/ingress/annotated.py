"""What annotations say of an Ingress, in ingress-nginx' words.

Source: kubernetes/ingress-nginx internal/ingress/annotations; docs/user-guide/nginx-configuration/annotations.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any

import msgspec
from msgspec.structs import replace

from k8snetlab.api.networking import Ingress
from k8snetlab.api.words import shorten
from k8snetlab.render.ingress.model import Affinity, Canary, Cors, Options, Problem

PREFIX = "nginx.ingress.kubernetes.io/"
SNIPPETS = ("configuration-snippet", "server-snippet", "stream-snippet", "auth-snippet", "modsecurity-snippet")
"""Lines of nginx' own, which whoever writes an Ingress must not write: ingress-nginx has them off since 1.9."""
_SIZE = re.compile(r"\d{1,9}[kKmMgG]?")
_HEADER = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_]{0,63}")
_COOKIE = re.compile(r"[A-Za-z0-9_]{1,64}")
_LIST = re.compile(r"[A-Za-z0-9*][-A-Za-z0-9_*]*(\s*,\s*[A-Za-z0-9*][-A-Za-z0-9_*]*)*")
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?")
_URL = re.compile(r"(https?://[-A-Za-z0-9._~:/?#\[\]@!&'()*+,=%]+|/[-A-Za-z0-9._~/?#&=%]*)")
_TARGET = re.compile(r"[-A-Za-z0-9._~/?&=%+:@,$]+")
_HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?(:\d{1,5})?")
_ERRORS = range(400, 600)
_CODES = (301, 302, 303, 307, 308)


class Said(msgspec.Struct, frozen=True):
    """What the annotations of one Ingress come to. `canary` is there where it is one, without its upstream; `secret`
    and `realm` are of basic authentication, `fallback` names a Service of its namespace."""

    options: Options = Options()
    problems: tuple[Problem, ...] = ()
    canary: Canary | None = None
    secret: str = ""
    realm: str = ""
    fallback: str = ""


class _WrongError(ValueError):
    pass


def read(ingress: Ingress) -> Said:
    """Every annotation that ingress-nginx would act on is acted on, or is among the problems."""
    given = {
        name.removeprefix(PREFIX): text
        for name, text in ingress.metadata.annotations.items()
        if name.startswith(PREFIX)
    }
    if not given:
        return Said()
    reader = _Reader(ingress, given)
    return reader.said()


class _Reader:
    def __init__(self, ingress: Ingress, given: Mapping[str, str]) -> None:
        self._ingress, self._given = ingress, given
        self._problems: list[Problem] = []
        self._asked: set[str] = set()

    def said(self) -> Said:
        options = self._options()
        canary = self._canary()
        secret, realm = self._auth()
        fallback = self._get("default-backend", _name, "")
        for name in self._given:
            if name in SNIPPETS:
                self._say(name, "is refused: a snippet would be nginx' own syntax; say it by another annotation", True)
            elif name not in self._asked:
                self._say(name, "is not known here, and nothing follows from it")
        return Said(options, tuple(self._problems), canary, secret, realm, fallback)

    def _say(self, name: str, why: str, fatal: bool = False) -> None:
        path = ("metadata", "annotations", PREFIX + name)
        message = f"annotation {PREFIX}{name} {why}"
        problem = Problem("Ingress", self._ingress.key, "AnnotationIgnored", message, path, fatal)
        self._problems.append(problem)

    def _get(self, name: str, parse: Callable[[str], Any], default: Any) -> Any:
        self._asked.add(name)
        text = self._given.get(name)
        if text is None:
            return default
        try:
            return parse(text.strip())
        except ValueError as error:
            self._say(name, f"is {shorten(text)!r}, {error or 'which it cannot be'}; it is left out")
            return default

    def _options(self) -> Options:
        get = self._get
        affinity = get("affinity", _one_of("cookie"), "")
        cookie = Affinity(
            get("session-cookie-name", _matching(_COOKIE, "no name of a cookie"), "INGRESSCOOKIE"),
            get("session-cookie-path", _matching(_TARGET, "no path"), "/"),
            get("session-cookie-max-age", _number, None),
        )
        get("affinity-mode", _one_of("balanced", "persistent"), "")
        rewrite = get("rewrite-target", _target, "")
        return Options(
            rewrite=rewrite,
            regex=get("use-regex", _boolean, False) or bool(rewrite),
            ssl_redirect=get("ssl-redirect", _boolean, True),
            force_ssl_redirect=get("force-ssl-redirect", _boolean, False),
            body_size=get("proxy-body-size", _matching(_SIZE, "no size such as 8m"), "1m"),
            connect_timeout=get("proxy-connect-timeout", _seconds, 5),
            send_timeout=get("proxy-send-timeout", _seconds, 60),
            read_timeout=get("proxy-read-timeout", _seconds, 60),
            protocol=get("backend-protocol", _protocol, "HTTP"),
            affinity=cookie if affinity else None,
            cors=self._cors(),
            allow=self._ranges(),
            rps=get("limit-rps", _number, 0),
            rpm=get("limit-rpm", _number, 0),
            burst=get("limit-burst-multiplier", _number, 5) or 5,
            vhost=get("upstream-vhost", _matching(_HOST, "no host"), ""),
            redirect=get("permanent-redirect", _matching(_URL, "no URL"), "")
            or get("temporal-redirect", _matching(_URL, "no URL"), ""),
            redirect_code=self._code(),
            errors=get("custom-http-errors", _errors, ()),
            service_upstream=get("service-upstream", _boolean, False),
        )

    def _code(self) -> int:
        """That of permanent-redirect wins, as it does with ingress-nginx."""
        permanent: int = self._get("permanent-redirect-code", _code, 301)
        temporal: int = self._get("temporal-redirect-code", _code, 302)
        return permanent if "permanent-redirect" in self._given else temporal

    def _ranges(self) -> tuple[str, ...]:
        new: tuple[str, ...] = self._get("allowlist-source-range", _networks, ())
        old: tuple[str, ...] = self._get("whitelist-source-range", _networks, ())
        return new or old

    def _cors(self) -> Cors | None:
        get, usual = self._get, Cors()
        cors = Cors(
            get("cors-allow-origin", _origins, usual.origins),
            get("cors-allow-methods", _matching(_LIST, "no list of methods"), usual.methods),
            get("cors-allow-headers", _matching(_LIST, "no list of headers"), usual.headers),
            get("cors-expose-headers", _matching(_LIST, "no list of headers"), ""),
            get("cors-allow-credentials", _boolean, True),
            get("cors-max-age", _number, usual.max_age),
        )
        return cors if get("enable-cors", _boolean, False) else None

    def _canary(self) -> Canary | None:
        get = self._get
        canary = Canary(
            "",
            get("canary-by-header", _matching(_HEADER, "no name of a header"), ""),
            get("canary-by-header-value", _value, ""),
            get("canary-by-header-pattern", _pattern, ""),
            get("canary-by-cookie", _matching(_COOKIE, "no name of a cookie"), ""),
            get("canary-weight", _number, 0),
            get("canary-weight-total", _number, 100) or 100,
        )
        if not get("canary", _boolean, False):
            return None
        return replace(canary, weight=min(canary.weight, canary.total))

    def _auth(self) -> tuple[str, str]:
        kind = self._get("auth-type", _one_of("basic"), "")
        secret = self._get("auth-secret", _name, "")
        self._get("auth-secret-type", _one_of("auth-file"), "auth-file")
        realm = self._get("auth-realm", _value, "")
        if kind and not secret:
            self._say("auth-type", "wants a Secret that auth-secret names; nobody is let in")
        return (secret or "?", realm) if kind else ("", "")


# --- the values -----------------------------------------------------------------------------------------------------


def _boolean(text: str) -> bool:
    """As Go's strconv.ParseBool."""
    if text in {"1", "t", "T", "true", "TRUE", "True"}:
        return True
    if text in {"0", "f", "F", "false", "FALSE", "False"}:
        return False
    raise _WrongError("neither true nor false")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise _WrongError("no number")
    return int(text)


def _seconds(text: str) -> int:
    number = _number(text.removesuffix("s"))
    if number == 0:
        raise _WrongError("no number of seconds above 0")
    return number


def _matching(pattern: re.Pattern[str], why: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise _WrongError(why)
        return text

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise _WrongError(f"not {' or '.join(words)}")
        return text

    return parse


def _protocol(text: str) -> str:
    upper = text.upper()
    if upper not in {"HTTP", "HTTPS", "GRPC", "GRPCS"}:
        raise _WrongError("not HTTP, HTTPS, GRPC or GRPCS")
    return upper


def _target(text: str) -> str:
    """A path, which may name the groups of the path's expression: $1."""
    if not _TARGET.fullmatch(text) or re.search(r"\$(?![0-9])", text):
        raise _WrongError("no path, with $1 for what the path's first group matches")
    return text


def _value(text: str) -> str:
    if not text.isprintable() or len(text) > 1024:
        raise _WrongError("no line of printable characters")
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(_value(text))
    except re.error:
        raise _WrongError("no regular expression") from None
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?", text):
        raise _WrongError("no name")
    return text


def _networks(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(part.strip())) for part in text.split(",") if part.strip())
    except ValueError:
        raise _WrongError("no list of networks such as 10.0.0.0/8,192.0.2.7") from None


def _origins(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts or not all(_ORIGIN.fullmatch(part) for part in parts):
        raise _WrongError("no list of origins such as https://shop.example")
    return parts


def _errors(text: str) -> tuple[int, ...]:
    codes = tuple(_number(part.strip()) for part in text.split(","))
    if not all(code in _ERRORS for code in codes):
        raise _WrongError("no list of codes from 400 to 599")
    return tuple(dict.fromkeys(codes))


def _code(text: str) -> int:
    if (number := _number(text)) not in _CODES:
        raise _WrongError("not 301, 302, 303, 307 or 308")
    return number
