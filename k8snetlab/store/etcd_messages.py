"""etcd v3's messages in JSON, those that the store sends and receives.

Source: etcd 3.4 `rpc.proto` and its grpc-gateway mapping: int64 arrive as strings, zero fields are left out, bytes are
base64. msgspec decodes all three into the types below.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, TypeAlias, TypeVar

import msgspec

from k8snetlab.errors import StoreError
from k8snetlab.store.protocol import Create, Delete, Entry, StoreWrite, Update

T = TypeVar("T")
Body: TypeAlias = dict[str, Any]


class Message(msgspec.Struct, frozen=True):
    """Base of etcd's messages: a field that is left out has its zero value."""


class Header(Message, frozen=True):
    cluster_id: str = ""
    revision: int = 0
    member_id: int = 0


class Refusal(Message, frozen=True):
    """An answer with HTTP status >= 400, or the `error` object inside a stream (there the code is `grpc_code`)."""

    message: str = ""
    error: str = ""
    code: int = 0
    grpc_code: int = 0


class KeyValue(Message, frozen=True):
    key: bytes = b""
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    lease: int = 0

    def entry(self) -> Entry:
        return Entry(self.key.decode(errors="replace"), self.value, self.create_revision, self.mod_revision, self.lease)


class RangeResponse(Message, frozen=True):
    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False
    count: int = 0


class PutResponse(Message, frozen=True):
    prev_kv: KeyValue = KeyValue()


class DeleteResponse(Message, frozen=True):
    deleted: int = 0


class Response(Message, frozen=True):
    response_range: RangeResponse = RangeResponse()
    response_put: PutResponse = PutResponse()
    response_delete_range: DeleteResponse = DeleteResponse()


class TxnResponse(Message, frozen=True):
    header: Header = Header()
    succeeded: bool = False
    responses: tuple[Response, ...] = ()


class MemberStatus(Message, frozen=True):
    """/v3/maintenance/status; of a member that is asked."""

    header: Header = Header()
    leader: int = 0
    raftIndex: int = 0
    raftTerm: int = 0


class LeaseResponse(Message, frozen=True):
    ID: int = 0
    TTL: int = 0


class LeaseMessage(Message, frozen=True):
    result: LeaseResponse = LeaseResponse()
    error: Refusal | None = None


class WatchEvent(Message, frozen=True):
    type: str = "PUT"
    kv: KeyValue = KeyValue()


class WatchResponse(Message, frozen=True):
    header: Header = Header()
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    events: tuple[WatchEvent, ...] = ()


class WatchMessage(Message, frozen=True):
    result: WatchResponse = WatchResponse()
    error: Refusal | None = None


def decode(data: bytes | str, type_: type[T]) -> T:
    """Raises StoreError when the data is not such a message: no etcd answers there."""
    try:
        return msgspec.json.decode(data, type=type_, strict=False)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"what answers is no etcd v3 JSON gateway: {error}",
            "check store.endpoints: the client port is usually 2379",
        ) from error


def txn(write: StoreWrite) -> Body:
    """The transaction whose failure branch reads the key."""
    key = base64(write.key.encode())
    read = [{"request_range": {"key": key}}]
    compare: list[Body] = [{"key": key, "target": "CREATE", "result": "GREATER", "create_revision": 0}]
    match write:
        case Create(_, value, lease):
            compare = [{"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": 0}]
            put = {"key": key, "value": base64(value), "lease": lease}
            return {"compare": compare, "success": [{"request_put": put}], "failure": read}
        case Update(_, value, mod_revision, lease):
            compare.append({"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": mod_revision})
            put = {"key": key, "value": base64(value), "lease": lease, "prev_kv": True}
            return {"compare": compare, "success": [{"request_put": put}], "failure": read}
        case Delete(_, mod_revision):
            if mod_revision is not None:
                compare.append({"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": mod_revision})
            return {"compare": compare, "success": [{"request_delete_range": {"key": key}}], "failure": read}


def below(prefix: str) -> dict[str, str]:
    """Key and range_end of all keys that begin with `prefix`. Source: etcd's clientv3 WithPrefix."""
    start = prefix.encode()
    head = start.rstrip(b"\xff")
    end = head[:-1] + bytes([head[-1] + 1]) if head else b"\0"
    return {"key": base64(start or b"\0"), "range_end": base64(end)}


def base64(data: bytes) -> str:
    return b64encode(data).decode()
