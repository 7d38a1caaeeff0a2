"""Pages of a list, and an object found by what the originals call its id: its uid, or its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stark.crds.annotations import CREATED_BY, OWNER

from ..errors import Cause, NotFound
from ..request import Query, Request
from .facade import bad_fields
from .inner import Inner, Object

PAGE_ROWS, PAGE_ROWS_MAX = 20, 100
UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of how many rows."""

    number: int
    rows: int

    def of(self, items: Sequence[Any]) -> list[Any]:
        """The page's items."""
        return list(items[(self.number - 1) * self.rows : self.number * self.rows])

    def told(self, name: str, items: Sequence[Any], shown: Sequence[Any]) -> dict[str, Any]:
        """The answer: the page's items as `name`, and how many there are in all."""
        return {name: list(shown), "total": len(items), "page": self.number, "pageSize": self.rows}


def paging_of(query: Query, known: Sequence[str] = ()) -> Paging:
    """`page` and `pageSize`, also called `limit`. Raises BadRequest, also for a filter that is none of `known`."""
    fields = (("page", 1, None), ("pageSize", PAGE_ROWS, PAGE_ROWS_MAX), ("limit", PAGE_ROWS, PAGE_ROWS_MAX))
    causes = [
        Cause(name, "is not a filter of this list; there are " + ", ".join(sorted({*known, *(f[0] for f in fields)})))
        for name in query.names
        if name not in known and name not in {field[0] for field in fields}
    ]
    found: dict[str, int] = {}
    for name, default, most in fields:
        text = query.first(name)
        is_good = text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= (most or 10**9)
        if text and not is_good:
            causes.append(Cause(name, f"must be a whole number from 1{f' to {most}' if most else ''}"))
        found[name] = int(text[:9]) if text and is_good else default
    if causes:
        raise bad_fields(causes)
    return Paging(found["page"], found["pageSize"] if "pageSize" in query else found["limit"])


def checked_namespace(name: str) -> str:
    """The same: a part of a path may have no slash in it. Raises BadRequest."""
    if name and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        raise bad_fields([Cause("namespace", "is no name of a namespace")])
    return name


def newest_first(items: Iterable[Object]) -> list[Object]:
    """The order of the originals' lists; of what was made in the same second, by name."""
    ordered = sorted(items, key=lambda item: str(item["metadata"]["name"]))
    return sorted(ordered, key=lambda item: str(item["metadata"]["creationTimestamp"]), reverse=True)


async def found_by_id(
    inner: Inner, request: Request, path: str, word: str, what: str, *, by_name: bool = False
) -> Object:
    """The object of that uid; with `by_name`, of that name too. Raises NotFound."""
    if UID.fullmatch(word):
        async for item in inner.every(request, path):
            if item["metadata"]["uid"] == word:
                return item
    elif by_name and re.fullmatch(r"[A-Za-z0-9._-]{1,253}", word):
        named = await inner.find(request, f"{path}/{word}")
        if named is not None:
            return named
    raise NotFound(f"there is no {what} with the id {word}")


def labels_of(item: Mapping[str, Any]) -> Mapping[str, str]:
    """Its labels."""
    found: Mapping[str, str] = item["metadata"].get("labels") or {}
    return found


def annotations_of(item: Mapping[str, Any]) -> Mapping[str, str]:
    """Its annotations."""
    found: Mapping[str, str] = item["metadata"].get("annotations") or {}
    return found


def creator_of(item: Mapping[str, Any]) -> str | None:
    """Who made it: the one that it says, else its owner."""
    notes = annotations_of(item)
    return notes.get(CREATED_BY) or notes.get(OWNER)


def matching(text: str, *fields: Callable[[Object], str]) -> Callable[[Object], bool]:
    """A test for `search`: any of the fields has the text in it, large or small letters alike."""
    wanted = text.casefold()
    return lambda item: any(wanted in field(item).casefold() for field in fields)
