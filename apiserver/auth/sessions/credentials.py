"""Where what proves people is kept: records outside the registry, which no list, watch or feed ever shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

ABSENT = 0
"""The version of a record that is not there."""


class Record(NamedTuple):
    """What is kept under one key, and the version that a change of it is conditional on."""

    value: bytes
    version: int


class Credentials(Protocol):
    """A small map from texts such as `sessions/<uid>/<id>` to bytes. Every method raises ServiceUnavailable."""

    async def read(self, key: str) -> Record | None:
        """The record, as of now."""
        ...

    async def write(self, expect: Mapping[str, int], changes: Mapping[str, bytes | None]) -> bool:
        """Make all of `changes` (None: remove) durable at once, if each key of `expect` is at its version; else nothing.

        False when one was not.
        """
        ...

    def each(self, prefix: str) -> AsyncIterator[tuple[str, Record]]:
        """All records whose keys begin so, in the order of the keys, as they were at one moment."""
        ...

    def follow(self, prefix: str) -> AbstractAsyncContextManager[AsyncIterator[Mapping[str, Record | None]]]:
        """What is there, first, and then every change as it happens (None: removed); with nothing in it, time has passed.

        Ends with ServiceUnavailable when the store is away.
        """
        ...
