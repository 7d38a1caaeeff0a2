"""Small real parts for tests of the API server's plugins and handlers: a lookup over a dict, bodies, requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stark.apiserver.errors import RequestEntityTooLarge
from stark.apiserver.request import Peer, Pushed, Query, Request, Stream, User
from stark.apiserver.resources import Resource, Resources
from stark.crds.annotations import OWNER
from stark.crds.kinds import KINDS

ADMIN = User("admin", ("system:masters", "system:authenticated"))
ALICE = User("alice", ("system:authenticated",))
BOB = User("bob", ("system:authenticated",))
CONTROLLERS = User("system:stark-controllers", ("system:controllers", "system:authenticated"))


def node_user(name: str) -> User:
    """The agent of node `name`."""
    return User(f"system:node:{name}", ("system:nodes", "system:authenticated"))


def builtin_resources() -> Resources:
    """Every built-in kind, with schemas that take anything."""
    free = {"x-kubernetes-preserve-unknown-fields": True}
    return Resources(
        Resource(d.group, d.version, d.kind, d.plural, d.kind.lower(), d.namespaced, free, subresources=d.subresources)
        for d in (kind.RESOURCE for kind in KINDS)
    )


RESOURCES = builtin_resources()


def resource(group: str, plural: str) -> Resource:
    """The built-in resource at version v1."""
    found = RESOURCES.find(group, "v1", plural)
    assert found is not None, (group, plural)
    return found


@dataclass
class Objects:
    """A Lookup over objects that were put into it."""

    stored: dict[tuple[str, str, str, str], Mapping[str, Any]] = field(default_factory=dict)

    def add(self, group: str, plural: str, obj: Mapping[str, Any]) -> None:
        """Put an object where `get` and `list` find it."""
        metadata = obj["metadata"]
        self.stored[(group, plural, metadata.get("namespace", ""), metadata["name"])] = obj

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The object, or None."""
        return self.stored.get((group, plural, namespace, name))

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        """All objects of the resource; of one namespace when given."""
        return [
            obj
            for (g, p, ns, _), obj in self.stored.items()
            if (g, p) == (group, plural) and (not namespace or ns == namespace)
        ]

    async def foreign_in(self, namespace: str, owner: str) -> str:
        """As admission's Census."""
        for (_, plural, there, name), obj in self.stored.items():
            if there == namespace and (obj["metadata"].get("annotations") or {}).get(OWNER) != owner:
                return f"{plural}/{name}"
        return ""


class BoundPods:
    """The pods among some objects, as the node authorizer is told of them: everything is news, each time."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def _pods(self) -> Mapping[str, Mapping[str, Any]]:
        return {f"{at[2]}/{at[3]}": obj for at, obj in self._objects.stored.items() if at[:2] == ("", "pods")}

    def stale(self, node: str) -> set[str]:
        """Every pod: it may have changed."""
        return set(self._pods())

    def pod(self, key: str) -> Mapping[str, Any] | None:
        """The pod of that key."""
        return self._pods().get(key)

    async def catch_up(self) -> None:
        """There is nothing else."""


class Pieces:
    """A request body that arrives in pieces; an exception among them is raised in its turn."""

    def __init__(self, pieces: Sequence[bytes | BaseException] = ()) -> None:
        self._pieces = pieces

    async def read(self, limit: int) -> bytes:
        """All of it."""
        whole = b"".join([piece async for piece in self.chunks()])
        if len(whole) > limit:
            raise RequestEntityTooLarge(f"more than {limit} bytes")
        return whole

    async def chunks(self) -> AsyncIterator[bytes]:
        """Piece by piece."""
        for piece in self._pieces:
            if isinstance(piece, BaseException):
                raise piece
            yield piece


def chunks_of(stream: Stream) -> Any:
    """The iterator of a stream that is read and not pushed."""
    assert not isinstance(stream.chunks, Pushed)
    return stream.chunks


def request(
    path: str = "/",
    *,
    method: str = "GET",
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: Sequence[bytes | BaseException] = (),
    certificate_user: User | None = None,
    user: User | None = None,
) -> Request:
    """A request as the HTTP adapter makes it."""
    peer = Peer("127.0.0.1", certificate_user)
    return Request(method, path, Query(query), headers or {}, Pieces(body), peer, user)
