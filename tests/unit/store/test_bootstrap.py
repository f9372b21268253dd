"""Certificates for machines: the CA, tokens, and the server that signs for who has one, over a real TLS connection."""

from __future__ import annotations

import http.client
import random
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from k8snetlab.errors import InputError, NotFoundError, StoreError
from k8snetlab.store import bootstrap, pki, tokens
from k8snetlab.store.bootstrap import Bootstrap, Grant, Offer, Refusal, SigningRequest
from k8snetlab.store.pki import Authority
from k8snetlab.store.tokens import Tokens
from k8snetlab.testing.etcd import free_port


class Server:
    def __init__(self, directory: Path) -> None:
        self.authority, self.tokens = Authority(directory / "pki"), Tokens(directory / "tokens")
        self.signed: list[tuple[str, str]] = []
        self.port = free_port()
        self.bootstrap = Bootstrap(
            self.authority, self.tokens, ("https://127.0.0.1:2379",), lambda *who: self.signed.append(who)
        )
        self.bootstrap.start("127.0.0.1", self.port, self.authority.server(["127.0.0.1"]))

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def sign(self, **fields: str) -> tuple[int, bytes]:
        return self.ask("POST", "/sign", msgspec.json.encode(fields))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("bootstrap"))
    yield server
    server.bootstrap.stop()


@pytest.fixture
def no_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "PENALTY", 0.0)


def test_a_token_gets_a_certificate_for_its_machines_own_key(server: Server) -> None:
    token = server.tokens.create()
    status, said = server.ask("GET", f"/ca?token={token.id}")
    offer = msgspec.json.decode(said, type=Offer)
    assert (status, offer.ca.encode(), offer.proof) == (200, server.authority.pem, token.proof(server.authority.pem))
    _, request = pki.new_request("elsewhere")
    status, said = server.sign(token=str(token), request=request.decode(), node="node2")
    assert status == 200
    grant = msgspec.json.decode(said, type=Grant)
    assert grant.endpoints == ("https://127.0.0.1:2379",)
    signed = x509.load_pem_x509_certificate(grant.certificate.encode())
    ca = x509.load_pem_x509_certificate(server.authority.pem)
    signed.verify_directly_issued_by(ca)
    assert signed.public_key() == x509.load_pem_x509_csr(request).public_key()
    assert [name.value for name in signed.subject] == ["k8snetlab:machines", "node2"]
    usages = signed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [usage.dotted_string for usage in usages] == ["1.3.6.1.5.5.7.3.2"], "clients' alone"
    assert server.signed[-1] == ("node2", "127.0.0.1")


def test_the_proof_of_an_unknown_token_is_none(server: Server) -> None:
    for asked in ("", "?token=zzzzzz", "?token=../../x", "?token=%00"):
        status, said = server.ask("GET", f"/ca{asked}")
        assert (status, msgspec.json.decode(said, type=Offer).proof) == (200, "")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", None, 404),
        ("GET", "/sign", None, 405),
        ("POST", "/ca", b"{}", 405),
        ("POST", "/sign", b"", 400),
        ("POST", "/sign", b"\xff\xfe", 400),
        ("POST", "/sign", b"[]", 400),
        ("POST", "/sign", b'{"token": 1, "request": "", "node": ""}', 400),
        ("POST", "/sign", b"[" * 16_000, 400),
        ("POST", "/sign", b" " * 20_000, 413),
        ("POST", "/sign", b'{"token": "x", "request": "", "node": "a"}', 401),
    ],
)
@pytest.mark.usefixtures("no_penalty")
def test_what_is_no_request_is_said_to_be_none(
    server: Server, method: str, path: str, body: bytes | None, status: int
) -> None:
    answered, said = server.ask(method, path, body)
    assert answered == status
    assert msgspec.json.decode(said, type=Refusal).message


@pytest.mark.parametrize("node", ["", "Bad Name", "../x", "a\nb", "router", "n" * 300])
def test_names_no_node_can_have_get_no_certificate(server: Server, node: str) -> None:
    _, request = pki.new_request("x")
    status, _ = server.sign(token=str(server.tokens.create()), request=request.decode(), node=node)
    assert status == 422


def test_requests_of_other_shapes_are_not_signed(server: Server) -> None:
    token = str(server.tokens.create())
    key, request = pki.new_request("x")
    for wrong in ("", "x", server.authority.pem.decode(), key.decode(), request.decode()[:-60]):
        status, said = server.sign(token=token, request=wrong, node="node2")
        assert status == 422
        assert msgspec.json.decode(said, type=Refusal).message == "that is no certificate signing request"


@pytest.mark.slow
@pytest.mark.usefixtures("no_penalty")
def test_random_bytes_are_answered_or_hung_up_on(server: Server) -> None:
    choose = random.Random(2)
    good = msgspec.json.encode(SigningRequest("abcdef.0123456789abcdef", "", "node2"))
    for _ in range(200):
        body = bytearray(good)
        for _ in range(choose.randrange(1, 6)):
            body[choose.randrange(len(body))] = choose.randrange(256)
        status, _ = server.ask("POST", "/sign", bytes(body))
        assert status in (400, 401, 422)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(choose.randbytes(300))
    assert server.ask("GET", "/ca")[0] == 200


def test_files_are_for_root_only_and_a_pair_is_kept_while_it_is_good(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    server, client = authority.server(["10.0.0.1"]), authority.client()
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "pki").iterdir()}
    assert set(modes.values()) == {0o600} and stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700
    before = [file.read_bytes() for file in (server.cert, client.cert)]
    again = Authority(tmp_path / "pki")
    assert again.hash == authority.hash
    assert [again.server(["10.0.0.1"]).cert.read_bytes(), again.client().cert.read_bytes()] == before
    assert again.server(["10.0.0.2"]).cert.read_bytes() != before[0], "another address"
    client.cert.write_text("garbage")
    assert again.client().cert.read_bytes().startswith(b"-----BEGIN")
    (tmp_path / "pki" / "ca.crt").write_text("garbage")
    with pytest.raises(StoreError, match="cannot be read"):
        Authority(tmp_path / "pki")


def test_tokens_are_kubeadms(tmp_path: Path) -> None:
    store = Tokens(tmp_path / "tokens")
    assert store.list() == []
    made, ended = store.create(), store.create(ttl=-1)
    assert [str(token) for token in store.list()] == [str(made)]
    assert store.allows(str(made)) and not store.allows(str(ended)) and not store.allows(f"{made.id}.{'a' * 16}")
    assert store.create(ttl=0, text=str(made)).expires == 0.0
    with pytest.raises(InputError, match="another secret"):
        store.create(text=f"{made.id}.{'b' * 16}")
    for wrong in ("", "abc", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde", "abcdef.0123456789abcdef\n", "../x"):
        with pytest.raises(InputError):
            tokens.parse(wrong)
        assert not store.allows(wrong)
        with pytest.raises(NotFoundError):
            store.delete(wrong)
    store.delete(str(made))
    assert store.list() == []


def test_an_address_in_use_is_said(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    other = Bootstrap(authority, Tokens(tmp_path), (), lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StoreError, match="already in use"):
        other.start("127.0.0.1", taken.getsockname()[1], authority.server([]))
