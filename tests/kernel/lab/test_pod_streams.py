"""Five releases of kubectl run commands in pods, copy files and forward ports: by WebSocket and by SPDY."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.request import urlopen

import clients
import kubernetes
import kubernetes.config
import kubernetes.stream
import pytest
from kubectl import Kubectl

from k8snetlab.testing import Lab, eventually

pytestmark = pytest.mark.lab("two-nodes", scope="module")
PATIENCE = 60
OBJECTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 8080, name: http}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec:
  containers:
    - name: one
      image: any
      ports: [{containerPort: 7000}]
      command: [python3, -c, "%s"]
    - {name: two, image: any, command: [sleep, infinity]}
"""
ECHO = """
import socket, threading
def answer(one):
    got = b''
    while data := one.recv(65536):
        got += data
    one.sendall(got[::-1])
    one.close()
server = socket.create_server(('127.0.0.1', 7000))
while True:
    threading.Thread(target=answer, args=(server.accept()[0],)).start()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(params=clients.RELEASES)
def k(request: pytest.FixtureRequest, lab: Lab, home: Path, kubectl_of: Callable[[str], str]) -> Kubectl:
    file = home / request.param
    one = Kubectl(kubectl_of(request.param), home, file)
    if not file.exists():
        file.write_text(lab.run("kubeconfig"))
        one.run("apply", "-f", "-", stdin=OBJECTS % ECHO.strip().replace("\n", "\\n"))
        one.run("rollout", "status", "deploy/shop", f"--timeout={PATIENCE}s")
        one.run("wait", "--for=condition=Ready", "pod/echo", f"--timeout={PATIENCE}s")
    return one


@contextlib.contextmanager
def forwarded(k: Kubectl, *what: str) -> Iterator[int]:
    """The port on this machine that is forwarded."""
    with k.begin("port-forward", *what) as said:
        yield int(said.readline().split(":")[1].split()[0])


def test_a_command_has_its_streams_and_its_exit_code(k: Kubectl) -> None:
    done = k.try_("exec", "client", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n") and done.stderr.startswith("err\n")
    assert k.run("exec", "client", "--", "hostname") == "client\n"
    assert k.try_("exec", "-i", "client", "--", "sort", stdin="b\na\n").stdout == "a\nb\n"
    assert len(k.run("exec", "client", "--", "head", "-c", "3000000", "/dev/zero")) == 3_000_000
    large = "x" * 99 + "\n"
    assert k.try_("exec", "-i", "client", "--", "wc", "-c", stdin=large * 20_000).stdout.strip() == "2000000"
    assert k.try_("exec", "-i", "client", "--", "true", stdin=large * 20_000).returncode == 0


def test_what_cannot_be_run_is_refused_in_a_real_servers_words(k: Kubectl) -> None:
    assert "container nothing is not valid for pod client" in k.run(
        "exec", "client", "-c", "nothing", "--", "true", code=1
    )
    assert 'pods "nobody" not found' in k.run("exec", "nobody", "--", "true", code=1)
    missing = k.try_("exec", "client", "--", "no-such-program")
    assert missing.returncode == 127 and "no-such-program" in missing.stderr


def test_a_terminal_has_a_size_that_follows_the_clients(k: Kubectl) -> None:
    main, theirs = pty.openpty()
    script = "stty size; trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.05; done"
    try:
        _resize(main, 30, 100)
        process = subprocess.Popen(
            [k.program, "exec", "-it", "client", "--", "sh", "-c", script],
            env=k.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        assert "30 100" in _read_until(main, "ready")
        _resize(main, 40, 120)
        os.kill(process.pid, signal.SIGWINCH)
        assert "40 120" in _read_until(main, "40 120")
        assert process.wait(PATIENCE) == 7
    finally:
        os.close(main)
        os.close(theirs)


def _resize(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _read_until(terminal: int, word: str) -> str:
    said, end = "", time.monotonic() + PATIENCE
    while word not in said:
        assert select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0], said
        said += os.read(terminal, 65536).decode()
    return said


def test_files_are_copied_both_ways(k: Kubectl, tmp_path: Path, lab: Lab) -> None:
    """A pod has this machine's files: tar runs inside, and only names tell the two sides apart."""
    there = tmp_path / "there"
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "small").write_text("a text\n")
    (tmp_path / "here" / "large").write_bytes(os.urandom(1 << 20))
    there.mkdir()
    k.run("cp", str(tmp_path / "here"), f"default/client:{there}/come")
    assert (there / "come" / "large").read_bytes() == (tmp_path / "here" / "large").read_bytes()
    k.run("cp", f"default/client:{there}/come/small", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "a text\n"
    k.try_("cp", f"default/client:{there}/nothing", str(tmp_path / "none"))  # kubectl may end before it has said why
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("what", [("pod/web", ":8080"), ("svc/shop", ":80"), ("deploy/shop", ":8080")])
def test_a_port_of_a_pod_is_reached_from_here(k: Kubectl, what: tuple[str, ...]) -> None:
    with forwarded(k, *what) as port:
        for _ in range(3):
            with urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as answer:
                said = answer.read()
            assert (b'"pod": "web"' if what[0] == "pod/web" else b'"pod": "shop-') in said


def test_the_python_client_forwards_a_port_by_itself(lab: Lab, home: Path) -> None:
    (home / "python").write_text(lab.run("kubeconfig"))
    with kubernetes.config.new_client_from_config(str(home / "python")) as client:
        core = kubernetes.client.CoreV1Api(client)
        forward = kubernetes.stream.portforward(
            core.connect_get_namespaced_pod_portforward, "web", "default", ports="8080,81"
        )
        one, other = forward.socket(8080), forward.socket(81)
        for connection in (one, other):
            connection.settimeout(PATIENCE)
        one.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        assert b'"pod": "web"' in b"".join(iter(lambda: one.recv(1 << 16), b""))
        assert other.recv(100) == b""
        assert not forward.error(8080) and "connection refused" in forward.error(81)
        forward.close()
        forward.websocket.shutdown()  # which the client itself leaves open


def test_connections_go_side_by_side_and_each_end_by_itself(k: Kubectl) -> None:
    """What is sent comes back reversed, once the client has said all of it: large, and over many connections."""
    with forwarded(k, "pod/echo", ":7000") as port:
        ones = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(20)]
        for number, one in enumerate(ones):
            one.sendall(bytes([number]) + b"x" * 100_000)
        for number, one in reversed([*enumerate(ones)]):
            one.shutdown(socket.SHUT_WR)
            assert _all(one) == b"x" * 100_000 + bytes([number])
        large = os.urandom(3 << 20)
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as one:
            one.sendall(large)
            one.shutdown(socket.SHUT_WR)
            assert _all(one) == large[::-1]


