"""How machines are let into a lab: `store serve` with a CA of its own, tokens, and who is kept out."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Wire, take_down

pytestmark = pytest.mark.etcd
URL = "https://192.168.56.11:2379"
JOIN = "192.168.56.11:2378"


class Served:
    """Two machines; the first serves a store."""

    def __init__(self, wire: Wire, directory: Path) -> None:
        self.one, self.two = wire.machine(), wire.machine()
        self.store = directory / "etcd"
        self.pki = self.store / "pki"
        ca, cert, key = (f"{self.pki}/{name}" for name in ("ca.crt", "client.crt", "client.key"))
        self.files = ("--ca", ca, "--cert", cert, "--key", key)
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        process = self.one.start("store", "serve", "--listen", URL, "--directory", str(self.store))
        assert process.stderr is not None
        assert "etcd answers" in process.stderr.readline()
        return process

    def stop(self) -> str:
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=120)[1]

    def token(self, *words: str) -> list[str]:
        """What `token create` prints, without the command's own name."""
        said = self.one.run("token", "create", "--directory", str(self.store), *words).split()
        assert said[:3] == ["k8snetlab", "node", "join"]
        return said[1:]

    def refused(self, *words: str, code: int = 1) -> str:
        """What machine two is told; nothing of a lab is on it then."""
        said = self.two.run(*words, code=code)
        assert "Traceback" not in said
        assert not self.two.run_directory.exists()
        return said


@pytest.fixture
def served(namespace: Callable[[str], str], tmp_path: Path) -> Iterator[Served]:
    served = Served(Wire(namespace, tmp_path), tmp_path)
    yield served
    take_down([served.two, served.one])
    served.stop()


def test_a_machine_joins_with_what_token_create_prints(served: Served) -> None:
    one, two = served.one, served.two
    one.run("up", "machines", "--node", "node1", "--store", URL, *served.files)
    two.run(*served.token(), "--name", "node2")
    eventually(lambda: one.whole() and two.whole())
    assert two.json("status")["store"]["insecure"] is False
    pki = two.run_directory / two.name / "pki"
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in pki.iterdir()} == {
        "ca.crt": "0o600", "client.crt": "0o600", "client.key": "0o600",
    }  # fmt: skip
    assert [entry.name for entry in two.run_directory.iterdir()] == [two.name]
    two.run("node", "leave")
    assert not two.run_directory.exists()
    one.run("down")
    assert "node2 (192.168.56.12) has got a certificate" in served.stop()
    served.process = served.start()  # with the same CA, for machines that joined before
    assert served.token()[-1].startswith("sha256:")


def test_nobody_is_let_in_without_a_certificate(served: Served) -> None:
    for words in ((), ("--cacert", str(served.pki / "ca.crt"))):
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{served.two.namespace}", "etcdctl", "--endpoints", URL, *words]
            + ["--dial-timeout=1s", "--command-timeout=2s", "get", "--prefix", "/"],
            capture_output=True,
            text=True,
            env={"ETCDCTL_API": "3"},
        )
        assert done.returncode != 0
    said = served.refused("node", "join", "--store", URL, "--ca", f"{served.pki}/ca.crt", "--name", "node2")
    assert "certificate" in said


def test_a_token_must_be_good_and_the_ca_the_one_that_was_meant(served: Served) -> None:
    _, _, address, _, token, _, pin = served.token()
    assert address == JOIN
    join = ("node", "join", JOIN, "--name", "node2")
    pinned = ("--discovery-token-ca-cert-hash", pin)
    wrong = f"{token[:-1]}{'a' if token[-1] != 'a' else 'b'}"
    assert "does not know the token" in served.refused(*join, "--token", wrong, *pinned)
    assert "does not know the token" in served.refused(*join, "--token", "zzzzzz.0123456789abcdef", *pinned)
    other = f"sha256:{'0' * 64}"
    said = served.refused(*join, "--token", token, "--discovery-token-ca-cert-hash", other)
    assert "may pose as the store" in said
    said = served.refused(*join, "--token", token, code=2)
    assert "--discovery-token-ca-cert-hash" in said
    assert "is no token" in served.refused(*join, "--token", "../../../etc/passwd", *pinned, code=2)
    served.one.run("token", "delete", token, "--directory", str(served.store))
    assert "does not know the token" in served.refused(*join, "--token", token, *pinned)
    short = served.token("--ttl", "1s")[4]
    eventually(lambda: short[:6] not in served.one.run("token", "list", "--directory", str(served.store)))
    assert "does not know the token" in served.refused(*join, "--token", short, *pinned)


def test_a_token_chosen_beforehand_vouches_for_the_ca(served: Served) -> None:
    """As in a Vagrantfile, where nobody can know the CA's hash yet."""
    served.one.run("up", "machines", "--node", "node1", "--store", URL, *served.files)
    token = "abcdef.0123456789abcdef"
    served.token(token, "--ttl", "0")
    words = ("--token", token, "--discovery-token-unsafe-skip-ca-verification", "--name", "node2")
    served.two.run("node", "join", JOIN, *words)
    assert served.two.json("status")["store"]["insecure"] is False
