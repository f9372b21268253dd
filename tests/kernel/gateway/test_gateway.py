"""Gateways in a lab, with real requests from outside: the Gateway API's conformance, and what changes while it runs."""

from __future__ import annotations

import base64
import http.client
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from doors import Answer, ask, certificate

from k8snetlab.faults.catalogue import FAULTS
from k8snetlab.messages.faults import CLEAR, INJECT, InjectQuestion
from k8snetlab.messages.verb import Nothing
from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.lab import running

CASES: list[dict[str, Any]] = msgspec.yaml.decode((Path(__file__).parent / "conformance.yaml").read_bytes())
GROUP = "gateway.networking.k8s.io"
ECHO = """
import http.server, json, ssl, sys, tempfile, time
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if "slow" in self.path: time.sleep(1)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"pod": sys.argv[1], "path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("X-From", "the backend")
        self.send_header("X-Gone", "x")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("", 8080), H)
if len(sys.argv) > 2:
    with tempfile.NamedTemporaryFile("w") as file:
        print(sys.argv[2], file=file, flush=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file.name)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""
SECURE, WILD = certificate("secure.example"), certificate("*.secure.org")
STREAMS: list[dict[str, Any]] = msgspec.yaml.decode((Path(__file__).parent / "streams.yaml").read_bytes())
OWN = {name: certificate(f"{name}.example") for name in ("t1", "t2")}
"""Certificates of pods that speak TLS themselves."""


def made(kind: str, name: str, spec: Any, namespace: str = "default", version: str = "v1") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def pod(name: str, namespace: str = "default") -> dict[str, Any]:
    command = ["python3", "-c", ECHO, name, *("\n".join(OWN[name][:2]) for _ in range(name in OWN))]
    container: dict[str, Any] = {"name": "c", "image": "x", "command": command}
    container["ports"] = [{"containerPort": 8080}]
    container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    value = made("Pod", name, {"containers": [container]}, namespace)
    value["metadata"]["labels"] = {"app": name}
    return value


def service(name: str, app: str, namespace: str = "default", **more: Any) -> dict[str, Any]:
    ports = [{"port": 8080 if more else 80, "targetPort": 8080}]
    return made("Service", name, {"selector": {"app": app}, "ports": ports, **more}, namespace)


def secret(name: str, pair: tuple[str, str, bytes]) -> dict[str, Any]:
    texts = {"tls.crt": pair[0], "tls.key": pair[1]}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def gateway(name: str, *listeners: dict[str, Any]) -> dict[str, Any]:
    said = [{"protocol": "HTTP", "port": 80, **one} for one in listeners]
    return made("Gateway", name, {"gatewayClassName": "nginx", "listeners": said}, version=f"{GROUP}/v1")


def routes_from(where: str, **more: Any) -> dict[str, Any]:
    return {"allowedRoutes": {"namespaces": {"from": where, **more}}}


def host_of(case: dict[str, Any]) -> str:
    return f"case-{CASES.index(case)}.example"


def route(case: dict[str, Any]) -> dict[str, Any]:
    spec = {
        "parentRefs": [case.get("parent", {"name": "all"})],
        "hostnames": case.get("hostnames", [host_of(case)]),
        "rules": case["rules"],
    }
    version = f"{GROUP}/{'v1beta1' if CASES.index(case) % 5 == 0 else 'v1'}"
    return made("HTTPRoute", f"case-{CASES.index(case)}", spec, case.get("namespace", "default"), version)


def stream(case: dict[str, Any]) -> dict[str, Any]:
    spec = {"parentRefs": [{"name": "streams", **case.get("parent", {})}], **case["spec"]}
    version = f"{GROUP}/{'v1alpha2' if STREAMS.index(case) % 4 == 0 else 'v1'}"
    return made(case["kind"], f"stream-{STREAMS.index(case)}", spec, version=version)


def objects() -> list[dict[str, Any]]:
    lab = made("Lab", "lab", {"nodes": 2, "dns": {"enabled": False}, "gateway": {"controller": "nginx"}})
    lab = {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "spec": lab["spec"]}
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other", "labels": {"door": "open"}}}
    tls = {"protocol": "HTTPS", "port": 443}
    gateways = [
        gateway("all", {"name": "http", **routes_from("All")}),
        gateway(
            "same",
            {"name": "http"},
            {"name": "selected", "port": 81, **routes_from("Selector", selector={"matchLabels": {"door": "open"}})},
        ),
        gateway(
            "hosts",
            {"name": "exact", "hostname": "very.specific.com"},
            {"name": "wildcard", "hostname": "*.wildcard.io"},
            {"name": "short", "hostname": "*.isolated.io"},
            {"name": "deep", "hostname": "deep.isolated.io"},
        ),
        gateway(
            "secure",
            {"name": "a", **tls, "hostname": "secure.example", "tls": {"certificateRefs": [{"name": "secure"}]}},
            {"name": "b", **tls, "hostname": "*.secure.org", "tls": {"certificateRefs": [{"name": "wild"}]}},
        ),
    ]
    through = {"protocol": "TLS", "tls": {"mode": "Passthrough"}}
    gateways.append(
        gateway(
            "streams",
            {"name": "http"},
            {"name": "tls", "port": 443, **through},
            {"name": "wild", "port": 8443, "hostname": "*.wild.example", **through},
            {"name": "deep", "port": 8443, "hostname": "deep.wild.example", **through},
            {"name": "terminate", "port": 8444, **through, "tls": {"certificateRefs": [{"name": "secure"}]}},
            *({"name": f"tcp{number}", "protocol": "TCP", "port": 9000 + number} for number in range(4)),
        )
    )
    grant = made(
        "ReferenceGrant",
        "granted",
        {
            "from": [{"group": GROUP, "kind": kind, "namespace": "default"} for kind in ("HTTPRoute", "TCPRoute")],
            "to": [{"group": "", "kind": "Service", "name": "granted"}],
        },
        "other",
        f"{GROUP}/v1beta1",
    )
    pods = [*(pod(name) for name in ("v1", "v2", "v3", *OWN)), pod("v4", "other")]
    services = [*(service(name, name) for name in ("v1", "v2", "v3", "empty", *OWN)), service("v4", "v4", "other")]
    services += [service("granted", "v4", "other"), service("headless", "v2", clusterIP="None")]
    secrets = [secret("secure", SECURE), secret("wild", WILD)]
    return [lab, other, *gateways, grant, *pods, *services, *secrets, *map(route, CASES), *map(stream, STREAMS)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("gateway")
    texts = [msgspec.json.encode(one).decode() for one in objects()]
    (directory / "lab.yaml").write_text("\n---\n".join(texts))
    with running(directory) as lab:
        yield lab


def node_port(lab: Lab, name: str) -> int:
    """Of a Gateway's first listener, and of the second one of `same`."""
    gateway, number = ("same", 1) if name == "selected" else (name, 0)
    ports = lab.json("get", "service", f"{gateway}-nginx")["spec"]["ports"]
    return int(ports[number]["nodePort"])


