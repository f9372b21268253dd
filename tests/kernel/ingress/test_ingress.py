"""Ingresses in a lab, with real requests from outside: Kubernetes' conformance, and what people write besides."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from doors import ask, certificate

from k8snetlab.messages.faults import CLEAR, INJECT, InjectQuestion
from k8snetlab.messages.verb import Nothing
from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.lab import running

CASES: list[dict[str, Any]] = msgspec.yaml.decode((Path(__file__).parent / "conformance.yaml").read_bytes())
ECHO = """
import http.server, json
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/turn":
            self.send_response(302)
            self.send_header("Location", "/turn")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        body = json.dumps({"echo": f"{self.command} {self.path}", "headers": dict(self.headers)}).encode()
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8080), H).serve_forever()
"""
ANNOTATION = "nginx.ingress.kubernetes.io/"


def name_of(case: dict[str, Any]) -> str:
    return f"case-{CASES.index(case)}"


def ingress(case: dict[str, Any]) -> dict[str, Any]:
    def backend(service: str, port: str | int = 80) -> dict[str, Any]:
        return {"service": {"name": service, "port": {"name" if isinstance(port, str) else "number": port}}}

    rules = [
        {
            "host": rule["host"],
            "http": {
                "paths": [
                    {"path": p["path"], "pathType": p["type"], "backend": backend(p["service"], p.get("port", 80))}
                    for p in rule["paths"]
                ]
            },
        }
        for rule in case["rules"]
    ]
    spec: dict[str, Any] = {"rules": rules}
    if "backend" in case:
        spec["defaultBackend"] = backend(case["backend"])
    if "class" in case:
        spec["ingressClassName"] = case["class"]
    if "tls" in case:
        spec["tls"] = [case["tls"]]
    annotations = {ANNOTATION + name: text for name, text in case.get("annotations", {}).items()}
    metadata = {"name": case.get("name") or name_of(case), "annotations": annotations}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def service(name: str, port: int = 8080) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def pod(name: str, app: str, command: list[str] | None = None) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "c", "image": "x", "ports": [{"containerPort": 8080}]}
    if command:
        container["command"] = command
    metadata = {"name": name, "labels": {"app": app}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def secret(name: str, **entries: str) -> dict[str, Any]:
    data = {key: base64.b64encode(text.encode()).decode() for key, text in entries.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


SECURE = certificate("secure.example")


def objects() -> list[dict[str, Any]]:
    lab = {
        "apiVersion": "k8snetlab/v1alpha1",
        "kind": "Lab",
        "spec": {
            "nodes": 2,
            "dns": {"enabled": False},
            "ingress": {"controller": "nginx", "nodePorts": {"http": 30799, "https": 31522}},
        },
    }
    other = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "other"},
        "spec": {"controller": "example.com/other"},
    }
    everywhere: dict[str, Any] = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "everywhere"},
        "spec": {"defaultBackend": {"service": {"name": "two", "port": {"number": 80}}}},
    }
    pods = [pod(name, name) for name in ("one", "two", "three")]
    pods += [pod(f"many-{number}", "many") for number in range(3)]
    pods.append(pod("echo", "echo", ["python3", "-c", ECHO]))
    services = [service(name) for name in ("one", "two", "three", "many", "echo", "nobody")]
    secrets = [
        secret("secure", **{"tls.crt": SECURE[0], "tls.key": SECURE[1]}),
        secret("users", auth="ada:{PLAIN}secret\n"),
    ]
    return [lab, other, everywhere, *pods, *services, *secrets, *map(ingress, CASES)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("ingress")
    texts = [msgspec.json.encode(one).decode() for one in objects()]
    (directory / "lab.yaml").write_text("\n---\n".join(texts))
    with running(directory) as lab:
        yield lab


HOSTLESS = {404: "two"}
"""Whoever asks for a host that no Ingress has is answered by the one default backend there is."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["feature"]))
def test_an_ingress_answers_as_kubernetes_conformance_asks(lab: Lab, case: dict[str, Any]) -> None:
    hosts = {rule["host"] for rule in case["rules"]}
    for host, path, wanted in case["asked"]:
        known = host.lower() in hosts or f"*.{host.partition('.')[2]}" in hosts
        expected = wanted if known else HOSTLESS.get(wanted, wanted)
        assert ask(lab, host, path).told == expected, (host, path)


