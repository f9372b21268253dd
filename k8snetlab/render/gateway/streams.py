"""The `stream` block of nginx.conf: connections that are passed on as they are, by their port and the name in TLS.

Source: nginx' documentation of ngx_stream_proxy_module, ngx_stream_ssl_preread_module, ngx_stream_map_module (a source
value that is a word of its own has a backslash before it).
"""

from __future__ import annotations

from collections.abc import Mapping

from k8snetlab.render.gateway.model import Choice, Site, Stream
from k8snetlab.render.ingress.model import Origin, Upstream
from k8snetlab.render.ingress.syntax import Writer, word

NOBODY = "nobody"
"""An upstream to which no connection can be made: nginx then closes the client's. No name of others is without "_"."""
_LOG = (
    '\'$remote_addr - [$time_local] $protocol $server_port "$ssl_preread_server_name" $status $bytes_sent '
    "$bytes_received $session_time [$upstream_addr] $upstream_bytes_sent $upstream_bytes_received'"
)
_LINES = (
    "map_hash_max_size 16384;",
    "map_hash_bucket_size 512;",
    "variables_hash_bucket_size 512;",
    "variables_hash_max_size 2048;",
    "proxy_connect_timeout 5s;",
    "tcp_nodelay on;",
    f"log_format connection {_LOG};",
    "access_log /dev/stdout connection buffer=16k flush=10ms;",
    "error_log stderr notice;",
    "",
)
_WORDS = ("default", "hostnames", "include", "volatile")
"""Hosts that are words of `map`."""


def block(out: Writer, site: Site) -> None:
    """Nothing where there are none."""
    if not site.streams:
        return
    out.comes_from(None)
    out.open("stream")
    out.put(*_LINES)
    out.open(f"upstream {NOBODY}")
    out.put("server unix:/nonexistent/nobody;")
    out.close()
    out.put("")
    for upstream in site.passed.values():
        _upstream(out, upstream)
    targets: dict[Origin, str] = {}
    for choice in (one for stream in site.streams for one in stream.choices):
        if choice.origin not in targets:
            targets[choice.origin] = _target(out, choice, site, len(targets))
    for stream in site.streams:
        _server(out, stream, site, targets)
    out.close()


def _upstream(out: Writer, one: Upstream) -> None:
    if one.addresses:
        out.comes_from(Origin("Service", one.service))
        out.open(f"upstream {one.name}")
        out.put(*(f"server {address} max_fails=0;" for address in one.addresses))
        out.close()
        out.put("")


def _answer(upstream: str, site: Site) -> str:
    return upstream if upstream and site.passed[upstream].addresses else NOBODY


def _target(out: Writer, choice: Choice, site: Site, number: int) -> str:
    """What proxy_pass is to name. Of many connections each upstream gets its share; nginx counts in hundredths of a
    percent."""
    if len(choice.shares) < 2:
        return _answer(choice.shares[0].upstream, site) if choice.shares else NOBODY
    out.comes_from(choice.origin)
    out.open(f'split_clients "$remote_addr $remote_port $connection $msec" $share_{number}')
    for one in choice.shares[:-1]:
        part = f"{100 * one.weight / choice.total:.2f}"
        if part != "0.00":
            out.put(f"{part}% {_answer(one.upstream, site)};")
    out.put(f"* {_answer(choice.shares[-1].upstream, site)};")
    out.close()
    out.put("")
    return f"$share_{number}"


def _server(out: Writer, stream: Stream, site: Site, targets: Mapping[Origin, str]) -> None:
    target = f"$stream_{stream.port}"
    out.comes_from(stream.origin)
    out.put(f"## start {title(stream)}")
    if stream.by_name:
        out.comes_from(stream.origin)
        out.open(f"map $ssl_preread_server_name {target}")
        out.put("hostnames;")
        if all(one.host for one in stream.choices):
            out.put(f"default {NOBODY};")
        for one in stream.choices:
            out.comes_from(one.origin)
            name = f"\\{one.host}" if one.host in _WORDS else one.host
            out.put(f"{word(name) if name else 'default'} {targets[one.origin]};")
        out.comes_from(stream.origin)
        out.close()
    else:
        target = targets[stream.choices[0].origin]
    out.comes_from(stream.origin)
    out.open("server")
    out.put(f"listen {stream.port} backlog=4096;")
    if site.ipv6:
        out.put(f"listen [::]:{stream.port} ipv6only=on backlog=4096;")
    if stream.by_name:
        out.put("ssl_preread on;")
    else:
        out.comes_from(stream.choices[0].origin)
    out.put(f"proxy_pass {target};")
    out.close()
    out.comes_from(stream.origin)
    out.put(f"## end {title(stream)}", "")


def title(stream: Stream) -> str:
    """By which the block of a stream is found."""
    return f"listener {stream.listener}, port {stream.port}"