@pytest.fixture(scope="module")
def ports(lab: Lab) -> dict[str, int]:
    return {name: node_port(lab, name) for name in ("all", "same", "selected", "hosts", "secure")}


def asked(lab: Lab, ports: dict[str, int], path: str, host: str, more: dict[str, Any]) -> Answer:
    return ask(
        lab,
        more.get("host", host),
        path,
        method=more.get("method", "GET"),
        headers=more.get("headers", {}),
        tls="tls" in more,
        port=ports[more.get("port", "all")],
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["feature"]))
def test_a_route_answers_as_the_gateway_apis_conformance_asks(
    lab: Lab, ports: dict[str, int], case: dict[str, Any]
) -> None:
    held = lab.json("get", "httproute", f"case-{CASES.index(case)}", "-n", case.get("namespace", "default"))
    (parent,) = held["status"]["parents"]
    reasons = {one["type"]: one["reason"] for one in parent["conditions"]}
    assert case.get("status", {}).items() <= reasons.items(), parent
    assert {one["observedGeneration"] for one in parent["conditions"]} == {held["metadata"]["generation"]}
    for path, wanted, *rest in case["asked"]:
        more = rest[0] if rest else {}
        answer = asked(lab, ports, path, host_of(case), more)
        assert answer.told == wanted, (path, more, answer.status)
        if "path" in more:
            assert answer.said["path"] == more["path"]
        seen = {name.lower(): text for name, text in answer.said.get("headers", {}).items()}
        for name, text in more.get("seen", {}).items():
            assert seen.get(name.lower()) == text, (path, name)
        for name, text in more.get("told", {}).items():
            assert answer.headers[name] == text, (path, name)
        if "tls" in more:
            assert answer.certificate == {"secure.example": SECURE, "*.secure.org": WILD}[more["tls"]][2]


