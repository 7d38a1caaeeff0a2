"""etcd's messages and methods, as far as we use them, without generated files.

Generated modules would be registered in protobuf's process-wide pool, where a second etcd client with the same names is
a crash at import. Here the same wire format has our own package name in a pool of our own. Enumerations are written as
int32, which looks the same on the wire. The numbers are etcd's `api/etcdserverpb/rpc.proto` and `api/mvccpb/kv.proto`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from ..protocol import Event, KeyValue, LeaseId, Revision

PACKAGE = "stark.etcd"
Message = Any
"""Messages are made from descriptors at run time, so nothing is known of them when types are checked."""

TABLE = """
KeyValue:              bytes key 1, int64 create_revision 2, int64 mod_revision 3, int64 version 4, bytes value 5,\
                       int64 lease 6
Event:                 int32 type 1, KeyValue kv 2, KeyValue prev_kv 3
Header:                uint64 cluster_id 1, uint64 member_id 2, int64 revision 3
RangeRequest:          bytes key 1, bytes range_end 2, int64 limit 3, int64 revision 4, bool keys_only 8, bool count_only 9
RangeResponse:         Header header 1, KeyValue* kvs 2, bool more 3, int64 count 4
PutRequest:            bytes key 1, bytes value 2, int64 lease 3
DeleteRangeRequest:    bytes key 1, bytes range_end 2
RequestOp:             RangeRequest request_range 1, PutRequest request_put 2, DeleteRangeRequest request_delete_range 3
ResponseOp:            RangeResponse response_range 1
Compare:               int32 result 1, int32 target 2, bytes key 3, int64 mod_revision 6
TxnRequest:            Compare* compare 1, RequestOp* success 2, RequestOp* failure 3
TxnResponse:           Header header 1, bool succeeded 2, ResponseOp* responses 3
CompactionRequest:     int64 revision 1
CompactionResponse:    Header header 1
LeaseGrantRequest:     int64 TTL 1, int64 ID 2
LeaseGrantResponse:    Header header 1, int64 ID 2, int64 TTL 3
LeaseRevokeRequest:    int64 ID 1
LeaseRevokeResponse:   Header header 1
LeaseKeepAliveRequest: int64 ID 1
LeaseKeepAliveResponse: Header header 1, int64 ID 2, int64 TTL 3
WatchCreateRequest:    bytes key 1, bytes range_end 2, int64 start_revision 3, bool prev_kv 6, bool fragment 8
WatchRequest:          WatchCreateRequest create_request 1
WatchResponse:         Header header 1, int64 watch_id 2, bool created 3, bool canceled 4, int64 compact_revision 5,\
                       string cancel_reason 6, bool fragment 7, Event* events 11
StatusRequest:
StatusResponse:        Header header 1, string version 2, int64 dbSize 3, uint64 leader 4
AuthenticateRequest:   string name 1, string password 2
AuthenticateResponse:  Header header 1, string token 2
"""
"""One message a line: type, name and number of each field; a star means repeated."""

COMPARE_MOD = 2
"""`Compare.target`: the key's mod revision. `Compare.result` is left at 0, equal."""
EVENT_DELETE = 1

_Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint64": _Field.TYPE_UINT64,
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="stark/etcd.proto", package=PACKAGE, syntax="proto3")
    for line in TABLE.strip().splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for words in (part.split() for part in fields.split(",") if part.strip()):
            kind, field_name, number = words
            field = message.field.add(name=field_name, number=int(number))
            field.label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            if kind in SCALARS:
                field.type = SCALARS[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def message(name: str) -> Message:
    """The class of a message of the table."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


RangeRequest = message("RangeRequest")
TxnRequest = message("TxnRequest")
CompactionRequest = message("CompactionRequest")
LeaseGrantRequest = message("LeaseGrantRequest")
LeaseRevokeRequest = message("LeaseRevokeRequest")
LeaseKeepAliveRequest = message("LeaseKeepAliveRequest")
WatchRequest = message("WatchRequest")
StatusRequest = message("StatusRequest")
AuthenticateRequest = message("AuthenticateRequest")


class Method(NamedTuple):
    """One remote procedure. A stream gets one request and gives one answer, unless it is the watch."""

    path: str
    request: Message
    response: Message
    is_stream: bool = False


RANGE = Method("/etcdserverpb.KV/Range", RangeRequest, message("RangeResponse"))
TXN = Method("/etcdserverpb.KV/Txn", TxnRequest, message("TxnResponse"))
COMPACT = Method("/etcdserverpb.KV/Compact", CompactionRequest, message("CompactionResponse"))
GRANT = Method("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest, message("LeaseGrantResponse"))
REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", LeaseRevokeRequest, message("LeaseRevokeResponse"))
KEEP_ALIVE = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", LeaseKeepAliveRequest, message("LeaseKeepAliveResponse"), is_stream=True
)
WATCH = Method("/etcdserverpb.Watch/Watch", WatchRequest, message("WatchResponse"), is_stream=True)
STATUS = Method("/etcdserverpb.Maintenance/Status", StatusRequest, message("StatusResponse"))
AUTHENTICATE = Method("/etcdserverpb.Auth/Authenticate", AuthenticateRequest, message("AuthenticateResponse"))

METHODS = (RANGE, TXN, COMPACT, GRANT, REVOKE, KEEP_ALIVE, WATCH, STATUS, AUTHENTICATE)


def key_value(kv: Message) -> KeyValue:
    """Ours for etcd's."""
    return KeyValue(
        kv.key, kv.value, Revision(kv.mod_revision), Revision(kv.create_revision), kv.version, LeaseId(kv.lease)
    )


def event(told: Message) -> Event:
    """Ours for etcd's, told by a watch with `prev_kv`."""
    kv = told.kv
    current = None if told.type == EVENT_DELETE else key_value(kv)
    previous = key_value(told.prev_kv) if told.HasField("prev_kv") else None
    return Event(kv.key, current, previous, Revision(kv.mod_revision))
