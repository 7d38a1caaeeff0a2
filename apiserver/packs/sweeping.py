"""Take away the bundles that no pack names any more.

A bundle outlives its last pack by an hour at least, so an upload that is under way, or a pack that is deleted and
registered again, finds its bytes. Uploads that nobody goes on with wait for a day. Several servers may sweep one
bucket: taking away twice is as good as once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from .blobs import BlobStore
from .partials import Partials

log = logging.getLogger(__name__)

SWEEP_INTERVAL_S = 900.0
FIRST_SWEEP_S = 60.0
"""After the start there is more urgent work."""


Packs = Callable[[], Awaitable[Iterable[Mapping[str, Any]]]]
"""All packs there are now. Raises ApiError when nobody can tell: then nothing may be swept."""


def named_bundles(packs: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The digests of all bundles that packs name, uploaded or not."""
    return frozenset(bundle["sha256"] for pack in packs for bundle in pack["spec"].get("bundles") or ())


async def sweep_forever(blobs: BlobStore, partials: Partials, packs: Packs, registry: CollectorRegistry) -> None:
    """Sweep now and then. A sweep that fails is logged and tried again at its next turn."""
    swept = Counter(
        "stark_apiserver_bundles_swept_total", "Bundles that no pack named and that were taken away.", registry=registry
    )

    async def named() -> frozenset[str]:
        return named_bundles(await packs())

    wait_s = FIRST_SWEEP_S
    while True:
        await asyncio.sleep(wait_s)
        wait_s = SWEEP_INTERVAL_S
        try:
            gone = await blobs.sweep(named)
            partials.expire()
        except Exception:
            log.exception("bundles could not be swept")
            continue
        swept.inc(len(gone))
        if gone:
            log.info("bundles of no pack were removed", extra={"bundles": len(gone)})
