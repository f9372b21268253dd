"""From Ingresses to servers and locations, without a kernel."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from k8snetlab.api.config import Secret
from k8snetlab.api.networking import Ingress, IngressClass
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.render.ingress import collect, conf
from k8snetlab.render.ingress.model import Refused, Site
from k8snetlab.testing.services import endpoint, service, slice_of

CLASS = msgspec.convert(
    {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}, IngressClass, strict=False
)


def ingress(
    name: str = "shop",
    host: str = "shop.example",
    path: str = "/",
    kind: str = "Prefix",
    created: str = "2026-01-01T00:00:00Z",
    service: str = "web",
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Ingress:
    paths = [{"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": {"number": 80}}}}]
    body = {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": paths}}], **spec}
    said = {f"nginx.ingress.kubernetes.io/{key}": text for key, text in (annotations or {}).items()}
    metadata = {"name": name, "namespace": "default", "creationTimestamp": created, "annotations": said}
    return msgspec.convert({"metadata": metadata, "spec": body}, Ingress)


def site(*objects: Ingress, refused: Refused | None = None) -> Site:
    web = (service("web"), slice_of("web", endpoint("10.244.1.5"), endpoint("10.244.2.5", ready=False)))
    return collect.site(Snapshot.of([CLASS, *web, *objects]), refused=refused or Refused())


def text(*objects: Ingress) -> str:
    return conf.render(site(*objects)).text


def test_an_upstream_has_the_ready_endpoints_alone() -> None:
    (upstream,) = site(ingress()).upstreams.values()
    assert (upstream.name, upstream.addresses) == ("default-web-80", ("10.244.1.5:8080",))


def test_of_two_with_the_same_host_and_path_the_older_is_served_and_the_other_told() -> None:
    young = ingress("a", created="2026-02-01T00:00:00Z", service="none")
    found = site(young, ingress("b"))
    (server,) = found.servers
    assert [one.ingress for one in server.locations] == ["b"]
    (conflict,) = [one for one in found.problems if one.reason == "Conflict"]
    assert (conflict.key, conflict.fatal) == (("default", "a"), True)
    assert conflict.message == 'host "shop.example" and path "/" is already defined in ingress default/b'


def test_a_host_with_a_regular_expression_has_no_other_kind_of_path() -> None:
    said = text(
        ingress(path="/plain"),
        ingress("x", path="/r(.*)", kind="ImplementationSpecific", annotations={"use-regex": "true"}),
    )
    assert 'location ~* "^/r(.*)"' in said and 'location ~* "^/plain/"' in said and 'location "/plain/"' not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("proxy-body-size", "8m; }"),
        ("proxy-read-timeout", "0"),
        ("backend-protocol", "FTP"),
        ("rewrite-target", "/$http_cookie"),
        ("whitelist-source-range", "all"),
        ("permanent-redirect", "https://x/$request_uri"),
        ("canary-weight", "-1"),
        ("custom-http-errors", "200"),
        ("cors-allow-origin", 'https://x" always; #'),
        ("server-snippet", "return 200;"),
        ("auth-url", "http://x"),
    ],
)
def test_an_annotation_that_is_none_changes_no_line_and_is_named(name: str, value: str) -> None:
    found = site(ingress(annotations={name: value}))
    assert conf.render(found).text == text(ingress())
    (problem,) = found.problems
    assert problem.path[-1] == f"nginx.ingress.kubernetes.io/{name}" and str(problem.path[-1]) in problem.message


def test_what_nginx_refused_is_left_out_and_told() -> None:
    refused = Refused({("Ingress", "default", "shop"): "no regular expression"})
    found = site(ingress(), ingress("other", host="o.example"), refused=refused)
    assert [server.host for server in found.servers] == ["o.example"]
    assert [problem.key[1] for problem in found.problems] == ["shop"]


def test_two_services_whose_names_run_together_have_two_upstreams() -> None:
    one = msgspec.structs.replace(ingress(), metadata=msgspec.structs.replace(ingress().metadata, namespace="a-b"))
    found = collect.site(Snapshot.of([CLASS, _renamed(one, "a-b", "c"), _renamed(one, "a", "b-c")]))
    assert len(found.upstreams) == 2


def test_two_secrets_whose_names_run_together_have_two_files() -> None:
    def entry(namespace: str, name: str) -> tuple[Secret, Ingress]:
        said = {"auth-type": "basic", "auth-secret": name}
        made = ingress(host=f"{name}.example", annotations=said, tls=[{"secretName": name}])
        data = {key: base64.b64encode(namespace.encode()).decode() for key in ("auth", "tls.crt", "tls.key")}
        metadata = msgspec.structs.replace(made.metadata, namespace=namespace)
        secret = msgspec.convert({"metadata": {"name": name, "namespace": namespace}, "data": data}, Secret)
        return secret, msgspec.structs.replace(made, metadata=metadata)

    found = collect.site(Snapshot.of([CLASS, *entry("a-b", "c"), *entry("a", "b-c")]))
    assert found.files == {
        "auth-a-b_c.passwd": "a-b",
        "auth-a_b-c.passwd": "a",
        "a-b_c.pem": "a-b\na-b\n",
        "a_b-c.pem": "a\na\n",
    }


def test_a_canary_beside_an_affinity_is_chosen_before_its_upstreams_name() -> None:
    """split_clients takes what it is given as it stands: a variable's name would be asked of DNS."""
    canary = ingress("canary", annotations={"canary": "true", "canary-weight": "20"}, service="new")
    web = (service("web"), slice_of("web", endpoint("10.244.1.5")))
    new = (service("new"), slice_of("new", endpoint("10.244.1.6")))
    main = ingress(annotations={"affinity": "cookie"})
    lines = conf.render(collect.site(Snapshot.of([CLASS, *web, *new, main, canary]))).text.splitlines()
    start = next(number for number, one in enumerate(lines) if "split_clients" in one)
    assert [one.strip() for one in lines[start + 1 : start + 4]] == ["20.00% canary;", "* main;", "}"]
    chosen = next(number for number, one in enumerate(lines) if "$chosen_" in one and "map $weighed_" in one)
    told = [one.strip() for one in lines[chosen + 1 : chosen + 3]]
    assert told == ["default $sticky_default_web_80;", "canary default-new-80;"]


def _renamed(one: Ingress, namespace: str, service: str) -> Ingress:
    made = ingress(service=service, host=f"{service}.example")
    return msgspec.structs.replace(made, metadata=msgspec.structs.replace(one.metadata, namespace=namespace))


def test_every_line_of_a_location_knows_its_object_and_field() -> None:
    out = conf.render(site(ingress()))
    number = next(n for n, line in enumerate(out.lines) if "$service_name   " in line and "web" in line)
    origin = out.origins[number]
    assert origin is not None and origin.key == ("default", "shop")
    assert origin.path == ("spec", "rules", 0, "http", "paths", 0)
