"""Whom nginx' own words blame, whatever an Ingress has put into them."""

from __future__ import annotations

import pytest

from k8snetlab.addons import nginx

CERTIFICATE = (
    'nginx: [emerg] cannot load certificate "/run/x/conf/a_shop.pem": PEM_read_bio_X509_AUX() failed '
    "(SSL: error:0480006C:PEM routines::no start line:Expecting: TRUSTED CERTIFICATE)"
)
HOSTILE = (
    '[emerg] pcre2_compile() failed: missing closing parenthesis in "^/"/a_shop.pem" nginx.conf:7 (" '
    "in /run/x/conf/nginx.conf:321"
)


@pytest.mark.parametrize(("said", "line", "file"), [(CERTIFICATE, 0, "a_shop.pem"), (HOSTILE, 321, "")])
def test_a_refusal_names_its_line_at_the_end_and_else_a_file(said: str, line: int, file: str) -> None:
    assert (nginx.line_of(said), nginx.file_of(said)) == (line, file)
