"""nginx.conf, in the shape that ingress-nginx gives it: for each host a server, for each path a location.

Source: kubernetes/ingress-nginx rootfs/etc/nginx/template/nginx.tmpl, internal/ingress/controller/template. Where that
asks Lua for an endpoint, this has an `upstream` of nginx' own, which a reload brings up to date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from k8snetlab.render.ingress.model import CATCH_ALL, Cors, Location, Options, Origin, Server, Site, Upstream
from k8snetlab.render.ingress.syntax import Writer, regex, value, word

FILE, DIRECTORY = "nginx.conf", "conf"
HTTP, HTTPS, HEALTH, STATUS, DEFAULT_BACKEND = 80, 443, 10254, 10246, 8181
"""Its ports: the last three for itself, as ingress-nginx has them."""
HEALTHZ = "/healthz"
DEFAULT_CERTIFICATE = "default.pem"
_LOG = (
    '\'$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
    '"$http_user_agent" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] '
    "$upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id'"
)
_EVENTS = ("multi_accept on;", "worker_connections 16384;", "use epoll;")
_HTTP = (
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
    "access_log /dev/stdout upstreaminfo;",
    "error_log stderr notice;",
    "ssl_protocols TLSv1.2 TLSv1.3;",
    "ssl_session_cache shared:SSL:10m;",
    "ssl_session_timeout 10m;",
    "ssl_session_tickets off;",
    "ssl_buffer_size 4k;",
    "proxy_ssl_session_reuse on;",
)
_HEADERS = (
    "proxy_set_header Host                   $best_http_host;",
    "proxy_set_header Upgrade                $http_upgrade;",
    "proxy_set_header Connection             $connection_upgrade;",
    "proxy_set_header X-Request-ID           $req_id;",
    "proxy_set_header X-Real-IP              $remote_addr;",
    "proxy_set_header X-Forwarded-For        $remote_addr;",
    "proxy_set_header X-Forwarded-Host       $best_http_host;",
    "proxy_set_header X-Forwarded-Port       $pass_port;",
    "proxy_set_header X-Forwarded-Proto      $pass_access_scheme;",
    "proxy_set_header X-Forwarded-Scheme     $pass_access_scheme;",
    "proxy_set_header X-Scheme               $pass_access_scheme;",
    "# Pass the original X-Forwarded-For",
    "proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;",
    "# mitigate HTTPoxy Vulnerability",
    'proxy_set_header Proxy                  "";',
)
_PASSING = (
    "proxy_buffering                         off;",
    "proxy_buffer_size                       4k;",
    "proxy_buffers                           4 4k;",
    "proxy_request_buffering                 on;",
    "proxy_http_version                      1.1;",
    "proxy_cookie_domain                     off;",
    "proxy_cookie_path                       off;",
    "# In case of errors try the next upstream server before returning an error",
    "proxy_next_upstream                     error timeout;",
    "proxy_next_upstream_timeout             0;",
    "proxy_next_upstream_tries               3;",
)


def render(site: Site) -> Writer:
    """The whole file, but for its first line; `with_checksum` puts that before it."""
    out = Writer()
    out.put("pid nginx.pid;", "user root;", "daemon off;", "worker_processes 1;", "worker_shutdown_timeout 240s;", "")
    out.open("events")
    out.put(*_EVENTS)
    out.close()
    out.put("")
    out.open("http")
    out.put(*_HTTP, "")
    _maps(out)
    for upstream in site.upstreams.values():
        _upstream(out, upstream)
    shared = [one for server in site.servers for one in server.locations]
    _choices(out, shared, site)
    _zones(out, shared)
    servers = list(site.servers)
    if not servers or servers[0].host != CATCH_ALL:
        servers.insert(0, Server(CATCH_ALL))
    for server in servers:
        _server(out, server, site)
    _own_servers(out)
    out.close()
    return out


def checksum(text: str, files: Iterable[tuple[str, str]]) -> str:
    """As ingress-nginx numbers its configurations, of all that nginx reads."""
    digest = hashlib.sha256(text.encode())
    for name, content in sorted(files):
        digest.update(f"{name}\0{content}\0".encode())
    return str(int.from_bytes(digest.digest()[:8], "big"))


def with_checksum(text: str, number: str) -> str:
    """`text` tells its own checksum to who asks its status server."""
    return f"\n# Configuration checksum: {number}\n\n{text.replace(_NUMBER, number, 1)}"


_NUMBER = "CHECKSUM"


def _maps(out: Writer) -> None:
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


# --- upstreams ------------------------------------------------------------------------------------------------------


def _upstream(out: Writer, upstream: Upstream) -> None:
    if not upstream.addresses:
        return
    out.comes_from(Origin("Service", upstream.service))
    _group(out, upstream.name, upstream.addresses)
    if upstream.affinity is None:
        return
    for number, address in enumerate(upstream.addresses):
        others = [one for one in upstream.addresses if one != address]
        _group(out, f"{upstream.name}.{number}", (address,), others)
    cookie, mark = upstream.affinity, variable(upstream.name)
    out.open(f"map $cookie_{cookie.cookie} $sticky_{mark}")
    out.put(f'default "{upstream.name}";')
    out.put(*(f'"{sticky(one)}" "{upstream.name}.{n}";' for n, one in enumerate(upstream.addresses)))
    out.close()
    age = "" if cookie.max_age is None else f"; Max-Age={cookie.max_age}"
    out.open(f'map "$cookie_{cookie.cookie} $upstream_addr" $stuck_{mark}')
    out.put('default "";')
    for one in upstream.addresses:
        head = regex(sticky(one))
        out.put(f"{word(f'~^(?!{head} ).* {regex(one)}$')} {value(_cookie(cookie.cookie, one, cookie.path, age))};")
    out.close()


def _cookie(name: str, address: str, path: str, age: str) -> str:
    return f"{name}={sticky(address)}{age}; Path={path}; HttpOnly"


def _group(out: Writer, name: str, addresses: Iterable[str], backups: Iterable[str] = ()) -> None:
    out.open(f"upstream {name}")
    out.put(*(f"server {address} max_fails=0;" for address in addresses))
    out.put(*(f"server {address} max_fails=0 backup;" for address in backups))
    out.put("keepalive 320;", "keepalive_timeout 60s;", "keepalive_requests 10000;")
    out.close()
    out.put("")


def sticky(address: str) -> str:
    """What a cookie says of an endpoint."""
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()


def variable(name: str) -> str:
    """Of a name of DNS labels, one that can stand in a variable's; two never become one."""
    return name.replace("_", "_u").replace("-", "_").replace(".", "_d")


