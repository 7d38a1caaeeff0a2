"""The users: read from the cache, and made through the registry, with what proves them in the same commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from .auth.sessions.authenticator import Person
from .auth.sessions.credentials import ABSENT, Credentials
from .cache.entry import Entry
from .cache.feed import Feed
from .cache.filter import EVERYTHING
from .cache.resource_cache import Prefix, ResourceCache
from .credentials import credential_key, operations
from .registry.along import Along
from .registry.options import Target, Writing
from .registry.records import Records
from .registry.refusals import store_away
from .registry.writes import Writes
from .request import User
from .resources import Resource, Resources
from .store.protocol import Expect, Revision

PREFIX: Final = Prefix("stark.dev", "users")
DECODED_MAX: Final = 4_096
"""People kept decoded."""
SETUP_KEY: Final = "setup"
"""The record that says that there has been a first administrator."""

Object = Mapping[str, Any]


def password_key(uid: str) -> str:
    """Where the hash of a user's password is."""
    return f"passwords/{uid}"


def address_key(email: str) -> str:
    """Where it is noted that somebody has, or had, this address."""
    return f"addresses/{email}"


class KnownPeople:
    """`People` from the cache. A user that seems missing is looked for again once the cache is surely current."""

    def __init__(self, feed: Feed, records: Records) -> None:
        self._feed, self._records = feed, records
        self._decoded: dict[str, tuple[Entry, Person]] = {}

    async def find(self, email: str) -> Person | None:
        """The user of that address. Raises ServiceUnavailable."""
        entry = await self.entry(email)
        if entry is None:
            return None
        known = self._decoded.get(email)
        if known is not None and known[0] is entry:
            return known[1]
        if len(self._decoded) >= DECODED_MAX:
            self._decoded.clear()
        person = person_of(entry.decode())
        self._decoded[email] = (entry, person)
        return person

    async def entry(self, email: str) -> Entry | None:
        """The object. Raises ServiceUnavailable."""
        cache = self._cache()
        entry = cache.get(email) if cache.ready.is_set() else None
        if entry is None:
            await self._records.fresh()
            # While the cache is filled anew nobody is known, which must not be taken for a user who is gone.
            entry = self._ready().get(email)
        return entry

    async def all(self) -> Sequence[Object]:
        """All of them, as of now. Raises ServiceUnavailable."""
        await self._records.fresh()
        return [entry.decode() for entry in self._ready().select(EVERYTHING)]

    async def exist(self) -> bool:
        """Whether there is any. Raises ServiceUnavailable."""
        await self._records.fresh()
        return len(self._ready()) > 0

    def _ready(self) -> ResourceCache:
        cache = self._cache()
        if not cache.ready.is_set():
            raise store_away("storage is (re)initializing")
        return cache

    def _cache(self) -> ResourceCache:
        cache = self._feed.cache(PREFIX)
        assert cache is not None, PREFIX
        return cache


def person_of(obj: Object) -> Person:
    """The user as far as it matters who they are."""
    spec, metadata = obj["spec"], obj["metadata"]
    # One who was deleted is gone from that moment on, however long a finalizer keeps the object.
    disabled = bool(spec.get("disabled")) or "deletionTimestamp" in metadata
    return Person(metadata["uid"], spec["email"], tuple(spec.get("roles") or ()), disabled)


class Password(NamedTuple):
    """What a user's password is compared with."""

    hash: str
    version: int
    """Of its record: a login, and a new password that rests on the old one, hold only while it is the same."""


class Registrar:
    """Makes users together with their passwords, and changes passwords."""

    def __init__(self, resources: Resources, records: Records, writes: Writes, credentials: Credentials) -> None:
        self._resources, self._records, self._writes, self._credentials = resources, records, writes, credentials

    async def create(
        self, spec: Object, password_hash: str, by: User, *, is_setup: bool = False, is_own_wish: bool = False
    ) -> Object:
        """A new user. Raises AlreadyExists, Invalid, Forbidden; Conflict when `is_setup` and there was one before.

        Conflict, too, when it is somebody's own wish to have an address that another had before: rights and objects go by
        the address, and who registers has proved nothing about it.
        """
        address = address_key(spec["email"])

        def along(obj: Object) -> Mapping[str, bytes | None]:
            uid = obj["metadata"]["uid"]
            changes: dict[str, bytes | None] = {password_key(uid): _encode(password_hash)}
            changes[address] = orjson.dumps({"user": uid})
            if is_setup:
                changes[SETUP_KEY] = orjson.dumps({"user": uid})
            return changes

        firsts = [SETUP_KEY] * is_setup + [address] * is_own_wish
        expect = [Expect(credential_key(key), Revision(ABSENT)) for key in firsts]
        obj = {
            "apiVersion": "stark.dev/v1",
            "kind": "User",
            "metadata": {"name": spec["email"]},
            "spec": {name: value for name, value in spec.items() if value is not None},
        }
        writing = Writing(by, along=Along(expect, lambda made: operations(along(made))))
        stored = await self._writes.create(Target(self._resource()), obj, writing)
        await self._records.reached(stored.revision)
        return stored.obj

    async def password(self, uid: str) -> Password | None:
        """What a user's password is compared with; None for one who has none. Raises ServiceUnavailable."""
        record = await self._credentials.read(password_key(uid))
        return None if record is None else Password(str(orjson.loads(record.value)["hash"]), record.version)

    async def set_password_hash(self, uid: str, password_hash: str, *, instead_of: Password | None = None) -> bool:
        """From now on that one; False when `instead_of` was replaced meanwhile. Raises ServiceUnavailable."""
        key = password_key(uid)
        expect = {key: instead_of.version} if instead_of is not None else {}
        return await self._credentials.write(expect, {key: _encode(password_hash)})

    async def was_set_up(self) -> bool:
        """Whether there has been a first administrator. Raises ServiceUnavailable."""
        return await self._credentials.read(SETUP_KEY) is not None

    def _resource(self) -> Resource:
        resource = self._resources.find("stark.dev", "v1", "users")
        assert resource is not None, "users"
        return resource


def _encode(password_hash: str) -> bytes:
    return orjson.dumps({"hash": password_hash, "changedAt": datetime.now(UTC).isoformat(timespec="seconds")})
