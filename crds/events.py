"""Events (core/v1): what happened to an object, told to whoever looks at it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

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


class Event(KubeObject):
    """Something that happened to an object."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="",
        version="v1",
        kind="Event",
        plural="events",
        namespaced=True,
        short_names=("ev",),
        selectable_fields=(
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
        ),
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
    type: Literal["Normal", "Warning"] | None = None
    """Whether somebody should look into it."""
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
