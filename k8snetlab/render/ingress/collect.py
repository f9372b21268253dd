"""From Ingresses to what is served: which of them count, who wins where two say the same, and what leads nowhere.

Source: kubernetes/ingress-nginx internal/ingress/controller (controller.go: getBackendServers, createServers,
mergeAlternativeBackends; location.go: updateServerLocations), internal/ingress/inspector (path types).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from msgspec.structs import replace

from k8snetlab.api.config import Secret
from k8snetlab.api.networking import CLASS, HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressTLS
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path, shorten
from k8snetlab.render.ingress import annotated, backends
from k8snetlab.render.ingress.model import (
    CATCH_ALL,
    NOTHING_REFUSED,
    REJECTED,
    Auth,
    Key,
    Location,
    Match,
    Options,
    Origin,
    Problem,
    Refused,
    Server,
    Site,
    Upstream,
)
from k8snetlab.render.ingress.syntax import is_plain, regex

CONTROLLER, NAME = "k8s.io/ingress-nginx", "nginx"
"""The controller that an IngressClass names, and the class that its old annotation named."""
_STRICT = re.compile(r"/[A-Za-z0-9._~\-/]*")
"""What a path of type Exact or Prefix may be: ingress-nginx' strict-validate-path-type, and a tilde."""
Spot = Literal["exact", "prefix", "regex", "stem"]
"""What a location is of a path; the stem of the prefix /foo is /foo itself, which an exact path may have."""
_HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def is_served(ingress: Ingress, snapshot: Snapshot) -> bool:
    """Whether it is of a class of this controller's. One that names no class is nobody's: the default class is written
    into it when it is made."""
    name = ingress.spec.ingressClassName
    if name is None:
        return ingress.metadata.annotations.get(CLASS) == NAME
    found = snapshot.get(IngressClass, name)
    return found is not None and found.spec.controller == CONTROLLER


def why_unserved(ingress: Ingress, snapshot: Snapshot) -> str:
    """Why nobody acts on it, "" for one of this controller's, or of another one's that may be a guest."""
    name = ingress.spec.ingressClassName
    if is_served(ingress, snapshot):
        return ""
    if name is None and CLASS not in ingress.metadata.annotations:
        return (
            "it names no class (spec.ingressClassName), and there was no default one when it was made: it opens no door"
        )
    if name is None:
        said = shorten(ingress.metadata.annotations[CLASS])
        return f"annotation {CLASS} says {said}, and the controller is of class {NAME}: it opens no door"
    found = snapshot.get(IngressClass, name)
    if found is None:
        there = ", ".join(one for _, one in snapshot.all(IngressClass)) or "none"
        return f"there is no IngressClass {name} (there is {there}): it opens no door"
    return ""


def served(snapshot: Snapshot) -> list[Ingress]:
    """Those that count, the oldest first."""
    found = [one for one in snapshot.all(Ingress).values() if is_served(one, snapshot)]
    return sorted((one for one in found if not one.metadata.deletionTimestamp), key=age)


def age(ingress: Ingress) -> tuple[str, str, str]:
    return ingress.metadata.creationTimestamp or "~", ingress.namespace, ingress.name


def site(snapshot: Snapshot, default_certificate: str = "", refused: Refused = NOTHING_REFUSED) -> Site:
    """`default_certificate` names a Secret, NAMESPACE/NAME. What is refused is left out."""
    collector = Collector(snapshot, refused)
    for ingress in served(snapshot):
        collector.add(ingress)
    collector.take_default_certificate(default_certificate)
    return collector.site()


class _Canary(NamedTuple):
    ingress: Ingress
    host: str
    path: HTTPIngressPath
    where: Path
    said: annotated.Said


