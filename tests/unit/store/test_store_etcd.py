"""What is etcd's alone: failover, faults, TLS, and that others can read it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from stores import Connect, StartEtcd

from k8snetlab.errors import AlreadyExistsError, CompactedError, ConflictError, InputError, NotFoundError, StoreError
from k8snetlab.store.etcd import EtcdStore
from k8snetlab.store.protocol import Create, DataLostError, Delete, Event
from k8snetlab.store.serve import EtcdProcess, ServerTls
from k8snetlab.testing.etcd import Proxy, free_port, take

pytestmark = pytest.mark.anyio
KEY = "/registry/pods/default/web"


def port_of(process: EtcdProcess) -> int:
    port = urlsplit(process.endpoint).port
    assert port
    return port


async def emptied(store: EtcdStore) -> EtcdStore:
    await store.write_many([Delete(entry.key) for entry in (await store.list("")).entries])
    return store


async def until_unhealthy(store: EtcdStore) -> str:
    async with asyncio.timeout(30):
        while store.health().healthy:
            await asyncio.sleep(0.02)
    return store.health().problem


async def test_etcdctl_reads_what_was_written(etcd: EtcdProcess, connect: Connect) -> None:
    etcdctl = shutil.which("etcdctl")
    if etcdctl is None:
        pytest.skip("etcdctl is not installed (apt-get install etcd-client)")
    store = await emptied(connect([etcd.endpoint]))
    await store.create(KEY, b'{"kind":"Pod"}')
    await store.create("/registry/minions/node1", b'{"kind":"Node"}')
    out = subprocess.run(
        [etcdctl, "--endpoints", etcd.endpoint, "get", "--prefix", "/registry/"],
        env={"ETCDCTL_API": "3"}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert out.splitlines() == ["/registry/minions/node1", '{"kind":"Node"}', KEY, '{"kind":"Pod"}']


async def test_a_dead_etcd_is_a_store_error_with_what_to_do(connect: Connect) -> None:
    store = connect([f"http://127.0.0.1:{free_port()}"], timeout=0.3)
    assert not store.health().healthy
    with pytest.raises(StoreError, match=r"etcd does not answer: http://127\.0\.0\.1:") as caught:
        await store.get(KEY)
    assert "is etcd running there" in caught.value.hint
    assert store.health().age is None


async def test_a_silent_etcd_is_given_up(etcd: EtcdProcess, connect: Connect) -> None:
    async with Proxy(port_of(etcd)) as proxy:
        store = connect([proxy.endpoint], timeout=0.3, patience=0.3)
        await store.get(KEY)
        proxy.silent = True
        with pytest.raises(StoreError, match="no answer in time"):
            await store.get(KEY)
        assert not store.health().healthy
        proxy.silent = False
        await store.get(KEY)
        assert store.health().healthy


async def test_a_silent_member_is_passed_over(etcd: EtcdProcess, connect: Connect) -> None:
    async with Proxy(port_of(etcd)) as proxy:
        proxy.silent = True
        store = await emptied(connect([proxy.endpoint, etcd.endpoint], patience=1.0))
        entry = await store.create(KEY, b"1")
        assert await store.get(KEY) == entry
        assert proxy.connections == 1


async def test_a_slow_etcd_works(etcd: EtcdProcess, connect: Connect) -> None:
    async with Proxy(port_of(etcd)) as proxy:
        proxy.delay = 0.25
        store = await emptied(connect([proxy.endpoint]))
        entry = await store.create(KEY, b"1")
        async with aclosing(store.watch("/registry/", entry.mod_revision)) as watch:
            changed = await store.update(KEY, b"2", entry.mod_revision)
            assert await take(watch, 1) == [Event("put", changed)]


async def test_a_write_whose_answer_was_lost_is_not_done_twice(etcd: EtcdProcess, connect: Connect) -> None:
    async with Proxy(port_of(etcd)) as proxy:
        store = await emptied(connect([proxy.endpoint, etcd.endpoint], patience=0.3))
        await store.get(KEY)
        start = (await store.list("")).revision

        proxy.deaf = True
        entry = await store.create(KEY, b"1")
        assert entry.mod_revision == start + 1
        assert store.health().healthy

        store = connect([proxy.endpoint, etcd.endpoint], patience=0.3)
        changed = await store.update(KEY, b"2", entry.mod_revision)
        assert changed.mod_revision == start + 2
        store = connect([proxy.endpoint, etcd.endpoint], patience=0.3)
        events = await store.write_many([Create("/w/1", b"1"), Create("/w/2", b"2"), Delete(KEY)])
        assert [e.type for e in events if isinstance(e, Event)] == ["put", "put", "delete"]
        assert (await store.list("")).revision == start + 3

        for write, error in (
            (lambda s: s.create("/w/1", b"another's"), AlreadyExistsError),
            (lambda s: s.update("/w/1", b"another's", start), ConflictError),
            (lambda s: s.delete("/w/1", start), ConflictError),
        ):
            store = connect([proxy.endpoint, etcd.endpoint], patience=0.3)
            with pytest.raises(error):
                await write(store)
        assert (await store.list("")).revision == start + 3


async def test_a_watch_goes_on_through_cut_connections(etcd: EtcdProcess, connect: Connect) -> None:
    async with Proxy(port_of(etcd)) as proxy:
        direct = await emptied(connect([etcd.endpoint]))
        store = connect([proxy.endpoint])
        start = (await direct.list("")).revision
        async with aclosing(store.watch("/w/", start)) as watch:
            seen = []
            for i in range(8):
                await direct.create(f"/w/{i}", b"")
                proxy.cut()
                await direct.create(f"/w/{i}/again", b"")
                seen += await take(watch, 1)
            seen += await take(watch, 16 - len(seen))
        expected = sorted((await direct.list("/w/")).entries, key=lambda entry: entry.mod_revision)
        assert [event.entry for event in seen] == expected
        assert proxy.connections > 1


async def test_a_watch_sees_that_etcd_fell_silent_and_that_it_came_back(etcd: EtcdProcess, connect: Connect) -> None:
    async with Proxy(port_of(etcd)) as proxy:
        direct = await emptied(connect([etcd.endpoint]))
        store = connect([proxy.endpoint], timeout=0.3, patience=0.3)
        first = await direct.create("/w/1", b"")
        async with aclosing(store.watch("/w/", first.mod_revision - 1)) as watch:
            assert await take(watch, 1) == [Event("put", first)]
            waiting = asyncio.ensure_future(take(watch, 1))
            proxy.silent = True
            second = await direct.create("/w/2", b"")
            assert "no answer in time" in await until_unhealthy(store)
            age = store.health().age
            assert age is not None and age > 0
            proxy.silent = False
            proxy.cut()
            assert await waiting == [Event("put", second)]
            assert store.health().healthy


async def test_an_idle_watch_stays_healthy(etcd: EtcdProcess, connect: Connect) -> None:
    store = await emptied(connect([etcd.endpoint], patience=1.0))
    start = (await store.list("")).revision
    async with aclosing(store.watch("/w/", start)) as watch:
        waiting = asyncio.ensure_future(take(watch, 1))
        await asyncio.sleep(2.5)
        async with asyncio.timeout(60):  # for longer than its patience; a busy machine may tell late, now and then
            while not store.health().healthy or store.health().age is None:
                await asyncio.sleep(0.02)
        entry = await store.create("/w/1", b"")
        assert await waiting == [Event("put", entry)]


async def test_a_watch_that_slept_through_a_compaction_must_list_again(etcd: EtcdProcess, connect: Connect) -> None:
    async with Proxy(port_of(etcd)) as proxy:
        direct = await emptied(connect([etcd.endpoint]))
        store = connect([proxy.endpoint], timeout=0.3, patience=0.3)
        first = await direct.create("/w/1", b"")
        watch = store.watch("/w/", first.mod_revision - 1)
        await take(watch, 1)
        waiting = asyncio.ensure_future(take(watch, 1))
        proxy.silent = True
        await until_unhealthy(store)
        second = await direct.update("/w/1", b"2", first.mod_revision)
        third = await direct.update("/w/1", b"3", second.mod_revision)
        await direct.compact(third.mod_revision)
        proxy.silent = False
        proxy.cut()
        with pytest.raises(CompactedError, match="list again"):
            await waiting


async def test_an_etcd_that_lost_its_data_is_noticed_by_a_watch(
    run_etcd: StartEtcd, tmp_path: Path, connect: Connect
) -> None:
    etcd = run_etcd(tmp_path / "first")
    etcd.wait_ready()
    store = connect([etcd.endpoint])
    for i in range(5):
        entry = await store.create(f"/w/{i}", b"")
    watch = store.watch("/w/", entry.mod_revision - 1)
    await take(watch, 1)
    waiting = asyncio.ensure_future(take(watch, 1))
    etcd.kill()
    run_etcd(tmp_path / "second", port=port_of(etcd)).wait_ready()
    with pytest.raises(DataLostError):
        await waiting
    assert (await store.list("")).entries == ()


async def test_a_restarted_etcd_keeps_its_data_and_the_watch_goes_on(
    run_etcd: StartEtcd, tmp_path: Path, connect: Connect
) -> None:
    etcd = run_etcd(tmp_path / "data")
    etcd.wait_ready()
    store = connect([etcd.endpoint])
    first = await store.create("/w/1", b"1")
    watch = store.watch("/w/", first.mod_revision - 1)
    await take(watch, 1)
    waiting = asyncio.ensure_future(take(watch, 1))
    etcd.kill()
    with pytest.raises(StoreError):
        await connect([etcd.endpoint], timeout=0.1).get("/w/1")
    await until_unhealthy(store)
    run_etcd(tmp_path / "data", port=port_of(etcd)).wait_ready()
    assert await store.get("/w/1") == first
    second = await store.create("/w/2", b"2")
    assert await waiting == [Event("put", second)]
    await watch.aclose()


async def test_a_full_etcd_refuses_writes_and_still_reads(
    run_etcd: StartEtcd, tmp_path: Path, connect: Connect
) -> None:
    etcd = run_etcd(tmp_path / "data", quota=2_000_000)
    etcd.wait_ready()
    store = connect([etcd.endpoint])
    first = await store.create("/w/first", b"1")
    with pytest.raises(StoreError, match="etcd is full") as caught:
        for i in range(50):
            await store.create(f"/w/{i}", b"x" * 200_000)
    assert "etcdctl" in caught.value.hint
    assert await store.get("/w/first") == first


async def test_a_cluster_loses_a_member_while_writes_and_a_watch_go_on(
    run_etcd: StartEtcd, tmp_path: Path, connect: Connect
) -> None:
    peers = {name: f"http://127.0.0.1:{free_port()}" for name in ("m1", "m2", "m3")}
    members = [run_etcd(tmp_path / name, name=name, cluster=peers) for name in peers]
    for member in members:
        member.wait_ready()
    endpoints = [member.endpoint for member in members]
    writer, watcher = connect(endpoints, timeout=20), connect(endpoints, timeout=20)
    start = (await writer.list("")).revision
    written = 0
    done = asyncio.Event()

    async def write() -> None:
        nonlocal written
        while not done.is_set():
            await writer.create(f"/w/{written:05}", str(written).encode())
            written += 1

    async with aclosing(watcher.watch("/w/", start)) as watch:
        writing = asyncio.ensure_future(write())
        seen = await take(watch, 20)
        members[0].kill()  # the one both are talking to
        seen += await take(watch, 60)
        done.set()
        await writing
        seen += await take(watch, written - len(seen))
    assert [event.entry.value for event in seen] == [str(i).encode() for i in range(written)]
    revisions = [event.entry.mod_revision for event in seen]
    assert revisions == sorted(set(revisions))


async def test_a_member_without_quorum_is_left_by_its_watch(
    run_etcd: StartEtcd, tmp_path: Path, connect: Connect
) -> None:
    """The member still holds the watch's connection, but hears nothing from the others any more."""
    peers = {name: f"http://127.0.0.1:{free_port()}" for name in ("m1", "m2", "m3")}
    members = [run_etcd(tmp_path / name, name=name, cluster=peers) for name in peers]
    for member in members:
        member.wait_ready()
    store = connect([members[0].endpoint], timeout=0.5, patience=1.0)
    entry = await store.create("/w/1", b"1")
    watch = store.watch("/w/", entry.mod_revision - 1)
    await take(watch, 1)
    waiting = asyncio.ensure_future(take(watch, 1))
    members[1].pause()
    members[2].pause()
    await until_unhealthy(store)
    members[1].resume()
    members[2].resume()
    direct = connect([members[1].endpoint], timeout=20)
    second = await direct.create("/w/2", b"2")
    assert await waiting == [Event("put", second)]
    await watch.aclose()


