"""The lab's objects: the one door through which they change, and the loop that runs the controllers over them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from typing import Literal, TypeVar, cast

from k8snetlab.api.core import Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import encode, store_key
from k8snetlab.api.snapshot import Draft, Snapshot
from k8snetlab.cluster import admitted, nearby, restoring
from k8snetlab.cluster.controlling import ControllerLoop
from k8snetlab.cluster.creating import Creations, alone, namesake
from k8snetlab.cluster.events import EventRecorder
from k8snetlab.cluster.failing import Failing
from k8snetlab.cluster.fencing import Fence, FencedError, gives
from k8snetlab.controllers import Write, returning
from k8snetlab.controllers.components import ALL
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.returning import Return
from k8snetlab.dataplane.holds import NONE, Holds, named
from k8snetlab.errors import (
    AlreadyExistsError,
    ConflictError,
    K8sNetLabError,
    NotFoundError,
    StoreError,
    TerminatingError,
)
from k8snetlab.kernel import fault
from k8snetlab.messages.store import KeyValue
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Delete, Entry, Event, Store

T = TypeVar("T", bound=Object)
BROUGHT = "k8snetlab/up"
"""Annotation: the object came with `up`, so that an `up` without it takes it away."""
EDITS = 100
"""Times that an object is looked at anew before a change to it is given up."""
SETTLING = 0.01
"""Seconds between two looks whether the controllers have begun."""
_RACES = (ConflictError, NotFoundError, AlreadyExistsError, TerminatingError)
Outcome = Literal["created", "configured", "unchanged"]


class Cluster:
    """Objects in the store, as a Snapshot that is never older than this process's own writes.

    `shared`: other machines' daemons write to the store too, and one of theirs may run the controllers. `component`
    says which of them run here, if any do.
    """

    def __init__(self, store: Store, informer: Informer, shared: bool = False, component: str = ALL) -> None:
        self._store, self._informer, self._shared, self._component = store, informer, shared, component
        self._controllers: ControllerLoop | None = None
        self._held: Holds = NONE
        self._door = asyncio.Lock()
        self._bulks = 0
        self._returns = 0
        self._whole = asyncio.Event()
        self._events = EventRecorder(store, informer)
        self._fence = Fence(store, informer)
        self._creations = Creations(self._create_many)

    @property
    def snapshot(self) -> Snapshot:
        return self._informer.snapshot

    @property
    def _writable(self) -> Store:
        fault.point()
        return self._store

    @property
    def shared(self) -> bool:
        """Whether others write to the store too."""
        return self._shared

    @property
    def informer(self) -> Informer:
        return self._informer

    # --- reading ---

    async def changes(
        self, reports: bool = False, revisions: bool = False, *, kinds: Collection[type[Object]] = ()
    ) -> AsyncIterator[Snapshot]:
        """The snapshot now, and again whenever it has changed, with `kinds` whenever one of these has; changes in
        between are folded into one. An Event changes nothing, so it wakes only those who ask for `reports`; nor does
        what is known already, but for `revisions`."""
        async for snapshot, _ in self._informer.changes(reports, revisions, kinds=kinds):
            yield snapshot

    async def whole(self) -> Snapshot:
        """The snapshot once no `bulk` is under way."""
        while self._bulks:
            self._whole.clear()
            await self._whole.wait()
        return self.snapshot

    async def reached(self, revision: int, seconds: float) -> None:
        """Until the snapshot has all up to a revision, for `seconds` at most: the store may have fallen silent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._informer.reached(revision)

    def current(self, type_: type[T], name: str, namespace: str = "") -> T:
        obj = self.snapshot.get(type_, name, namespace)
        if obj is None:
            where = f" in namespace {namespace!r}" if namespace else ""
            hint = nearby.hint(self.snapshot, f"{namespace}/{name}" if namespace else name, (type_,))
            raise NotFoundError(f"{type_.KIND.lower()} {name!r} not found{where}", hint)
        return obj

    def dump(self, prefix: str) -> AsyncIterator[KeyValue]:
        """As `restoring.dump`."""
        return restoring.dump(self._store, prefix)

    # --- telling ---

    def record(
        self,
        obj: Object,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        component: str,
        host: str = "",
        field_path: str = "",
    ) -> None:
        """Tells in an Event what happened to an object; the same again raises its count.

        To be called in the loop's thread; it never waits, fails or wakes anybody. `component` is who tells it, in
        Kubernetes' words (kubelet, with the node as `host`; replicaset-controller), `field_path` the part of the object
        that it concerns: spec.containers{web}.
        """
        self.tell(Note(obj, type_, reason, message, component, host, field_path))

    def tell(self, note: Note) -> None:
        """`record` of what is worded already."""
        self._events.record(note)

    async def close(self) -> None:
        """Writes the Events that wait, while there still is a store."""
        await self._events.close()

    # --- writing ---

    @contextlib.contextmanager
    def bulk(self) -> Iterator[None]:
        """While many objects are written: who waits for `whole` sees them all at once instead of bit by bit."""
        self._bulks += 1
        try:
            yield
        finally:
            self._bulks -= 1
            self._whole.set()

    async def create(self, obj: T) -> T:
        if not alone(obj):
            return cast(T, await self._creations.of(obj))
        async with self._door:
            return await self._fence.chosen(lambda: self._create(obj))

    async def _create_many(self, objects: Sequence[Object]) -> list[Object | Exception]:
        """`create` of each object, in one go; none gets what others must not get, too (`alone`)."""
        outcomes, planned = list[Object | Exception](objects), dict[str, tuple[int, admitted.Planned]]()
        async with self._door:
            snapshot = self.snapshot
            for number, obj in enumerate(objects):
                try:
                    self._refuse_namesake(obj)
                    new = admitted.admit_create(obj, snapshot)
                    if (key := store_key(new)) in planned:
                        raise namesake(obj)
                    planned[key] = number, admitted.put(key, new, None)
                except Exception as error:
                    outcomes[number] = error
            results = await self._write_many([what for _, what in planned.values()]) if planned else ()
            for (number, (_, new)), result in zip(planned.values(), results, strict=True):
                stored = self.snapshot.get(type(new), new.name, new.namespace)
                outcomes[number] = (stored or new) if isinstance(result, Event) else result
        return outcomes

    def tried(self, obj: T, old: T | None = None) -> T:
        """The object as `create`, or where there is an `old` one `edit`, would store it now; nothing is stored."""
        if old is not None:
            return admitted.admit_update(obj, old, self.snapshot)
        self._refuse_namesake(obj)
        return admitted.admit_create(obj, self.snapshot)

    async def apply(self, obj: Object) -> tuple[Outcome, Object]:
        """Creates the object, or makes the stored one like it; what the server allocated or observed is kept."""
        outcome = (await self.apply_many([obj]))[0]
        return outcome, self.current(type(obj), obj.name, obj.namespace)

    async def apply_many(self, objects: Iterable[Object], *, right: bool = False) -> list[Outcome]:
        """`apply` of each object, in order, in one go: others see the snapshot before it or after it.

        `right`: each was found to be so by itself. Nothing is stored when one of them is refused.
        """
        wanted, first = list(objects), list[Outcome]()

        async def applied() -> None:
            outcomes, writes = self._drafted(wanted, right)
            first[:] = first or outcomes
            for result in await self._write_many(writes):
                if not isinstance(result, Event):
                    raise result

        async with self._door:
            await self._fence.chosen(applied)
        return first

    def _drafted(self, objects: Iterable[Object], right: bool) -> tuple[list[Outcome], list[admitted.Planned]]:
        """What becomes of objects that are applied one after the other, and the writes."""
        draft, outcomes, writes = Draft(self.snapshot), list[Outcome](), dict[str, admitted.Planned]()
        for obj in objects:
            drafted = draft.snapshot
            old = drafted.get(type(obj), obj.name, obj.namespace)
            if old is None:
                new = admitted.admit_create(obj, drafted, right=right)
            else:
                new = admitted.admit_apply(obj, old, drafted)
            outcomes.append("created" if old is None else "unchanged" if new is old else "configured")
            if new is not old:
                key = store_key(new)
                writes[key] = admitted.put(key, new, self.snapshot.get(type(new), new.name, new.namespace))
                draft.put(new)
        return outcomes, list(writes.values())

    async def edit(self, obj: T, change: Callable[[T], T]) -> T:
        """Compare-and-swap until `change` of the stored object is stored; NotFoundError when it has gone, ConflictError
        when others were quicker again and again."""
        async with self._door:
            for attempt in itertools.count(1):
                old = self.current(type(obj), obj.name, obj.namespace)
                try:
                    return await self._replace(change(old), old)
                except ConflictError as conflict:
                    if attempt == EDITS:
                        raise
                    if isinstance(conflict, FencedError):
                        await self._fence.seen()
                    # Another daemon was quicker; look at what it wrote instead of waiting for the watch to tell.
                    entry = await self._store.get(store_key(old))
                    if entry is not None:
                        self._informer.apply_local(entry)
        raise AssertionError("the loop above has no end of its own")

    async def edit_many(self, edits: Sequence[tuple[T, Callable[[T], T]]]) -> list[Exception | None]:
        """`edit` of each object, in one go. Each succeeds or is refused on its own; what has gone is no failure. Raises
        StoreError."""
        outcomes: list[Exception | None] = [None] * len(edits)
        async with self._door:
            snapshot, planned = self.snapshot, list[tuple[int, admitted.Planned]]()
            for number, (obj, change) in enumerate(edits):
                if (old := snapshot.get(type(obj), obj.name, obj.namespace)) is None:
                    continue
                try:
                    new = admitted.admit_update(change(old), old, snapshot)
                except Exception as error:
                    outcomes[number] = error
                else:
                    planned += [] if new is old else [(number, admitted.put(store_key(old), new, old))]
            results = await self._write_many([what for _, what in planned]) if planned else ()
        for (number, _), result in zip(planned, results, strict=True):
            if isinstance(result, ConflictError):  # another daemon was quicker
                outcomes[number] = await self._refused(*edits[number])
            elif not isinstance(result, Event | NotFoundError):
                outcomes[number] = result
        return outcomes

    async def _refused(self, obj: T, change: Callable[[T], T]) -> Exception | None:
        """What `edit` was refused with; that the object has gone is no failure. Raises StoreError."""
        try:
            await self.edit(obj, change)
        except StoreError:
            raise
        except NotFoundError:
            return None
        except Exception as error:
            return error
        return None

    async def replace(self, obj: T) -> T:
        """Stores `obj` over its namesake; ConflictError unless its resourceVersion is "" or the stored one."""
        async with self._door:
            old = self.current(type(obj), obj.name, obj.namespace)
            if obj.metadata.resourceVersion not in ("", old.metadata.resourceVersion):
                raise ConflictError(
                    f"{obj.KIND.lower()} {obj.name!r} was changed meanwhile", "get it again and repeat the change"
                )
            return await self._fence.chosen(lambda: self._replace(obj, old))

    async def delete(
        self,
        obj: Object,
        force: bool = False,
        refuse: Callable[[Object], None] = lambda _: None,
        grace: int | None = None,
        *,
        foreground: bool = False,
    ) -> None:
        """Deletes an object; a pod that runs somewhere is marked first and ends when its agent has stopped it, within
        `grace` seconds (None: its own); `foreground`: after what it owns. `refuse` may raise, of the object as it is
        stored."""
        async with self._door:
            old = self.current(type(obj), obj.name, obj.namespace)
            refuse(old)
            if (deletion := admitted.deletion(old, force, grace, foreground=foreground)) is not None:
                await self._write_one(deletion)

    async def renew(self, pod: Pod) -> None:
        """Puts another object of the same name in the place of a pod, in one step, as one that has never been deleted:
        what is there of the pod goes on."""
        async with self._door:
            old = self.current(Pod, pod.name, pod.namespace)
            if old.metadata.uid != pod.metadata.uid:
                return
            new = admitted.admit_create(admitted.never_deleted(old), self.snapshot)
            key = store_key(old)
            await self._write_many([admitted.Planned(Delete(key), old), admitted.put(key, new, None)])

    async def _write_many(self, planned: Iterable[admitted.Planned]) -> Sequence[Event | K8sNetLabError]:
        """What became of each write; the snapshot has those that were done."""
        planned = list(planned)
        giving = [one for one in planned if self._gives(one.obj)]
        fenced = await self._fence.write(giving, self._writable) if giving else {}
        plain = [one for one in planned if one.write.key not in fenced]
        results = await self._writable.write_many([write for write, _ in plain])
        done = [result for result in results if isinstance(result, Event)]
        self._informer.apply_local(*done, made=admitted.values(plain))
        rest = iter(results)
        return [fenced[one.write.key] if one.write.key in fenced else next(rest) for one in planned]

    def _gives(self, obj: Object) -> bool:
        return self._shared and gives(obj, self.snapshot)

    async def _write_one(self, planned: admitted.Planned) -> None:
        for result in await self._write_many([planned]):
            if not isinstance(result, Event):
                raise result

    async def _create(self, obj: T) -> T:
        self._refuse_namesake(obj)
        new = admitted.admit_create(obj, self.snapshot)
        if self._gives(new):
            return await self._stored(admitted.put(store_key(new), new, None), new)
        return self._written(new, await self._writable.create(store_key(new), encode(admitted.stored(new))))

    async def _stored(self, planned: admitted.Planned, obj: T) -> T:
        await self._write_one(planned)
        return self.snapshot.get(type(obj), obj.name, obj.namespace) or obj

    def _refuse_namesake(self, obj: Object) -> None:
        if self.snapshot.get(type(obj), obj.name, obj.namespace) is not None:
            raise namesake(obj)

    async def _replace(self, obj: T, old: T) -> T:
        """Stores an admitted `obj` over `old`; `old` itself when nothing differs."""
        new = admitted.admit_update(obj, old, self.snapshot)
        if new is old:
            return old
        if admitted.is_over(new):
            await self._write_one(admitted.Planned(Delete(store_key(old)), new))
            return new
        if self._gives(new):
            return await self._stored(admitted.put(store_key(old), new, old), new)
        revision = int(old.metadata.resourceVersion or 0)
        return self._written(new, await self._writable.update(store_key(old), encode(admitted.stored(new)), revision))

    def _written(self, obj: T, entry: Entry) -> T:
        """The object as the snapshot has it now that `entry`, which was encoded from it, is stored."""
        self._informer.apply_local(entry, made={entry.value: obj})
        return self.snapshot.get(type(obj), obj.name, obj.namespace) or obj

    async def restore(self) -> None:
        """As `restoring.restore`."""
        await restoring.restore(self._store, self._informer)

    @property
    def returns(self) -> int:
        """Raised whenever `go_back` begins and ends."""
        return self._returns

    async def go_back(self, wanted: Sequence[Object], tell: Callable[[Return], None]) -> None:
        """Makes the store hold what a snapshot of the lab kept, and nothing else, in one go: what controllers worked
        out before it is void. `tell` is told what will be written before it is.

        Not for a store that other daemons write to. Raises StoreError.
        """
        async with self._door:
            back = returning.back(wanted, self.snapshot, admitted.now())
            tell(back)
            self._returns += 1
            try:
                for result in await self._write_many(admitted.returned(back)):
                    if not isinstance(result, Event):
                        raise result
            finally:
                self._returns += 1

    # --- controllers ---

    def _planned(
        self, writes: Sequence[Write], whole: bool
    ) -> tuple[list[tuple[int, admitted.Planned]], list[Exception | None]]:
        """What is to be written, by its number, and what is refused already."""
        outcomes: list[Exception | None] = [None] * len(writes)
        planned: list[tuple[int, admitted.Planned]] = []
        for number, write in enumerate(writes):
            try:
                if (what := admitted.planned(write, self.snapshot)) is not None:
                    planned.append((number, what))
            except _RACES:
                if whole:
                    raise
            except Exception as error:
                outcomes[number] = error
        return planned, outcomes

    async def write_batch(
        self, writes: Sequence[Write], whole: bool = False, *, returns: int | None = None
    ) -> list[Exception | None]:
        """The writes that controllers ask for, in one go. Each succeeds or is refused on its own, and its notes are
        told once it succeeds.

        A lost race, or an object that has gone, is no failure: the next snapshot tells what is so; with `whole` it is
        raised, and nothing is written. Writes that were worked out before the last of so many `returns` are void.
        Raises StoreError.
        """
        async with self._door:
            if returns not in (None, self._returns):
                return [None] * len(writes)
            planned, outcomes = self._planned(writes, whole)
            results = await self._write_many([what for _, what in planned])
        for (number, _), result in zip(planned, results, strict=True):
            if isinstance(result, Event):
                for note in writes[number].notes:
                    self._events.record(note)
            elif not isinstance(result, _RACES):
                outcomes[number] = result
        return outcomes

    def refusal(self, write: Write) -> Exception | None:
        """The error that would refuse the write now."""
        try:
            admitted.planned(write, self.snapshot)
        except _RACES:
            return None
        except Exception as error:
            return error
        return None

    async def run_controllers(self) -> None:
        """Runs the controllers after each change, until they have nothing left to write."""
        self._controllers = ControllerLoop(self, self._component)
        self._controllers.hold(named(self._held, "controller"))
        try:
            await self._controllers.run()
        finally:
            self._controllers.end()
            self._controllers = None

    @property
    def failing(self) -> tuple[Failing, ...]:
        """What controllers fail at and try again; nothing if another machine runs them. May be asked from any
        thread."""
        return loop.failing if (loop := self._controllers) else ()

    @property
    def behind(self) -> dict[str, float]:
        """The controllers that hang, and the seconds for which they have not looked at what changed. May be asked from
        any thread."""
        return loop.behind if (loop := self._controllers) else {}

    def hold(self, held: Holds) -> None:
        """Lets the controllers hang that are held, and no others, those that begin later among them."""
        self._held = held
        if self._controllers:
            self._controllers.hold(named(held, "controller"))

    async def settled(self) -> Snapshot:
        """The snapshot once the controllers have nothing left to write that they can; at once where another machine
        runs them."""
        while self._controllers or not self._shared:
            if self._controllers is None:
                await asyncio.sleep(SETTLING)  # they are about to begin
            elif await self._controllers.rested():
                break
        return self.snapshot

    async def settled_within(self, seconds: float) -> Snapshot:
        """`settled`, or the snapshot when time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self.settled()
        return self.snapshot