# --- who goes where -------------------------------------------------------------------------------------------------


def _choices(out: Writer, locations: Iterable[Location], site: Site) -> None:
    """The variables that choose between a location's upstream and its canary's, each once. Which of the two comes
    first, then its name: split_clients reads no variables, and one with affinity is one."""
    known: set[str] = set()
    for location in locations:
        canary = location.canary
        if canary is None or not _addresses(site, canary.upstream) or not _addresses(site, location.upstream):
            continue
        mark = _choice(location)
        if mark in known:
            continue
        known.add(mark)
        out.comes_from(location.origin)
        share = 100 * canary.weight / canary.total
        out.open(f'split_clients "$request_id" $weighed_{mark}')
        if share >= 100:
            out.put("* canary;")
        else:
            out.put(*([f"{share:.2f}% canary;"] if share >= 0.01 else []), "* main;")
        out.close()
        asked = "$weighed_" + mark
        if canary.cookie:
            out.open(f"map $cookie_{canary.cookie} $by_cookie_{mark}")
            out.put(f"default {asked};", "always canary;", "never main;")
            out.close()
            asked = "$by_cookie_" + mark
        if canary.header:
            header = canary.header.lower().replace("-", "_")
            out.open(f"map $http_{header} $by_header_{mark}")
            out.put(f"default {asked};")
            if canary.value:
                out.put(f"{word('~^' + regex(canary.value) + '$')} canary;")
            elif canary.pattern:
                out.put(f"{word('~' + canary.pattern)} canary;")
            else:
                out.put("always canary;", "never main;")
            out.close()
            asked = "$by_header_" + mark
        out.open(f"map {asked} $chosen_{mark}")
        out.put(f"default {_entry(site, location.upstream)};", f"canary {_entry(site, canary.upstream)};")
        out.close()
        out.put("")


def _choice(location: Location) -> str:
    text = repr((location.upstream, location.canary))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _addresses(site: Site, upstream: str) -> tuple[str, ...]:
    return site.upstreams[upstream].addresses if upstream in site.upstreams else ()


def _entry(site: Site, name: str) -> str:
    """What proxy_pass says of an upstream: its name, or the variable that the client's cookie chooses by."""
    upstream = site.upstreams[name]
    return f"$sticky_{variable(name)}" if upstream.affinity and upstream.addresses else name


def _zones(out: Writer, locations: Iterable[Location]) -> None:
    """Where requests of each client are counted."""
    known = {one.origin.key: one for one in locations if one.options.rps or one.options.rpm}
    for location in known.values():
        out.comes_from(location.origin)
        for unit, rate in (("s", location.options.rps), ("m", location.options.rpm)):
            if rate:
                zone = _zone(location, unit)
                out.put(f"limit_req_zone $binary_remote_addr zone={zone}:5m rate={rate}r/{unit};")


