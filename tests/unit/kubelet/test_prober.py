"""What follows from a probe's answers: how many of them in a row are a verdict, and which probe is asked when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from k8snetlab.api.load import load
from k8snetlab.api.probes import Probe, TCPSocketAction
from k8snetlab.api.workload import PodWork
from k8snetlab.errors import ManifestError
from k8snetlab.kubelet import health_service
from k8snetlab.kubelet.asking import Answer
from k8snetlab.kubelet.prober import Prober, Probes, Unhealthy, askable


def probe(port: int, **more: Any) -> Probe:
    """Which is asked without a pause; the port tells which it is."""
    return Probe(tcpSocket=TCPSocketAction(port=port), periodSeconds=0, **more)


class Story:
    """A container whose probes are answered as `answers` has it (by port: 1 yes, 0 no), the last one for ever."""

    def __init__(self, **answers: str) -> None:
        self.answers: dict[int, Iterator[str]] = {int(port[1:]): iter(text) for port, text in answers.items()}
        self.last: dict[int, str] = {}
        self.said: list[str] = []

    async def ask(self, asked: Probe) -> Answer:
        assert asked.tcpSocket is not None and isinstance(asked.tcpSocket.port, int)
        port = asked.tcpSocket.port
        self.last[port] = next(self.answers[port], self.last.get(port, "1"))
        if self.last[port] == "!":
            return Answer(False, "no way", unknown=True)
        return Answer(self.last[port] == "1", "refused")

    async def run(self, probes: Probes, until: str = "") -> Unhealthy | None:
        """Until it is to be ended, or `until` was said."""
        enough = asyncio.Event()

        def say(word: str) -> None:
            self.said.append(word)
            if word == until:
                enough.set()

        prober = Prober(
            probes,
            self.ask,
            started=lambda: say("started"),
            ready=lambda good: say("ready" if good else "unready"),
            failed=say,
        )
        running = asyncio.create_task(prober.run())
        watching = asyncio.create_task(enough.wait())
        await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
        found = running.result() if running.done() else None
        running.cancel()
        watching.cancel()
        await asyncio.gather(running, watching, return_exceptions=True)
        return found


def told(answers: dict[str, str], probes: Probes, until: str = "") -> tuple[Unhealthy | None, list[str]]:
    story = Story(**answers)
    return asyncio.run(story.run(probes, until)), story.said


def test_so_many_failures_in_a_row_end_a_container_and_one_good_answer_begins_anew() -> None:
    found, said = told({"p1": "0010011000"}, Probes(liveness=probe(1, failureThreshold=3)))
    assert found == Unhealthy("failed liveness probe")
    assert said == ["ready"] + ["Liveness probe failed: refused"] * 7


def test_readiness_takes_so_many_good_answers_and_is_lost_by_bad_ones() -> None:
    probes = Probes(readiness=probe(1, successThreshold=2, failureThreshold=2))
    _, said = told({"p1": "10110100"}, probes, until="unready")
    failed = "Readiness probe failed: refused"
    assert said[:6] == [failed, "ready", failed, failed, failed, "unready"]


def test_until_it_has_started_nothing_else_is_asked() -> None:
    probes = Probes(probe(1, failureThreshold=3), probe(2), probe(3))
    found, said = told({"p1": "001", "p2": "1", "p3": "1"}, probes, until="ready")
    assert found is None and said[2:] == ["started", "ready"]
    assert set(said[:2]) == {"Startup probe failed: refused"}
    found, said = told({"p1": "0", "p2": "1"}, Probes(probe(1, failureThreshold=2), probe(2)))
    assert found == Unhealthy("failed startup probe") and "started" not in said


def test_what_cannot_be_asked_is_said_so_and_counts_neither_way() -> None:
    """As worker.go: "Prober error, throw away the result"."""
    asked = probe(1, failureThreshold=2, terminationGracePeriodSeconds=5)
    found, said = told({"p1": "!!0!0"}, Probes(liveness=asked))
    assert found == Unhealthy("failed liveness probe", 5.0)
    errored = "Liveness probe errored and resulted in unknown state: no way"
    failed = "Liveness probe failed: refused"
    assert said == ["ready", errored, errored, failed, errored, failed]


def pod(container: str, kind: str = "containers") -> Any:
    other = "containers: [{name: o}], " if kind == "initContainers" else ""
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{{other}{kind}: [{{name: c, {container}}}]}}\n"
    return load([("f.yaml", text)]).objects[0]


def test_a_probe_has_the_api_servers_defaults_and_the_number_of_the_port_it_names() -> None:
    text = "ports: [{containerPort: 8080, name: web}], livenessProbe: {httpGet: {port: web}, timeoutSeconds: 0}"
    found = pod(text)
    asked = found.spec.containers[0].livenessProbe
    assert (asked.timeoutSeconds, asked.periodSeconds, asked.successThreshold, asked.failureThreshold) == (1, 10, 1, 3)
    assert (asked.httpGet.path, asked.httpGet.scheme, asked.httpGet.port) == ("/", "HTTP", "web")
    (work,) = PodWork.of(found, "n", "/logs").containers
    assert work.liveness is not None and work.liveness.httpGet is not None and work.liveness.httpGet.port == 8080
    words = pod("args: [sleep, '9'], livenessProbe: {exec: {command: [cat, f]}}")
    assert PodWork.of(words, "n", "/logs").containers[0].liveness is not None  # it runs, and so can be asked
    grpc = pod("livenessProbe: {grpc: {port: 9}}")
    assert PodWork.of(grpc, "n", "/logs").containers[0].liveness is None  # the stand-in speaks no gRPC


def test_where_grpc_cannot_be_spoken_its_probes_are_named_and_count_as_success(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "args: [sleep, '9'], startupProbe: {grpc: {port: 9}}, livenessProbe: {tcpSocket: {port: 9}}"
    (work,) = PodWork.of(pod(text), "n", "/logs").containers
    monkeypatch.setattr(health_service, "is_there", lambda: True)
    assert askable(work) == (work, ())
    monkeypatch.setattr(health_service, "is_there", lambda: False)
    found, beyond = askable(work)
    assert (found.startup, found.liveness, beyond) == (None, work.liveness, ("Startup",))


@pytest.mark.parametrize(
    ("container", "kind", "message"),
    [
        ("livenessProbe: {grpc: {service: a}}", "containers", "livenessProbe.grpc.port"),
        ("livenessProbe: {grpc: {port: 0}}", "containers", "must be between 1 and 65535, inclusive"),
        ("livenessProbe: {}", "containers", "livenessProbe: Required value: must specify a handler type"),
        ("livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}", "containers", "may not specify more than 1"),
        ("livenessProbe: {exec: {command: []}}", "containers", "exec.command: Required value"),
        ("livenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}", "containers", "Invalid value: 2: must be 1"),
        ("readinessProbe: {tcpSocket: {port: 0}}", "containers", "must be between 1 and 65535, inclusive"),
        ("readinessProbe: {httpGet: {port: 1, scheme: FTP}}", "containers", "scheme: Unsupported value"),
        ('readinessProbe: {httpGet: {port: 1, path: "/a\\r\\nb"}}', "containers", "httpGet.path"),
        ("readinessProbe: {httpGet: {port: 1, httpHeaders: [{name: 'a b', value: x}]}}", "containers", "HTTP header"),
        ("readinessProbe: {tcpSocket: {port: 1}, periodSeconds: -1}", "containers", "greater than or equal to 0"),
        ("readinessProbe: {tcpSocket: {port: 1}}", "initContainers", "may not be set for init containers without"),
        ("lifecycle: {preStop: {}}", "containers", "lifecycle.preStop: Required value: must specify a handler type"),
        ("lifecycle: {preStop: {sleep: {seconds: 1}}}", "initContainers", "may not be set for init containers without"),
    ],
)
def test_wrong_probes_and_hooks_are_refused_with_their_field(container: str, kind: str, message: str) -> None:
    with pytest.raises(ManifestError) as error:
        pod(container, kind)
    assert message in str(error.value)