class Certificates:
    """A CA with a server's and a client's certificate, as PEM files."""

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        directory.mkdir()
        authority = trustme.CA()
        self.ca = str(directory / "ca.pem")
        authority.cert_pem.write_to_path(self.ca)
        for name in ("server", "client"):
            issued = authority.issue_cert(host if name == "server" else "k8snetlab.test")
            issued.private_key_pem.write_to_path(directory / f"{name}.key")
            for blob in issued.cert_chain_pems:
                blob.write_to_path(directory / f"{name}.pem", append=True)
        self.cert, self.key = str(directory / "client.pem"), str(directory / "client.key")
        self.server = ServerTls(str(directory / "server.pem"), str(directory / "server.key"), self.ca)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "pki")


@pytest.fixture
def secure_etcd(run_etcd: StartEtcd, tmp_path: Path, certificates: Certificates) -> EtcdProcess:
    process = run_etcd(tmp_path / "etcd", tls=certificates.server)
    process.wait_ready()
    return process


async def test_tls_with_a_client_certificate(
    secure_etcd: EtcdProcess, certificates: Certificates, connect: Connect
) -> None:
    store = connect([secure_etcd.endpoint], ca=certificates.ca, cert=certificates.cert, key=certificates.key)
    entry = await store.create(KEY, b"1")
    async with aclosing(store.watch("/", entry.mod_revision - 1)) as watch:
        assert await take(watch, 1) == [Event("put", entry)]
    assert await store.keep_alive(await store.grant(60)) == 60


