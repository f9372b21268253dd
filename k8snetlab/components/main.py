"""`python -m k8snetlab.components kube-scheduler|kube-controller-manager`: one of several, of which one leads.

It does its work over the etcd that the API servers have: all of them read and write alike, each with a door of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import platform
import signal
import sys
from collections.abc import Sequence
from functools import partial

from k8snetlab.api.lab import StoreSpec
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.components.election import Election
from k8snetlab.controllers.leaders import MANAGER, SCHEDULER
from k8snetlab.errors import K8sNetLabError
from k8snetlab.store.informer import Informer
from k8snetlab.store.open import NEAR, open_store
from k8snetlab.supervision import Supervisor


async def serve(component: str, spec: StoreSpec) -> None:
    """Until SIGTERM or SIGINT. Raises InputError, StoreError."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as held:
        supervisor = Supervisor()
        store = open_store(spec, "", patience=NEAR)
        held.push_async_callback(store.close)
        informer = Informer(store, begin=supervisor.keep)
        await informer.start()
        held.push_async_callback(informer.close)
        cluster = Cluster(store, informer, shared=True, component=component)
        held.push_async_callback(cluster.close)
        held.push_async_callback(supervisor.close)
        election = Election(cluster, component, platform.node())
        supervisor.keep("election", election.run)
        supervisor.keep("controllers", partial(election.during, cluster.run_controllers))
        sys.stderr.write(f"{component} stands for election as {election.identity}\n")
        sys.stderr.flush()
        await stop.wait()


def main(words: Sequence[str] | None = None) -> int:
    """Its exit code: 0 ended by a signal, 1 the store does not answer, 2 wrong input."""
    given = _parser().parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    gc.set_threshold(10_000)
    spec = StoreSpec("etcd", tuple(given.store.split(",")), given.ca, given.cert, given.key)
    try:
        asyncio.run(serve(given.component, spec))
    except K8sNetLabError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m k8snetlab.components",
        description="Runs a lab's scheduler, or its controllers, for as long as it leads.",
        allow_abbrev=False,
    )
    parser.add_argument("component", choices=(SCHEDULER, MANAGER))
    parser.add_argument("--store", required=True, metavar="URL,…", help="the members of the etcd, the nearest first")
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--{name}", required=True, metavar="FILE")
    return parser
