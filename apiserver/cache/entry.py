"""One object as the bytes clients get, with just enough of it taken out to select it by.

The store keeps an object's JSON without its resourceVersion, because the revision is known only once it is written. It
is spliced in here, once; get, list and watch send these bytes. The object itself is decoded again when somebody needs it:
a decoded object takes four times the memory of its bytes, and most reads never look inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any, Final

import orjson

from stark.crds.annotations import OWNER

HEAD: Final[Mapping[str, None]] = dict.fromkeys(("apiVersion", "kind", "metadata"))
"""Fields that come first, in this order."""
METADATA: Final = b'"metadata":{'
VERSION_FIELD: Final = b'"resourceVersion":"'

OWNER_PATH: Final = f"metadata.annotations[{OWNER}]"
"""The last of every cache's field paths: whose an object is. No client selects by it; it narrows what a client sees."""
OWNER_STEPS: Final = ("metadata", "annotations", OWNER)
FORETOLD_MAX: Final = 1_024
"""Objects about to be written of which is kept what reading them would give: more than are on their way at once."""

Labels = Mapping[str, str]
NO_LABELS: Labels = {}


def encode_object(obj: Mapping[str, Any]) -> bytes:
    """The stored form: apiVersion, kind and metadata first, and no resourceVersion."""
    if "resourceVersion" in obj["metadata"]:
        metadata = dict(obj["metadata"])
        del metadata["resourceVersion"]
        return orjson.dumps({**HEAD, **obj, "metadata": metadata})
    return orjson.dumps({**HEAD, **obj})


def with_revision(value: bytes, revision: int) -> bytes:
    """The stored bytes with the resourceVersion in their metadata: what clients get."""
    at = value.index(METADATA) + len(METADATA)
    comma = b"" if value[at : at + 1] == b"}" else b","
    return b'%b%b%d"%b%b' % (value[:at], VERSION_FIELD, revision, comma, value[at:])


class Entry:
    """One object at one revision. Shared by everybody who reads it, so nothing in it ever changes."""

    __slots__ = ("data", "fields", "key", "labels", "name", "namespace", "revision")

    def __init__(
        self, key: str, revision: int, data: bytes, labels: Labels = NO_LABELS, fields: Sequence[str] = ()
    ) -> None:
        self.key, self.revision, self.data, self.labels, self.fields = key, revision, data, labels, tuple(fields)
        namespace, _, name = key.rpartition("/")
        self.namespace, self.name = intern(namespace), name

    def decode(self) -> dict[str, Any]:
        """A fresh copy of the object, the caller's to change."""
        decoded: dict[str, Any] = orjson.loads(self.data)
        return decoded

    def at(self, revision: int) -> Entry:
        """The same object carrying another resourceVersion, as a deletion announces it."""
        start = self.data.index(VERSION_FIELD) + len(VERSION_FIELD)
        data = b"%b%d%b" % (self.data[:start], revision, self.data[start + len(str(self.revision)) :])
        return Entry(self.key, revision, data, self.labels, self.fields)

    def __repr__(self) -> str:
        return f"Entry({self.key}@{self.revision})"


class EntryReader:
    """Makes entries of one resource from stored values. `paths` are the field selector paths kept beside the bytes."""

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self.paths = (*paths, OWNER_PATH)
        steps = (*(tuple(path.lstrip(".").split(".")) for path in paths), OWNER_STEPS)
        self._fields = tuple((each[:-1], each[-1]) for each in steps)
        self._foretold: dict[bytes, tuple[Labels, tuple[str, ...]]] = {}

    def read(self, key: str, value: bytes, revision: int) -> Entry:
        """The entry of a stored value."""
        known = self._foretold.pop(value, None) if self._foretold else None
        labels, fields = known if known is not None else self._picked(orjson.loads(value))
        return Entry(key, revision, with_revision(value, revision), labels, fields)

    def foretell(self, value: bytes, obj: Mapping[str, Any]) -> None:
        """`value`, which is `obj` encoded, will probably be read soon."""
        if len(self._foretold) >= FORETOLD_MAX:
            self._foretold.clear()
        self._foretold[value] = self._picked(obj)

    def forget(self, value: bytes) -> None:
        """It will not."""
        self._foretold.pop(value, None)

    def _picked(self, obj: Mapping[str, Any]) -> tuple[Labels, tuple[str, ...]]:
        """Labels and field values of an object, interned: thousands of objects share them."""
        labels = obj["metadata"].get("labels")
        interned = {intern(name): intern(str(text)) for name, text in labels.items()} if labels else NO_LABELS
        return interned, self.fields_of(obj)

    def fields_of(self, obj: Mapping[str, Any]) -> tuple[str, ...]:
        """The values of the selectable fields, in the order of `paths`; an absent field is the empty string."""
        holders: dict[tuple[str, ...], Any] = {}
        found = []
        for steps, name in self._fields:
            if steps not in holders:
                holders[steps] = _at(obj, steps)
            holder = holders[steps]
            value = holder.get(name) if isinstance(holder, dict) else None
            found.append(intern(value if type(value) is str else _text(value)))
        return tuple(found)


def _at(obj: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(step)
    return obj


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
