"""What a reader wants of a resource: a namespace, a name, labels, fields. Compiled once per list or watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .entry import Entry, Labels


class FieldTest(NamedTuple):
    """One field selector term: the value at `position` of the cache's paths equals `value`, or does not."""

    position: int
    value: str
    equal: bool = True


@dataclass(frozen=True, slots=True)
class Filter:
    """All of its parts must hold. `identity` is equal for filters that select the same: their watchers share frames."""

    namespace: str = ""
    name: str = ""
    equal_labels: tuple[tuple[str, str], ...] = ()
    """Label terms of the form `key=value`, which an index can answer."""
    label_test: Callable[[Labels], bool] | None = None
    """The whole label selector; None when `equal_labels` says everything."""
    fields: tuple[FieldTest, ...] = ()
    any_of: tuple[FieldTest, ...] = ()
    """Of these at least one must hold, when there are any."""
    other_names: tuple[str, ...] = ()
    """From `metadata.name!=x`."""
    other_namespaces: tuple[str, ...] = ()
    identity: str = ""

    @property
    def selects(self) -> bool:
        """True when it looks at more than the namespace: then a count of what remains would be wrong."""
        return bool(
            self.name
            or self.equal_labels
            or self.label_test
            or self.fields
            or self.any_of
            or self.other_names
            or self.other_namespaces
        )

    def matches(self, entry: Entry) -> bool:
        """Whether this reader sees that object."""
        if self.namespace and entry.namespace != self.namespace:
            return False
        if not self.selects:
            return True
        return self._names_match(entry) and self._fields_match(entry) and self._labels_match(entry.labels)

    def _names_match(self, entry: Entry) -> bool:
        if self.name and entry.name != self.name:
            return False
        return entry.name not in self.other_names and entry.namespace not in self.other_namespaces

    def _fields_match(self, entry: Entry) -> bool:
        if not all((entry.fields[test.position] == test.value) is test.equal for test in self.fields):
            return False
        return not self.any_of or any((entry.fields[t.position] == t.value) is t.equal for t in self.any_of)

    def _labels_match(self, labels: Labels) -> bool:
        if any(labels.get(key) != value for key, value in self.equal_labels):
            return False
        return self.label_test is None or self.label_test(labels)


EVERYTHING = Filter()
