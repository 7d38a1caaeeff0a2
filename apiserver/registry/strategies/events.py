"""Events: news that vanish, in the words of two groups.

The rules are Kubernetes' (pkg/apis/core/validation/events.go). An event with an eventTime says completely who did what,
through whichever group it came; through events.k8s.io it must have one, and nothing but its series changes later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from stark.crds import event_forms
from stark.crds.names import label_key_problems, path_segment_problems
from stark.crds.printers import parse_time

from ...errors import Cause
from .base import Known, Strategy, immutable, shown
from .views import View

EVENT_TTL_S: Final = 3_600
"""Events are news: an hour, as in Kubernetes."""
WORD_LENGTH_MAX: Final = 128
"""Of reportingInstance, action and reason."""
NOTE_LENGTH_MAX: Final = 1_024
SERIES_COUNT_MIN: Final = 2
"""What happened once is no series."""
OWN_NAMESPACES: Final = ("default", "kube-system")
"""Where events about objects without a namespace live."""
TYPES: Final = ("Normal", "Warning")

GIVEN_UP: Final = ("firstTimestamp", "lastTimestamp", "count", "source")
"""Fields of core/v1 that a new event leaves empty."""
SETTLED: Final = (
    "involvedObject",
    "reason",
    "message",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
    *GIVEN_UP,
    "type",
)
"""What an update through events.k8s.io leaves as it is."""
CONTROLLER: Final = "reportingController"


class EventStrategy(Strategy):
    """Events vanish by themselves; whoever counts one up may have to create it again."""

    tracks_fields: ClassVar[bool] = False
    ttl_s: ClassVar[int] = EVENT_TTL_S
    create_on_update: ClassVar[bool] = True

    def name_problems(self, name: str) -> list[str]:
        """Reporters make the name of the object's and a time, so it is as free as any object's may be."""
        return path_segment_problems(name)

    def create_problems(self, obj: Known) -> Sequence[Cause]:
        """Who, what and where."""
        return list(_problems(obj, "reportingComponent"))

    def update_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """The same."""
        return self.create_problems(new)


class GroupedEventStrategy(EventStrategy):
    """The same objects in the words of events.k8s.io. Complaints name core/v1's fields, as Kubernetes' do."""

    view: ClassVar[View] = View(
        "",
        "v1",
        "Event",
        "events",
        served=event_forms.grouped,
        stored=event_forms.core,
        paths={event_forms.grouped_path(path): path for path in ("involvedObject", "reportingComponent")},
    )

    def name_problems(self, name: str) -> list[str]:
        """Here a name is an object's like any other."""
        return Strategy.name_problems(self, name)

    def create_problems(self, obj: Known) -> Sequence[Cause]:
        """Everything a new event must say, and nothing it must not."""
        event = event_forms.core(obj)
        found = [*_problems(event, CONTROLLER), *_series_problems(event)]
        if not event.get("eventTime"):
            found.append(_required("eventTime"))
        if event.get("type") not in TYPES:
            found.append(_bad("type", "", f"has invalid value: {event.get('type') or ''}"))
        return [*found, *(_bad(name, "", "needs to be unset") for name in GIVEN_UP if event.get(name))]

    def update_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """Only the series goes on."""
        event, before = event_forms.core(new), event_forms.core(old)
        found = list(_problems(event, CONTROLLER))
        if event.get("series") != before.get("series"):
            found += _series_problems(event)
        for name in SETTLED:
            found += immutable(name, _value(event, name), _value(before, name))
        return found


def _value(event: Known, name: str) -> object:
    """A field's value, such that what means the same is equal: times by what they say, nothing and empty alike."""
    value = event.get(name) or None
    if isinstance(value, str) and name in ("eventTime", "firstTimestamp", "lastTimestamp"):
        return parse_time(value) or value
    return value


def _problems(event: Known, controller: str) -> Iterator[Cause]:
    namespace = event["metadata"].get("namespace", "")
    about = (event.get("involvedObject") or {}).get("namespace") or ""
    if not event.get("eventTime"):
        if namespace != about and (about or namespace != OWN_NAMESPACES[0]):
            yield _bad("involvedObject.namespace", about, "does not match event.namespace")
        return
    if not about and namespace not in OWN_NAMESPACES:
        yield _bad("involvedObject.namespace", about, "does not match event.namespace")
    reporter = event.get("reportingComponent") or ""
    if not reporter:
        yield _required(controller)
    for text in label_key_problems(reporter):
        yield _bad(controller, reporter, text)
    for name in ("reportingInstance", "action", "reason"):
        word = event.get(name) or ""
        if not word:
            yield _required(name)
        if len(word) > WORD_LENGTH_MAX:
            yield _bad(name, "", f"can have at most {WORD_LENGTH_MAX} characters")
    if len(event.get("message") or "") > NOTE_LENGTH_MAX:
        yield _bad("message", "", f"can have at most {NOTE_LENGTH_MAX} characters")


def _series_problems(event: Known) -> Iterator[Cause]:
    series = event.get("series")
    if series is None:
        return
    if (series.get("count") or 0) < SERIES_COUNT_MIN:
        yield _bad("series.count", "", f"should be at least {SERIES_COUNT_MIN}")
    if not series.get("lastObservedTime"):
        yield _required("series.lastObservedTime")


def _required(field: str) -> Cause:
    return Cause(field, "Required value", "FieldValueRequired")


def _bad(field: str, value: str, why: str) -> Cause:
    return Cause(field, f"Invalid value: {shown(value)}: {why}", "FieldValueInvalid")
