"""How a bundle comes to this node: from the API server, or from the object storage that it points to.

The server is asked to point there, and streams the bundle itself when it has nowhere to point to. Whoever has the bytes is
asked with nothing that says who we are, and is trusted with nothing, since they are hashed in any case. A storage that
cannot be reached from here is left alone for a while: then everything comes from the server.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from stark.client.api import Client
from stark.client.errors import ApiError, Elsewhere
from stark.crds.packs import Pack

IDLE_S: Final = 60.0
"""A download that stalls for this long has failed."""
DIRECT_IDLE_S: Final = 15.0
"""The same for one from the storage, since there is another way."""
DIRECT_AGAIN_S: Final = 300.0
"""How long a storage that failed is not asked again."""


class BundleError(Exception):
    """The bundle cannot be had now; the message says what to do about it."""


class StorageFailed(BundleError):
    """The object storage did not give what it was to give. The API server will."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """A bundle on its way, and whether it comes from the storage."""

    chunks: AsyncIterator[bytes]
    is_direct: bool = False


class Source(Protocol):
    """Where bundles come from."""

    def open(self, pack: str, sha256: str, *, direct: bool) -> AbstractAsyncContextManager[Arriving]:
        """The stream of a bundle of the pack object of that name. Raises BundleError; only with `direct` StorageFailed."""
        ...


class Fetcher:
    """Bundles from the cluster. With `direct` False never from its object storage."""

    def __init__(self, client: Client, *, direct: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._direct = direct
        self._now = now
        self._not_before_s = 0.0

    @asynccontextmanager
    async def open(self, pack: str, sha256: str, *, direct: bool) -> AsyncIterator[Arriving]:
        """The stream of a bundle."""
        path = f"{Pack.RESOURCE.path(name=pack)}/bundles/{sha256}"
        direct = direct and self._direct and self._now() >= self._not_before_s
        try:
            async with self._client.download(
                path, direct=direct, idle_s=IDLE_S, idle_elsewhere_s=DIRECT_IDLE_S
            ) as answer:
                yield Arriving(answer.chunks(), answer.is_elsewhere)
        except Elsewhere as error:
            self._not_before_s = self._now() + DIRECT_AGAIN_S
            raise StorageFailed(f"bundle {sha256} of pack {pack}: {error.message}") from error
        except ApiError as error:
            raise BundleError(f"bundle {sha256} of pack {pack} cannot be fetched: {error.message}") from error
