"""The rows that `kubectl get` shows for Kubernetes' own kinds, where a JSON path is not enough.

Rules and headings are those of Kubernetes' printers, so that scripts which read them go on working. Works on objects
in wire form and is free of pydantic: the API server answers Table requests with it, starkctl prints with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .resource import Column
from .selectors import SelectorError, from_label_selector

Object = Mapping[str, Any]
Cells = list[Any]

NONE = "<none>"
UNKNOWN = "<unknown>"
INVALID = "<invalid>"

CLOCK_SKEW_S = 2
"""Seconds that a timestamp may lie in the future, for clocks that differ."""


@dataclass(frozen=True, slots=True)
class Printer:
    """The table of one kind."""

    columns: tuple[Column, ...]
    """Headings, the one of the name included; those with a priority above 0 are for `-o wide`."""
    cells: Callable[[Object, datetime], Cells]
    """One value per column for an object, at a moment."""


def find_printer(group: str, kind: str) -> Printer | None:
    """The printer of a kind; None when its columns are JSON paths."""
    return PRINTERS.get((group, kind))


def row_conditions(group: str, kind: str, obj: Object) -> list[dict[str, str]]:
    """The `conditions` of a table row: a pod that has ended is marked Completed, and clients may grey it out."""
    phase = _status(obj).get("phase")
    if (group, kind) != ("", "Pod") or phase not in ("Succeeded", "Failed"):
        return []
    message = "The pod has completed successfully." if phase == "Succeeded" else "The pod failed."
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]


def human_duration(duration: timedelta) -> str:
    """A duration in at most two units, coarser as it grows: `45s`, `3m20s`, `5h`, `12d`, `2y30d`."""
    seconds = int(duration.total_seconds())
    if seconds <= -CLOCK_SKEW_S:
        return INVALID
    seconds = max(0, seconds)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    return _two(days // 365, "y", days % 365 if days < 365 * 8 else 0, "d")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def human_age(timestamp: str | None, now: datetime | None = None) -> str:
    """The time since an RFC 3339 timestamp, `<unknown>` when there is none; `now` defaults to the present."""
    moment = parse_time(timestamp)
    return UNKNOWN if moment is None else human_duration((now or datetime.now(UTC)) - moment)


def parse_time(timestamp: str | None) -> datetime | None:
    """The moment of an RFC 3339 timestamp; None when it is absent or unreadable."""
    if not timestamp:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _meta(obj: Object) -> Object:
    return obj.get("metadata") or {}


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def _status(obj: Object) -> Object:
    return obj.get("status") or {}


def _name(obj: Object) -> str:
    return str(_meta(obj).get("name", ""))


def _age(obj: Object, now: datetime) -> str:
    return human_age(_meta(obj).get("creationTimestamp"), now)


def _condition_is_true(obj: Object, type_: str) -> bool:
    conditions: Iterable[Object] = _status(obj).get("conditions") or ()
    return any(item.get("type") == type_ and item.get("status") == "True" for item in conditions)


def pod_cells(pod: Object, now: datetime) -> Cells:
    """Name, ready count, status, restarts, age, IP, node, nominated node, readiness gates."""
    summary = summarize_pod(pod)
    restarts = str(summary.restarts)
    if summary.restarts and summary.last_restart is not None:
        restarts = f"{summary.restarts} ({human_duration(now - summary.last_restart)} ago)"
    spec, status = _spec(pod), _status(pod)
    addresses: list[Object] = status.get("podIPs") or [{"ip": status.get("podIP")}]
    gates: list[Object] = spec.get("readinessGates") or []
    met = sum(_condition_is_true(pod, gate.get("conditionType", "")) for gate in gates)
    return [
        _name(pod),
        f"{summary.ready}/{len(spec.get('containers') or ())}",
        summary.status,
        restarts,
        _age(pod, now),
        addresses[0].get("ip") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{met}/{len(gates)}" if gates else NONE,
    ]


@dataclass(slots=True)
class PodSummary:
    """What the STATUS, READY and RESTARTS columns say."""

    status: str
    ready: int = 0
    restarts: int = 0
    last_restart: datetime | None = None

    def count_restarts(self, container: Object) -> None:
        """Add one container's restarts, and remember when the last one was."""
        self.restarts += container.get("restartCount") or 0
        ended = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        moment = parse_time(ended)
        if moment is not None and (self.last_restart is None or moment > self.last_restart):
            self.last_restart = moment