def test_a_host_shows_the_certificate_of_its_secret_and_others_the_default_one(lab: Lab) -> None:
    answer = ask(lab, "secure.example", tls=True)
    assert (answer.told, answer.certificate) == ("one", SECURE[2])
    other = ask(lab, "foo.bar.com", tls=True)
    assert other.told == "one" and b"Kubernetes Ingress Controller Fake Certificate" in (other.certificate or b"")
    plain = ask(lab, "secure.example", "/cart?x=1")
    assert (plain.status, plain.headers["Location"]) == (308, "https://secure.example/cart?x=1")


def test_who_is_let_in_is_known_by_name_and_password(lab: Lab) -> None:
    good, bad = (base64.b64encode(text).decode() for text in (b"ada:secret", b"ada:wrong"))
    assert ask(lab, "guarded", headers={"Authorization": f"Basic {good}"}).told == "one"
    refused = ask(lab, "guarded", headers={"Authorization": f"Basic {bad}"})
    assert refused.status == 401 and refused.headers["WWW-Authenticate"].startswith('Basic realm="a $realm; {')


def test_a_client_with_a_cookie_comes_to_the_same_endpoint(lab: Lab) -> None:
    first = ask(lab, "sticky")
    cookie = first.headers["Set-Cookie"].partition(";")[0]
    assert cookie.startswith("INGRESSCOOKIE=") and first.pod.startswith("many-")
    again = [ask(lab, "sticky", headers={"Cookie": cookie}) for _ in range(6)]
    assert {one.pod for one in again} == {first.pod} and not any(one.headers["Set-Cookie"] for one in again)
    assert len({ask(lab, "sticky").pod for _ in range(9)}) == 3


def test_a_canary_gets_those_who_ask_for_it(lab: Lab) -> None:
    said = {value: ask(lab, "canary.example", headers={"X-Canary": value}).told for value in ("always", "never", "x")}
    assert said == {"always": "two", "never": "one", "x": "one"}


def test_bodies_cors_and_the_headers_that_a_pod_sees(lab: Lab) -> None:
    assert ask(lab, "small", method="POST", body=b"0123456789").told == "one"
    assert ask(lab, "small", method="POST", body=b"0123456789a").status == 413
    allowed = ask(lab, "cors", method="OPTIONS", headers={"Origin": "https://a.example"})
    assert (allowed.status, allowed.headers["Access-Control-Allow-Origin"]) == (204, "https://a.example")
    assert ask(lab, "cors", headers={"Origin": "https://b.example"}).headers["Access-Control-Allow-Origin"] is None
    sent = {"X-Forwarded-For": "198.51.100.7", "Proxy": "x"}
    seen = ask(lab, "vhost", "/h", headers=sent).said["headers"]
    assert seen["Host"] == "inner.example" and seen["X-Original-Forwarded-For"] == "198.51.100.7"
    assert seen["X-Forwarded-For"] == seen["X-Real-IP"] != "198.51.100.7" and "Proxy" not in seen
    assert (seen["X-Forwarded-Proto"], seen["X-Forwarded-Host"]) == ("http", "vhost")


def test_a_client_has_so_many_requests_a_second(lab: Lab) -> None:
    def told() -> set[str | int]:
        with ThreadPoolExecutor(12) as clients:
            return {one.told for one in clients.map(lambda _: ask(lab, "limited"), range(24))}

    eventually(lambda: told() == {"one", 503})


def told(lab: Lab) -> set[tuple[str, str]]:
    """Of each Event the name of its object, and its reason."""
    return {(one["involvedObject"]["name"], one["reason"]) for one in lab.json("get", "events")["items"]}


def test_get_events_and_logs_tell_of_an_ingress(lab: Lab) -> None:
    held = lab.json("get", "ingress", name_of(next(case for case in CASES if case["feature"].startswith("no endp"))))
    assert held["status"]["loadBalancer"]["ingress"][0]["ip"] in {"192.168.0.21", "192.168.0.22"}
    absent = name_of(next(case for case in CASES if "not there" in case["feature"]))
    syntax = name_of(next(case for case in CASES if "no syntax" in case["feature"]))
    eventually(lambda: {(absent, "ServiceNotFound"), (syntax, "AnnotationIgnored")} <= told(lab))
    (controller,) = [one["metadata"]["name"] for one in lab.json("get", "pods", "-n", "ingress-nginx")["items"]]
    ask(lab, "foo.bar.com", "/logged")
    eventually(lambda: '"GET /logged HTTP/1.1" 200' in lab.run("logs", "-n", "ingress-nginx", controller))


