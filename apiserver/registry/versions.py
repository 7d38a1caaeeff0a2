"""One kind in several versions: stored in one of them, served in each.

The store and the caches have an object in the version it was last written in. Whoever asks for another gets it converted:
by its name alone when the versions have the same schema, through the schema of the other version when they differ, by the
kind's webhook when it has one. What was converted is kept for a while by revision, because a watch asks for the same
object as often as it has readers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..cache.entry import Entry, encode_object, with_revision
from ..callbacks import Caller
from ..resources import Family, Resource, Resources
from . import conversion
from .schemas import Schemas

KEPT_BYTES_MAX: Final = 32 << 20
"""Bytes of converted objects kept for each kind."""

Object = dict[str, Any]
Mapped = Mapping[str, Any]


class Kept:
    """Converted objects of one kind by key, revision and version; those used least recently go.

    What left a reader's selection is kept apart: it carries the revision at which it left, and the content from before.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self._entries: OrderedDict[tuple[str, int, str, bool], Entry] = OrderedDict()
        self._bytes = 0

    def get(self, entry: Entry, version: str, *, has_left: bool = False) -> Entry | None:
        """The entry in that version, if it was converted before."""
        at = (entry.key, entry.revision, version, has_left)
        found = self._entries.get(at)
        if found is not None:
            self._entries.move_to_end(at)
        return found

    def put(self, entry: Entry, version: str, *, has_left: bool = False) -> None:
        """Keep a converted entry. One that was never stored (a dry run) has no revision and is not kept."""
        if not entry.revision:
            return
        at = (entry.key, entry.revision, version, has_left)
        before = self._entries.pop(at, None)
        self._entries[at] = entry
        self._bytes += len(entry.data) - (len(before.data) if before is not None else 0)
        while self._bytes > KEPT_BYTES_MAX:
            self._bytes -= len(self._entries.popitem(last=False)[1].data)


class Versions:
    """Converts objects between the versions of their kind."""

    def __init__(self, resources: Resources, schemas: Schemas, caller: Caller) -> None:
        self._resources, self._schemas, self._caller = resources, schemas, caller
        self._kept: dict[tuple[str, str], Kept] = {}

    def is_plain(self, resource: Resource) -> bool:
        """Whether all versions of the kind say the same under other names."""
        return resource.family is None or resource.family.is_plain

    def is_terminating(self, resource: Resource) -> bool:
        """Whether the kind is on its way out, by the latest news of it."""
        if resource.family is None:
            return False
        latest = self._resources.find(resource.group, resource.version, resource.plural)
        return latest is not None and latest.family is not None and latest.family.is_terminating

    async def convert(self, obj: Mapped, wanted: Resource) -> Object:
        """The object in the version of `wanted`; what it shares with `obj` is not changed. Raises ConversionFailed."""
        if obj["apiVersion"] == wanted.api_version:
            return dict(obj)
        return (await self._convert([obj], wanted, wanted.version))[0]

    async def stored(self, resource: Resource, obj: Object) -> Object:
        """The object in the version its kind is stored in. Raises ConversionFailed."""
        family = resource.family
        return obj if family is None else (await self._convert([obj], resource, family.storage))[0]

    async def entries(
        self, resource: Resource, entries: Sequence[Entry], have_left: Sequence[bool] = ()
    ) -> Sequence[Entry]:
        """Entries in the version of the resource, in order: the same if they need no conversion. Raises ConversionFailed.

        `have_left`, when given, says of each whether it is an object as it was before the change of its revision.
        """
        family = resource.family
        if family is None or family.is_plain:
            return entries
        kept = self._kept_for(resource, family)
        wanted = list(zip(entries, have_left or [False] * len(entries), strict=True))
        found = [self._ready(kept, entry, resource, has_left) for entry, has_left in wanted]
        missing = [one for one, known in zip(wanted, found, strict=True) if known is None]
        if missing:
            objects = await self._convert([entry.decode() for entry, _ in missing], resource, resource.version)
            made = [_entry_of(entry, obj) for (entry, _), obj in zip(missing, objects, strict=True)]
            for entry, (_, has_left) in zip(made, missing, strict=True):
                kept.put(entry, resource.version, has_left=has_left)
            rest = iter(made)
            found = [next(rest) if known is None else known for known in found]
        return [entry for entry in found if entry is not None]

    def _ready(self, kept: Kept, entry: Entry, resource: Resource, has_left: bool) -> Entry | None:
        head = f'{{"apiVersion":"{resource.api_version}",'.encode()
        return entry if entry.data.startswith(head) else kept.get(entry, resource.version, has_left=has_left)

    def _kept_for(self, resource: Resource, family: Family) -> Kept:
        """What was converted by another definition of the kind is worth nothing any more."""
        at = (resource.group, resource.plural)
        known = self._kept.get(at)
        if known is None or known.family is not family:
            known = self._kept[at] = Kept(family)
        return known

    async def _convert(self, objects: Sequence[Mapped], resource: Resource, version: str) -> list[Object]:
        wanted = f"{resource.group}/{version}" if resource.group else version
        family = resource.family
        others = [obj for obj in objects if obj["apiVersion"] != wanted]
        if not others:
            return [dict(obj) for obj in objects]
        if family is None or family.is_plain:
            return [{**obj, "apiVersion": wanted} for obj in objects]
        if family.webhook is None:
            converted: list[Object] = [{**obj, "apiVersion": wanted} for obj in others]
        else:
            converted = await conversion.convert(self._caller, family.webhook, others, wanted)
        schema = self._schemas.of_version(resource, version)
        made = iter([schema.shape(obj) for obj in converted])
        return [next(made) if obj["apiVersion"] != wanted else dict(obj) for obj in objects]


def _entry_of(entry: Entry, obj: Object) -> Entry:
    data = with_revision(encode_object(obj), entry.revision)
    return Entry(entry.key, entry.revision, data, entry.labels, entry.fields)