REFUSED = "refused"


def heard(lab: Lab, number: int, host: str, tls: bool) -> str | int:
    """Who answers at the Gateway `streams`' port, with a certificate of its own where it is TLS."""
    (port,) = [one for one in lab.json("get", "service", "streams-nginx")["spec"]["ports"] if one["port"] == number]
    try:
        answer = ask(lab, host, port=port["nodePort"], tls=tls)
    except (OSError, http.client.HTTPException):
        return REFUSED
    assert not tls or answer.certificate == OWN[answer.pod][2]
    return answer.told


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: str(case["feature"]))
def test_a_connection_goes_where_the_gateway_apis_conformance_asks(lab: Lab, case: dict[str, Any]) -> None:
    """TLS by SNI, to pods that have certificates of their own; TCP by its port."""
    held = lab.json("get", case["kind"].lower(), f"stream-{STREAMS.index(case)}")
    (parent,) = held["status"]["parents"]
    reasons = {one["type"]: one["reason"] for one in parent["conditions"]}
    assert {"Accepted": "Accepted", "ResolvedRefs": "ResolvedRefs", **case.get("status", {})} == reasons, parent
    for port, host, wanted in case["asked"]:
        assert heard(lab, port, host, tls=case["kind"] == "TLSRoute") == wanted, (port, host)


def test_streams_stand_beside_http_and_what_they_cannot_is_said(lab: Lab) -> None:
    listeners = {one["name"]: one for one in lab.json("get", "gateway", "streams")["status"]["listeners"]}
    found = {
        name: ([kind["kind"] for kind in one["supportedKinds"]], one["attachedRoutes"])
        for name, one in listeners.items()
    }
    assert found == {
        "http": (["HTTPRoute"], 0),
        "tls": (["TLSRoute"], 4),
        "wild": (["TLSRoute"], 1),
        "deep": (["TLSRoute"], 1),
        "terminate": ([], 0),
        "tcp0": (["TCPRoute"], 2),
        "tcp1": (["TCPRoute"], 1),
        "tcp2": (["TCPRoute"], 1),
        "tcp3": (["TCPRoute"], 1),
    }
    (accepted,) = [one for one in listeners["terminate"]["conditions"] if one["type"] == "Accepted"]
    assert (accepted["status"], accepted["reason"]) == ("False", "UnsupportedValue")
    assert heard(lab, 80, "any.example", tls=False) == 404


def test_connections_are_shared_out_by_weight_and_follow_a_services_port(lab: Lab, tmp_path: Path) -> None:
    """TCPRouteWeightedRouting; the share of a backend that there is not is closed."""
    told = Counter(heard(lab, 9001, "x", tls=False) for _ in range(200))
    assert told.keys() == {"v1", "v2", REFUSED}
    for answer, share in (("v1", 0.5), ("v2", 0.3), (REFUSED, 0.2)):
        assert abs(told[answer] / 200 - share) < 0.16, told
    moved = service("moving", "v3")
    led = stream(STREAMS[-1])
    led["spec"]["rules"] = [{"backendRefs": [{"name": "moving", "port": 80}]}]
    apply(lab, tmp_path, moved, led)
    assert heard(lab, 9003, "x", tls=False) == "v3"
    moved["spec"]["ports"][0]["port"] = 81
    said = apply(lab, tmp_path, moved, led)
    assert "BackendNotFound: spec.rules[0].backendRefs[0]: service default/moving has no port 80 (it has 81)" in said
    assert heard(lab, 9003, "x", tls=False) == REFUSED
    led["spec"]["rules"][0]["backendRefs"][0]["port"] = 81
    apply(lab, tmp_path, led)
    assert heard(lab, 9003, "x", tls=False) == "v3"


