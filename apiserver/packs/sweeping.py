"""Take away the bundles that no pack names any more.

A bundle outlives its last pack by an hour at least, so an upload that is under way, or a pack that is deleted and
registered again, finds its bytes. Uploads that nobody goes on with wait for a day.

Several servers may sweep one storage, while others take uploads into it. So a blob is first set aside under another key,
and goes for good only if no pack names it even then: an upload is taken only for a pack that names it, hence every upload
that came before the setting aside belongs to a pack that is seen after it, and its blob is put back. What a sweep that was
interrupted has set aside the next one finishes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter

from ..errors import ServiceUnavailable
from .blobs import BLOBS, DIGEST, BlobStore, blob_key
from .objects import Objects

log = structlog.get_logger(__name__)

SWEEP_INTERVAL_S = 900.0
FIRST_SWEEP_S = 60.0
"""After the start there is more urgent work."""
UNREFERENCED_KEPT = timedelta(hours=1)
"""How long a blob without a pack is kept: an upload in progress has no pack that says so yet."""
ASIDE = "swept"
"""Where blobs are set aside."""


Packs = Callable[[], Awaitable[Iterable[Mapping[str, Any]]]]
"""All packs there are now. Raises ApiError when nobody can tell: then nothing may be swept."""

Named = Callable[[], Awaitable[frozenset[str]]]
"""The digests that packs name at this moment. Raises ApiError."""


class Expiring(Protocol):
    """Unfinished uploads, of which some are forgotten."""

    def expire(self) -> Coroutine[Any, Any, int]:
        """Remove those that nobody goes on with; returns how many."""
        ...


def named_bundles(packs: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The digests of all bundles that packs name, uploaded or not."""
    return frozenset(bundle["sha256"] for pack in packs for bundle in pack["spec"].get("bundles") or ())


async def sweep_forever(blobs: BlobStore, partials: Expiring, packs: Packs, registry: CollectorRegistry) -> None:
    """Sweep now and then. A sweep that fails is logged and tried again at its next turn."""
    swept = Counter(
        "stark_apiserver_bundles_swept_total", "Bundles that no pack named and that were taken away.", registry=registry
    )
    failures = Counter(
        "stark_apiserver_bundle_storage_failures_total", "Times the storage of bundles failed us.", registry=registry
    )
    blobs.objects.on_failure = failures.inc

    async def named() -> frozenset[str]:
        return named_bundles(await packs())

    with suppress(ServiceUnavailable):
        await blobs.objects.list(ASIDE)  # what is wrong with the storage, or with our keys to it, is in the log at once
    wait_s = FIRST_SWEEP_S
    while True:
        await asyncio.sleep(wait_s)
        wait_s = SWEEP_INTERVAL_S
        try:
            gone = await sweep(blobs.objects, named)
            await partials.expire()
        except Exception:
            log.exception("bundles could not be swept")
            continue
        swept.inc(len(gone))
        if gone:
            log.info("bundles of no pack were removed", bundles=len(gone))


async def sweep(objects: Objects, named: Named, *, now: datetime | None = None) -> list[str]:
    """Remove blobs that no pack names and that are older than an hour; returns their digests.

    What `named` raises is passed on; nothing is removed then that it has not been asked about. Raises ServiceUnavailable.
    """
    oldest_kept = (now or datetime.now(UTC)) - UNREFERENCED_KEPT
    former = await _old(objects, ASIDE, oldest_kept)
    if former:
        await _decide(objects, former, await named())
    old = await _old(objects, BLOBS, oldest_kept)
    kept = await named() if old else frozenset()
    aside = [one for one in old if one not in kept and await _set_aside(objects, one, oldest_kept)]
    return await _decide(objects, aside, await named()) if aside else []


async def _old(objects: Objects, prefix: str, oldest_kept: datetime) -> list[str]:
    found = [(meta.key.rpartition("/")[2], meta.last_modified) for meta in await objects.list(prefix)]
    return [digest for digest, modified in found if DIGEST.fullmatch(digest) and modified < oldest_kept]


async def _set_aside(objects: Objects, sha256: str, oldest_kept: datetime) -> bool:
    # The same bytes may have been uploaded again since the listing.
    meta = await objects.head(blob_key(sha256))
    if meta is None or meta.last_modified >= oldest_kept:
        return False
    try:
        await objects.rename(blob_key(sha256), _aside_key(sha256))
    except FileNotFoundError:
        return False  # another server was faster
    return True


async def _decide(objects: Objects, aside: list[str], named: frozenset[str]) -> list[str]:
    """Remove or put back what was set aside, by what packs name since; returns what was removed."""
    for digest in aside:
        if digest in named and await objects.head(blob_key(digest)) is None:
            await objects.rename(_aside_key(digest), blob_key(digest))
        else:
            await objects.delete(_aside_key(digest))
    return [digest for digest in aside if digest not in named]


def _aside_key(sha256: str) -> str:
    return f"{ASIDE}/{sha256}"
