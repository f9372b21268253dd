"""Ingresses that may hold anything, as nobody has checked them."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from k8snetlab.api.networking import Ingress, IngressClass

PIECES = (
    *(
        '"',
        "'",
        "\\",
        ";",
        "{",
        "}",
        "$",
        "#",
        "\n",
        "\r",
        "\t",
        " ",
        "\0",
        "|",
        "(",
        ")",
        "[",
        "]",
        "*",
        "^",
        "~",
        "=",
    ),
    *("lua_code", "content_by_lua_block {", "$host", "${host}", "server {", "} server { listen 99; }", "return 200;"),
    *("include /etc/passwd;", "\\n", "%0a", "é", "a", "/", "/b", ".", "-", "https://x", "80", "true", "1m"),
)
ANNOTATIONS = (
    *("rewrite-target", "use-regex", "proxy-body-size", "proxy-read-timeout", "backend-protocol", "affinity"),
    *("session-cookie-name", "session-cookie-path", "canary", "canary-by-header", "canary-by-header-value"),
    *("canary-by-header-pattern", "canary-by-cookie", "canary-weight", "enable-cors", "cors-allow-origin"),
    *("cors-allow-headers", "whitelist-source-range", "auth-type", "auth-secret", "auth-realm", "limit-rps"),
    *("upstream-vhost", "permanent-redirect", "custom-http-errors", "configuration-snippet", "server-snippet"),
)
EXPRESSIONS = ("use-regex", "rewrite-target", "canary-by-header-pattern")
GOOD = {
    "use-regex": "true",
    "affinity": "cookie",
    "canary": "true",
    "canary-by-header": "X-C",
    "enable-cors": "true",
    "auth-type": "basic",
    "limit-rps": "5",
    "custom-http-errors": "404,503",
}
CLASS = msgspec.convert(
    {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}, IngressClass, strict=False
)


def wild(chance: random.Random) -> str:
    return "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 6)))


def ingress(number: int, chance: random.Random, expressions: bool = True) -> Ingress:
    """One whose host, paths and annotations may be anything. Without `expressions` none of its paths is one, which
    nginx might refuse for good reason."""
    annotations = {}
    names = [name for name in ANNOTATIONS if expressions or name not in EXPRESSIONS]
    for name in chance.sample(names, chance.randint(0, 6)):
        good = GOOD.get(name) if chance.random() < 0.6 else None
        annotations[f"nginx.ingress.kubernetes.io/{name}"] = good or wild(chance)
    host = f"h{number}.example" if chance.random() < 0.7 else wild(chance)
    kinds = ("Exact", "Prefix", "ImplementationSpecific")
    paths: list[dict[str, Any]] = [
        {
            "path": "/" + wild(chance),
            "pathType": chance.choice(kinds),
            "backend": {"service": {"name": "web", "port": {"number": 80}}},
        }
        for _ in range(chance.randint(1, 3))
    ]
    body = {
        "metadata": {"name": f"i{number}", "namespace": "default", "annotations": annotations},
        "spec": {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": paths}}]},
    }
    return msgspec.convert(body, Ingress)
