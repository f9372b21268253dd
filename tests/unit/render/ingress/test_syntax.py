"""Whatever stands in an Ingress, nginx reads it as words, and never as its own syntax."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from unchecked import CLASS, ingress

from k8snetlab.api.networking import Ingress
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.render.ingress import collect, conf
from k8snetlab.render.ingress.syntax import value, word
from k8snetlab.testing.services import endpoint, service, slice_of

COUNT = int(os.environ.get("K8SNETLAB_INGRESSES", "400"))


def text(*ingresses: Ingress) -> str:
    web = (service("web"), slice_of("web", endpoint("10.244.1.5"), endpoint("10.244.2.5")))
    return conf.render(collect.site(Snapshot.of([CLASS, *web, *ingresses]))).text


def tokens(source: str) -> Iterator[str]:
    """As ngx_conf_read_token reads them: a quoted word is one, with its quotes here."""
    place = 0
    while place < len(source):
        char = source[place]
        if char in " \t\r\n":
            place += 1
        elif char == "#":
            place = source.index("\n", place)
        elif char in ";{}":
            yield char
            place += 1
        elif char in "\"'":
            end = place + 1
            while source[end] != char:
                end += 2 if source[end] == "\\" else 1
            yield source[place : end + 1]
            place = end + 1
            assert source[place] in " \t\r\n;{)", f"nginx wants a space after {source[place - 40 : place + 5]!r}"
        else:
            end = place
            while source[end] not in " \t\r\n;{" or (source[end] == "{" and source[end - 1] == "$"):
                end += 2 if source[end] == "\\" else 1
            yield source[place:end]
            place = end


def directives(source: str) -> Iterator[str]:
    """The first word of each directive and block, whose words may be anything."""
    fresh, depth, table = True, 0, 0
    for token in tokens(source):
        if token in (";", "{", "}"):
            depth += {"{": 1, "}": -1}.get(token, 0)
            table = 0 if table > depth else table
            fresh = True
            continue
        if fresh and not table:
            yield token
            if token in ("map", "geo", "split_clients"):
                table = depth + 1
        fresh = False
    assert depth == 0


KNOWN = frozenset(directives(text())) | {
    *("allow", "deny", "limit_req", "limit_req_zone", "auth_basic", "auth_basic_user_file", "if", "return", "rewrite"),
    *("add_header", "error_page", "proxy_intercept_errors", "internal", "proxy_pass", "grpc_pass", "upstream"),
    *("map", "split_clients", "keepalive", "proxy_redirect", "client_max_body_size", "proxy_set_header", "server"),
    *("proxy_connect_timeout", "proxy_send_timeout", "proxy_read_timeout", "proxy_buffering", "proxy_buffer_size"),
    *("proxy_buffers", "proxy_request_buffering", "proxy_http_version", "proxy_cookie_domain", "proxy_cookie_path"),
    *("proxy_next_upstream", "proxy_next_upstream_timeout", "proxy_next_upstream_tries"),
    *("grpc_set_header", "grpc_connect_timeout", "grpc_send_timeout", "grpc_read_timeout"),
}


@pytest.mark.parametrize("seed", range(4))
def test_what_stands_in_an_ingress_never_becomes_a_directive(seed: int) -> None:
    chance = random.Random(seed)
    found = set(directives(text(*(ingress(number, chance) for number in range(COUNT // 4)))))
    assert found <= KNOWN, found - KNOWN
    assert not any("lua" in one or "include" in one for one in found)


@pytest.mark.parametrize("said", ["plain", 'a"b', "a\\", '\\"', "a\nb", "$host", "${host}", "a;b{c}", "é"])
def test_a_text_is_one_word_with_no_variable_in_it(said: str) -> None:
    assert list(tokens(word(said) + " ;")) == [word(said), ";"]
    assert "$" not in value(said).replace("${literal_dollar}", "")