def summarize_pod(pod: Object) -> PodSummary:
    """The status word of a pod as kubectl shows it, with its ready containers and restarts."""
    status = _status(pod)
    summary = PodSummary(status.get("reason") or status.get("phase") or "")
    conditions: Iterable[Object] = status.get("conditions") or ()
    if any(c.get("type") == "PodScheduled" and c.get("reason") == "SchedulingGated" for c in conditions):
        summary.status = "SchedulingGated"
    initializing = _summarize_init(pod, summary)
    if not initializing or _condition_is_true(pod, "Initialized"):
        summary.restarts, summary.last_restart = 0, None
        _summarize_containers(pod, summary)
    if _meta(pod).get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            summary.status = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            summary.status = "Terminating"
    return summary


def _summarize_init(pod: Object, summary: PodSummary) -> bool:
    """Whether an init container is not done yet; the status word then says which."""
    for index, container in enumerate(_status(pod).get("initContainerStatuses") or ()):
        summary.count_restarts(container)
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), (state.get("waiting") or {}).get("reason")
        if ended is not None and not ended.get("exitCode"):
            continue
        if ended is not None:
            summary.status = f"Init:{_ended_word(ended)}"
        elif waiting and waiting != "PodInitializing":
            summary.status = f"Init:{waiting}"
        else:
            summary.status = f"Init:{index}/{len(_spec(pod).get('initContainers') or ())}"
        return True
    return False


def _summarize_containers(pod: Object, summary: PodSummary) -> None:
    running = False
    for container in reversed(_status(pod).get("containerStatuses") or ()):
        summary.count_restarts(container)
        state = container.get("state") or {}
        waiting, ended = (state.get("waiting") or {}).get("reason"), state.get("terminated")
        if waiting:
            summary.status = waiting
        elif ended is not None:
            summary.status = _ended_word(ended)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if running and summary.status == "Completed":
        summary.status = "Running" if _condition_is_true(pod, "Ready") else "NotReady"


