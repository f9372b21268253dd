"""What becomes of the requests of a rule, as lines of a location: filters, redirects, and who answers."""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.gateway import HTTPHeaderFilter
from k8snetlab.render.gateway.model import Action, Server, Site
from k8snetlab.render.ingress.locations import PASSING
from k8snetlab.render.ingress.syntax import Writer, regex, value, word

_DEFAULTS = {
    "Host": "$http_host",
    "Upgrade": "$http_upgrade",
    "Connection": "$connection_upgrade",
    "X-Request-ID": "$req_id",
    "X-Real-IP": "$remote_addr",
    "X-Forwarded-For": "$remote_addr",
    "X-Forwarded-Host": "$http_host",
    "X-Forwarded-Port": "$server_port",
    "X-Forwarded-Proto": "$scheme",
    "Proxy": '""',
}
"""Headers that the backend sees, besides the client's own."""
_WELL_KNOWN = {"http": 80, "https": 443}


def common(out: Writer) -> None:
    """What holds in all locations that say nothing else."""
    out.put(
        *(f"proxy_set_header {name} {text};" for name, text in _DEFAULTS.items()),
        "client_max_body_size 0;",
        "proxy_connect_timeout 5s;",
        "proxy_send_timeout 60s;",
        "proxy_read_timeout 60s;",
        *PASSING,
        "proxy_redirect off;",
        "",
    )


