"""managedFields: the record of who set which field, kept with every write, and asked by every apply.

A manager is a program at a version and a subresource, applying or updating. Updating takes the changed fields from
everybody else without a question; applying asks: a field that somebody else owns with another value is a conflict, unless
forced. What an applier no longer says is removed, unless somebody else owns it too. Times move only with the set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from ..times import timestamp
from . import fieldsets as sets
from .fieldsets import MalformedFields, Path, Tree
from .typed import Object, Type, compare, everything, field_set, merge, named_too, remove

APPLY: Final = "Apply"
UPDATE: Final = "Update"
UPDATERS_MAX: Final = 10
"""Update managers of an object; the oldest are merged into one beyond that, as in Kubernetes."""
ANCIENT: Final = "ancient-changes"
BEFORE_APPLY: Final = "before-first-apply"
"""Owns what an object had that was stored without a record, once somebody applies to it."""
KUBECTL: Final = "kubectl"
"""The one applier that may take over from its own client-side past."""
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
METADATA: Final = "f:metadata"
UNOWNED: Final[Tree] = sets.from_paths(("f:apiVersion",), ("f:kind",), (METADATA,))
"""On every object, and nobody's."""


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes. An applier is the same one whatever version it speaks."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells managers apart."""
        return self.name, self.operation, "" if self.operation == APPLY else self.api_version, self.subresource

    def __str__(self) -> str:
        text = json.dumps(self.name, ensure_ascii=False)
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


@dataclass(frozen=True, slots=True)
class Owned:
    """What a manager owns, since when."""

    manager: Manager
    fields: Tree
    time: str = ""


Record = dict[tuple[str, str, str, str], Owned]


class Conflicts(Exception):
    """Others own what is to be changed. `found`: who, and the path, in order."""

    def __init__(self, found: Sequence[tuple[Manager, Path]]) -> None:
        self.found = sorted(found, key=lambda one: (str(one[0]), sets.written(one[1])))
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """In Kubernetes' words."""
        if len(self.found) == 1:
            manager, path = self.found[0]
            return f"Apply failed with 1 conflict: conflict with {manager}: {sets.written(path)}"
        by: dict[str, list[str]] = {}
        for manager, path in self.found:
            by.setdefault(str(manager), []).append(sets.written(path))
        lines = [f"conflicts with {manager}:\n- " + "\n- ".join(paths) for manager, paths in by.items()]
        return f"Apply failed with {len(self.found)} conflicts: " + "\n".join(lines)


def decode(raw: Any, *, trusted: bool = False) -> Record:
    """The record that an object carries. Raises MalformedFields. Trusted: as we wrote it to the store."""
    record: Record = {}
    for item in raw or ():
        if not isinstance(item, Mapping) or item.get("operation") not in (APPLY, UPDATE):
            raise MalformedFields("an entry needs the operation Apply or Update")
        if item.get("fieldsType") != "FieldsV1":
            raise MalformedFields("an entry needs the fieldsType FieldsV1")
        manager = Manager(
            str(item.get("manager") or ""),
            item["operation"],
            str(item.get("apiVersion") or ""),
            str(item.get("subresource") or ""),
        )
        fields = (item.get("fieldsV1") or {}) if trusted else sets.decode(item.get("fieldsV1") or {})
        known = record.get(manager.key)
        merged = sets.union(known.fields, fields) if known else fields
        record[manager.key] = Owned(manager, merged, str(item.get("time") or ""))
    return record


def encode(record: Record) -> list[Object]:
    """The record as an object carries it: appliers first, then by time and name."""
    if len(record) == 1:
        return [_encode(owned.manager, owned.fields, owned.time) for owned in record.values()]
    owners = sorted(record.values(), key=lambda one: (one.manager.operation, one.time, one.manager.key))
    return [_encode(owned.manager, owned.fields, owned.time) for owned in owners]


