"""The ledger as a file: what it comes to is the same however it is written, and whoever writes."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from k8snetlab.agent.additions import AddedFile, OwnedNetns
from k8snetlab.state import ledger as ledgers
from k8snetlab.state.ledger import Ledger, living
from k8snetlab.state.processes import ProcessId


def content(path: Path) -> tuple[object, ...]:
    one = Ledger(path)
    return (
        list(one.namespaces),
        [p for p in one.processes if p.process.alive],
        one.additions,
        one.made_netns_directory,
        one.loaded_bridge_filter,
        one.cgroup,
    )


def filled(path: Path) -> Ledger:
    ledger = Ledger(path)
    me = ProcessId.of(os.getpid())
    assert me is not None
    ledger.own_netns_directory()
    ledger.own_bridge_filter()
    ledger.own_cgroup("/sys/fs/cgroup/k8snetlab/x")
    ledger.own_process("daemon", ProcessId(me.pid, 1))
    ledger.own_process("daemon", me)
    ledger.own_additions([AddedFile("/x", ())])
    return ledger


def test_a_ledger_of_many_lines_is_written_anew_and_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = filled(path)
    for number in range(ledgers.COMPACT * 2):
        ledger.own_namespaces([OwnedNetns(f"n{number}")])
        if number % 100:
            ledger.release_namespaces([f"n{number}"])
    before = content(path)
    assert path.read_bytes().count(b"{") < ledgers.COMPACT * 2
    ledger.compact()
    assert content(path) == before
    assert before[0] == [f"n{number}" for number in range(0, ledgers.COMPACT * 2, 100)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_owned_is_known_all_the_while_that_the_ledger_is_written_anew(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.own_namespaces(OwnedNetns(f"n{number}") for number in range(ledgers.COMPACT * 4))
    kept = f"n{ledgers.COMPACT * 4 - 1}"
    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(ledger.release_namespaces, [name for name in ledger.namespaces if name != kept])
        while not writing.done():
            assert kept in ledger.namespaces
    writing.result()
    assert list(Ledger(tmp_path / "ledger").namespaces) == [kept]


def test_a_small_ledger_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = filled(path)
    text = path.read_bytes()
    ledger.compact()
    assert path.read_bytes() == text


def _write(path: Path, letter: str) -> None:
    ledger = Ledger(path)
    for number in range(150):
        ledger.own_namespaces([OwnedNetns(f"{letter}{number}")])
        if number % 50:
            ledger.release_namespaces([f"{letter}{number}"])
        ledger.compact()


def test_nothing_is_lost_that_another_process_writes_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    writers = [multiprocessing.get_context("spawn").Process(target=_write, args=(path, one)) for one in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert sorted(Ledger(path).namespaces) == sorted(f"{one}{n}" for one in "abc" for n in range(0, 150, 50))


def test_a_process_is_found_without_reading_all_else(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    assert living(path, "daemon") is None
    ledger = filled(path)
    ledger.own_namespaces([OwnedNetns('x"process"y')])
    with path.open("ab") as file:
        file.write(b'{"type":"process","role":"dae')  # a crash cut it short
    assert living(path, "daemon") == ledger.alive("daemon") == ProcessId.of(os.getpid())
    assert living(path, "kubelet") is None