def test_nginx_conf_shows_a_hosts_block_with_the_manifests_lines(lab: Lab) -> None:
    shown = lab.run("nginx-conf", "FOO.bar.com")
    assert 'set $service_name   "one";' in shown and "server_name foo.bar.com ;" in shown
    assert "# Ingress default/case-0, " in shown and "lab.yaml:" in shown and "exact-path" not in shown
    assert lab.json("nginx-conf")["inUse"] is True


def ingress_text(name: str, host: str, path: str, service: str = "one", **annotations: str) -> str:
    rules = [{"host": host, "paths": [{"path": path, "type": "ImplementationSpecific", "service": service}]}]
    made = ingress({"name": name, "rules": rules, "annotations": annotations})
    return msgspec.json.encode(made).decode()


def test_an_ingress_that_nginx_refuses_costs_itself_alone(lab: Lab, tmp_path: Path) -> None:
    bad = ingress_text("bad", "bad.example", "/a(b", **{"use-regex": "true"})
    good = ingress_text("good", "good.example", "/")
    (tmp_path / "two.yaml").write_text(f"{bad}\n---\n{good}")
    lab.run("apply", "-f", str(tmp_path / "two.yaml"))
    assert ask(lab, "good.example").told == "one" and ask(lab, "foo.bar.com").told == "one"
    assert ask(lab, "bad.example").told == "two", "no server of its own"
    eventually(lambda: ("bad", "Rejected") in told(lab))
    assert ("default/bad", "refused") in {(one.object, one.fault) for one in lab.diagnose("--predict-only").findings}
    assert any("ingress default/bad: nginx refuses" in one for one in lab.json("status", code=None)["problems"])
    assert followed(lab, "http://bad.example/", code=None)["route"]["server"] == "_"
    (tmp_path / "two.yaml").write_text(ingress_text("bad", "bad.example", "/a(b)", **{"use-regex": "true"}))
    lab.run("apply", "-f", str(tmp_path / "two.yaml"))
    assert ask(lab, "bad.example", "/ab").told == "one"
    assert not any("default/bad" in one for one in lab.json("status", code=None)["problems"])


def test_the_younger_of_two_with_the_same_host_and_path_is_told(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ingress_text("a-younger", "longest", "/", "two"))
    lab.run("apply", "-f", str(tmp_path / "a.yaml"))
    assert ask(lab, "longest", "/ccc").told == "one"
    eventually(lambda: ("a-younger", "Conflict") in told(lab))


class Load:
    """Requests one after the other in two threads, until it is ended: what was answered."""

    def __init__(self, lab: Lab, host: str) -> None:
        self._lab, self._host, self._over = lab, host, threading.Event()
        self.told: list[str | int] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.told.append(ask(self._lab, self._host).told)
            except OSError as error:
                self.told.append(repr(error))

    def end(self) -> list[str | int]:
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.told


def test_endpoints_come_and_go_without_a_lost_request(lab: Lab, tmp_path: Path) -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "scaled"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "scaled"}},
            "template": {"metadata": {"labels": {"app": "scaled"}}, "spec": pod("x", "scaled")["spec"]},
        },
    }
    texts = [msgspec.json.encode(one).decode() for one in (deployment, service("scaled"))]
    texts.append(ingress_text("scaled", "scaled.example", "/", "scaled"))
    (tmp_path / "scaled.yaml").write_text("\n---\n".join(texts))
    lab.run("apply", "-f", str(tmp_path / "scaled.yaml"))
    load = Load(lab, "scaled.example")
    try:
        for replicas in ("10", "1"):
            lab.run("scale", "deployment/scaled", "--replicas", replicas)
    finally:
        found = load.end()
    assert len(found) > 20 and not [one for one in found if not str(one).startswith("scaled-")]
    assert len(set(found)) > 3


def followed(lab: Lab, url: str, code: int | None = 0) -> Any:
    return lab.json("trace", "outside", url, code=code)


