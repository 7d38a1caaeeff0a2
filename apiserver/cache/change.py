"""One change of one object, and what it is to a given reader.

A reader with a selector sees objects enter and leave its selection: a change that makes an object match is ADDED to that
reader, one that makes it stop matching is DELETED, whatever it was in the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any, Final, Protocol

import orjson

from .entry import Entry
from .filter import Filter

HISTORY_MAX: Final = 8_192
"""Changes kept per resource for watches that resume; an older resourceVersion is answered with 410 and the client lists."""

ADDED: Final = "ADDED"
MODIFIED: Final = "MODIFIED"
DELETED: Final = "DELETED"


class Rendering(Protocol):
    """How objects are written to a client: whole, as a table row, or as metadata only."""

    @property
    def identity(self) -> Hashable:
        """Equal for renderings that write the same bytes: their watchers share frames."""
        ...

    def render(self, entry: Entry) -> bytes:
        """The object as it goes into a frame or a list."""
        ...

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        """The object of a BOOKMARK frame."""
        ...


class Change:
    """`current` is None for a deletion, `previous` for a creation."""

    __slots__ = ("_last_seen", "current", "previous", "revision")

    def __init__(self, current: Entry | None, previous: Entry | None, revision: int) -> None:
        assert current is not None or previous is not None, revision
        self.current, self.previous, self.revision = current, previous, revision
        self._last_seen: Entry | None = None

    @property
    def entry(self) -> Entry:
        """The object after the change, or before it when it is gone: for what never changes, its key and namespace."""
        entry = self.current or self.previous
        assert entry is not None
        return entry

    @property
    def last_seen(self) -> Entry:
        """What a DELETED frame shows: the object as it was, at the revision at which it left."""
        assert self.previous is not None, self.revision
        if self._last_seen is None:
            self._last_seen = self.previous.at(self.revision)
        return self._last_seen

    def seen_by(self, wanted: Filter) -> str:
        """ADDED, MODIFIED or DELETED to that reader; empty when it does not concern it."""
        is_in = self.current is not None and wanted.matches(self.current)
        was_in = self.previous is not None and wanted.matches(self.previous)
        if is_in:
            return MODIFIED if was_in else ADDED
        return DELETED if was_in else ""

    def frame(self, kind: str, rendering: Rendering) -> bytes:
        """The watch frame of that kind."""
        entry = self.last_seen if kind == DELETED else self.current
        assert entry is not None, (kind, self.revision)
        return frame(kind, rendering.render(entry))


def frame(kind: str, obj: bytes) -> bytes:
    """One line of a watch."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), obj)


def error_frame(status: dict[str, Any]) -> bytes:
    """The line that ends a watch which cannot go on."""
    return frame("ERROR", orjson.dumps(status))


class History:
    """The last changes of one resource, for watches that resume. `since` is the revision after which nothing is missing."""

    def __init__(self, since: int = 0, size_max: int = HISTORY_MAX) -> None:
        self.since = since
        self._changes: deque[Change] = deque()
        self._size_max = size_max

    def add(self, change: Change) -> None:
        """Append; the oldest goes when there are too many."""
        self._changes.append(change)
        if len(self._changes) > self._size_max:
            self.since = self._changes.popleft().revision

    def after(self, revision: int) -> Sequence[Change] | None:
        """Every change later than `revision`, in order; None when some of them are no longer known."""
        if revision < self.since:
            return None
        later: list[Change] = []
        for change in reversed(self._changes):
            if change.revision <= revision:
                break
            later.append(change)
        later.reverse()
        return later
