"""All roles and bindings, found by whom they are bound to.

Follows the watch caches: when one of the four kinds has changed, the entries that changed are read again, the others stay
as they are, and what users hold is put together anew as they ask.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

from ...request import User
from .grants import Binding, HeldRole, RoleKey, Subject, binding_of, role_of
from .holdings import Grant, Holdings

USERS_MAX: Final = 4_096
"""Users whose holdings are kept put together; one more, and all are put together anew as they ask."""

T = TypeVar("T")


class Held(Protocol):
    """One object in a cache. Never changes: another state of the object is another one of these."""

    key: str
    """`namespace/name`, or `name`."""

    def decode(self) -> Mapping[str, Any]:
        """The object."""
        ...


class Followed(Protocol):
    """All objects of one kind, as the caches have them."""

    def moved(self) -> Hashable:
        """Another one whenever anything changed, of this kind or not: what is cheapest to look at first."""
        ...

    def mark(self) -> Hashable:
        """Another one whenever an object changed; None while the cache is being filled."""
        ...

    def changes_since(self, mark: Hashable) -> Iterable[tuple[str, Held | None]] | None:
        """Key and new state of what changed since that mark, in order; None when that is no longer known."""
        ...

    def entries(self) -> Iterable[Held]:
        """All of them."""
        ...

    async def current(self) -> None:
        """Wait until everything is there that the store had acknowledged when this was called, or for a while."""
        ...


class _Parsed(Generic[T]):
    """The objects of one kind, each parsed once."""

    def __init__(self, source: Followed, parse: Callable[[Mapping[str, Any]], T]) -> None:
        self.source, self._parse = source, parse
        self._mark: Hashable = None
        self._seen: dict[str, Held] = {}
        self.values: dict[str, T] = {}

    def changes(self) -> list[tuple[str, T | None, T | None]]:
        """Brings `values` up to date; key, what it was and what it is, of those that changed."""
        mark = self.source.mark()
        if mark is None or mark == self._mark:
            return []  # while the cache starts over, what it had last is the best there is
        news = self.source.changes_since(self._mark) if self._mark is not None else None
        self._mark = mark
        return [change for key, entry in (self._all() if news is None else news) if (change := self._take(key, entry))]

    def _all(self) -> list[tuple[str, Held | None]]:
        """Everything, and what is gone of what was there."""
        there = {entry.key: entry for entry in self.source.entries()}
        gone: list[tuple[str, Held | None]] = [(key, None) for key in self._seen.keys() - there.keys()]
        return [*gone, *there.items()]

    def _take(self, key: str, entry: Held | None) -> tuple[str, T | None, T | None] | None:
        if self._seen.get(key) is entry:
            return None
        old = self.values.pop(key, None)
        if entry is None:
            del self._seen[key]
            return key, old, None
        self._seen[key] = entry
        new = self.values[key] = self._parse(entry.decode())
        return key, old, new


class Index:
    """What every user holds. `holdings` costs a few comparisons while nothing has changed."""

    def __init__(
        self, roles: Followed, cluster_roles: Followed, bindings: Followed, cluster_bindings: Followed
    ) -> None:
        self._roles, self._cluster_roles = _Parsed(roles, role_of), _Parsed(cluster_roles, role_of)
        self._bindings = (_Parsed(bindings, binding_of), _Parsed(cluster_bindings, binding_of))
        self._by_subject: dict[Subject, dict[tuple[str, str], list[tuple[Binding, str]]]] = {}
        self._known: dict[tuple[str, tuple[str, ...]], Holdings] = {}
        self._moved: Hashable = None

    @property
    def _sources(self) -> tuple[Followed, ...]:
        return (self._roles.source, self._cluster_roles.source, *(kind.source for kind in self._bindings))

    def mark(self) -> Hashable:
        """Another one whenever an object of the four kinds changed."""
        return tuple(source.mark() for source in self._sources)

    async def current(self) -> None:
        """Wait until everything acknowledged has been heard: one cache has heard what all have."""
        await self._roles.source.current()

    def holdings(self, user: User) -> Holdings:
        """What the user holds by the objects there are."""
        self._follow()
        key = (user.name, user.groups)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= USERS_MAX:
                self._known.clear()
            known = self._known[key] = Holdings(self._grants(user))
        return known

    def _follow(self) -> None:
        moved = self._roles.source.moved()
        if moved == self._moved:
            return
        self._moved = moved
        is_changed = bool(self._roles.changes()) | bool(self._cluster_roles.changes())
        for kind in self._bindings:
            for key, old, new in kind.changes():
                is_changed = True
                if old is not None:
                    self._remove(key, old)
                if new is not None:
                    self._add(key, new)
        if is_changed:
            self._known.clear()

    def _add(self, key: str, binding: Binding) -> None:
        for subject, reason in binding.subjects:
            held = self._by_subject.setdefault(subject, {})
            held.setdefault((binding.namespace, key), []).append((binding, reason))

    def _remove(self, key: str, binding: Binding) -> None:
        for subject, _ in binding.subjects:
            held = self._by_subject.get(subject)
            if held is not None:
                held.pop((binding.namespace, key), None)
                if not held:
                    del self._by_subject[subject]

    def _grants(self, user: User) -> Iterable[Grant]:
        subjects = [Subject(False, user.name), *(Subject(True, group) for group in user.groups)]
        for subject in dict.fromkeys(subjects):
            for bound in self._by_subject.get(subject, {}).values():
                for binding, reason in bound:
                    role = self._role(binding.role)
                    yield Grant(binding.namespace, role, reason if role is not None else binding.role.missing())

    def _role(self, key: RoleKey) -> HeldRole | None:
        if key.namespace:
            return self._roles.values.get(f"{key.namespace}/{key.name}")
        return self._cluster_roles.values.get(key.name)
