"""Making this machine a node of a lab whose store other machines share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from k8snetlab.api.decoding import decode
from k8snetlab.api.lab import Lab, StoreSpec
from k8snetlab.api.problems import node_name
from k8snetlab.api.scheme import BY_TYPE
from k8snetlab.client.client import Client
from k8snetlab.errors import ConflictError, InputError, NotFoundError
from k8snetlab.lab.up import start
from k8snetlab.machines.occupied import refuse_occupied
from k8snetlab.state import machine
from k8snetlab.state.interface import choose, refuse_overlap
from k8snetlab.state.machine import Machine
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.rights import need_capabilities
from k8snetlab.store.open import open_store
from k8snetlab.store.served import Directory

STORE_TIMEOUT = 10.0
"""Seconds that a store gets to answer."""


class JoinPlan(msgspec.Struct, frozen=True):
    """This machine as it is to be a node; `warnings` are a sentence each, `fresh` says that it is none yet."""

    machine: Machine
    fresh: bool
    warnings: tuple[str, ...] = ()


def examine(lab: Lab, node: str, interface: str, store: StoreSpec) -> JoinPlan:
    """What this machine would be as node `node` of `lab`; nothing is made.

    Raises InputError, NotFoundError or ConflictError for a machine that cannot be it.
    """
    need_capabilities()
    if problem := node_name(node):
        raise InputError(f"the node's name {problem}", "`up --node NAME`, `node join --name NAME`")
    paths = LabPaths(lab.name)
    known = machine.read(paths)
    if known is None and paths.ledger.exists():
        raise ConflictError(
            f"lab {lab.name} runs on this machine already, with namespaces as its nodes",
            f"`k8snetlab down --lab {lab.name}` first, or give this one another name with --lab",
        )
    if known is not None:
        if known.node != node or (interface and interface not in (known.interface, *known.addresses)):
            raise ConflictError(
                f"this machine is {known.node} of lab {lab.name} already, by {known.interface}",
                f"`k8snetlab node leave --lab {lab.name}` first",
            )
        return JoinPlan(known, fresh=False)
    warnings = refuse_occupied(lab)
    chosen = choose(node, lab, interface, store.endpoints)
    refuse_overlap(lab, chosen)
    return JoinPlan(chosen, fresh=True, warnings=tuple(warnings))


def begin(lab: str, store: StoreSpec, plan: JoinPlan) -> Client:
    """Starts the daemon that makes this machine the node; it registers itself once the lab is in the store."""
    return start(lab, store, plan.machine)


def shared_store(endpoints: str, ca: str, cert: str, key: str, insecure: bool = False) -> StoreSpec:
    """The store that options name; `endpoints` are URLs, separated by commas.

    Without `ca`, `cert` and `key` a store that this machine serves itself is used with its own.
    """
    urls = tuple(url.strip().rstrip("/") for url in endpoints.split(",") if url.strip())
    urls = tuple(url if "://" in url else f"http{'' if insecure else 's'}://{url}" for url in urls)
    if not urls:
        raise InputError("--store names no store", "--store https://192.168.56.11:2379")
    given = any((ca, cert, key))
    if not given and len(urls) == 1:
        ca, cert, key = Directory().client_files(urls[0])
    ca, cert, key = (str(Path(file).resolve()) if file else "" for file in (ca, cert, key))
    spec = StoreSpec("etcd", urls, ca, cert, key, insecure)
    if spec.open and not insecure:
        raise InputError(
            "plain http lets anybody who reaches the store write to the lab, and a Pod's command runs as root",
            "join with what `k8snetlab token create` prints; https:// with --ca, --cert and --key; or --insecure",
        )
    if insecure and not spec.open:
        raise InputError("--insecure is for http://", "leave it out")
    if spec.open and given:
        raise InputError("--ca, --cert and --key are for https://", "leave them out, or write https://")
    if not spec.open and not given and not ca:
        raise InputError(
            f"{urls[0]} wants a certificate of this machine's",
            "join with what `k8snetlab token create` prints there, or give --ca, --cert and --key",
        )
    return spec


def find_lab(store: StoreSpec) -> Lab:
    """The lab that the store holds. Raises NotFoundError when there is none, StoreError when it does not answer."""
    return asyncio.run(_find_lab(store))


async def _find_lab(spec: StoreSpec) -> Lab:
    where = ", ".join(spec.endpoints)
    store = open_store(spec, Path())
    try:
        async with asyncio.timeout(STORE_TIMEOUT):
            listing = await store.list(BY_TYPE[Lab].prefix)
    except TimeoutError:
        raise NotFoundError(f"the store at {where} does not answer", "is etcd running there?") from None
    finally:
        await store.close()
    if not listing.entries:
        raise NotFoundError(
            f"the store at {where} holds no lab", f"`k8snetlab up DIR --node NAME --store {where}` begins one"
        )
    try:
        lab = decode(Lab, listing.entries[0].value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConflictError(
            f"the store at {where} holds {listing.entries[0].key}, which is no lab of this version: {error}",
            "nothing was touched; `k8snetlab --version` must be the same on all machines",
        ) from None
    assert isinstance(lab, Lab)
    if lab.metadata.deletionTimestamp:
        raise ConflictError(f"lab {lab.name} is being taken down", "wait until it is gone")
    if not lab.spec.machines:
        raise ConflictError(
            f"the nodes of lab {lab.name} are namespaces of one machine: no machine can join",
            "a lab that machines join begins with `k8snetlab up DIR --node NAME --store URL`",
        )
    return lab