async def test_wrong_certificates_are_refused_clearly(
    secure_etcd: EtcdProcess, certificates: Certificates, run_etcd: StartEtcd, tmp_path: Path, connect: Connect
) -> None:
    other, elsewhere = Certificates(tmp_path / "other"), Certificates(tmp_path / "elsewhere", host="10.9.9.9")
    url = secure_etcd.endpoint
    misnamed = run_etcd(tmp_path / "misnamed", tls=elsewhere.server)
    misnamed.wait_ready()
    plain = run_etcd(tmp_path / "plain")
    plain.wait_ready()
    ours = {"ca": certificates.ca, "cert": certificates.cert, "key": certificates.key}
    cases = [
        (url, {**ours, "ca": other.ca}, "the server's certificate is not accepted", "store.ca"),
        (
            url,
            {**ours, "cert": other.cert, "key": other.key},
            "the server refused the client certificate",
            "store.cert",
        ),
        (url, {"ca": certificates.ca}, "the server refused the client certificate", "store.cert"),
        (url.replace("https", "http"), {}, "disconnected", "https://"),
        (plain.endpoint.replace("http", "https"), ours, "the server ended the TLS handshake", "http://"),
        (misnamed.endpoint, {"ca": elsewhere.ca}, "certificate is not accepted: IP address mismatch", "host"),
    ]
    for endpoint, files, message, hint in cases:
        store = connect([endpoint], **files, timeout=0.2)
        with pytest.raises(StoreError, match=message) as caught:
            await store.get(KEY)
        assert endpoint in caught.value.message
        assert hint in caught.value.hint
        assert not store.health().healthy