class Actions:
    """Writes them; `variables` first, which stand outside of servers."""

    def __init__(self, out: Writer, site: Site) -> None:
        self._out, self._site = out, site

    def variables(self) -> None:
        for action in self._site.actions:
            if action.trouble:
                continue
            self._out.comes_from(action.origin)
            self._shares(action)
            self._added(action)
            if action.redirect is not None and action.path is not None and action.path.replacePrefixMatch is not None:
                self._replaced(action, action.path.replacePrefixMatch)

    def put(self, action: Action, server: Server) -> None:
        out = self._out
        out.put(f"# {action.origin.kind} {'/'.join(action.origin.key)} {_rule(action)}")
        if action.trouble:
            out.put("return 500;")
            return
        self._response(action)
        if action.redirect is not None:
            self._redirect(action, server)
            return
        target = self._target(action)
        if target:
            self._pass(action, target)

    # --- who answers ---

    def _answer(self, upstream: str) -> str:
        """Its name, or the answer of a share that nobody has."""
        if not upstream:
            return "500"
        return upstream if self._site.upstreams[upstream].addresses else "503"

    def _shares(self, action: Action) -> None:
        """Of many requests each upstream gets its share; nginx counts in hundredths of a percent."""
        if len(action.shares) < 2:
            return
        out = self._out
        out.open(f'split_clients "$request_id" $share_{action.name}')
        for one in action.shares[:-1]:
            part = f"{100 * one.weight / action.total:.2f}"
            if part != "0.00":
                out.put(f'{part}% "{self._answer(one.upstream)}";')
        out.put(f'* "{self._answer(action.shares[-1].upstream)}";')
        out.close()
        out.put("")

    def _target(self, action: Action) -> str:
        """What proxy_pass is to name; "" where the answer is written already."""
        out, answers = self._out, [self._answer(one.upstream) for one in action.shares]
        if not answers:
            out.put("# no backendRefs, or none with a weight", "return 500;")
            return ""
        if len(answers) == 1:
            if answers[0].isdecimal():
                out.put(f"return {answers[0]};")
                return ""
            out.put(f'set $proxy_upstream_name "{answers[0]}";')
            return answers[0]
        name = f"$share_{action.name}"
        for code in sorted({one for one in answers if one.isdecimal()}):
            out.open(f"if ({name} = {code})")
            out.put(f"return {code};")
            out.close()
        if all(one.isdecimal() for one in answers):
            return ""
        out.put(f"set $proxy_upstream_name {name};")
        return name

    def _pass(self, action: Action, target: str) -> None:
        out = self._out
        if self._is_changed(action):
            out.put(*(f"proxy_set_header {name} {text};" for name, text in self._headers(action)))
        if action.timeout:
            limit = f"{round(action.timeout * 1000)}ms"
            names = ("connect_timeout", "send_timeout", "read_timeout", "next_upstream_timeout")
            out.put(*(f"proxy_{name} {limit};" for name in names))
        self._rewrite(action)
        out.put(f"proxy_pass http://{target};")

    @staticmethod
    def _is_changed(action: Action) -> bool:
        """Of the headers that all backends see; nginx takes those from above only where a location has none."""
        return bool(action.host) or action.request_headers != HTTPHeaderFilter()

    @staticmethod
    def _headers(action: Action) -> Iterable[tuple[str, str]]:
        headers = {name.lower(): (name, text) for name, text in _DEFAULTS.items()}
        if action.host:
            headers["host"] = ("Host", value(action.host))
        change = action.request_headers
        for one in change.set:
            headers[one.name.lower()] = (one.name, value(one.value))
        for number, one in enumerate(change.add):
            held = headers.get(one.name.lower())
            if held is None:
                text = f'"${{added_{action.name}_{number}}}{value(one.value)[1:]}'
            else:
                before = held[1][1:-1] if held[1].startswith('"') else held[1]
                text = f'"{before},{value(one.value)[1:]}' if before else value(one.value)
            headers[one.name.lower()] = (one.name, text)
        for name in change.remove:
            headers[name.lower()] = (name, '""')
        return headers.values()

    def _added(self, action: Action) -> None:
        """Of a header that a client may have sent already."""
        known = {name.lower() for name in _DEFAULTS} | {one.name.lower() for one in action.request_headers.set}
        for number, one in enumerate(action.request_headers.add):
            if one.name.lower() not in known:
                header = "$http_" + one.name.lower().replace("-", "_")
                self._out.open(f"map {header} $added_{action.name}_{number}")
                self._out.put('"" "";', f'default "{header},";')
                self._out.close()

    # --- another path, another place ---

    def _rewrite(self, action: Action) -> None:
        path = action.path
        if path is None:
            return
        if path.replaceFullPath is not None:
            self._out.put(f"rewrite ^ {word(path.replaceFullPath or '/')} break;")
            return
        new = (path.replacePrefixMatch or "").rstrip("/")
        prefix = regex(action.prefix)
        self._out.put(f'rewrite {word(f"^{prefix}/(.*)$")} {word(new + "/")[:-1]}$1" break;')
        if action.prefix:
            self._out.put(f"rewrite {word(f'^{prefix}$')} {word(new or '/')} break;")

    def _replaced(self, action: Action, new: str) -> None:
        """The new path, with what the client wrote after the prefix as it wrote it."""
        prefix = "".join(map(_spelled, action.prefix))
        self._out.open(f"map $request_uri $path_{action.name}")
        text = value(new.rstrip("/"))[:-1]
        self._out.put(f'{word(f"~^{prefix}(/[^?]*)(?:[?]|$)")} {text}$1";')
        if action.prefix:
            self._out.put(f"{word(f'~^{prefix}(?:[?]|$)')} {value(new.rstrip('/') or '/')};")
        self._out.put('default "";')
        self._out.close()

    def _redirect(self, action: Action, server: Server) -> None:
        given, out = action.redirect, self._out
        assert given is not None
        scheme = given.scheme or ("https" if server.secure else "http")
        port = given.port or (_WELL_KNOWN[scheme] if given.scheme else server.port)
        host = value(given.hostname)[1:-1] if given.hostname else "$host"
        where = f"{scheme}://{host}" + ("" if port == _WELL_KNOWN[scheme] else f":{port}")
        path = "$request_uri"
        if action.path is not None and action.path.replaceFullPath is not None:
            path = value(action.path.replaceFullPath or "/")[1:-1] + "$is_args$args"
        elif action.path is not None:
            path = f"$path_{action.name}$is_args$args"
            out.open(f'if ($path_{action.name} = "")')
            out.put("return 400;")
            out.close()
        out.put(f'return {given.statusCode} "{where}{path}";')

    # --- the answer's headers ---

    def _response(self, action: Action) -> None:
        change, out = action.response_headers, self._out
        hidden = dict.fromkeys(name.lower() for name in (*change.remove, *(one.name for one in change.set)))
        out.put(*(f"proxy_hide_header {word(name)};" for name in hidden))
        removed = {name.lower() for name in change.remove}
        for one in (*change.set, *change.add):
            if one.name.lower() not in removed:
                out.put(f"add_header {word(one.name)} {value(one.value)} always;")


def _rule(action: Action) -> str:
    return f"spec.rules[{action.origin.path[2]}]"


def _spelled(sign: str) -> str:
    """An expression for a character of a path, as clients may encode it; slashes may be many."""
    if sign == "/":
        return "/+"
    code = "".join(f"%{byte:02x}" for byte in sign.encode())
    return f"(?:{regex(sign)}|(?i:{code}))"
