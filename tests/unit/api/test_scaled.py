"""What scales is told apart from all kinds, and is as these have it."""

from __future__ import annotations

import pytest

from k8snetlab.api.scaled import SCALED, named, target
from k8snetlab.api.scheme import BY_KIND, BY_NAME
from k8snetlab.client.client import Client


@pytest.mark.parametrize("one", SCALED, ids=lambda one: one.kind)
def test_it_is_as_the_scheme_has_it(one: object) -> None:
    (scaled,) = [found for found in SCALED if found is one]
    resource = BY_KIND[scaled.kind]
    assert (resource.version, resource.plural, resource.names) == (scaled.version, scaled.plural, scaled.names)
    assert all(BY_NAME[name] is resource for name in scaled.names)
    assert Client._path(scaled.kind, "a b", "c/d") == Client._path(resource, "a b", "c/d")


def test_words_that_name_one() -> None:
    assert target(["deploy/web"]) == target(["Deployment", "web"]) == (named("deployments"), "web")
    for words in (
        ["deploy"],
        ["deploy/"],
        ["/web"],
        ["deploy/a/b"],
        ["pod/a"],
        ["deploy", "a", "b"],
        ["deploy", "a/b"],
        [],
    ):
        assert target(words) is None
