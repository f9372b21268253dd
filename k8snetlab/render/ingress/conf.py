"""nginx.conf, in the shape that ingress-nginx gives it: for each host a server, for each path a location.

Source: kubernetes/ingress-nginx rootfs/etc/nginx/template/nginx.tmpl, internal/ingress/controller/template. Where that
asks Lua for an endpoint, this has an `upstream` of nginx' own, which a reload brings up to date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from k8snetlab.render.ingress import locations, upstreams
from k8snetlab.render.ingress.model import CATCH_ALL, Server, Site
from k8snetlab.render.ingress.syntax import Writer, regex, word

FILE, DIRECTORY = "nginx.conf", "conf"
HTTP, HTTPS, HEALTH, STATUS = 80, 443, 10254, 10246
"""Its ports: the last two for itself, as ingress-nginx has them."""
HEALTHZ = "/healthz"
DEFAULT_CERTIFICATE = "default.pem"
_LOG = (
    '\'$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
    '"$http_user_agent" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] '
    "$upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id'"
)
_EVENTS = ("multi_accept on;", "worker_connections 16384;", "use epoll;")
HTTP_LINES = (
    "aio threads;",
    "tcp_nopush on;",
    "tcp_nodelay on;",
    "reset_timedout_connection on;",
    "keepalive_timeout 75s;",
    "keepalive_requests 1000;",
    "client_body_temp_path client_body_temp;",
    "proxy_temp_path proxy_temp;",
    "fastcgi_temp_path fastcgi_temp;",
    "uwsgi_temp_path uwsgi_temp;",
    "scgi_temp_path scgi_temp;",
    "client_header_buffer_size 1k;",
    "client_header_timeout 60s;",
    "large_client_header_buffers 4 8k;",
    "client_body_buffer_size 8k;",
    "client_body_timeout 60s;",
    "types_hash_max_size 2048;",
    "server_names_hash_max_size 16384;",
    "server_names_hash_bucket_size 512;",
    "map_hash_max_size 16384;",
    "map_hash_bucket_size 512;",
    "variables_hash_bucket_size 256;",
    "variables_hash_max_size 2048;",
    "proxy_headers_hash_max_size 512;",
    "proxy_headers_hash_bucket_size 64;",
    "underscores_in_headers off;",
    "ignore_invalid_headers on;",
    "limit_req_status 503;",
    "limit_conn_status 503;",
    "default_type text/html;",
    "gzip off;",
    "server_tokens off;",
    f"log_format upstreaminfo {_LOG};",
    "access_log /dev/stdout upstreaminfo buffer=16k flush=10ms;",
    "error_log stderr notice;",
    "ssl_protocols TLSv1.2 TLSv1.3;",
    "ssl_session_cache shared:SSL:10m;",
    "ssl_session_timeout 10m;",
    "ssl_session_tickets off;",
    "ssl_buffer_size 4k;",
    "proxy_ssl_session_reuse on;",
)


def render(site: Site) -> Writer:
    """The whole file, but for its first line; `with_checksum` puts that before it."""
    out = Writer()
    head(out)
    out.open("http")
    out.put(*HTTP_LINES, "")
    maps(out)
    for upstream in site.upstreams.values():
        upstreams.upstream(out, upstream)
    shared = [one for server in site.servers for one in server.locations]
    upstreams.choices(out, shared, site)
    upstreams.zones(out, shared)
    servers = list(site.servers)
    if not servers or servers[0].host != CATCH_ALL:
        servers.insert(0, Server(CATCH_ALL))
    for server in servers:
        _server(out, server, site)
    own_servers(out)
    out.close()
    return out


def head(out: Writer) -> None:
    """What stands before `http`."""
    out.put("pid nginx.pid;", "user root;", "daemon off;", "worker_processes 1;", "worker_shutdown_timeout 240s;", "")
    out.open("events")
    out.put(*_EVENTS)
    out.close()
    out.put("")


def checksum(text: str, files: Iterable[tuple[str, str]]) -> str:
    """As ingress-nginx numbers its configurations, of all that nginx reads."""
    digest = hashlib.sha256(text.encode())
    for name, content in sorted(files):
        digest.update(f"{name}\0{content}\0".encode())
    return str(int.from_bytes(digest.digest()[:8], "big"))


def with_checksum(text: str, number: str) -> str:
    """`text` tells its own checksum to who asks its status server."""
    return f"\n# Configuration checksum: {number}\n\n{text.replace(_NUMBER, number, 1)}"


_NUMBER = "\x01checksum\x01"
"""Stands for it in the text; no word of an object holds a control character."""


def maps(out: Writer) -> None:
    out.comes_from(None)
    out.open("geo $literal_dollar")
    out.put('default "$";')
    out.close()
    out.open("map $http_upgrade $connection_upgrade")
    out.put("default upgrade;", "''      '';")
    out.close()
    out.open("map $http_x_request_id $req_id")
    out.put("default $http_x_request_id;", '"" $request_id;')
    out.close()
    out.put("")


# --- servers --------------------------------------------------------------------------------------------------------


def server_name(host: str) -> str:
    """A wildcard stands for one label, where nginx' own would stand for several."""
    if not host.startswith("*."):
        return host
    return word(f"~^(?<subdomain>[\\w-]+)\\.{regex(host[2:])}$")


