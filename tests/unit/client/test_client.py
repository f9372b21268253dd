"""What the daemon answers is decoded into the verb's type; an answer that is none of it is an error with its path."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.client.client import Client
from k8snetlab.errors import DaemonError, InputError
from k8snetlab.messages.diagnose import DIAGNOSE, DiagnosisDone, DiagnosisProgress, DiagnosisQuestion
from k8snetlab.messages.probe import PROBE, ProbeQuestion
from k8snetlab.messages.store import DUMP, DumpQuestion
from k8snetlab.state.paths import LabPaths

RESULT = (
    b'{"from":"a","fromNode":"n1","to":"b","kind":"pod","address":"10.0.0.2","port":80,"protocol":"TCP",'
    b'"reached":true,"seen":"answered"}'
)
PROGRESS = b'{"type":"progress","phase":"rules","done":1,"total":2}\n'
DONE = b'{"type":"done","findings":[],"closed":[],"notes":[],"paths":{"walked":1,"broken":0,"tried":0},"seconds":0.5}\n'


class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    body = b""
    broken_off = False


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.body)

    def do_GET(self) -> None:
        """Chunked, as the daemon streams; one that is broken off lacks its end."""
        assert isinstance(self.server, Server)
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(self.server.body), self.server.body))
        if not self.server.broken_off:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "client"


@contextmanager
def daemon(monkeypatch: pytest.MonkeyPatch, directory: Path, body: bytes, broken_off: bool = False) -> Iterator[Client]:
    """A lab whose daemon answers everything with `body`."""
    monkeypatch.setenv("K8SNETLAB_RUN", str(directory))
    LabPaths("l").create()
    with Server(str(LabPaths("l").socket), Handler) as server:
        server.body, server.broken_off = body, broken_off
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Client("l")
        finally:
            server.shutdown()
            thread.join()


def test_an_answer_is_a_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with daemon(monkeypatch, tmp_path, b'{"results":[' + RESULT + b"]}") as client:
        (result,) = client.call(PROBE, ProbeQuestion("a", "b")).results
    assert (result.source, result.target, result.reached, result.verdict) == ("a", "b", True, "as intended")


def test_a_field_of_a_later_version_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    later = RESULT.replace(b'"reached"', b'"mood":"good","reached"')
    with daemon(monkeypatch, tmp_path, b'{"results":[' + later + b"]}") as client:
        assert client.call(PROBE, ProbeQuestion("a", "b")).results[0].reached


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"results":[' + RESULT.replace(b"80", b'"http"') + b"]}", "`$.results[0].port`"),
        (b'{"results":[{}]}', "`$.results[0]`"),
        (b'{"results":', "truncated"),
    ],
)
def test_an_answer_of_another_form_is_an_error_with_its_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: bytes, said: str
) -> None:
    with daemon(monkeypatch, tmp_path, body) as client, pytest.raises(DaemonError) as caught:
        client.call(PROBE, ProbeQuestion("a", "b"))
    assert caught.value.message.startswith("lab l: its daemon answers strangely: ") and said in caught.value.message


def test_the_events_of_a_stream_are_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with daemon(monkeypatch, tmp_path, PROGRESS + DONE) as client:
        first, last = client.stream(DIAGNOSE, DiagnosisQuestion())
    assert first == DiagnosisProgress("rules", 1, 2)
    assert isinstance(last, DiagnosisDone) and last.paths.walked == 1


def test_what_is_begun_is_asked_before_anybody_waits_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = threading.Event()
    monkeypatch.setattr(Handler, "log_request", lambda *_: asked.set())
    with daemon(monkeypatch, tmp_path, PROGRESS + DONE) as client:
        begun = client.begin(DIAGNOSE, DiagnosisQuestion())
        assert asked.wait(60)
        assert list(begun) == list(client.stream(DIAGNOSE, DiagnosisQuestion()))


def test_several_kinds_are_asked_for_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody is answered here until all have asked."""
    all_asked = threading.Barrier(3)
    monkeypatch.setattr(Handler, "log_request", lambda *_: all_asked.wait(60))
    with daemon(monkeypatch, tmp_path, b'{"items":[{"kind":"Pod"}]}') as client:
        assert client.lists({"pods": Pod, "nodes": Node, "services": Service}) == ([{"kind": "Pod"}],) * 3


def test_a_stream_without_its_last_event_broke_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with daemon(monkeypatch, tmp_path, PROGRESS) as client, pytest.raises(DaemonError) as caught:
        list(client.stream(DIAGNOSE, DiagnosisQuestion()))
    assert caught.value.message == "lab l: its daemon ended before this was done"


LINE = b'{"key":"/a","value":"1","revision":1}\n'


def test_a_stream_that_has_its_end_is_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with daemon(monkeypatch, tmp_path, LINE) as client:
        assert len([*client.stream(DUMP, DumpQuestion())]) == 1


@pytest.mark.parametrize("body", [LINE, LINE + LINE[:9]], ids=["between lines", "in a line"])
def test_a_stream_that_lacks_its_end_broke_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: bytes) -> None:
    with daemon(monkeypatch, tmp_path, body, broken_off=True) as client, pytest.raises(DaemonError) as caught:
        list(client.stream(DUMP, DumpQuestion()))
    assert "ended before this was done" in caught.value.message


def test_a_name_that_is_no_text_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(InputError, match="no text"):
        Client("l").call(PROBE, ProbeQuestion("\udcff", "web"))
