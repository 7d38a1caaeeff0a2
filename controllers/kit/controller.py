"""What a controller is: sources of keys, and a reconcile that makes one key right.

A controller keeps no truth of its own: it may be stopped after any await and another process goes on from what is
stored. Reconciling a key twice must be as good as once.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from stark.client.api import Client
from stark.client.informer import Informer
from stark.client.queue import WorkQueue
from stark.crds.meta import KubeObject

from .informers import InformerFactory
from .outcome import Outcome
from .recorder import Recorder

T = TypeVar("T")

WORKERS = 4  # keys of one controller that are reconciled at once; most of the time they wait for the API server
RESYNC_S = 600.0  # how often every key is looked at although nothing changed: mends what a bug or a lost event missed
RECONCILE_TIMEOUT_S = 120.0  # longer than the client's own timeout: a reconcile that takes longer hangs

Clock: TypeAlias = Callable[[], datetime]
"""The present moment, aware, in UTC."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """An informer whose changes mean "look at these keys again".

    `keys` maps an object (before and after each change) to keys; None means the object's own key, and makes this a
    primary source: all its keys are looked at again at every resync.
    """

    informer: Informer[T]
    keys: Callable[[T], Iterable[str]] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a controller is built with. `api` refuses writes (`Fenced`) while this process does not lead."""

    api: Client
    informers: InformerFactory
    recorder: Recorder
    clock: Clock = utc_now


class Controller(ABC):
    """One controller. Its module has `def build(context: Context) -> Controller`, named in `controllers/catalog.py`."""

    name: ClassVar[str]
    """As in the catalog, the metrics and the leader lease (`stark-<name>`)."""
    workers: int = WORKERS
    resync_s: float = RESYNC_S

    @abstractmethod
    def sources(self) -> Sequence[Source[Any]]:
        """Where keys come from; asked once, before anything runs."""

    @abstractmethod
    async def reconcile(self, key: str) -> Outcome:
        """Make this key right. Any exception but cancellation means: again, after the key's back-off.

        Conflict and AlreadyExists are normal here: raise them and be called again with a fresher cache.
        """

    async def lead(self, queue: WorkQueue) -> None:
        """Whatever else runs while leading, beside the workers (its end ends nothing). Default: nothing."""
        await asyncio.sleep(0)


Builder: TypeAlias = Callable[[Context], Controller]


def controller_key(kind: type[KubeObject]) -> Callable[[KubeObject], Iterable[str]]:
    """For `Source.keys`: the key of the `kind` that controls an object (ownerReferences with controller: true)."""
    api_version, name = kind.RESOURCE.api_version, kind.RESOURCE.kind
    namespaced = kind.RESOURCE.namespaced

    def keys(obj: KubeObject) -> Iterable[str]:
        for owner in obj.metadata.owner_references:
            if owner.controller and owner.kind == name and _same_group(owner.api_version, api_version):
                yield f"{obj.metadata.namespace}/{owner.name}" if namespaced else owner.name

    return keys


def split_key(key: str) -> tuple[str | None, str]:
    """`namespace/name` or `name` as (namespace or None, name)."""
    namespace, slash, name = key.rpartition("/")
    return (namespace if slash else None), name


def _same_group(one: str, other: str) -> bool:
    return one.rpartition("/")[0] == other.rpartition("/")[0]
