"""k8snetlab dig: the queries of a name, held against those that the C library itself sends from the same pod."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rdatatype
import dnsprocess
import msgspec
import pytest

from k8snetlab.kernel import netns
from k8snetlab.messages.dig import Dig
from k8snetlab.testing import Lab, eventually, running

pytestmark = pytest.mark.root

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node1, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: hand}
spec:
  nodeName: node1
  dnsPolicy: None
  dnsConfig:
    nameservers: [127.0.0.1]
    searches: [a.example, b.example]
    options: [{name: ndots, value: "2"}, {name: timeout, value: "1"}]
  containers: [{name: c}]
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, labels: {app: db}}
spec: {nodeName: node2, containers: [{name: c, ports: [{containerPort: 3306}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: db}, clusterIP: 10.96.0.20, ports: [{name: http, port: 80, targetPort: 3306}]}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("dig")
    (directory / "lab.yaml").write_text(LAB)
    with running(directory) as one:
        eventually(lambda: dug(one, "client", "web").found)
        yield one


def dug(lab: Lab, *words: str, code: int | None = None) -> Dig:
    return msgspec.convert(lab.json("dig", *words, code=code), Dig)


def test_a_service_costs_two_queries_and_the_translation_is_named(lab: Lab) -> None:
    answer = dug(lab, "client", "web", code=0)
    assert [(q.name, q.type, q.status) for q in answer.queries] == [
        ("web.default.svc.cluster.local.", "A", "NOERROR"),
        ("web.default.svc.cluster.local.", "AAAA", "NODATA"),
    ]
    assert answer.addresses == ("10.96.0.20",)
    (pod,) = lab.list("Pod", "kube-system")
    for query in answer.queries:
        assert (query.server, query.service) == ("10.96.0.10", "kube-system/kube-dns")
        assert query.answeredBy == f"kube-system/{pod['metadata']['name']}"
        assert query.answeredIP == f"{pod['status']['podIP']}:53"
        assert query.answeredNode == pod["spec"]["nodeName"]
    text = lab.run("dig", "client", "web")
    assert f"10.96.0.10:53 → {pod['status']['podIP']}:53, kube-system/{pod['metadata']['name']} on " in text
    assert max(map(len, text.splitlines())) <= 80


def test_exit_codes_tell_found_from_not_found_and_from_misuse(lab: Lab) -> None:
    lab.run("dig", "client", "nothing", code=1)
    lab.run("dig", "client", "_http._tcp.web", "SRV", code=0)
    lab.run("dig", "client", "10.96.0.20", code=0)
    for words in (("web", "BOGUS"), ("web", "AXFR"), ("ü.example",), ("a" * 64,), ("a..b",), ("a b",)):
        assert "error: " in lab.run("dig", "client", *words, code=2)
    lab.run("dig", "nobody", "web", code=1)
    lab.run("dig", "client", code=2)


def test_a_server_that_stands_still_is_no_answer_and_is_not_named_as_who_answered(lab: Lab) -> None:
    pid = dnsprocess.pid_of(lab)
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = dug(lab, "client", "web.default.svc.cluster.local.", "A", code=1)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert answer.queries[0].error == "no answer"
    assert {(q.status, q.answeredBy) for q in answer.queries} == {("", "")}
    eventually(lambda: dug(lab, "client", "web").found)


LOOKUP = "import socket, sys; socket.getaddrinfo(sys.argv[1], None)"
"""`getent ahosts` would ask for no AAAA in a pod without IPv6 (AI_ADDRCONFIG)."""


@pytest.mark.parametrize("to", ["http://web", "http://web:80/path", "web.default.svc:80"])
@pytest.mark.parametrize("verb", ["probe", "trace"])
def test_a_target_that_is_a_name_is_looked_up_first_and_the_exchange_shown(lab: Lab, verb: str, to: str) -> None:
    text = lab.run(verb, "client", to)
    lookup, path = text.index("10.96.0.10:53 → "), text.rindex("10.96.0.20:80")
    assert lookup < path
    assert "web.default.svc.cluster.local." in text


def test_a_target_whose_name_is_not_found_is_not_reached(lab: Lab) -> None:
    assert "not found" in lab.run("probe", "client", "http://nothing", code=1)
    assert "not found" in lab.run("trace", "client", "http://nothing", code=1)
    for verb, empty in (("probe", "results"), ("trace", "ways")):
        said = lab.json(verb, "client", "http://nothing", code=1)
        assert said[empty] == []
        assert (said["dns"]["found"], len(said["dns"]["queries"])) == (False, 8)
    assert said["note"] == "client finds no address of nothing"


@pytest.mark.parametrize("verb", ["probe", "trace"])
def test_the_exchange_is_in_the_json_too(lab: Lab, verb: str) -> None:
    said = lab.json(verb, "client", "http://web")
    assert said.get("address", said.get("results", [{}])[0].get("address")) == "10.96.0.20"
    assert msgspec.convert(said["dns"], Dig).addresses == ("10.96.0.20",)
    assert {query["service"] for query in said["dns"]["queries"]} == {"kube-system/kube-dns"}
    assert lab.json(verb, "client", "web:80")["dns"] is None


def test_a_name_outside_costs_a_query_for_each_domain_and_a_long_answer_is_asked_again_by_tcp(lab: Lab) -> None:
    answer = dug(lab, "client", "many.example.com", code=0)
    assert [q.name for q in answer.queries if q.type == "A"] == [
        "many.example.com.default.svc.cluster.local.",
        "many.example.com.svc.cluster.local.",
        "many.example.com.cluster.local.",
        *["many.example.com."] * 2,
    ]
    cut, whole = (query for query in answer.queries if query.records)
    assert (cut.transport, cut.truncated, whole.transport, whole.truncated) == ("udp", True, "tcp", False)
    assert (len(cut.records), len(whole.records), len(answer.addresses)) == (29, 40, 40)
    text = lab.run("dig", "client", "many.example.com")
    assert "29 records fit: truncated" in text
    assert "and 33 more" in text


class Recorder(threading.Thread):
    """A name server inside a pod that writes down what it is asked, and answers `rcode` but to names in `known`."""

    def __init__(self, namespace: str, rcode: int, known: tuple[str, ...] = ()) -> None:
        super().__init__(daemon=True)
        self.asked: list[tuple[str, str]] = []
        self._rcode, self._known = rcode, known
        with netns.inside(namespace):
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 53))
        self._sock.settimeout(0.2)
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                octets, sender = self._sock.recvfrom(2048)
            except TimeoutError:
                continue
            query = dns.message.from_wire(octets)
            name, type_ = query.question[0].name.to_text(), dns.rdatatype.to_text(query.question[0].rdtype)
            self.asked.append((name, type_))
            reply = dns.message.make_response(query)
            reply.set_rcode(0 if name in self._known else self._rcode)
            if name in self._known and type_ == "A":
                reply.answer.append(dns.rrset.from_text(name, 5, "IN", "A", "192.0.2.1"))
            self._sock.sendto(reply.to_wire(), sender)
        self._sock.close()

    def end(self) -> list[tuple[str, str]]:
        self._ended.set()
        self.join()
        return self.asked


@pytest.mark.parametrize("name", ["web", "web.shop", "www.example.com", "web.", "a.b.c.d"])
@pytest.mark.parametrize("rcode", [0, 2, 3, 5], ids=["NODATA", "SERVFAIL", "NXDOMAIN", "REFUSED"])
def test_the_queries_are_those_that_glibc_sends(lab: Lab, name: str, rcode: int) -> None:
    asked = []
    for command in (("exec", "hand", "--", sys.executable, "-c", LOOKUP, name), ("dig", "hand", name)):
        recorder = Recorder(lab.netns("default", "hand"), rcode, ("web.b.example.",))
        recorder.start()
        lab.run(*command, code=None)
        asked.append(recorder.end())
    assert asked[0] == asked[1]
    assert asked[0]


MUSL = """
#include <netdb.h>
#include <string.h>
int main(int n, char **words) {
    struct addrinfo want, *found;
    memset(&want, 0, sizeof want);
    return getaddrinfo(words[1], 0, &want, &found) != 0;
}
"""


@pytest.fixture(scope="module")
def musl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that looks a name up with musl's own code, as Alpine's do."""
    if shutil.which("musl-gcc") is None:
        pytest.skip("musl-gcc is missing (Debian: musl-tools)")
    directory = tmp_path_factory.mktemp("musl")
    (directory / "lookup.c").write_text(MUSL)
    subprocess.run(["musl-gcc", "-static", "-o", "lookup", "lookup.c"], cwd=directory, check=True)
    return str(directory / "lookup")