def test_a_connection_is_followed_to_nginx_and_on(lab: Lab) -> None:
    ports = {one["port"]: one["nodePort"] for one in lab.json("get", "service", "streams-nginx")["spec"]["ports"]}
    plain = lab.json("trace", "outside", f"node1:{ports[9000]}")
    assert plain["to"] == "node1" and plain["behind"]["from"].startswith("streams-nginx-")
    assert plain["behind"]["address"] == lab.json("get", "pod", "v1")["status"]["podIP"]
    assert plain["behind"]["observed"]["agrees"]
    secret = lab.json("trace", "outside", f"node1:{ports[443]}")
    shared = lab.json("trace", "outside", f"node1:{ports[9001]}")
    assert "chooses one of 2 endpoints" in shared["note"] and "closes the share" in shared["note"]
    assert secret["behind"] is None and "the name that the client asks for in TLS" in secret["note"]
    refused = lab.run("trace", "outside", "https://a.tls.example/", code=2)
    assert "gateway default/streams passes TLS for a.tls.example on" in refused
    shown = lab.run("nginx-conf", "a.tls.example")
    assert '"a.tls.example" default_t1_80;' in shown and "ssl_preread on;" in shown


def apply(lab: Lab, directory: Path, *objects: dict[str, Any]) -> str:
    """What it warns of."""
    file = directory / "more.yaml"
    file.write_text("\n---\n".join(msgspec.json.encode(one).decode() for one in objects))
    asked = lab.start("apply", "-f", str(file))
    out, err = asked.communicate()
    assert asked.returncode == 0, out + err
    return err


def way(name: str, host: str, *backends: dict[str, Any], **parent: Any) -> dict[str, Any]:
    rules = [{"backendRefs": [{"port": 80, **one} for one in backends]}]
    spec = {"parentRefs": [{"name": "all", **parent}], "hostnames": [host], "rules": rules}
    return made("HTTPRoute", name, spec, version=f"{GROUP}/v1")


def test_requests_are_shared_out_by_weight(lab: Lab, ports: dict[str, int], tmp_path: Path) -> None:
    """HTTPRouteWeight; the share of a backend that there is not is 500."""
    shares = (
        {"name": "v1", "weight": 50},
        {"name": "v2", "weight": 30},
        {"name": "v3", "weight": 0},
        {"name": "nix", "weight": 20},
    )
    apply(lab, tmp_path, way("weighted", "weighted.example", *shares))
    told = Counter(ask(lab, "weighted.example", port=ports["all"]).told for _ in range(300))
    assert told.keys() == {"v1", "v2", 500}
    for answer, share in (("v1", 0.5), ("v2", 0.3), (500, 0.2)):
        assert abs(told[answer] / 300 - share) < 0.13, told


def test_a_change_is_served_when_apply_ends_and_a_taken_grant_is_500(
    lab: Lab, ports: dict[str, int], tmp_path: Path
) -> None:
    host = "granted.example"
    apply(lab, tmp_path, way("granted", host, {"name": "granted", "namespace": "other"}))
    assert ask(lab, host, port=ports["all"]).told == "v4"
    held = lab.json("get", "referencegrant", "granted", "-n", "other")
    lab.run("delete", "referencegrant", "granted", "-n", "other")
    eventually(lambda: ask(lab, host, port=ports["all"]).told == 500)
    found = [
        one
        for one in lab.json("diagnose", "--predict-only", code=None)["findings"]
        if one["object"] == "default/granted"
    ]
    assert [one["fault"] for one in found] == ["grant"]
    del held["metadata"]["resourceVersion"], held["metadata"]["uid"]
    apply(lab, tmp_path, held)
    assert ask(lab, host, port=ports["all"]).told == "v4"
    said = apply(lab, tmp_path, way("granted", host, {"name": "v1"}, sectionName="nix"))
    assert "NoMatchingParent: gateway default/all has no listener named nix" in said
    eventually(lambda: ask(lab, host, port=ports["all"]).told == 404)


