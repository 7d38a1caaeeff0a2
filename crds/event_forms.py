"""An event in the words of core/v1 and in those of events.k8s.io/v1: the same object, and the way from one to the other.

The newer group renamed what the older one had and put `deprecated` before what it gave up; nothing is lost either way
(KEP-383). Works on objects in wire form and is free of pydantic, so that the API server and the printers can use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Object = dict[str, Any]

CORE: Final = "v1"
GROUPED: Final = "events.k8s.io/v1"

GROUPED_NAMES: Final[Mapping[str, str]] = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
"""core/v1 field -> the same in events.k8s.io/v1; every other field has one name."""
CORE_NAMES: Final[Mapping[str, str]] = {grouped: core for core, grouped in GROUPED_NAMES.items()}


def grouped(event: Mapping[str, Any]) -> Object:
    """A core/v1 event as events.k8s.io/v1 says it. `eventTime` is always there, if only as null: clients insist on it."""
    new: Object = {GROUPED_NAMES.get(name, name): value for name, value in event.items()}
    return {**new, "apiVersion": GROUPED, "eventTime": event.get("eventTime")}


def core(event: Mapping[str, Any]) -> Object:
    """An events.k8s.io/v1 event as core/v1 says it. `involvedObject` is always there, if only empty, as core/v1 requires."""
    old: Object = {CORE_NAMES.get(name, name): value for name, value in event.items() if value is not None}
    old.setdefault("involvedObject", {})
    return {**old, "apiVersion": CORE}


def grouped_path(path: str) -> str:
    """A core/v1 field path in the other words: `involvedObject.kind` -> `regarding.kind`."""
    head, dot, rest = path.partition(".")
    return GROUPED_NAMES.get(head, head) + dot + rest