def _encode(manager: Manager, fields: Tree, time: str) -> Object:
    entry: Object = {"manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version}
    if time:
        entry["time"] = time
    entry["fieldsType"], entry["fieldsV1"] = "FieldsV1", fields
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry


def record_create(new: Object, kind: Type, by: Manager, now: datetime, apart: Tree) -> None:
    """Write into a new object that all its fields are the creator's, but those in `apart`, which others set."""
    given = new["metadata"].get("managedFields")
    if given and given != [{}]:
        record_update({"metadata": {}}, new, kind, by, now, apart)
        return
    fields = _owned(everything(new, kind))
    if apart:
        fields = sets.without(fields, apart)
    if fields:
        new["metadata"]["managedFields"] = [_encode(by, fields, timestamp(now))]
    else:
        new["metadata"].pop("managedFields", None)


def record_update(old: Object, new: Object, kind: Type, by: Manager, now: datetime, apart: Tree) -> None:
    """Write into a changed object that the changed fields are the writer's and no longer anybody else's."""
    before = _record_of(old, new, by.subresource)
    changes = compare(old, new, kind)
    if not (changes.added or changes.modified or changes.removed):
        _put(new, _capped(before))
        return
    changed = sets.union(changes.modified, changes.added)
    after = _taken(before, sets.union(changed, changes.removed), by)
    mine = before[by.key].fields if by.key in before else {}
    fields = sets.without(_owned(sets.union(sets.difference(mine, changes.removed), changed)), apart)
    _own(after, before, Owned(by, fields), now)
    _put(new, _capped(after))


def _is_reset(obj: Mapping[str, Any]) -> bool:
    """Kubernetes' way to say "forget who owns what": one entry, and nothing in it. An empty list says nothing."""
    return bool(obj["metadata"].get("managedFields") == [{}])


def _record_of(old: Object, new: Object, subresource: str) -> Record:
    """The record to go on from: the client's when it sent one, else the stored one."""
    stored, given = old["metadata"].get("managedFields"), new["metadata"].get("managedFields")
    if not subresource and given != stored and given:
        if _is_reset(new):
            return {}
        try:
            return decode(given)
        except MalformedFields:
            pass  # As in Kubernetes: a client that does not understand the record cannot break it.
    return recorded(old)


def recorded(obj: Mapping[str, Any]) -> Record:
    """The record of a stored object; empty when it has none that can be read."""
    try:
        return decode(obj["metadata"].get("managedFields"), trusted=True)
    except MalformedFields:
        return {}


def _owned(fields: Tree) -> Tree:
    """Without what is on every object."""
    left = {step: node for step, node in fields.items() if step not in UNOWNED and step != sets.SELF}
    metadata = fields.get(METADATA)
    if metadata:
        node = sets.node_of(False, {step: below for step, below in metadata.items() if step != sets.SELF})
        if node is not None:
            left[METADATA] = node
    return left


def _put(obj: Object, record: Record) -> None:
    if record:
        obj["metadata"]["managedFields"] = encode(record)
    else:
        obj["metadata"].pop("managedFields", None)


def _taken(record: Record, gone: Tree, by: Manager) -> Record:
    """The record without what a change takes from everybody but the one who made it."""
    after: Record = {}
    for key, owned in record.items():
        if key == by.key:
            after[key] = owned
            continue
        if gone.keys().isdisjoint(owned.fields):
            after[key] = owned
            continue
        left = sets.difference(owned.fields, gone)
        if left:
            after[key] = owned if left == owned.fields else replace(owned, fields=left)
    return after


def _own(after: Record, before: Record, owned: Owned, now: datetime) -> None:
    """Note what the writer owns; with a new time only when that is not what it was."""
    key = owned.manager.key
    after.pop(key, None)
    if not owned.fields:
        return
    known = before.get(key)
    is_same = known is not None and known.fields == owned.fields and known.manager == owned.manager
    after[key] = known if known is not None and is_same else Owned(owned.manager, owned.fields, timestamp(now))


def _capped(record: Record) -> Record:
    """No more updaters than there may be: the oldest of a version become one."""
    updaters = [owned for owned in record.values() if owned.manager.operation == UPDATE]
    excess = len(updaters) - UPDATERS_MAX
    if excess <= 0:
        return record
    result = dict(record)
    firsts: dict[str, Owned] = {}
    for owned in sorted(updaters, key=lambda one: (one.time, one.manager.key)):
        if excess <= 0:
            break
        version = owned.manager.api_version
        first = firsts.get(version)
        if first is None:
            firsts[version] = owned
            continue
        for merged in (first, owned):
            result.pop(merged.manager.key, None)
        bucket = Owned(Manager(ANCIENT, UPDATE, version), sets.union(first.fields, owned.fields), owned.time)
        firsts[version] = result[bucket.manager.key] = bucket
        excess -= 1
    return result


def apply(
    live: Object | None, config: Object, kind: Type, by: Manager, now: datetime, *, force: bool, apart: Tree
) -> Object:
    """What the object becomes, managedFields included. Raises Conflicts, unless forced; typed.NoItem."""
    if live is None:
        return _applied({"metadata": {}}, config, {}, kind, by, now, force=force, apart=apart)
    before = recorded(live)
    if not before:
        all_fields = sets.without(_owned(everything(live, kind)), apart)
        first = Manager(BEFORE_APPLY, UPDATE, by.api_version)
        before = {first.key: Owned(first, all_fields, timestamp(now))} if all_fields else {}
    try:
        return _applied(live, config, before, kind, by, now, force=force, apart=apart)
    except Conflicts as conflicts:
        if by.name != KUBECTL:
            raise
        left = _without_last_applied(conflicts, live, kind)
        if left:
            raise Conflicts(left) from None
        return _applied(live, config, before, kind, by, now, force=True, apart=apart)


def _applied(
    live: Object, config: Object, before: Record, kind: Type, by: Manager, now: datetime, *, force: bool, apart: Tree
) -> Object:
    fields = sets.without(_owned(field_set(config, kind)), apart)
    last = before[by.key].fields if by.key in before else {}
    owned = {**before, by.key: Owned(by, fields)}
    # Once more over what is left: a map that lost its last entry went with it, though the configuration wants it empty.
    new = merge(_pruned(merge(live, config, kind), last, owned, kind), config, kind)
    changes = compare(live, new, kind)
    changed = sets.union(changes.modified, changes.added)
    others = [one for one in before.values() if one.manager.key != by.key]
    if not force:
        found = [(one.manager, path) for one in others for path in sets.members(sets.intersection(one.fields, changed))]
        if found:
            raise Conflicts(found)
    after = _taken(before, sets.union(changed, changes.removed), by)
    _own(after, before, Owned(by, fields), now)
    result = {**new, "metadata": dict(new["metadata"])}
    _refresh_last_applied(result, config, by)
    _put(result, after)
    return result


def _pruned(merged: Object, last: Tree, owned: Record, kind: Type) -> Object:
    """Without what the applier said last time and nobody says now."""
    if not last:
        return merged
    wanted_gone = named_too(last, kind)
    held: Tree = {}
    for one in owned.values():
        held = sets.union(held, one.fields)
    held = named_too(held, kind)
    everything_there = named_too(field_set(merged, kind), kind)
    left = remove(merged, sets.difference(wanted_gone, UNOWNED), kind) or {}
    still_there = named_too(field_set(left, kind), kind)
    gone = sets.difference(sets.difference(everything_there, still_there), held)
    kept = remove(merged, sets.difference(gone, UNOWNED), kind) or {}
    still_there = named_too(field_set(kept, kind), kind)
    dangling = sets.intersection(sets.difference(everything_there, still_there), wanted_gone)
    result: Object = remove(merged, sets.difference(dangling, UNOWNED), kind)
    return result


def _without_last_applied(conflicts: Conflicts, live: Object, kind: Type) -> list[tuple[Manager, Path]]:
    """The conflicts over fields that are no longer as kubectl applied them from the client's side."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    try:
        last = json.loads(text) if text else None
    except ValueError:
        last = None
    if not isinstance(last, dict) or not isinstance(last.get("metadata"), dict):
        return list(conflicts.found)
    changes = compare(last, live, kind)
    moved = sets.union(sets.union(changes.added, changes.modified), changes.removed)
    allowed = sets.difference(field_set(last, kind), moved)
    return [(manager, path) for manager, path in conflicts.found if not sets.contains(allowed, path)]


def _refresh_last_applied(obj: Object, config: Object, by: Manager) -> None:
    """Keep kubectl's annotation true where there is one, so that a client-side apply may follow."""
    annotations = obj["metadata"].get("annotations") or {}
    if by.name != KUBECTL or by.subresource or LAST_APPLIED not in annotations:
        return
    text = json.dumps(config, separators=(",", ":"), sort_keys=True) + "\n"
    obj["metadata"]["annotations"] = {**annotations, LAST_APPLIED: text}
