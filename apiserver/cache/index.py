"""The objects of one resource in key order, and the shortcuts to those a selector asks for.

Key order is the store's order, so a page read here and the next one read from the store at the same revision fit together.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from .entry import Entry
from .filter import Filter

Term = tuple[str, str]
T = TypeVar("T", bound=Hashable)


class Index:
    """Entries by key, by namespace, by label and by selectable field. Take what you need before the next await."""

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self._paths = tuple(paths)
        self.entries: dict[str, Entry] = {}
        """By key, in no order. Others only look."""
        self._keys: list[str] = []
        self._by_label: dict[Term, dict[str, Entry]] = {}
        self._by_field: dict[tuple[int, str], dict[str, Entry]] = {}

    def __iter__(self) -> Iterator[Entry]:
        return (self.entries[key] for key in self._keys)

    def load(self, entries: Iterable[Entry]) -> None:
        """Replace everything."""
        self.entries.clear()
        self._by_label.clear()
        self._by_field.clear()
        for entry in entries:
            self.entries[entry.key] = entry
            self._point_at(entry)
        self._keys = sorted(self.entries)

    def put(self, entry: Entry) -> Entry | None:
        """Set one object; what was there before."""
        previous = self.entries.get(entry.key)
        if previous is None:
            insort(self._keys, entry.key)
        else:
            self._forget(previous)
        self.entries[entry.key] = entry
        self._point_at(entry)
        return previous

    def remove(self, key: str) -> Entry | None:
        """Drop one object; what was there before."""
        previous = self.entries.pop(key, None)
        if previous is not None:
            self._forget(previous)
            del self._keys[bisect_left(self._keys, key)]
        return previous

    def select(self, wanted: Filter, start: str = "") -> Iterator[Entry]:
        """The objects the filter lets through, in key order, from `start` on."""
        if not wanted.selects:
            low, high = self._bounds(wanted.namespace, start)
            return map(self.entries.__getitem__, self._keys[low:high])
        return (entry for entry in self._candidates(wanted, start) if wanted.matches(entry))

    def count_from(self, namespace: str, start: str = "") -> int:
        """How many objects of the namespace (all when empty) have a key not before `start`."""
        low, high = self._bounds(namespace, start)
        return high - low

    def _candidates(self, wanted: Filter, start: str) -> Iterable[Entry]:
        """A superset of the answer, small where an index allows it."""
        if wanted.name:
            entry = self.entries.get(f"{wanted.namespace}/{wanted.name}" if wanted.namespace else wanted.name)
            if entry is not None or wanted.namespace:
                return (entry,) if entry is not None and entry.key >= start else ()
        shortcuts = [self._by_field.get((t.position, t.value), {}) for t in wanted.fields if t.equal and t.value]
        shortcuts += [self._by_label.get(term, {}) for term in wanted.equal_labels]
        if wanted.any_of and all(test.equal and test.value for test in wanted.any_of):
            either = [self._by_field.get((test.position, test.value), {}) for test in wanted.any_of]
            if sum(map(len, either)) < len(self._keys):
                shortcuts.append({key: entry for each in either for key, entry in each.items()})
        low, high = self._bounds(wanted.namespace, start)
        if shortcuts:
            smallest = min(shortcuts, key=len)
            if len(smallest) < high - low:
                return [smallest[key] for key in sorted(smallest) if key >= start]
        return map(self.entries.__getitem__, self._keys[low:high])

    def _bounds(self, namespace: str, start: str) -> tuple[int, int]:
        low = bisect_left(self._keys, max(start, f"{namespace}/" if namespace else ""))
        # "0" is the character after "/": the first key past everything in the namespace.
        return low, bisect_left(self._keys, f"{namespace}0", low) if namespace else len(self._keys)

    def _point_at(self, entry: Entry) -> None:
        for term in entry.labels.items():
            self._by_label.setdefault(term, {})[entry.key] = entry
        for field in enumerate(entry.fields):
            if field[1]:
                self._by_field.setdefault(field, {})[entry.key] = entry

    def _forget(self, entry: Entry) -> None:
        for term in entry.labels.items():
            _drop(self._by_label, term, entry.key)
        for field in enumerate(entry.fields):
            if field[1]:
                _drop(self._by_field, field, entry.key)


def _drop(index: dict[T, dict[str, Entry]], at: T, key: str) -> None:
    keys = index[at]
    del keys[key]
    if not keys:
        del index[at]
