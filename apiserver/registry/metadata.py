"""What the server itself writes into metadata, and what it lets clients write there.

Messages and field paths are Kubernetes' (apimachinery/pkg/api/validation/objectmeta.go).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from stark.crds.names import label_key_problems

from ..errors import Cause
from ..times import timestamp

Object = dict[str, Any]
NameProblems = Callable[[str], list[str]]

SUFFIX_LENGTH: Final = 5
SUFFIX_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' alphabet: without vowels no words form, without 0, 1 and 3 nothing is misread."""
GENERATED_LENGTH_MAX: Final = 63

SERVER_FIELDS: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
)
"""Fields that clients read and the server writes."""
EMPTY_MEANS_ABSENT: Final = ("ownerReferences", "finalizers")


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def generate_name(base: str) -> str:
    """`base` with a random suffix, cut so that the whole is a DNS label."""
    suffix = "".join(secrets.choice(SUFFIX_LETTERS) for _ in range(SUFFIX_LENGTH))
    return base[: GENERATED_LENGTH_MAX - SUFFIX_LENGTH] + suffix


VARIANTS: Final = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""The digit that says the variant, by a random one."""


class Uids:
    """Random UUIDs (RFC 9562, version 4) from random bytes drawn for many at once.

    A draw is a system call that lets go of the interpreter, and the thread that writes the store may keep it for a while.
    """

    AT_ONCE: Final = 256

    def __init__(self) -> None:
        self._ready: list[str] = []

    def new(self) -> str:
        """One that nobody has."""
        if not self._ready:
            drawn = os.urandom(16 * self.AT_ONCE).hex()
            self._ready = [_uuid(drawn[at : at + 32]) for at in range(0, len(drawn), 32)]
        return self._ready.pop()


def _uuid(digits: str) -> str:
    """Version 4, variant 1, of 32 random hexadecimal digits."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{VARIANTS[digits[16]]}{digits[17:20]}-{digits[20:]}"


UIDS: Final = Uids()


def begin(obj: Object, moment: datetime, *, generation: bool) -> None:
    """Fill in what a new object gets."""
    metadata = obj["metadata"]
    for field in SERVER_FIELDS:
        if field in metadata:
            del metadata[field]
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generate_name(metadata["generateName"])
    metadata["uid"] = UIDS.new()
    metadata["creationTimestamp"] = timestamp(moment)
    if generation:
        metadata["generation"] = 1


def keep(new: Object, old: Mapping[str, Any]) -> None:
    """An update never changes what the server wrote, nor the name."""
    metadata, before = new["metadata"], old["metadata"]
    for field in (*SERVER_FIELDS, "name", "namespace", "generateName"):
        if field in before:
            metadata[field] = before[field]
        else:
            metadata.pop(field, None)


def drop_empty(obj: Object) -> None:
    """Lists of which nothing is left go: nobody owns the object, nobody holds it."""
    for field in EMPTY_MEANS_ABSENT:
        if obj["metadata"].get(field) == []:
            del obj["metadata"][field]


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Its deletion has begun."""
    return "deletionTimestamp" in obj["metadata"]


def finalizers(obj: Mapping[str, Any]) -> list[str]:
    """Who still has something to do before the object goes."""
    return obj["metadata"].get("finalizers") or []


def problems(obj: Mapping[str, Any], name_problems: NameProblems) -> list[Cause]:
    """What is wrong with an object's metadata and its schema cannot say: labels and the like have been checked by it."""
    metadata = obj["metadata"]
    found = _name_problems(metadata, name_problems)
    if owners := metadata.get("ownerReferences"):
        found += _owner_problems(owners)
    for item in metadata.get("finalizers") or ():
        found += [_bad("metadata.finalizers", item, text) for text in label_key_problems(item)]
    return found


def update_problems(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[Cause]:
    """What an update may not do to metadata."""
    if not is_deleting(old):
        return []
    added = [item for item in finalizers(new) if item not in finalizers(old)]
    if not added:
        return []
    shown = ", ".join(f'"{item}"' for item in added)
    message = (
        "Forbidden: no new finalizers can be added if the object is being deleted, "
        f"found new finalizers []string{{{shown}}}"
    )
    return [Cause("metadata.finalizers", message, "FieldValueForbidden")]


def _bad(field: str, value: object, why: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause(field, f"Invalid value: {shown}: {why}", "FieldValueInvalid")


def _required(field: str, why: str = "") -> Cause:
    return Cause(field, f"Required value: {why}" if why else "Required value", "FieldValueRequired")


def _name_problems(metadata: Mapping[str, Any], check: NameProblems) -> list[Cause]:
    name = metadata.get("name")
    if not name:
        return [_required("metadata.name", "name or generateName is required")]
    return [_bad("metadata.name", name, text) for text in check(name)]


def _owner_problems(owners: list[Mapping[str, Any]]) -> Iterator[Cause]:
    controllers = 0
    for owner in owners:
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        message = "Only one reference can have Controller set to true."
        yield _bad("metadata.ownerReferences", f"{controllers} references", message)
