"""A pod's token is made anew in time, whole, and is good; what is no pod's any more goes."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from face import Face, face_of, pod
from msgspec.structs import replace

from k8snetlab.api.config import ServiceAccount
from k8snetlab.api.core import Namespace, Pod
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.running.accounts import LIFE, RENEWED, Accounts
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.keys import Keys
from k8snetlab.store.signing import ISSUER

Test = Callable[[Face, Accounts, Pod], Coroutine[Any, Any, None]]


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))
    found = LabPaths("l")
    found.create()
    return found


def against(paths: LabPaths, test: Test) -> None:
    """`test` with a pod of ServiceAccount `robot` whose files are prepared."""

    async def run() -> None:
        keys = Keys(paths.api_pki)
        async with face_of(keys=keys) as face:
            await face.cluster.apply(Namespace(metadata=ObjectMeta(name="default")))
            await face.cluster.apply(ServiceAccount(metadata=ObjectMeta(name="robot", namespace="default")))
            wanted = pod("works")
            wanted["spec"] |= {"serviceAccountName": "robot"}
            wanted["spec"]["containers"][0]["command"] = ["sleep", "1"]
            assert (await face.ask("POST", "/api/v1/namespaces/default/pods", wanted)).code == 201
            made = face.cluster.current(Pod, "works", "default")
            accounts, failures = Accounts(face.cluster, paths, keys), list[str]()
            found = await accounts.prepare([made], lambda pod, why: failures.append(why))
            assert found == {made.metadata.uid: str(paths.account_of(made))} and not failures
            await test(face, accounts, made)

    asyncio.run(run())


def aged(file: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(file, (then, then))


def test_a_token_is_made_anew_before_its_time_is_over_and_is_good(paths: LabPaths) -> None:
    async def test(face: Face, accounts: Accounts, made: Pod) -> None:
        file = paths.account_of(made) / "token"
        first, inode = file.read_text(), file.stat().st_ino
        aged(file, RENEWED * LIFE - 60)
        accounts._renew()
        assert file.read_text() == first, "it is young enough"
        aged(file, RENEWED * LIFE + 60)
        with file.open() as held:
            accounts._renew()
            assert held.read() == first, "who is reading it reads one or the other, never a part"
        second = file.read_text()
        assert second != first and file.stat().st_ino != inode and file.stat().st_mode & 0o777 == 0o644
        assert time.time() - file.stat().st_mtime < 60 and not list(file.parent.glob(".*"))
        for token in (first, second):
            account = accounts._keys.signer.claims(token, (ISSUER,), time.time()).account
            assert (account.namespace, account.name) == ("default", "robot")
            assert account.bound["pod"].uid == made.metadata.uid
        assert (file.parent / "namespace").read_text() == "default"
        assert (file.parent / "ca.crt").read_bytes() == accounts._keys.authority.pem

    against(paths, test)


def test_a_token_outlives_an_account_that_is_gone_and_is_renewed_once_it_is_back(paths: LabPaths) -> None:
    async def test(face: Face, accounts: Accounts, made: Pod) -> None:
        file = paths.account_of(made) / "token"
        account = face.cluster.current(ServiceAccount, "robot", "default")
        await face.cluster.delete(account)
        first = file.read_text()
        aged(file, LIFE)
        accounts._renew()
        assert file.read_text() == first
        await face.cluster.apply(ServiceAccount(metadata=ObjectMeta(name="robot", namespace="default")))
        accounts._renew()
        assert file.read_text() != first

    against(paths, test)


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "deleted"])
def test_what_is_no_running_pods_goes(paths: LabPaths, ended: bool) -> None:
    async def test(face: Face, accounts: Accounts, made: Pod) -> None:
        if ended:
            await face.cluster.edit(made, lambda one: replace(one, status=replace(one.status, phase="Succeeded")))
        else:
            await face.cluster.delete(made, force=True)
        accounts._renew()
        assert not paths.account_of(made).exists()

    against(paths, test)


def test_a_pod_that_comes_between_two_looks_keeps_its_token(paths: LabPaths) -> None:
    """The look was to begin when all threads were busy."""

    async def test(face: Face, accounts: Accounts, made: Pod) -> None:
        loop, free = asyncio.get_running_loop(), threading.Event()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = [asyncio.create_task(asyncio.to_thread(free.wait, 60)), asyncio.create_task(accounts.keep())]
        await asyncio.sleep(0.01)
        late = await face.cluster.create(replace(made, metadata=ObjectMeta(name="late", namespace="default")))
        accounts._prepared([late], face.cluster.snapshot, lambda pod, why: None)
        free.set()
        await asyncio.to_thread(lambda: "the look is over")
        assert (paths.account_of(late) / "token").exists()
        busy[-1].cancel()
        await asyncio.gather(*busy, return_exceptions=True)

    against(paths, test)
