"""nginx' `location` of a path: who is let in, what is answered at once, and to whom the rest is passed."""

from __future__ import annotations

from k8snetlab.render.ingress.model import Cors, Location, Options, Site
from k8snetlab.render.ingress.syntax import Writer, regex, value, word
from k8snetlab.render.ingress.upstreams import addresses, choice, entry, variable, zone

DEFAULT_BACKEND = 8181
"""The port of what answers where nobody else does, as ingress-nginx has it."""
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
PASSING = (
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


def facts(out: Writer, known: tuple[str, str, str, str, str]) -> None:
    """Namespace, Ingress, Service, port and path."""
    names = ("$namespace     ", "$ingress_name  ", "$service_name  ", "$service_port  ", "$location_path ")
    out.put(*(f"set {name} {value(fact)};" for name, fact in zip(names, known, strict=True)))


def head(location: Location) -> str:
    """As nginx' `location` has it."""
    if location.match == "exact":
        return f"= {word(location.path)}"
    if location.match == "regex":
        return f"~* {word('^' + location.path)}"
    return word(location.path)


def location(out: Writer, one: Location, site: Site, number: int, secure: bool) -> None:
    options = one.options
    named = [f"@custom_{number}_{code}" for code in options.errors]
    out.comes_from(one.origin)
    out.open(f"location {head(one)}")
    facts(out, (one.namespace, one.ingress, one.service, one.port, one.path))
    _redirects(out, options, secure)
    upstream = site.upstreams.get(one.upstream)
    title = upstream.title if upstream else "-"
    canary = site.upstreams.get(one.canary.upstream) if one.canary else None
    out.put(
        f'set $proxy_upstream_name "{title}";',
        "set $proxy_host          $proxy_upstream_name;",
        "set $pass_access_scheme  $scheme;",
        "set $pass_server_port    $server_port;",
        "set $best_http_host      $http_host;",
        "set $pass_port           $pass_server_port;",
        f'set $proxy_alternative_upstream_name "{canary.title if canary else ""}";',
    )
    _doors(out, one)
    out.put(f"client_max_body_size                    {options.body_size};")
    if not options.redirect:
        _passes(out, one, site, named)
    out.close()
    out.put("")
    for code, name in zip(options.errors, named, strict=True):
        _error_page(out, one, site, code, name)


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
            out.put(f"limit_req zone={zone(location, unit)} burst={rate * options.burst} nodelay;")
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
    lines += [] if grpc else PASSING
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
    main = addresses(site, location.upstream)
    other = addresses(site, location.canary.upstream) if location.canary else ()
    if main and other:
        return f"$chosen_{choice(location)}"
    return entry(site, location.upstream) if main else ""


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
    there = addresses(site, location.fallback)
    out.put(f"proxy_pass http://{location.fallback if there else f'127.0.0.1:{DEFAULT_BACKEND}'};")
    out.close()
    out.put("")
