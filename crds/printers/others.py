"""The rows of everything else: events, configuration, discovery, policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from ..event_forms import core
from ..quantity import format_quantity, parse_quantity
from .base import (
    NONE,
    UNKNOWN,
    Cells,
    Object,
    age_of,
    human_age,
    human_duration,
    meta_of,
    name_of,
    spec_of,
    status_of,
)


def event_cells(event: Object, now: datetime) -> Cells:
    """Last seen, type, reason, object, subobject, source, message, first seen, count, name."""
    first = human_age(event.get("firstTimestamp") or event.get("eventTime"), now)
    last = human_age(event["lastTimestamp"], now) if event.get("lastTimestamp") else first
    count = event.get("count") or 1
    series: Object | None = event.get("series")
    if series is not None:
        last, count = human_age(series.get("lastObservedTime"), now), series.get("count") or 0
    involved: Object = event.get("involvedObject") or {}
    kind, name = str(involved.get("kind", "")).lower(), involved.get("name")
    return [
        last,
        event.get("type", ""),
        event.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        involved.get("fieldPath", ""),
        _event_source(event),
        str(event.get("message", "")).strip(),
        first,
        count,
        name_of(event),
    ]


def grouped_event_cells(event: Object, now: datetime) -> Cells:
    """The same cells for an event in the words of events.k8s.io."""
    return event_cells(core(event), now)


def _event_source(event: Object) -> str:
    source: Object = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    instance = source.get("host") or event.get("reportingInstance")
    return f"{component}, {instance}" if instance else str(component)


def scale_cells(scale: Object, now: datetime) -> Cells:
    """Name, desired, there, age."""
    return [name_of(scale), spec_of(scale).get("replicas", 0), status_of(scale).get("replicas", 0), age_of(scale, now)]


def pod_usage_cells(metrics: Object, now: datetime) -> Cells:
    """Name, the CPU and the memory of all containers together, window."""
    usages: list[Object] = [container.get("usage") or {} for container in metrics.get("containers") or ()]
    cpu = sum((parse_quantity(usage.get("cpu", "0")) for usage in usages), Decimal(0))
    memory = sum((parse_quantity(usage.get("memory", "0")) for usage in usages), Decimal(0))
    return [name_of(metrics), format_quantity(cpu), format_quantity(memory, "binary"), metrics.get("window", "")]


def namespace_cells(namespace: Object, now: datetime) -> Cells:
    """Name, phase, age."""
    return [name_of(namespace), status_of(namespace).get("phase", ""), age_of(namespace, now)]


def configmap_cells(configmap: Object, now: datetime) -> Cells:
    """Name, number of keys, age."""
    keys = len(configmap.get("data") or ()) + len(configmap.get("binaryData") or ())
    return [name_of(configmap), keys, age_of(configmap, now)]


def secret_cells(secret: Object, now: datetime) -> Cells:
    """Name, type, number of keys, age."""
    return [name_of(secret), secret.get("type", ""), len(secret.get("data") or ()), age_of(secret, now)]


def serviceaccount_cells(account: Object, now: datetime) -> Cells:
    """Name, number of secrets, age."""
    return [name_of(account), len(account.get("secrets") or ()), age_of(account, now)]


def lease_cells(lease: Object, now: datetime) -> Cells:
    """Name, holder, age."""
    return [name_of(lease), spec_of(lease).get("holderIdentity") or "", age_of(lease, now)]


def crd_cells(crd: Object, now: datetime) -> Cells:
    """Name and moment of creation: CustomResourceDefinitions show a date and no age."""
    return [name_of(crd), meta_of(crd).get("creationTimestamp") or UNKNOWN]


def priorityclass_cells(priority: Object, now: datetime) -> Cells:
    """Name, value, whether it is the default, age, preemption policy."""
    policy = priority.get("preemptionPolicy") or "PreemptLowerPriority"
    return [
        name_of(priority),
        priority.get("value") or 0,
        bool(priority.get("globalDefault")),
        age_of(priority, now),
        policy,
    ]


def budget_cells(budget: Object, now: datetime) -> Cells:
    """Name, least available, most unavailable, disruptions allowed, age."""
    least, most = spec_of(budget).get("minAvailable"), spec_of(budget).get("maxUnavailable")
    return [
        name_of(budget),
        "N/A" if least is None else str(least),
        "N/A" if most is None else str(most),
        status_of(budget).get("disruptionsAllowed") or 0,
        age_of(budget, now),
    ]


def flowschema_cells(schema: Object, now: datetime) -> Cells:
    """Name, level, precedence, what tells flows apart, age, whether the level is missing."""
    spec = spec_of(schema)
    conditions: Iterable[Object] = status_of(schema).get("conditions") or ()
    dangling = next((item.get("status") for item in conditions if item.get("type") == "Dangling"), None)
    return [
        name_of(schema),
        (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
        spec.get("matchingPrecedence") or 0,
        (spec.get("distinguisherMethod") or {}).get("type") or NONE,
        age_of(schema, now),
        "?" if dangling is None else str(dangling),
    ]


def prioritylevel_cells(level: Object, now: datetime) -> Cells:
    """Name, type, shares, queues, hand size, queue length, age."""
    spec = spec_of(level)
    limited: Object = spec.get("limited") or {}
    shares = (limited or spec.get("exempt") or {}).get("nominalConcurrencyShares")
    queuing: Object = (limited.get("limitResponse") or {}).get("queuing") or {}
    fields = ("queues", "handSize", "queueLengthLimit")
    return [
        name_of(level),
        spec.get("type", ""),
        NONE if shares is None else str(shares),
        *(str(queuing.get(field, NONE)) for field in fields),
        age_of(level, now),
    ]


PRINTED_MAX = 3
"""Ports and endpoints of a slice that are named; the others are counted."""


def service_cells(service: Object, now: datetime) -> Cells:
    """Name, type, address, outside address, ports, age, selector."""
    spec = spec_of(service)
    ports: Iterable[Object] = spec.get("ports") or ()
    selector: Mapping[str, str] = spec.get("selector") or {}
    return [
        name_of(service),
        spec.get("type") or "ClusterIP",
        spec.get("clusterIP") or NONE,
        NONE,
        ",".join(f"{port.get('port')}/{port.get('protocol') or 'TCP'}" for port in ports) or NONE,
        age_of(service, now),
        ",".join(f"{key}={value}" for key, value in sorted(selector.items())) or NONE,
    ]


def endpointslice_cells(item: Object, now: datetime) -> Cells:
    """Name, address type, ports, endpoints, age."""
    ports: Iterable[Object] = item.get("ports") or ()
    endpoints: Iterable[Object] = item.get("endpoints") or ()
    return [
        name_of(item),
        item.get("addressType", ""),
        _first_of([str(port.get("port") or port.get("name") or "*") for port in ports]),
        _first_of([address for endpoint in endpoints for address in endpoint.get("addresses") or ()]),
        age_of(item, now),
    ]


def _first_of(items: list[str]) -> str:
    more = len(items) - PRINTED_MAX
    shown = ",".join(items[:PRINTED_MAX]) or "<unset>"
    return f"{shown} + {more} more..." if more > 0 else shown


def quota_cells(quota: Object, now: datetime) -> Cells:
    """Name, used of what is requested, used of what limits allow, age."""
    status = status_of(quota)
    hard, used = status.get("hard") or {}, status.get("used") or {}
    rows = [(name, f"{name}: {used.get(name, '0')}/{hard[name]}") for name in sorted(hard)]
    requests = ", ".join(text for name, text in rows if not name.startswith("limits."))
    limits = ", ".join(text for name, text in rows if name.startswith("limits."))
    return [name_of(quota), requests, limits, age_of(quota, now)]


def admission_policy_cells(policy: Object, now: datetime) -> Cells:
    """Name, number of validations, kind of the parameters, age."""
    spec = spec_of(policy)
    kind = spec.get("paramKind") or {}
    shown = f"{kind.get('apiVersion')}/{kind.get('kind')}" if kind else "<unset>"
    return [name_of(policy), len(spec.get("validations") or ()), shown, age_of(policy, now)]


def admission_binding_cells(binding: Object, now: datetime) -> Cells:
    """Name, policy, parameters, age."""
    spec = spec_of(binding)
    ref = spec.get("paramRef")
    shown = "<unset>"
    if ref:
        shown = f"{ref.get('namespace') or '*'}/{ref.get('name')}" if ref.get("name") else "<selector>"
    return [name_of(binding), spec.get("policyName", ""), shown, age_of(binding, now)]


def webhooks_cells(configuration: Object, now: datetime) -> Cells:
    """Name, number of webhooks, age."""
    return [name_of(configuration), len(configuration.get("webhooks") or ()), age_of(configuration, now)]


def certificate_request_cells(request: Object, now: datetime) -> Cells:
    """Name, age, signer, who asked, lifetime wished for, what became of it."""
    spec = spec_of(request)
    lifetime_s = spec.get("expirationSeconds")
    return [
        name_of(request),
        age_of(request, now),
        spec.get("signerName", ""),
        spec.get("username", ""),
        NONE if lifetime_s is None else human_duration(timedelta(seconds=lifetime_s)),
        certificate_request_state(request),
    ]


def certificate_request_state(request: Object) -> str:
    """`Pending`, or `Approved,Issued` and the like."""
    types = {item.get("type") for item in status_of(request).get("conditions") or ()}
    words = ["Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"]
    if "Failed" in types:
        words.append("Failed")
    if status_of(request).get("certificate"):
        words.append("Issued")
    return ",".join(words)


def certificate_revocation_cells(revocation: Object, now: datetime) -> Cells:
    """Name, which certificates, until when issued, why, age."""
    spec = spec_of(revocation)
    serial = spec.get("serialNumber")
    return [
        name_of(revocation),
        f"serial {serial}" if serial else f"user {spec.get('username', '')}",
        NONE if serial else spec.get("issuedBefore", ""),
        spec.get("reason", ""),
        age_of(revocation, now),
    ]
