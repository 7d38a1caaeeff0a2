"""Events: what happened to an object, told to whoever looks at it. One kind in the words of two groups.

What is stored is core/v1; events.k8s.io/v1 is another view of the same objects (see `event_forms`).
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .event_forms import grouped_path
from .fields import Count, written
from .meta import KubeObject, MicroTime, Model, ResourceDef, Time
from .pods import ObjectReference


class EventSource(Model):
    """Who reported it."""

    component: str | None = None
    """The component, e.g. `default-scheduler`."""
    host: str | None = None
    """The node it ran on."""


class EventSeries(Model):
    """The same thing, again and again."""

    count: Count | None = None
    """How often so far."""
    last_observed_time: MicroTime | None = None
    """When it was seen last."""


SELECTABLE = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "type",
)
"""What events can be selected by, in the words of core/v1."""


class Event(KubeObject):
    """Something that happened to an object."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="",
        version="v1",
        kind="Event",
        plural="events",
        namespaced=True,
        short_names=("ev",),
        selectable_fields=SELECTABLE,
    )

    involved_object: ObjectReference
    """The object it happened to."""
    reason: str | None = None
    """What happened, as one CamelCase word."""
    message: str | None = None
    """What happened, as a sentence."""
    source: EventSource = Field(default_factory=EventSource)
    """Who reported it."""
    first_timestamp: Time | None = None
    """When it happened first."""
    last_timestamp: Time | None = None
    """When it happened last."""
    count: Count | None = None
    """How often it happened."""
    type: str | None = None
    """Whether somebody should look into it: Normal or Warning, and other words from older clients."""
    event_time: MicroTime | None = None
    """When it was first observed, to the microsecond."""
    series: EventSeries | None = None
    """Set when it goes on happening."""
    action: str | None = None
    """What was done or failed."""
    related: ObjectReference | None = None
    """Another object that took part."""
    reporting_component: str = written("")
    """The controller that reported it, e.g. `stark.dev/scheduler`."""
    reporting_instance: str = written("")
    """Which process of it."""


class GroupedEvent(KubeObject):
    """Something that happened to an object, in the words of events.k8s.io: the same objects as core/v1 Event.

    Who creates an event here says completely who did what: eventTime, reportingController, reportingInstance, action and
    reason are required, and afterwards only the series changes.
    """

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="events.k8s.io",
        version="v1",
        kind="Event",
        plural="events",
        namespaced=True,
        short_names=("ev",),
        selectable_fields=tuple(grouped_path(path) for path in SELECTABLE),
    )

    event_time: MicroTime | None = None
    """When it was first observed, to the microsecond; null for an event that was reported through core/v1 without it."""
    series: EventSeries | None = None
    """Set when it goes on happening."""
    reporting_controller: str | None = None
    """The controller that reported it, e.g. `stark.dev/scheduler`."""
    reporting_instance: str | None = None
    """Which process of it."""
    action: str | None = None
    """What was done or failed."""
    reason: str | None = None
    """What happened, as one CamelCase word."""
    regarding: ObjectReference = Field(default_factory=ObjectReference)
    """The object it happened to."""
    related: ObjectReference | None = None
    """Another object that took part."""
    note: str | None = None
    """What happened, as a sentence."""
    type: str | None = None
    """Whether somebody should look into it: Normal or Warning."""
    deprecated_source: EventSource | None = None
    """core/v1's source."""
    deprecated_first_timestamp: Time | None = None
    """core/v1's firstTimestamp."""
    deprecated_last_timestamp: Time | None = None
    """core/v1's lastTimestamp."""
    deprecated_count: Count | None = None
    """core/v1's count."""