def _all(one: socket.socket) -> bytes:
    with one:
        return b"".join(iter(lambda: one.recv(1 << 16), b""))


def test_a_port_where_nothing_listens_is_said_to_be_so(k: Kubectl, home: Path) -> None:
    command = [k.program, "port-forward", "pod/client", ":81"]
    with subprocess.Popen(command, env=k.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        try:
            assert one.stdout and one.stderr
            port = int(one.stdout.readline().split(":")[1].split()[0])
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
                assert connection.recv(100) == b""
            said = one.stderr.readline()
            assert "failed to connect to localhost:81 inside the pod: tcp4 127.0.0.1:81: connection refused" in said
        finally:
            one.terminate()


def test_a_pod_that_does_not_run_forwards_nothing(k: Kubectl) -> None:
    k.run("run", "nowhere", "--image=x", "--overrides", '{"spec": {"nodeSelector": {"a": "b"}}}')
    said = k.run("port-forward", "pod/nowhere", ":80", code=1)
    assert "unable to forward port because pod is not running. Current status=Pending" in said
    k.run("delete", "pod", "nowhere")


def test_run_runs_the_words_that_it_is_given_and_shows_what_they_write(k: Kubectl) -> None:
    words = ("run", "-i", "--rm", "greeter", "--image=busybox", "--restart=Never", "--", "sh", "-c", "echo $((6 * 7))")
    assert "42" in k.run(*words).splitlines()
    eventually(lambda: "not found" in k.try_("get", "pod", "greeter").stderr)


def test_a_shell_with_standard_input_waits_for_who_looks_in_by_exec(k: Kubectl) -> None:
    k.run("run", "shell", "-i", "--attach=false", "--image=busybox", "--restart=Never", "--", "sh")
    try:
        k.run("wait", "--for=condition=Ready", "pod/shell", f"--timeout={PATIENCE}s")
        assert k.run("exec", "shell", "--", "hostname") == "shell\n"
        said = k.run("attach", "-i", "shell", code=1)
        assert "`kubectl exec -it shell -- sh` runs a shell beside it" in said
    finally:
        k.run("delete", "pod", "shell", "--now")


STUBBORN = """
apiVersion: v1
kind: Pod
metadata: {name: stubborn}
spec:
  terminationGracePeriodSeconds: 600
  containers: [{name: c, image: any, command: [sh, -c, "trap '' TERM; while :; do sleep 1; done"]}]
"""


def test_a_pod_has_the_time_to_end_that_its_deletion_gives_it(k: Kubectl) -> None:
    """Its own are 600 s, in which it does not end by itself."""
    for words in (["--grace-period=1"], ["--now"]):
        k.run("apply", "-f", "-", stdin=STUBBORN)
        k.run("wait", "--for=condition=Ready", "pod/stubborn", f"--timeout={PATIENCE}s")
        if words == ["--now"]:
            k.run("delete", "pod", "stubborn", "--wait=false")
            assert k.json("get", "pod", "stubborn")["metadata"]["deletionGracePeriodSeconds"] == 600
        k.run("delete", "pod", "stubborn", *words, "--timeout=300s")


TALKERS = """
apiVersion: v1
kind: Pod
metadata: {name: talker, labels: {says: something}}
spec:
  containers:
    - {name: one, image: any, command: [sh, -c, "echo early; sleep 3; echo late; exec sleep 1000"]}
    - {name: two, image: any, command: [sh, -c, "echo from two; exec sleep 1000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: again, labels: {says: something}}
spec: {containers: [{name: c, image: any, command: [sh, -c, "echo run; sleep 0.5; exit 1"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pending}
spec: {nodeSelector: {a: b}, containers: [{name: c, image: any}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: speaker}
spec:
  selector: {matchLabels: {app: speaker}}
  template:
    metadata: {labels: {app: speaker}}
    spec: {containers: [{name: c, image: any, command: [sh, -c, "echo said; exec sleep 1000"]}]}
"""


def test_what_containers_wrote_is_shown_in_every_way(k: Kubectl) -> None:
    k.run("apply", "-f", "-", stdin=TALKERS)
    try:
        k.run("rollout", "status", "deploy/speaker", f"--timeout={PATIENCE}s")
        k.run("wait", "--for=condition=Ready", "pod/talker", f"--timeout={PATIENCE}s")
        with k.begin("logs", "-f", "talker", "-c", "one") as lines:
            assert [lines.readline(), lines.readline()] == ["early\n", "late\n"]
        one = ("logs", "talker", "-c", "one")
        assert k.run(*one, "--tail=1") == "late\n" and k.run(*one, "--limit-bytes=3") == "ear"
        stamped = [line.split() for line in k.run(*one, "--timestamps").splitlines()]
        assert [word for _, word in stamped] == ["early", "late"]
        early, late = (datetime.fromisoformat(time[:26] + "+00:00") for time, _ in stamped)
        assert 2 < (late - early).total_seconds() < 30
        between = (early + (late - early) / 2).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert k.run(*one, f"--since-time={between}") == "late\n"
        assert k.run(*one, "--since=1h") == "early\nlate\n" and k.run("logs", "deploy/speaker") == "said\n"
        whole = k.run("logs", "talker", "--all-containers").splitlines()
        assert sorted(whole) == ["early", "from two", "late"]
        assert "[pod/talker/two] from two\n" in k.run("logs", "talker", "--all-containers", "--prefix")
        _until_restarted(k, "again")
        assert k.run("logs", "again", "--previous") == "run\n"
        selected = k.run("logs", "-l", "says=something", "--all-containers")
        assert "early\n" in selected and "run\n" in selected
        _refusals(k)
    finally:
        k.run("delete", "deploy/speaker", "pod/talker", "pod/again", "pod/pending", "--grace-period=1")


def _until_restarted(k: Kubectl, pod: str) -> None:
    eventually(lambda: k.json("get", "pod", pod)["status"]["containerStatuses"][0]["restartCount"])


def _refusals(k: Kubectl) -> None:
    assert "container nothing is not valid for pod talker" in k.run("logs", "talker", "-c", "nothing", code=1)
    assert 'previous terminated container "one" in pod "talker" not found' in k.run(
        "logs", "talker", "-c", "one", "--previous", code=1
    )
    assert "no node has been found for it" in k.run("logs", "pending", code=1)
    assert 'pods "nobody" not found' in k.run("logs", "nobody", code=1)
    assert "no command" in k.run("logs", "web") and "a stand-in answers on 8080/TCP" in k.run("logs", "web")
    assert k.run("logs", "web", "--tail=0") == ""
    raw = "/api/v1/namespaces/default/pods/talker/log"
    assert "choose one of: [one two]" in k.run("get", "--raw", raw, code=1)
    assert "is no time as" in k.run("get", "--raw", f"{raw}?container=one&sinceTime=yesterday", code=1)
    twice = f"{raw}?container=one&sinceTime=2026-01-01T00:00:00Z&sinceSeconds=3"
    assert "at most one of `sinceTime` or `sinceSeconds`" in k.run("get", "--raw", twice, code=1)


def test_attach_shows_what_a_command_writes_and_says_what_it_cannot(k: Kubectl, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    script = f"until [ -e {heard} ]; do echo tick; sleep 0.1; done; echo late; exit 0"
    manifest = TALKERS.partition("---")[0].replace("echo early; sleep 3; echo late; exec sleep 1000", script)
    k.run("apply", "-f", "-", stdin=manifest + "  restartPolicy: Never\n")
    try:
        k.run("wait", "--for=condition=Ready", "pod/talker", f"--timeout={PATIENCE}s")
        with k.begin("attach", "talker", "-c", "one") as lines:
            assert lines.readline() == "tick\n"
            heard.touch()
            assert lines.read().endswith("late\n")
        said = k.run("attach", "-i", "talker", "-c", "two", code=1)
        assert "attach -i is not supported" in said and "`kubectl exec -it talker -- sh`" in said
        assert "has no command to attach to" in k.run("attach", "web", code=1)
    finally:
        k.run("delete", "pod/talker", "--grace-period=1")
