"""The store in etcd v3, through its JSON gateway.

Reads are linearizable (etcd's default). A write that was cut off is sent again: it is a compare-and-swap, so it happens
once, and a key that then holds the very value of the write counts as written. Values that decide a race must therefore
name their writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import aclosing

import httpx
import msgspec

from k8snetlab.errors import CompactedError, K8sNetLabError, NotFoundError, StoreError
from k8snetlab.store.etcd_errors import raise_refusal
from k8snetlab.store.etcd_messages import (
    Body,
    Header,
    LeaseMessage,
    LeaseResponse,
    MemberStatus,
    RangeResponse,
    Response,
    TxnResponse,
    WatchEvent,
    WatchMessage,
    WatchResponse,
    base64,
    below,
    decode,
    txn,
)
from k8snetlab.store.gateway import Gateway
from k8snetlab.store.protocol import (
    LEADERLESS,
    Create,
    DataLostError,
    Delete,
    Entry,
    Event,
    Health,
    Listing,
    Member,
    StoreWrite,
    Update,
    refusal,
)
from k8snetlab.store.within import Opener

_PAGE = 2_000
"""Entries asked for at once in a list."""
_TXN_WRITES = 100
"""Writes sent in one transaction; etcd's --max-txn-ops is 128 by default."""
_LOST = "etcd has lost its data (its revision {now} is before {seen}, which was seen): list again"

MEMBER = 1.0
"""Seconds that one member has to say how it is."""
PAUSE = 0.05
"""Seconds before a watch is tried again, the first time."""


class _Seen(msgspec.Struct):
    """How far a watch has come: the newest revision, the cluster that told it, and whether the stream was opened."""

    revision: int
    cluster: str = ""
    opened: bool = False