def _zone(location: Location, unit: str) -> str:
    return f"{location.namespace}_{location.ingress}_rp{unit}"


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
    certificate = server.certificate or DEFAULT_CERTIFICATE
    out.comes_from(server.certificate_origin or server.origin)
    out.put(f"ssl_certificate     {certificate};", f"ssl_certificate_key {certificate};", "")
    out.comes_from(server.origin)
    for number, location in enumerate(server.locations):
        _location(out, location, site, number, bool(server.certificate))
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


def _nowhere(out: Writer) -> None:
    """What no path of the host is for."""
    out.open("location /")
    _facts(out, ("", "", "", "", "/"))
    out.put(
        'set $proxy_upstream_name "upstream-default-backend";',
        'set $proxy_alternative_upstream_name "";',
        f"proxy_pass http://127.0.0.1:{DEFAULT_BACKEND};",
    )
    out.close()


def _facts(out: Writer, facts: tuple[str, str, str, str, str]) -> None:
    """Namespace, Ingress, Service, port and path."""
    names = ("$namespace     ", "$ingress_name  ", "$service_name  ", "$service_port  ", "$location_path ")
    out.put(*(f"set {name} {value(fact)};" for name, fact in zip(names, facts, strict=True)))


def head(location: Location) -> str:
    """As nginx' `location` has it."""
    if location.match == "exact":
        return f"= {word(location.path)}"
    if location.match == "regex":
        return f"~* {word('^' + location.path)}"
    return word(location.path)


def _location(out: Writer, location: Location, site: Site, number: int, secure: bool) -> None:
    options = location.options
    named = [f"@custom_{number}_{code}" for code in options.errors]
    out.comes_from(location.origin)
    out.open(f"location {head(location)}")
    _facts(out, (location.namespace, location.ingress, location.service, location.port, location.path))
    _redirects(out, options, secure)
    upstream = site.upstreams.get(location.upstream)
    title = upstream.title if upstream else "-"
    canary = site.upstreams.get(location.canary.upstream) if location.canary else None
    out.put(
        f'set $proxy_upstream_name "{title}";',
        "set $proxy_host          $proxy_upstream_name;",
        "set $pass_access_scheme  $scheme;",
        "set $pass_server_port    $server_port;",
        "set $best_http_host      $http_host;",
        "set $pass_port           $pass_server_port;",
        f'set $proxy_alternative_upstream_name "{canary.title if canary else ""}";',
    )
    _doors(out, location)
    out.put(f"client_max_body_size                    {options.body_size};")
    if not options.redirect:
        _passes(out, location, site, named)
    out.close()
    out.put("")
    for code, name in zip(options.errors, named, strict=True):
        _error_page(out, location, site, code, name)


def _redirects(out: Writer, options: Options, secure: bool) -> None:
    if options.force_ssl_redirect or (options.ssl_redirect and secure):
        out.put("# enforce ssl on server side")
        out.open('if ($scheme = "http")')
        out.put("return 308 https://$host$request_uri;")
        out.close()
    if options.redirect:
        out.put(f"return {options.redirect_code} {value(options.redirect)};")


def _doors(out: Writer, location: Location) -> None:
    """Who is let in."""
    options = location.options
    if options.allow:
        out.put(*(f"allow {network};" for network in options.allow), "deny all;")
    for unit, rate in (("s", options.rps), ("m", options.rpm)):
        if rate:
            out.put(f"limit_req zone={_zone(location, unit)} burst={rate * options.burst} nodelay;")
    if options.auth:
        out.put(f"auth_basic {value(options.auth.realm)};", f"auth_basic_user_file {options.auth.file};")
    if options.cors:
        _cors(out, options.cors)


def _cors(out: Writer, cors: Cors) -> None:
    """Preflights are answered here, as ingress-nginx does."""
    any_origin = "*" in cors.origins
    if any_origin:
        out.put('set $cors "true";', 'set $cors_origin "*";')
    else:
        expression = "|".join(regex(one).replace(r"\*\.", r"([A-Za-z0-9-]+\.)") for one in cors.origins)
        out.put('set $cors "";', 'set $cors_origin "";')
        out.open(f"if ($http_origin ~* {word(f'^({expression})$')})")
        out.put('set $cors "true";', "set $cors_origin $http_origin;")
        out.close()
    out.open("if ($request_method = OPTIONS)")
    out.put("set $cors ${cors}options;")
    out.close()
    out.open("if ($cors = trueoptions)")
    out.put(*_cors_headers(cors, preflight=True), "return 204;")
    out.close()
    out.put(*_cors_headers(cors, preflight=False))