def test_a_request_is_followed_through_nginx_to_the_pod_and_back(lab: Lab) -> None:
    found = followed(lab, "http://vhost:30799/h?x=1")
    assert (found["route"]["server"], found["route"]["service"]) == ("vhost", "default/echo:80")
    assert found["route"]["written"].startswith("spec.rules[0]") or "lab.yaml:" in found["route"]["written"]
    answer = found["answer"]
    assert (answer["status"], answer["pod"], answer["upstreamStatus"]) == (200, "default/echo", 200)
    assert answer["upstream"] in found["route"]["endpoints"]
    assert found["first"]["observed"]["agrees"] and found["second"]["observed"]["agrees"]
    assert found["second"]["address"] == answer["upstream"].partition(":")[0]
    text = lab.run("trace", "outside", "http://foo.bar.com/")
    assert "location" in text and "default/one answered with 200" in " ".join(text.split())


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://nobody.example.org/", 200),  # the default backend is a Service of the lab's
        ("http://nobody/", 503),
        ("http://wrong-protocol/", 502),
        ("http://closed/", 403),
        ("http://secure.example/", 308),
        ("https://secure.example/", 200),
    ],
)
def test_what_nginx_answers_itself_is_told_with_its_reason(lab: Lab, url: str, status: int) -> None:
    found = followed(lab, url, code=0 if status < 400 else 1)
    assert found["answer"]["status"] == status
    assert str(status) in found["verdict"]


def test_diagnose_names_what_is_wrong_with_ingresses(lab: Lab) -> None:
    def named(feature: str) -> str:
        return f"default/{name_of(next(case for case in CASES if feature in case['feature']))}"

    found = {(one.object, one.fault) for one in lab.diagnose().findings if one.kind == "ingress"}
    assert (named("not there"), "backend") in found
    assert (named("no endpoints"), "endpoints") in found
    assert (named("speaks TLS"), "protocol") in found
    assert (named("no syntax"), "annotation") in found
    assert not any(one == named("a host rule matches") for one, _ in found)


def test_diagnose_names_redirects_in_a_circle_and_notes_what_nginx_answered_itself(lab: Lab, tmp_path: Path) -> None:
    texts = [
        ingress_text("round", "round.example", "/", **{"permanent-redirect": "http://round.example/in"}),
        ingress_text("turn", "turn.example", "/turn", "echo"),
    ]
    (tmp_path / "round.yaml").write_text("\n---\n".join(texts))
    lab.run("apply", "-f", str(tmp_path / "round.yaml"))
    assert ask(lab, "exact-path", "/carrt").status == 404
    ask(lab, "small", method="POST", body=b"0123456789a")
    found = lab.diagnose()
    loops = {one.object: one.message for one in found.findings if one.fault == "loop"}
    assert "permanent-redirect" in loops["default/round"] and "own program" in loops["default/turn"], loops
    assert len(loops) == 2
    notes = " ".join(found.notes)
    assert "(the last: GET /carrt) with 404" in notes and "(the last: POST /) with 413" in notes
    lab.run("delete", "-f", str(tmp_path / "round.yaml"))


FAULTS = ("ingress-class", "ingress-service", "ingress-port", "ingress-secret", "ingress-protocol")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_an_ingress_is_seen_named_and_cleared(lab: Lab, name: str) -> None:
    from k8snetlab.faults.catalogue import FAULTS as KNOWN

    def told(url: str) -> tuple[int, str]:
        answer = lab.json("trace", "outside", url, code=None)["answer"]
        return answer["status"], answer["pod"]

    [fault] = lab.client.call(INJECT, InjectQuestion(name, "node1", "")).faults
    url = fault.probe.split()[-1]
    try:
        damaged = told(url)
        said = KNOWN[name].said
        found = [one for one in lab.diagnose().findings if one.object == fault.object]
        assert (said.kind, said.fault) in {(one.kind, one.fault) for one in found}, found
    finally:
        assert [one.name for one in lab.client.call(CLEAR, Nothing()).faults] == [name]
    if name != "ingress-secret":
        eventually(lambda: told(url) != damaged)


def test_nginx_that_dies_is_begun_again_and_serves_as_before(lab: Lab) -> None:
    (controller,) = [one["metadata"]["name"] for one in lab.json("get", "pods", "-n", "ingress-nginx")["items"]]
    lab.run("process", "kill", f"ingress-nginx/{controller}")
    eventually(lambda: answers(lab, "foo.bar.com"))


def answers(lab: Lab, host: str) -> bool:
    try:
        return ask(lab, host).told == "one"
    except OSError:
        return False