@pytest.mark.parametrize("name", ["web", "www.example.com", "web."])
@pytest.mark.parametrize("rcode", [0, 2, 3, 5], ids=["NODATA", "SERVFAIL", "NXDOMAIN", "REFUSED"])
def test_the_queries_are_those_that_musl_sends(lab: Lab, musl: str, name: str, rcode: int) -> None:
    asked = []
    for command in (("exec", "hand", "--", musl, name), ("dig", "hand", name, "--musl")):
        recorder = Recorder(lab.netns("default", "hand"), rcode, ("web.b.example.",))
        recorder.start()
        lab.run(*command, code=None)
        asked.append(recorder.end())
    assert asked[0] == asked[1]
    assert asked[0]


def test_a_musl_program_finds_services_by_their_short_names(lab: Lab, musl: str) -> None:
    lab.run("exec", "client", "--", musl, "web", code=0)
    lab.run("exec", "client", "--", musl, "nothing", code=1)


def test_musl_asks_no_list_for_a_name_with_dots_enough(lab: Lab) -> None:
    recorder = Recorder(lab.netns("default", "hand"), 3)
    recorder.start()
    lab.run("dig", "hand", "www.example.com", "--musl", code=1)
    assert recorder.end() == [("www.example.com.", "A"), ("www.example.com.", "AAAA")]


def test_a_name_in_the_pods_hosts_is_said_to_be_read_there_first(lab: Lab) -> None:
    file = Path("/etc/netns", lab.netns("default", "client"), "hosts")
    before = file.read_text()
    file.write_text(f"{before}192.0.2.9 web\n")
    try:
        (note,) = json.loads(lab.run("dig", "client", "web", "-o", "json"))["notes"]
    finally:
        file.write_text(before)
    assert note.startswith("/etc/hosts of client has this name, as 192.0.2.9")