class EtcdStore:
    """A Store in the etcd cluster at `endpoints`; parameters and InputError as `gateway.Gateway`'s.

    A watch that receives nothing for `patience` seconds asks its member for proof that it belongs to a working cluster,
    and goes to another member without it.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        ca: str = "",
        cert: str = "",
        key: str = "",
        timeout: float = 5.0,
        patience: float = 4.0,
        opener: Opener | None = None,
    ) -> None:
        self._gateway = Gateway(endpoints, ca=ca, cert=cert, key=key, timeout=timeout, patience=patience, opener=opener)

    async def members(self, among: Collection[str] | None = None) -> list[Member]:
        """What each endpoint says of itself, in their order; asked all at once, or those `among` them."""
        asked = [one for one in self._gateway.endpoints if among is None or one in among]
        found = list(await asyncio.gather(*map(self._member, asked)))
        if not all(one.problem for one in found):
            self._gateway.answered()
        return found

    async def _member(self, endpoint: str) -> Member:
        try:
            async with asyncio.timeout(MEMBER):
                answer = await self._gateway.call("/v3/maintenance/status", {}, endpoint)
            said = answer.decode(MemberStatus)
        except TimeoutError:
            return Member(endpoint, problem=f"no answer within {MEMBER:g} s")
        except K8sNetLabError as error:
            return Member(endpoint, problem=error.message)
        return Member(
            endpoint,
            said.leader == said.header.member_id,
            said.raftTerm,
            said.raftIndex,
            said.header.revision,
            problem="" if said.leader else LEADERLESS,
        )

    async def get(self, key: str) -> Entry | None:
        answer = await self._gateway.call("/v3/kv/range", {"key": base64(key.encode())})
        kvs = answer.decode(RangeResponse).kvs
        return kvs[0].entry() if kvs else None

    async def list(self, prefix: str, revision: int = 0) -> Listing:
        while True:
            try:
                return await self._list(prefix, revision)
            except CompactedError:
                if revision:
                    raise  # else a compaction came between two pages

    async def _list(self, prefix: str, revision: int) -> Listing:
        entries: list[Entry] = []
        page_of = below(prefix)
        while True:
            body = {**page_of, "limit": _PAGE, "revision": revision}
            page = (await self._gateway.call("/v3/kv/range", body)).decode(RangeResponse)
            revision = revision or page.header.revision
            entries += [kv.entry() for kv in page.kvs]
            if not page.more:
                return Listing(tuple(entries), revision)
            page_of["key"] = base64(page.kvs[-1].key + b"\0")

    async def newest(self, prefix: str) -> tuple[int, int]:
        body = {**below(prefix), "limit": 1, "sort_order": "DESCEND", "sort_target": "MOD", "keys_only": True}
        answer = (await self._gateway.call("/v3/kv/range", body)).decode(RangeResponse)
        return answer.count, answer.kvs[0].mod_revision if answer.kvs else 0

    async def create(self, key: str, value: bytes, lease: int = 0) -> Entry:
        return (await self._write(Create(key, value, lease))).entry

    async def update(self, key: str, value: bytes, mod_revision: int, lease: int = 0) -> Entry:
        return (await self._write(Update(key, value, mod_revision, lease))).entry

    async def delete(self, key: str, mod_revision: int | None = None) -> int:
        return (await self._write(Delete(key, mod_revision))).entry.mod_revision

    async def write_many(self, writes: Sequence[StoreWrite]) -> Sequence[Event | K8sNetLabError]:
        """Transactions of up to 100 writes; one that is refused as a whole is done write by write."""
        results: list[Event | K8sNetLabError] = []
        for group in _groups(writes):
            body: Body = {"compare": [], "success": []}
            for write in group:
                single = txn(write)
                body["compare"] += single["compare"]
                body["success"] += single["success"]
            reply = await self._gateway.call("/v3/kv/txn", body)
            answer = reply.decode(TxnResponse)
            if answer.succeeded:
                done = zip(group, answer.responses, strict=True)
                results += [_event(write, response, answer.header.revision) for write, response in done]
            else:
                results += [await self._write_or_refusal(write, reply.uncertain) for write in group]
        return results

    async def write_together(self, writes: Sequence[StoreWrite]) -> Sequence[Event]:
        singles = [txn(write) for write in writes]
        body: Body = {part: [one for single in singles for one in single[part]] for part in singles[0]}
        reply = await self._gateway.call("/v3/kv/txn", body)
        answer = reply.decode(TxnResponse)
        revision = answer.header.revision
        if answer.succeeded:
            return [_event(write, one, revision) for write, one in zip(writes, answer.responses, strict=True)]
        held = [one.response_range.kvs for one in answer.responses]
        entries = [kvs[0].entry() if kvs else None for kvs in held]
        if reply.uncertain and all(map(_is_done, writes, entries)):
            return [
                Event("put", have) if have else _deletion(write.key, revision)
                for write, have in zip(writes, entries, strict=True)
            ]
        raise next(filter(None, map(refusal, writes, entries)), StoreError("etcd refused writes without a reason"))

    async def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Event, ...], None]:
        pause, seen = PAUSE, _Seen(revision)
        while True:
            endpoint, seen.opened = self._gateway.current, False
            try:
                async with aclosing(self._messages(endpoint, prefix, seen)) as messages:
                    async for events in messages:
                        pause = PAUSE
                        if events:
                            yield events
                problem = StoreError(f"{endpoint}: the watch was ended")
            except httpx.ReadTimeout:
                silence = await self._silence(endpoint)
                if silence is None and seen.opened:
                    continue
                problem = silence or StoreError(f"{endpoint}: no answer in time")
            except CompactedError:
                raise
            except StoreError as error:
                problem = error
            if self._gateway.closed:
                raise StoreError("the store was closed")
            self._gateway.give_up(endpoint, problem)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def _messages(self, endpoint: str, prefix: str, seen: _Seen) -> AsyncGenerator[tuple[Event, ...], None]:
        """What one stream says, for each message its events, of which there may be none; `seen` goes on with it."""
        # From `revision` itself, not the one after it: etcd 3.4 answers a watch from exactly the compacted revision,
        # whose deletions it has dropped already.
        request = {**below(prefix), "start_revision": max(seen.revision, 1), "progress_notify": True}
        async with self._gateway.stream("/v3/watch", {"create_request": request}) as messages:
            async for line in messages:
                message = _watch_result(endpoint, line)
                if message.created:
                    seen.cluster = await self._same_data(endpoint, message.header, seen.revision, seen.cluster)
                    seen.opened = True
                elif not message.events:
                    await self._ping(endpoint)
                    seen.revision = max(seen.revision, message.header.revision)
                self._gateway.answered()
                new = [event for event in message.events if event.kv.mod_revision > seen.revision]
                if new:
                    seen.revision = new[-1].kv.mod_revision
                yield tuple(_watched(event) for event in new)

    async def _silence(self, endpoint: str) -> StoreError | None:
        """Why a watch was silent; None where the endpoint answers, as there was nothing to say then."""
        try:
            await self._ping(endpoint)
        except StoreError as error:
            return error
        return None

    async def grant(self, ttl: int) -> int:
        return (await self._gateway.call("/v3/lease/grant", {"TTL": ttl})).decode(LeaseResponse).ID

    async def keep_alive(self, lease: int) -> int:
        answer = (await self._gateway.call("/v3/lease/keepalive", {"ID": lease})).decode(LeaseMessage)
        if answer.error:
            raise_refusal(self._gateway.current, answer.error)
            raise StoreError(f"{self._gateway.current}: {answer.error.message}")
        if not answer.result.TTL:
            raise NotFoundError(f"lease {lease} does not exist or has expired", "ask for a new one")
        return answer.result.TTL

    async def time_to_live(self, lease: int) -> float:
        answer = (await self._gateway.call("/v3/lease/timetolive", {"ID": lease})).decode(LeaseResponse)
        if answer.TTL < 0:
            raise NotFoundError(f"lease {lease} does not exist or has expired", "ask for a new one")
        return answer.TTL

    async def revoke(self, lease: int) -> None:
        await self._gateway.call("/v3/lease/revoke", {"ID": lease})

    async def compact(self, revision: int) -> None:
        """Forget what was overwritten or deleted up to `revision`; raises CompactedError when that has been done."""
        await self._gateway.call("/v3/kv/compaction", {"revision": revision})

    def health(self) -> Health:
        return self._gateway.health()

    async def close(self) -> None:
        """Watches that still run raise StoreError."""
        await self._gateway.close()

    async def _write(self, write: StoreWrite, uncertain: bool = False) -> Event:
        """`uncertain`: an earlier attempt of this write may have been carried out."""
        reply = await self._gateway.call("/v3/kv/txn", txn(write))
        answer = reply.decode(TxnResponse)
        if answer.succeeded:
            return _event(write, answer.responses[0], answer.header.revision)
        kvs = answer.responses[0].response_range.kvs
        have = kvs[0].entry() if kvs else None
        if (uncertain or reply.uncertain) and _is_done(write, have):
            return Event("put", have) if have else _deletion(write.key, answer.header.revision)
        raise refusal(write, have) or StoreError(f"etcd refused to write {write.key} without a reason")

    async def _write_or_refusal(self, write: StoreWrite, uncertain: bool) -> Event | K8sNetLabError:
        try:
            return await self._write(write, uncertain)
        except StoreError:
            raise
        except K8sNetLabError as refusal:
            return refusal

    async def _ping(self, endpoint: str) -> int:
        """The cluster's revision by a read that needs a quorum."""
        body = {"key": base64(b"\0"), "limit": 1, "keys_only": True}
        return (await self._gateway.call("/v3/kv/range", body, endpoint)).decode(RangeResponse).header.revision

    async def _same_data(self, endpoint: str, header: Header, seen: int, cluster: str) -> str:
        """The id of the cluster that holds what was seen; a member that lags behind is no loss of data."""
        if cluster and header.cluster_id != cluster:
            raise DataLostError(f"{endpoint} is another etcd cluster than before: list again")
        if header.revision < seen:
            now = await self._ping(endpoint)
            if now < seen:
                raise DataLostError(_LOST.format(now=now, seen=seen))
        return header.cluster_id