def test_unusable_settings_are_input_errors(tmp_path: Path) -> None:
    https = ["https://127.0.0.1:2379"]
    (tmp_path / "junk.pem").write_text("no certificate")
    junk, none = str(tmp_path / "junk.pem"), str(tmp_path / "none.pem")
    cases: list[tuple[list[str], dict[str, str], str]] = [
        ([], {}, "store.endpoints is empty"),
        (["127.0.0.1:2379"], {}, "store.endpoints: '127.0.0.1:2379'"),
        (["ftp://127.0.0.1"], {}, "is no endpoint"),
        (["http://127.0.0.1:port"], {}, "Invalid port"),
        (["http://127.0.0.1:2379/v3"], {}, "is no endpoint"),
        (https, {"ca": none}, "store.ca: .*No such file"),
        (https, {"ca": junk}, "store.ca: .*junk.pem"),
        (https, {"cert": junk, "key": junk}, "store.cert, store.key: .*junk.pem"),
        (https, {"cert": junk}, "go together"),
    ]
    for endpoints, files, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            EtcdStore(endpoints, **files)
        assert caught.value.hint or "go together" in message


async def test_something_else_at_the_endpoint_is_named(connect: Connect) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    store = connect([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"])
    with pytest.raises(StoreError, match="no etcd v3 JSON gateway"):
        await store.get(KEY)
    server.close()


def test_serve_says_why_etcd_did_not_start(run_etcd: StartEtcd, tmp_path: Path, etcd: EtcdProcess) -> None:
    taken = run_etcd(tmp_path / "data", port=port_of(etcd))
    with pytest.raises(StoreError, match="address already in use"):
        taken.wait_ready()


async def test_error_codes_have_meanings(etcd: EtcdProcess, connect: Connect) -> None:
    store = connect([etcd.endpoint])
    with pytest.raises(NotFoundError, match="lease"):
        await store.create("/w/lease", b"", lease=4711)
    with pytest.raises(StoreError, match=r"etcd refuses: .*too large"):
        await store.create("/w/large", b"x" * 1_600_000)
    with pytest.raises(StoreError, match=r"etcd refuses a value"):
        await store.create("/w/large", b"x" * 3_000_000)
    status = json.loads((await store._gateway.call("/v3/maintenance/status", {})).body)
    assert status["version"].startswith("3.")