def _cors_headers(cors: Cors, preflight: bool) -> list[str]:
    lines = ["add_header Access-Control-Allow-Origin $cors_origin always;"]
    if cors.credentials:
        lines.append('add_header Access-Control-Allow-Credentials "true" always;')
    lines.append(f"add_header Access-Control-Allow-Methods {value(cors.methods)} always;")
    lines.append(f"add_header Access-Control-Allow-Headers {value(cors.headers)} always;")
    if cors.expose:
        lines.append(f"add_header Access-Control-Expose-Headers {value(cors.expose)} always;")
    lines.append(f'add_header Access-Control-Max-Age "{cors.max_age}" always;')
    if preflight:
        lines += ["add_header Content-Type 'text/plain charset=UTF-8';", "add_header Content-Length 0;"]
    return lines


def _passes(out: Writer, location: Location, site: Site, named: list[str]) -> None:
    options = location.options
    target = _target(location, site)
    if not target:
        out.put("# no endpoints", "return 503;")
        return
    grpc = options.protocol.startswith("GRPC")
    lines = list(_HEADERS)
    if options.vhost:
        lines[0] = f"proxy_set_header Host                   {value(options.vhost)};"
    lines += [
        f"proxy_connect_timeout                   {options.connect_timeout}s;",
        f"proxy_send_timeout                      {options.send_timeout}s;",
        f"proxy_read_timeout                      {options.read_timeout}s;",
    ]
    lines += [] if grpc else _PASSING
    if grpc:
        lines = [line.replace("proxy_", "grpc_", 1) for line in lines if "$connection_upgrade" not in line]
        lines = [line for line in lines if "Upgrade" not in line]
    if options.auth:
        auth = "grpc" if grpc else "proxy"
        lines.append(f'{auth}_set_header Authorization          "";')
    out.put(*lines)
    upstream = site.upstreams.get(location.upstream)
    if upstream and upstream.affinity and upstream.addresses:
        out.put(f"add_header Set-Cookie $stuck_{variable(upstream.name)} always;")
    if options.errors:
        out.put("proxy_intercept_errors on;")
        out.put(*(f"error_page {code} = {name};" for code, name in zip(options.errors, named, strict=True)))
    if options.rewrite:
        pattern = location.path if location.match == "regex" else regex(location.path)
        out.put(f"rewrite {word('(?i)' + pattern)} {word(options.rewrite)} break;")
    word_ = {"HTTP": "http", "HTTPS": "https", "GRPC": "grpc", "GRPCS": "grpcs"}[options.protocol]
    directive = "grpc_pass" if grpc else "proxy_pass"
    out.put(f"{directive} {word_}://{target};")
    if not grpc:
        out.put("proxy_redirect                          off;")


def _target(location: Location, site: Site) -> str:
    """Where proxy_pass leads, "" where nobody would answer."""
    main = _addresses(site, location.upstream)
    other = _addresses(site, location.canary.upstream) if location.canary else ()
    if main and other:
        return f"$chosen_{_choice(location)}"
    return _entry(site, location.upstream) if main else ""


def _error_page(out: Writer, location: Location, site: Site, code: int, name: str) -> None:
    """What the default backend says of an error; ingress-nginx' headers tell it of what."""
    out.open(f"location {name}")
    out.put(
        "internal;",
        "proxy_intercept_errors off;",
        f"proxy_set_header X-Code             {code};",
        "proxy_set_header X-Format           $http_accept;",
        "proxy_set_header X-Original-URI     $request_uri;",
        "proxy_set_header X-Namespace        $namespace;",
        "proxy_set_header X-Ingress-Name     $ingress_name;",
        "proxy_set_header X-Service-Name     $service_name;",
        "proxy_set_header X-Service-Port     $service_port;",
        "proxy_set_header X-Request-ID       $req_id;",
        "proxy_set_header Host               $best_http_host;",
        "rewrite ^ / break;",
    )
    there = _addresses(site, location.fallback)
    out.put(f"proxy_pass http://{location.fallback if there else f'127.0.0.1:{DEFAULT_BACKEND}'};")
    out.close()
    out.put("")


def _own_servers(out: Writer) -> None:
    """The default backend, its health, and its status, which only the pod itself reaches."""
    out.comes_from(None)
    out.put("# backend for when default-backend-service is not configured or it does not have endpoints")
    out.open("server")
    out.put(f"listen 127.0.0.1:{DEFAULT_BACKEND} default_server;", "access_log off;")
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