def _server(out: Writer, server: Server, site: Site) -> None:
    out.comes_from(server.origin)
    out.put(f"## start server {server.host}")
    out.open("server")
    out.put(f"server_name {server_name(server.host)} ;", "")
    first = server.host == CATCH_ALL
    for port, more in ((HTTP, ""), (HTTPS, " ssl http2")):
        options = f"{' default_server backlog=4096' if first else ''}{more}"
        out.put(f"listen {port}{options};")
        if site.ipv6:
            out.put(f"listen [::]:{port}{options.replace('backlog', 'ipv6only=on backlog')};")
    out.put("", 'set $proxy_upstream_name "-";')
    _certificate(out, server)
    for number, location in enumerate(server.locations):
        locations.location(out, location, site, number, bool(server.certificate))
    if not any(one.path == "/" and one.match == "prefix" for one in server.locations):
        _nowhere(out)
    if first:
        out.comes_from(None)
        out.put("# health checks in cloud providers require the use of port 80")
        out.open(f"location = {HEALTHZ}")
        out.put("access_log off;", "return 200;")
        out.close()
    out.close()
    out.put(f"## end server {server.host}", "")


def _certificate(out: Writer, server: Server) -> None:
    """A server without one shows that of the server `_`: nginx reads a certificate again for each that names it, which
    costs it a millisecond."""
    certificate = server.certificate or (DEFAULT_CERTIFICATE if server.host == CATCH_ALL else "")
    if certificate:
        out.comes_from(server.certificate_origin or server.origin)
        out.put(f"ssl_certificate     {certificate};", f"ssl_certificate_key {certificate};", "")
        out.comes_from(server.origin)


def _nowhere(out: Writer) -> None:
    """What no path of the host is for."""
    out.open("location /")
    locations.facts(out, ("", "", "", "", "/"))
    out.put(
        'set $proxy_upstream_name "upstream-default-backend";',
        'set $proxy_alternative_upstream_name "";',
        f"proxy_pass http://127.0.0.1:{locations.DEFAULT_BACKEND};",
    )
    out.close()


def own_servers(out: Writer) -> None:
    """The default backend, its health, and its status, which only the pod itself reaches."""
    out.comes_from(None)
    out.put("# backend for when default-backend-service is not configured or it does not have endpoints")
    out.open("server")
    out.put(f"listen 127.0.0.1:{locations.DEFAULT_BACKEND} default_server;", "access_log off;")
    out.open("location /")
    out.put("return 404;")
    out.close()
    out.close()
    out.open("server")
    out.put(f"listen {HEALTH} default_server;", "access_log off;")
    out.open(f"location = {HEALTHZ}")
    out.put("return 200;")
    out.close()
    out.open("location /")
    out.put("return 404;")
    out.close()
    out.close()
    out.open("server")
    out.put(f"listen 127.0.0.1:{STATUS} default_server;", "access_log off;", "keepalive_timeout 0;")
    out.open("location = /configuration/checksum")
    out.put(f'return 200 "{_NUMBER}";')
    out.close()
    out.open("location /nginx_status")
    out.put("stub_status on;")
    out.close()
    out.close()