class Collector:
    """Brings together what all of them say."""

    def __init__(self, snapshot: Snapshot, refused: Refused) -> None:
        self._snapshot, self._refused = snapshot, refused
        self._problems: list[Problem] = []
        self._upstreams: dict[str, Upstream] = {}
        self._named: dict[object, str] = {}
        """The names that upstreams have, by what tells them apart."""
        self._locations: dict[str, dict[tuple[Spot, str], Location]] = {}
        self._regex: set[str] = set()
        """Hosts all of whose paths are regular expressions, because one of them is."""
        self._certificates: dict[str, tuple[str, Origin]] = {}
        self._files: dict[str, str] = {}
        self._canaries: list[_Canary] = []
        self._defaults: dict[str, Location] = {}
        """What answers in a host where no path does."""

    def add(self, ingress: Ingress) -> None:
        if why := self._refused.objects.get((ingress.KIND, *ingress.key), ""):
            self._say(ingress, REJECTED, f"nginx refuses what follows from it, so it is left out: {why}", fatal=True)
            return
        said = annotated.read(ingress)
        self._problems += said.problems
        for host, path, where in self._paths(ingress):
            if said.canary is not None:
                self._canaries.append(_Canary(ingress, host, path, where, said))
            else:
                self._path(ingress, host, path, where, said)
        self._default_backend(ingress, said)
        for number, tls in enumerate(ingress.spec.tls):
            self._tls(ingress, tls, ("spec", "tls", number))

    def site(self) -> Site:
        for canary in self._canaries:
            self._join(canary)
        hosts = dict.fromkeys((*self._locations, *self._defaults))
        servers = [self._server(host) for host in sorted(hosts, key=lambda host: (host != CATCH_ALL, host))]
        used = {
            name
            for server in servers
            for one in server.locations
            for name in (one.upstream, one.fallback, one.canary.upstream if one.canary else "")
        }
        upstreams = {name: one for name, one in sorted(self._upstreams.items()) if name in used}
        ipv6 = ":" in self._snapshot.lab.spec.podCIDR
        return Site(tuple(servers), upstreams, self._files, tuple(self._problems), ipv6)

    def _say(self, ingress: Ingress, reason: str, message: str, path: Path = (), fatal: bool = False) -> None:
        self._problems.append(Problem(ingress.KIND, ingress.key, reason, message, path, fatal))

    # --- hosts and paths ---

    def _paths(self, ingress: Ingress) -> Iterator[tuple[str, HTTPIngressPath, Path]]:
        for number, rule in enumerate(ingress.spec.rules):
            host = rule.host or CATCH_ALL
            where: Path = ("spec", "rules", number)
            if rule.host and not _HOST.fullmatch(rule.host):
                self._say(ingress, REJECTED, f"{shorten(rule.host)!r} is no host", (*where, "host"), fatal=True)
                continue
            if rule.http is None:
                self._locations.setdefault(host, {})
            for place, path in enumerate(rule.http.paths if rule.http else ()):
                at: Path = (*where, "http", "paths", place)
                if not self._is_sound(ingress, path, at):
                    continue
                yield host, path, at

    def _is_sound(self, ingress: Ingress, path: HTTPIngressPath, where: Path) -> bool:
        kind = path.pathType or "ImplementationSpecific"
        why = ""
        if not is_plain(path.path):
            why = f"path {shorten(path.path)!r} has a control character"
        elif kind != "ImplementationSpecific" and not _STRICT.fullmatch(path.path):
            why = f"path {shorten(path.path)} cannot be used with pathType {kind}"
        if why:
            self._say(ingress, REJECTED, f"ingress contains invalid paths: {why}", (*where, "path"), fatal=True)
        return not why

    def _path(self, ingress: Ingress, host: str, path: HTTPIngressPath, where: Path, said: annotated.Said) -> None:
        origin, options, text = Origin(ingress.KIND, ingress.key, where), said.options, path.path or "/"
        if options.regex:
            self._regex.add(host)
        upstream, service, port = self._backend(ingress, path.backend, (*where, "backend"), said)
        location = Location(
            text,
            "prefix",
            origin,
            upstream,
            service,
            port,
            options=self._with_auth(ingress, said),
            fallback=self._fallback(ingress, said),
        )
        held = self._locations.setdefault(host, {})
        for spot, at in _spots(path, options.regex):
            if (spot, at) not in held:
                held[spot, at] = replace(location, match=_MATCH[spot], path=at)
            elif spot != "stem":
                self._meets(ingress, host, text, held[spot, at], where)

    def _meets(self, ingress: Ingress, host: str, text: str, held: Location, where: Path) -> None:
        """Two say the same; the older one stands."""
        shown = "" if host == CATCH_ALL else host
        message = f'host "{shown}" and path "{text}" is already defined in ingress {held.namespace}/{held.ingress}'
        self._say(ingress, "Conflict", message, where, fatal=True)

    def _default_backend(self, ingress: Ingress, said: annotated.Said) -> None:
        backend = ingress.spec.defaultBackend
        if backend is None:
            return
        where: Path = ("spec", "defaultBackend")
        upstream, service, port = self._backend(ingress, backend, where, said)
        origin = Origin(ingress.KIND, ingress.key, where)
        location = Location("/", "prefix", origin, upstream, service, port, options=self._with_auth(ingress, said))
        for host in dict.fromkeys((CATCH_ALL, *(rule.host for rule in ingress.spec.rules if rule.host))):
            self._defaults.setdefault(host, location)

    # --- backends ---

    def _backend(
        self, ingress: Ingress, backend: IngressBackend, where: Path, said: annotated.Said
    ) -> tuple[str, str, str]:
        """The upstream's name, the Service's, and its port as it is written."""
        if backend.service is None:
            kind = backend.resource.kind if backend.resource else "nothing"
            self._say(ingress, "BackendUnsupported", f"a backend that is a {shorten(kind)} is answered with 503", where)
            return "", "", ""
        port = backend.service.port
        key = ingress.namespace, backend.service.name
        reason, message = backends.problem_of(self._snapshot, key, port)
        if reason:
            self._say(ingress, reason, message, (*where, "service"))
        options = said.options
        found = backends.addresses(self._snapshot, key, port, options.service_upstream)
        asked = port.name or str(port.number)
        name = self._upstream(Upstream("", f"{key[0]}-{key[1]}-{asked}", key, asked, found, options.affinity))
        return name, backend.service.name, asked

    def _upstream(self, wanted: Upstream) -> str:
        """Its name; another Service's, or another affinity's, that would have the same gets a number."""
        mark = wanted.service, wanted.port, wanted.affinity
        if mark not in self._named:
            name, number = wanted.title, 1
            while name in self._upstreams:
                number += 1
                name = f"{wanted.title}-{number}"
            self._named[mark] = name
            self._upstreams[name] = replace(wanted, name=name)
        return self._named[mark]

    def _fallback(self, ingress: Ingress, said: annotated.Said) -> str:
        """The upstream that answers errors, "" for the controller's own."""
        if not said.options.errors:
            return ""
        backend = ingress.spec.defaultBackend
        if said.fallback:
            return self._first_port(ingress.namespace, said.fallback)
        if backend is None or backend.service is None:
            return ""
        return self._backend(ingress, backend, ("spec", "defaultBackend"), annotated.Said())[0]

    def _first_port(self, namespace: str, name: str) -> str:
        from k8snetlab.api.core import Service
        from k8snetlab.api.networking import ServiceBackendPort

        service = self._snapshot.get(Service, name, namespace)
        if service is None or not service.spec.ports:
            return ""
        number = service.spec.ports[0].port
        found = backends.addresses(self._snapshot, service.key, ServiceBackendPort(number=number))
        return self._upstream(Upstream("", f"{namespace}-{name}-{number}", service.key, str(number), found))

    def _join(self, one: _Canary) -> None:
        """A canary has no paths of its own: it takes of another Ingress' what it is to have."""
        upstream = self._backend(one.ingress, one.path.backend, (*one.where, "backend"), one.said)[0]
        held = self._locations.get(one.host, {})
        found = False
        for spot in _spots(one.path, one.said.options.regex):
            location = held.get(spot)
            if location is None or location.canary is not None or one.said.canary is None:
                continue
            found = True
            held[spot] = replace(location, canary=replace(one.said.canary, upstream=upstream))
        if not found:
            message = f'there is no other Ingress with host "{one.host}" and path "{one.path.path}": the canary is idle'
            self._say(one.ingress, "CanaryIdle", message, one.where)

    # --- secrets ---

    def _with_auth(self, ingress: Ingress, said: annotated.Said) -> Options:
        if not said.secret:
            return said.options
        namespace, _, name = said.secret.rpartition("/")
        key = namespace or ingress.namespace, name
        file = f"auth-{key[0]}_{key[1]}.passwd"  # no name has a _: no two Secrets have one file
        text = self._secret_text(key, "auth") if key[0] == ingress.namespace else None
        if text is None or not is_plain(text.replace("\n", "").replace("\r", "")):
            why = "is of another namespace" if key[0] != ingress.namespace else "is not there, or has no key auth"
            where: Path = ("metadata", "annotations", annotated.PREFIX + "auth-secret")
            message = f"secret {key[0]}/{shorten(key[1])} {why}: nobody is let in"
            self._say(ingress, "SecretNotFound", message, where)
            file, text = "auth-nobody.passwd", ""
        self._files[file] = text
        return replace(said.options, auth=Auth(file, said.realm))

    def _secret_text(self, key: Key, entry: str) -> str | None:
        secret = self._snapshot.get(Secret, key[1], key[0])
        if secret is None or entry not in secret.data:
            return None
        try:
            return base64.b64decode(secret.data[entry]).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None

    def _pair(self, key: Key) -> tuple[str, str]:
        """Certificate and key as one PEM text, and why there is none."""
        texts = [self._secret_text(key, entry) for entry in ("tls.crt", "tls.key")]
        if self._snapshot.get(Secret, key[1], key[0]) is None:
            return "", f"secret {key[0]}/{key[1]} does not exist"
        if not all(texts):
            return "", f"secret {key[0]}/{key[1]} has no tls.crt and tls.key"
        return "\n".join(str(text).strip() for text in texts) + "\n", ""

    def _tls(self, ingress: Ingress, tls: IngressTLS, where: Path) -> None:
        origin = Origin(ingress.KIND, ingress.key, where)
        hosts: Iterable[str] = tls.hosts or [rule.host for rule in ingress.spec.rules if rule.host]
        name = ""
        if tls.secretName:
            key = ingress.namespace, tls.secretName
            name, why = f"{key[0]}_{key[1]}.pem", ""
            if name not in self._files:
                text, why = self._pair(key)
                why = why or self._refused.files.get(name, "")
                if text and not why:
                    self._files[name] = text
            if why:
                message = f"{why}: its hosts show the default certificate"
                self._say(ingress, "SecretNotFound", message, (*where, "secretName"))
                name = ""
        for host in hosts:
            self._certificates.setdefault(host, (name or "default.pem", origin))

    def take_default_certificate(self, secret: str) -> None:
        """From a Secret, NAMESPACE/NAME; "" leaves the one that the controller makes itself."""
        namespace, _, name = secret.rpartition("/")
        if name:
            text, _why = self._pair((namespace or "default", name))
            if text and "default.pem" not in self._refused.files:
                self._files["default.pem"] = text

    # --- the servers ---

    def _server(self, host: str) -> Server:
        held = self._locations.get(host, {})
        locations = [one for (spot, at), one in held.items() if spot != "stem" or ("exact", at) not in held]
        default = self._defaults.get(host)
        if default is not None and not any(one.path == "/" and one.match == "prefix" for one in locations):
            locations.append(default)
        if host in self._regex:
            locations = [one if one.match == "regex" else _as_regex(one) for one in locations]
            unique = {one.path: one for one in reversed(locations)}
            locations = sorted(unique.values(), key=lambda one: (-len(one.path), one.path))
        else:
            locations.sort(key=lambda one: (-len(one.path), one.path, one.match))
        name, origin = self._certificates.get(host, self._wildcard(host))
        return Server(host, tuple(locations), name, locations[0].origin if locations else None, origin)

    def _wildcard(self, host: str) -> tuple[str, Origin | None]:
        """A certificate that was asked for under `*.` serves a host of that name, too."""
        return self._certificates.get(f"*.{host.partition('.')[2]}", ("", None))


_MATCH: dict[Spot, Match] = {"exact": "exact", "prefix": "prefix", "regex": "regex", "stem": "exact"}


def _spots(path: HTTPIngressPath, expression: bool) -> list[tuple[Spot, str]]:
    """Where nginx has a location for a path. A prefix is one of whole elements: /foo, and all below /foo/."""
    text = path.path or "/"
    if expression:
        return [("regex", text)]
    if path.pathType == "Exact":
        return [("exact", text)]
    if path.pathType != "Prefix" or text == "/":
        return [("prefix", text)]
    stem = text.rstrip("/")
    return [("prefix", f"{stem}/"), ("stem", stem)] if stem else [("prefix", "/")]


def _as_regex(location: Location) -> Location:
    """The same path where all of a host's are expressions."""
    path = location.path
    if location.match == "exact":
        path = regex(path) + "$"
    elif location.match == "prefix":
        path = regex(path)
    return replace(location, match="regex", path=path)
