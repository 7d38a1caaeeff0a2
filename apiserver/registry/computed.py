"""Kinds that are made when they are asked for: they can be got and listed, and are never stored.

Whoever computes one says what there is; selectors, forms and refusals are the same as for every kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from ..cache.entry import Entry
from ..cache.filter import Filter
from ..errors import NotFound
from ..request import Query
from . import options
from .keys import local_key
from .options import Target
from .refusals import method_not_allowed

NO_PATHS: tuple[str, ...] = ()
"""Beside name and namespace nothing can be selected by field."""


class Computed(Protocol):
    """One such kind."""

    async def find(self, wanted: Filter, target: Target) -> Sequence[Mapping[str, Any]]:
        """Whole objects, in the order of their keys; of those only that the target may reach."""
        ...


async def compute(kind: Computed, verb: str, target: Target, query: Query) -> list[Entry]:
    """What a get (then it is one) or a list gives. Raises NotFound, MethodNotAllowed, BadRequest."""
    if target.subresource or verb not in ("get", "list"):
        raise method_not_allowed(target.resource)
    if verb == "list":
        return [_entry(obj) for obj in await kind.find(options.wanted(query, target, NO_PATHS), target)]
    found = await kind.find(Filter(namespace=target.namespace, name=target.name), target)
    if not found:
        resource, key = target.resource, local_key(target.namespace, target.name)
        name = f"{resource.kind.lower()}.{resource.group}"
        raise NotFound(f'{name} "{key}" not found', group=resource.group, kind=resource.plural, name=key)
    return [_entry(found[0])]


def _entry(obj: Mapping[str, Any]) -> Entry:
    meta = obj["metadata"]
    head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta}
    return Entry(local_key(meta.get("namespace", ""), meta["name"]), 0, orjson.dumps({**head, **obj}))