def test_another_listener_is_a_port_of_the_service_and_no_new_pod(
    lab: Lab, ports: dict[str, int], tmp_path: Path
) -> None:
    """GatewayModifyListeners."""

    def pods() -> list[str]:
        items = lab.json("get", "pods", "-l", f"{GROUP}/gateway-name=grown")["items"]
        return [one["metadata"]["name"] for one in items]

    web = way("grown", "grown.example", {"name": "v1"})
    web["spec"]["parentRefs"] = [{"name": "grown"}]
    apply(lab, tmp_path, gateway("grown", {"name": "a"}), web)
    before, first = pods(), node_port(lab, "grown")
    assert len(before) == 1 and ask(lab, "grown.example", port=first).told == "v1"
    apply(lab, tmp_path, gateway("grown", {"name": "a"}, {"name": "b", "port": 8000}))
    two = lab.json("get", "service", "grown-nginx")["spec"]["ports"]
    assert [one["port"] for one in two] == [80, 8000] and two[0]["nodePort"] == first and pods() == before
    assert ask(lab, "grown.example", port=two[1]["nodePort"]).told == "v1"
    lab.run("delete", "gateway", "grown")
    eventually(lambda: not pods())
    held = lab.json("get", "httproute", "grown")
    assert held["status"]["parents"] == []


def test_a_request_is_traced_and_the_configuration_shown(lab: Lab) -> None:
    host = host_of(CASES[0])
    found = lab.json("trace", "outside", f"http://{host}/any")
    assert (found["route"]["gateway"], found["route"]["route"]) == ("default/all", "default/case-0")
    assert found["answer"]["pod"] == "default/v1" and found["second"]["observed"]["agrees"]
    assert "spec.rules[0].matches[0]" in found["route"]["written"] or "lab.yaml:" in found["route"]["written"]
    lost = lab.json("trace", "outside", "http://very.specific.com/nix", code=None)
    assert lost["route"]["listener"] == "exact" and lost["answer"]["status"] == 404
    shown = lab.run("nginx-conf", host)
    assert f"server_name {host};" in shown and "# HTTPRoute default/case-0, " in shown and "case-1." not in shown
    assert set(lab.json("nginx-conf", "--gateway", "secure")["servers"]) == {
        "*.secure.org",
        "secure.example",
        "other.secure.org",
    }
    columns = lab.run("get", "gateway", "all").splitlines()
    assert columns[0].split() == ["NAME", "CLASS", "ADDRESS", "PROGRAMMED", "AGE"] and columns[1].split()[3] == "True"


@pytest.mark.parametrize("name", ["gateway-listener-hostname", "reference-grant-namespace"])
def test_a_fault_of_a_gateway_is_seen_named_and_cleared(lab: Lab, name: str) -> None:
    [fault] = lab.client.call(INJECT, InjectQuestion(name, "node1", "")).faults
    url = fault.probe.split()[-1]
    try:
        damaged = lab.json("trace", "outside", url, code=None)["answer"]
        assert damaged["status"] in (404, 500) and not damaged["pod"], damaged
        said = FAULTS[name].said
        found = {(one.kind, one.fault) for one in lab.diagnose().findings if one.object == fault.object}
        assert (said.kind, said.fault) in found
    finally:
        assert [one.name for one in lab.client.call(CLEAR, Nothing()).faults] == [name]
    eventually(lambda: lab.json("trace", "outside", url, code=None)["answer"]["status"] == 200)
