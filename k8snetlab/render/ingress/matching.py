"""Which server and location a request comes to, as nginx chooses them.

Source: nginx.org/en/docs/http/server_names.html and ngx_http_core_module.html#location.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from k8snetlab.render.ingress.model import CATCH_ALL, Location, Server, Site


def server(site: Site, host: str) -> Server | None:
    """The exact one before a wildcard's, which stands for one label; None where the server _ answers."""
    name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and ":" in host else host.lower()
    by_host = {one.host: one for one in site.servers if one.host != CATCH_ALL}
    if name in by_host:
        return by_host[name]
    label, _, rest = name.partition(".")
    return by_host.get(f"*.{rest}") if label and rest else None


def catch_all(site: Site) -> Server:
    return next((one for one in site.servers if one.host == CATCH_ALL), Server(CATCH_ALL))


def location(found: Server, path: str) -> Location | None:
    """None where nothing of the host is for that path."""
    uri = re.sub("//+", "/", unquote(path.partition("?")[0])) or "/"
    for one in found.locations:
        if one.match == "exact" and one.path == uri:
            return one
    prefixes = [one for one in found.locations if one.match == "prefix" and uri.startswith(one.path)]
    longest = max(prefixes, key=lambda one: len(one.path), default=None)
    for one in found.locations:
        if one.match == "regex" and _matches(one.path, uri):
            return one
    return longest


def _matches(pattern: str, uri: str) -> bool:
    try:
        return re.match(pattern, uri, re.IGNORECASE) is not None
    except re.error:
        return False