def _ended_word(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


ROLE_PREFIX = "node-role.kubernetes.io/"
ROLE_LABEL = "kubernetes.io/role"


def node_roles(node: Object) -> list[str]:
    """The roles that a node's labels give it, sorted."""
    labels: Mapping[str, str] = _meta(node).get("labels") or {}
    roles = {key.removeprefix(ROLE_PREFIX) for key in labels if key.startswith(ROLE_PREFIX) and key != ROLE_PREFIX}
    return sorted(roles | {value for key, value in labels.items() if key == ROLE_LABEL and value})


def node_status(node: Object) -> str:
    """`Ready`, `NotReady` or `Unknown`, with `,SchedulingDisabled` when it is cordoned."""
    conditions: Iterable[Object] = _status(node).get("conditions") or ()
    ready = next((item for item in conditions if item.get("type") == "Ready"), None)
    word = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{word},SchedulingDisabled" if _spec(node).get("unschedulable") else word


def node_cells(node: Object, now: datetime) -> Cells:
    """Name, status, roles, age, version, addresses, operating system, kernel, container runtime."""
    status = _status(node)
    info: Object = status.get("nodeInfo") or {}
    addresses: Iterable[Object] = status.get("addresses") or ()
    by_type = {item.get("type"): item.get("address") for item in reversed(list(addresses))}
    return [
        _name(node),
        node_status(node),
        ",".join(node_roles(node)) or NONE,
        _age(node, now),
        info.get("kubeletVersion", ""),
        by_type.get("InternalIP") or NONE,
        by_type.get("ExternalIP") or NONE,
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _workload_cells(obj: Object) -> Cells:
    """Containers, images and selector, for `-o wide`."""
    template: Object = _spec(obj).get("template") or {}
    containers: list[Object] = _spec(template).get("containers") or []
    try:
        selector = str(from_label_selector(_spec(obj).get("selector") or {})) or NONE
    except SelectorError:
        selector = INVALID
    names = ",".join(str(item.get("name", "")) for item in containers)
    return [names, ",".join(str(item.get("image", "")) for item in containers), selector]


def _desired(obj: Object) -> int:
    replicas = _spec(obj).get("replicas")
    return 1 if replicas is None else int(replicas)


def deployment_cells(deployment: Object, now: datetime) -> Cells:
    """Name, ready/desired, up to date, available, age, containers, images, selector."""
    status = _status(deployment)
    return [
        _name(deployment),
        f"{status.get('readyReplicas') or 0}/{_desired(deployment)}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        _age(deployment, now),
        *_workload_cells(deployment),
    ]


def replicaset_cells(replicaset: Object, now: datetime) -> Cells:
    """Name, desired, current, ready, age, containers, images, selector."""
    status = _status(replicaset)
    return [
        _name(replicaset),
        _desired(replicaset),
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        _age(replicaset, now),
        *_workload_cells(replicaset),
    ]


def daemonset_cells(daemonset: Object, now: datetime) -> Cells:
    """Name, desired, current, ready, up to date, available, node selector, age, containers, images, selector."""
    status = _status(daemonset)
    numbers = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    chosen: Object = _spec(_spec(daemonset).get("template") or {}).get("nodeSelector") or {}
    return [
        _name(daemonset),
        *(status.get(number) or 0 for number in (*numbers, "numberAvailable")),
        ",".join(f"{key}={chosen[key]}" for key in sorted(chosen)) or NONE,
        _age(daemonset, now),
        *_workload_cells(daemonset),
    ]


def job_cells(job: Object, now: datetime) -> Cells:
    """Name, status, completions, duration, age, containers, images, selector."""
    status, spec = _status(job), _spec(job)
    began, ended = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
    return [
        _name(job),
        _job_word(job),
        f"{status.get('succeeded') or 0}/{_job_goal(spec)}",
        human_duration((ended or now) - began) if began is not None else "",
        _age(job, now),
        *_workload_cells(job),
    ]


def _job_goal(spec: Object) -> str:
    if spec.get("completions") is not None:
        return str(spec["completions"])
    parallelism = spec.get("parallelism") or 0
    return f"1 of {parallelism}" if parallelism > 1 else "1"


def _job_word(job: Object) -> str:
    if _condition_is_true(job, "Complete"):
        return "Complete"
    if _condition_is_true(job, "Failed"):
        return "Failed"
    if _meta(job).get("deletionTimestamp"):
        return "Terminating"
    words = ("Suspended", "FailureTarget", "SuccessCriteriaMet")
    return next((word for word in words if _condition_is_true(job, word)), "Running")


def cronjob_cells(cronjob: Object, now: datetime) -> Cells:
    """Name, schedule, time zone, suspend, active, last schedule, age, containers, images, selector."""
    status, spec = _status(cronjob), _spec(cronjob)
    last = status.get("lastScheduleTime")
    return [
        _name(cronjob),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        str(bool(spec["suspend"])) if "suspend" in spec else "<unset>",
        len(status.get("active") or ()),
        human_age(last, now) if last else NONE,
        _age(cronjob, now),
        *_workload_cells(spec.get("jobTemplate") or {}),
    ]


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
        _name(event),
    ]


def _event_source(event: Object) -> str:
    source: Object = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    instance = source.get("host") or event.get("reportingInstance")
    return f"{component}, {instance}" if instance else str(component)


def namespace_cells(namespace: Object, now: datetime) -> Cells:
    """Name, phase, age."""
    return [_name(namespace), _status(namespace).get("phase", ""), _age(namespace, now)]


def configmap_cells(configmap: Object, now: datetime) -> Cells:
    """Name, number of keys, age."""
    keys = len(configmap.get("data") or ()) + len(configmap.get("binaryData") or ())
    return [_name(configmap), keys, _age(configmap, now)]


def secret_cells(secret: Object, now: datetime) -> Cells:
    """Name, type, number of keys, age."""
    return [_name(secret), secret.get("type", ""), len(secret.get("data") or ()), _age(secret, now)]


def serviceaccount_cells(account: Object, now: datetime) -> Cells:
    """Name, number of secrets, age."""
    return [_name(account), len(account.get("secrets") or ()), _age(account, now)]


def lease_cells(lease: Object, now: datetime) -> Cells:
    """Name, holder, age."""
    return [_name(lease), _spec(lease).get("holderIdentity") or "", _age(lease, now)]


def crd_cells(crd: Object, now: datetime) -> Cells:
    """Name and moment of creation: CustomResourceDefinitions show a date and no age."""
    return [_name(crd), _meta(crd).get("creationTimestamp") or UNKNOWN]


def priorityclass_cells(priority: Object, now: datetime) -> Cells:
    """Name, value, whether it is the default, age, preemption policy."""
    policy = priority.get("preemptionPolicy") or "PreemptLowerPriority"
    return [
        _name(priority),
        priority.get("value") or 0,
        bool(priority.get("globalDefault")),
        _age(priority, now),
        policy,
    ]


def budget_cells(budget: Object, now: datetime) -> Cells:
    """Name, least available, most unavailable, disruptions allowed, age."""
    least, most = _spec(budget).get("minAvailable"), _spec(budget).get("maxUnavailable")
    return [
        _name(budget),
        "N/A" if least is None else str(least),
        "N/A" if most is None else str(most),
        _status(budget).get("disruptionsAllowed") or 0,
        _age(budget, now),
    ]


PRINTED_MAX = 3
"""Ports and endpoints of a slice that are named; the others are counted."""


def service_cells(service: Object, now: datetime) -> Cells:
    """Name, type, address, outside address, ports, age, selector."""
    spec = _spec(service)
    ports: Iterable[Object] = spec.get("ports") or ()
    selector: Mapping[str, str] = spec.get("selector") or {}
    return [
        _name(service),
        spec.get("type") or "ClusterIP",
        spec.get("clusterIP") or NONE,
        NONE,
        ",".join(f"{port.get('port')}/{port.get('protocol') or 'TCP'}" for port in ports) or NONE,
        _age(service, now),
        ",".join(f"{key}={value}" for key, value in sorted(selector.items())) or NONE,
    ]


def endpointslice_cells(item: Object, now: datetime) -> Cells:
    """Name, address type, ports, endpoints, age."""
    ports: Iterable[Object] = item.get("ports") or ()
    endpoints: Iterable[Object] = item.get("endpoints") or ()
    return [
        _name(item),
        item.get("addressType", ""),
        _first_of([str(port.get("port") or port.get("name") or "*") for port in ports]),
        _first_of([address for endpoint in endpoints for address in endpoint.get("addresses") or ()]),
        _age(item, now),
    ]


def _first_of(items: list[str]) -> str:
    more = len(items) - PRINTED_MAX
    shown = ",".join(items[:PRINTED_MAX]) or "<unset>"
    return f"{shown} + {more} more..." if more > 0 else shown


def quota_cells(quota: Object, now: datetime) -> Cells:
    """Name, used of what is requested, used of what limits allow, age."""
    status = _status(quota)
    hard, used = status.get("hard") or {}, status.get("used") or {}
    rows = [(name, f"{name}: {used.get(name, '0')}/{hard[name]}") for name in sorted(hard)]
    requests = ", ".join(text for name, text in rows if not name.startswith("limits."))
    limits = ", ".join(text for name, text in rows if name.startswith("limits."))
    return [_name(quota), requests, limits, _age(quota, now)]


def _text(name: str, description: str, priority: int = 0) -> Column:
    return Column(name, "string", "", description, priority=priority)


def _number(name: str, description: str, priority: int = 0) -> Column:
    return Column(name, "integer", "", description, priority=priority)


NAME_COLUMN = Column("Name", "string", ".metadata.name", "Unique in its namespace.", format="name")
AGE_COLUMN = Column("Age", "string", "", "Time since it was created.")
_WIDE_WORKLOAD = (
    _text("Containers", "Names of the containers of the template.", 1),
    _text("Images", "Images of the containers of the template.", 1),
    _text("Selector", "Which pods belong to it.", 1),
)

PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("", "Pod"): Printer(
        (
            NAME_COLUMN,
            _text("Ready", "Ready containers of all containers."),
            _text("Status", "What it is doing, or what keeps it from that."),
            _text("Restarts", "Restarts of all containers, and when the last one was."),
            AGE_COLUMN,
            _text("IP", "Its address.", 1),
            _text("Node", "The node it runs on.", 1),
            _text("Nominated Node", "The node on which others make way for it.", 1),
            _text("Readiness Gates", "Readiness gates that are met, of all.", 1),
        ),
        pod_cells,
    ),
    ("", "Node"): Printer(
        (
            NAME_COLUMN,
            _text("Status", "Whether it is ready, and whether it takes new pods."),
            _text("Roles", "Roles that its labels give it."),
            AGE_COLUMN,
            _text("Version", "Version of its agent."),
            _text("Internal-IP", "Address inside the cluster.", 1),
            _text("External-IP", "Address from outside.", 1),
            _text("OS-Image", "Operating system.", 1),
            _text("Kernel-Version", "Kernel.", 1),
            _text("Container-Runtime", "Container runtime.", 1),
        ),
        node_cells,
    ),
    ("apps", "Deployment"): Printer(
        (
            NAME_COLUMN,
            _text("Ready", "Ready pods of the desired ones."),
            _text("Up-to-date", "Pods of the current template."),
            _text("Available", "Pods that have been ready long enough."),
            AGE_COLUMN,
            *_WIDE_WORKLOAD,
        ),
        deployment_cells,
    ),
    ("apps", "ReplicaSet"): Printer(
        (
            NAME_COLUMN,
            _number("Desired", "Pods wanted."),
            _number("Current", "Pods there are."),
            _number("Ready", "Pods that are ready."),
            AGE_COLUMN,
            *_WIDE_WORKLOAD,
        ),
        replicaset_cells,
    ),
    ("apps", "DaemonSet"): Printer(
        (
            NAME_COLUMN,
            _number("Desired", "Nodes that should have a pod."),
            _number("Current", "Nodes that have one."),
            _number("Ready", "Nodes whose pod is ready."),
            _number("Up-to-date", "Nodes whose pod is of the current template."),
            _number("Available", "Nodes whose pod has been ready long enough."),
            _text("Node Selector", "Labels of the nodes it is for."),
            AGE_COLUMN,
            *_WIDE_WORKLOAD,
        ),
        daemonset_cells,
    ),
    ("batch", "Job"): Printer(
        (
            NAME_COLUMN,
            _text("Status", "Running, Complete, Failed, Suspended, or on the way there."),
            _text("Completions", "Pods that succeeded of those that have to."),
            _text("Duration", "Time from its start to its completion, or until now."),
            AGE_COLUMN,
            *_WIDE_WORKLOAD,
        ),
        job_cells,
    ),
    ("batch", "CronJob"): Printer(
        (
            NAME_COLUMN,
            _text("Schedule", "When it makes a job."),
            _text("Timezone", "The zone whose clock that is about."),
            _text("Suspend", "Whether it makes none at present."),
            _number("Active", "Jobs that run."),
            _text("Last Schedule", "Time since the last scheduled time that made a job."),
            AGE_COLUMN,
            *_WIDE_WORKLOAD,
        ),
        cronjob_cells,
    ),
    ("", "Event"): Printer(
        (
            _text("Last Seen", "Time since it happened last."),
            _text("Type", "Normal or Warning."),
            _text("Reason", "What happened, in one word."),
            _text("Object", "The object it happened to."),
            _text("Subobject", "The part of it.", 1),
            _text("Source", "Who reported it.", 1),
            _text("Message", "What happened."),
            _text("First Seen", "Time since it happened first.", 1),
            _number("Count", "How often it happened.", 1),
            Column("Name", "string", ".metadata.name", "Unique in its namespace.", format="name", priority=1),
        ),
        event_cells,
    ),
    ("", "Namespace"): Printer(
        (NAME_COLUMN, _text("Status", "Active, or Terminating while it is emptied."), AGE_COLUMN), namespace_cells
    ),
    ("", "ConfigMap"): Printer((NAME_COLUMN, _number("Data", "Number of keys."), AGE_COLUMN), configmap_cells),
    ("", "Secret"): Printer(
        (NAME_COLUMN, _text("Type", "What it is for."), _number("Data", "Number of keys."), AGE_COLUMN), secret_cells
    ),
    ("", "ServiceAccount"): Printer(
        (NAME_COLUMN, _number("Secrets", "Number of secrets."), AGE_COLUMN), serviceaccount_cells
    ),
    ("coordination.k8s.io", "Lease"): Printer((NAME_COLUMN, _text("Holder", "Who holds it."), AGE_COLUMN), lease_cells),
    ("scheduling.k8s.io", "PriorityClass"): Printer(
        (
            NAME_COLUMN,
            _number("Value", "The priority: higher is scheduled first."),
            Column("Global-Default", "boolean", "", "Whether pods without a class get this one."),
            AGE_COLUMN,
            _text("PreemptionPolicy", "Whether its pods may take the place of lower ones."),
        ),
        priorityclass_cells,
    ),
    ("policy", "PodDisruptionBudget"): Printer(
        (
            NAME_COLUMN,
            _text("Min Available", "Pods that must stay."),
            _text("Max Unavailable", "Pods that may be missing."),
            _number("Allowed Disruptions", "Pods that may be evicted now."),
            AGE_COLUMN,
        ),
        budget_cells,
    ),
    ("", "Service"): Printer(
        (
            NAME_COLUMN,
            _text("Type", "Always ClusterIP."),
            _text("Cluster-IP", "Always None: it has no address of its own."),
            _text("External-IP", "Always none."),
            _text("Port(s)", "Its ports, which stand for those in its EndpointSlices."),
            AGE_COLUMN,
            _text("Selector", "Labels of its pods.", 1),
        ),
        service_cells,
    ),
    ("discovery.k8s.io", "EndpointSlice"): Printer(
        (
            NAME_COLUMN,
            _text("AddressType", "What the addresses are."),
            _text("Ports", "The real ports of the endpoints."),
            _text("Endpoints", "Addresses."),
            AGE_COLUMN,
        ),
        endpointslice_cells,
    ),
    ("", "LimitRange"): Printer(
        (NAME_COLUMN, Column("Created At", "date", ".metadata.creationTimestamp", "When it was created.")), crd_cells
    ),
    ("", "ResourceQuota"): Printer(
        (
            NAME_COLUMN,
            _text("Request", "What is used of each limit on requests and counts."),
            _text("Limit", "What is used of each limit on limits."),
            AGE_COLUMN,
        ),
        quota_cells,
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Printer(
        (NAME_COLUMN, Column("Created At", "date", ".metadata.creationTimestamp", "When it was created.")), crd_cells
    ),
}
"""(group, kind) -> its printer."""