def _event(write: StoreWrite, response: Response, revision: int) -> Event:
    """What a write that succeeded at `revision` did."""
    match write:
        case Create(key, value, lease):
            return Event("put", Entry(key, value, revision, revision, lease))
        case Update(key, value, _, lease):
            return Event("put", Entry(key, value, response.response_put.prev_kv.create_revision, revision, lease))
        case Delete(key):
            return _deletion(key, revision)


def _is_done(write: StoreWrite, have: Entry | None) -> bool:
    """Whether the key is as an earlier attempt of `write` would have left it."""
    match write:
        case Create(_, value, lease):
            same = have is not None and (have.value, have.lease) == (value, lease)
            return same and have is not None and have.create_revision == have.mod_revision
        case Update(_, value, mod_revision, lease):
            return have is not None and (have.value, have.lease) == (value, lease) and have.mod_revision > mod_revision
        case Delete():
            return have is None


def _groups(writes: Sequence[StoreWrite]) -> Iterator[Sequence[StoreWrite]]:
    """Runs of writes that fit one transaction: etcd takes a key once only."""
    group: dict[str, StoreWrite] = {}
    for write in writes:
        if write.key in group or len(group) == _TXN_WRITES:
            yield tuple(group.values())
            group = {}
        group[write.key] = write
    if group:
        yield tuple(group.values())


def _watch_result(endpoint: str, line: bytes) -> WatchResponse:
    """Raises CompactedError, or StoreError for every other way in which etcd ends a watch."""
    message = decode(line, WatchMessage)
    if message.error:
        raise_refusal(endpoint, message.error)
        raise StoreError(f"{endpoint}: {message.error.message}")
    result = message.result
    if result.compact_revision:
        raise CompactedError(f"etcd keeps nothing before revision {result.compact_revision}: list again")
    if result.canceled:
        raise StoreError(f"{endpoint}: the watch was ended: {result.cancel_reason or 'no reason given'}")
    return result


def _watched(event: WatchEvent) -> Event:
    return Event("delete" if event.type == "DELETE" else "put", event.kv.entry())


def _deletion(key: str, revision: int) -> Event:
    return Event("delete", Entry(key, b"", 0, revision))
