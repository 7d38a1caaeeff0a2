"""Lists: consistent, any, exact, not older than; whole or page by page.

The first page comes from the cache. The token for the next one names the revision and the key to go on after, and that
page is read from the store at that revision, so that all pages together are one snapshot.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ..cache.entry import Entry
from ..cache.feed import Feed
from ..cache.resource_cache import ResourceCache
from ..errors import BadRequest, Gone
from ..resources import Resource
from ..store.protocol import Compacted, FutureRevision, Page, Revision, Store, StoreError, prefix_end
from .options import EXACT, Listing, Target
from .records import Records
from .refusals import of_store

TOKEN_VERSION: Final = "meta.k8s.io/v1"
INCONSISTENT: Final = -1
"""In a token: go on after that key, in whatever is there now."""
STORE_PAGE_SIZE: Final = 500
"""Objects read from the store at once while a selector leaves some of them out."""

EXPIRED_TOKEN: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class ExpiredToken(Gone):
    """The snapshot is gone. The Status carries a token to go on without it."""

    def __init__(self, token: str) -> None:
        super().__init__(EXPIRED_TOKEN)
        self._token = token

    def status(self) -> dict[str, Any]:
        """The Status, with the token in its metadata."""
        return {**super().status(), "metadata": {"continue": self._token}}


@dataclass(frozen=True, slots=True)
class Part:
    """What a list found: a page and where it ends. `remaining` is None when a selector makes it unknowable."""

    entries: Sequence[Entry]
    revision: int
    next_start: str = ""
    remaining: int | None = None

    def meta(self) -> dict[str, Any]:
        """The metadata of the list."""
        meta: dict[str, Any] = {"resourceVersion": str(self.revision)}
        if self.next_start:
            meta["continue"] = encode_token(self.revision, self.next_start)
            if self.remaining:
                meta["remainingItemCount"] = self.remaining
        return meta


def encode_token(revision: int, start: str) -> str:
    """A continue token: clients hand it back as it is."""
    token = {"v": TOKEN_VERSION, "rv": revision, "start": start}
    return base64.urlsafe_b64encode(orjson.dumps(token)).decode().rstrip("=")


def decode_token(text: str) -> tuple[int, str]:
    """The revision and the key to go on from. Raises BadRequest. A forged one reaches nothing beyond its resource."""
    try:
        token = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        revision, start = token["rv"], token["start"]
        is_ours = token["v"] == TOKEN_VERSION and isinstance(revision, int) and isinstance(start, str)
    except (binascii.Error, ValueError, TypeError, KeyError):
        is_ours = False
    if not is_ours:
        raise BadRequest("continue key is not valid: it is not a token of this server")
    return revision, start


class Lists:
    """The list side of the registry."""

    def __init__(self, store: Store, feed: Feed, records: Records) -> None:
        self._store, self._feed, self._records = store, feed, records

    async def list(self, target: Target, options: Listing) -> Part:
        """One page, or everything. Raises Gone, Timeout, ServiceUnavailable, BadRequest."""
        cache = await self._records.cache(target.resource)
        if options.continue_token:
            return await self._next(cache, target, options)
        version = options.resource_version
        if version is None:
            await self._records.fresh()
        elif version:
            await self._records.reached(version)
            is_exact = options.match == EXACT or (options.limit and not options.match)
            if is_exact and version != self._revision(cache):
                return await self._from_store(cache, target.resource, options, version, "")
        # A reader that takes any version gets everything at once, as from Kubernetes' cache: it never pages.
        return self._from_cache(cache, options, "", 0 if version == 0 else options.limit)

    def _revision(self, cache: ResourceCache) -> int:
        return max(self._feed.revision, cache.revision)

    async def _next(self, cache: ResourceCache, target: Target, options: Listing) -> Part:
        if options.resource_version:
            raise BadRequest("specifying resource version is not allowed when using continue")
        revision, start = decode_token(options.continue_token)
        if revision == INCONSISTENT:
            await self._records.fresh()
            return self._from_cache(cache, options, start, options.limit)
        if revision == self._revision(cache):
            return self._from_cache(cache, options, start, options.limit)
        try:
            return await self._from_store(cache, target.resource, options, revision, start)
        except Gone:
            raise ExpiredToken(encode_token(INCONSISTENT, start)) from None

    def _from_cache(self, cache: ResourceCache, options: Listing, start: str, limit: int) -> Part:
        revision = self._revision(cache)
        if not limit:
            is_everything = not start and not options.wanted.selects
            found = cache.snapshot(options.wanted.namespace) if is_everything else cache.select(options.wanted, start)
            return Part(found, revision)
        entries = cache.select(options.wanted, start, limit + 1)
        if len(entries) <= limit:
            return Part(entries, revision)
        next_start = entries[limit - 1].key + "\0"
        remaining = None if options.wanted.selects else cache.count_from(options.wanted.namespace, next_start)
        return Part(entries[:limit], revision, next_start, remaining)

    async def _from_store(
        self, cache: ResourceCache, resource: Resource, options: Listing, revision: int, start: str
    ) -> Part:
        wanted, limit = options.wanted, options.limit
        prefix = bytes(cache.prefix)
        scope = prefix + (f"{wanted.namespace}/".encode() if wanted.namespace else b"")
        at = max(prefix + start.encode(), scope)
        entries: list[Entry] = []
        while True:
            size = STORE_PAGE_SIZE if wanted.selects or not limit else limit - len(entries)
            page = await self._page(at, prefix_end(scope), size, revision)
            for position, item in enumerate(page.items):
                entry = cache.read(item)
                if not wanted.matches(entry):
                    continue
                entries.append(entry)
                if limit and len(entries) == limit:
                    left = page.remaining + len(page.items) - position - 1
                    remaining = None if wanted.selects else left
                    return Part(entries, revision, entry.key + "\0" if left else "", remaining)
            if not page.remaining:
                return Part(entries, revision)
            at = page.items[-1].key + b"\0"

    async def _page(self, start: bytes, end: bytes, limit: int, revision: int) -> Page:
        if end and start >= end:
            return Page((), Revision(revision), 0)
        try:
            return await self._store.range(start, end, limit=limit, revision=Revision(revision))
        except Compacted:
            raise Gone("The resourceVersion for the provided list is too old.") from None
        except FutureRevision as error:
            raise BadRequest(f"invalid resource version: {error}") from error
        except StoreError as error:
            raise of_store(error) from error
