"""An object in words. Pods, nodes and deployments have their own chapters; every other kind is told field by field.

Pure: mappings in, text out. Layout and headings are kubectl's, since people search these texts for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stark.crds.nodestate import node_state, why
from stark.crds.podcontainers import pod_amounts
from stark.crds.printers import human_age
from stark.crds.quantity import byte_count, milli_cpu

from .output import text_table, visible

INDENT = 2
LABEL_WIDTH = 16
NOT_SHOWN_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"

Object = Mapping[str, Any]


class Page:
    """Lines of `Key:  value`, indented by depth."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def put(self, key: str, value: object, depth: int = 0, width: int = LABEL_WIDTH) -> None:
        """One line, or one for each line of the value."""
        head = f"{' ' * (INDENT * depth)}{key}:"
        pad = " " * (INDENT * depth + width + 1)
        first, *rest = str(value).split("\n")
        self._lines.append(f"{head:<{len(pad)}}{first}".rstrip())
        self._lines.extend(pad + line for line in rest)

    def text(self, text: str, depth: int = 0) -> None:
        """Ready text, indented."""
        self._lines.extend(f"{' ' * (INDENT * depth)}{line}" for line in text.rstrip("\n").split("\n"))

    def __str__(self) -> str:
        return visible("\n".join(self._lines) + "\n")


def describe(obj: Object, events: Sequence[Object] | None, related: Sequence[Object] = ()) -> str:
    """The whole description; `events` None leaves their chapter out."""
    page = Page()
    _identity(page, obj)
    chapter = CHAPTERS.get((str(obj["apiVersion"]).rpartition("/")[0], str(obj["kind"])))
    if chapter is not None:
        chapter(page, obj, related)
    else:
        _any_kind(page, obj)
    if events is not None:
        _events(page, events)
    return str(page)


def _identity(page: Page, obj: Object) -> None:
    metadata = obj["metadata"]
    page.put("Name", metadata["name"])
    if metadata.get("namespace"):
        page.put("Namespace", metadata["namespace"])
    page.put("Labels", _pairs(metadata.get("labels")))
    shown = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != NOT_SHOWN_ANNOTATION}
    page.put("Annotations", _pairs(shown, ": "))
    page.put("Created", f"{metadata.get('creationTimestamp')} ({human_age(metadata['creationTimestamp'])} ago)")
    if metadata.get("deletionTimestamp"):
        page.put(
            "Terminating",
            f"since {metadata['deletionTimestamp']} (grace {metadata.get('deletionGracePeriodSeconds', 0)} s)",
        )
        page.put("Finalizers", ", ".join(metadata.get("finalizers") or ()) or "<none>")
    for owner in metadata.get("ownerReferences") or ():
        page.put("Controlled By" if owner.get("controller") else "Owned By", f"{owner['kind']}/{owner['name']}")


def _pod(page: Page, pod: Object, _: Sequence[Object]) -> None:
    spec, status = pod["spec"], pod.get("status") or {}
    page.put("Priority", spec.get("priority", 0))
    page.put("Node", f"{spec['nodeName']}/{status.get('hostIP', '')}" if spec.get("nodeName") else "<none>")
    page.put("Start Time", status.get("startTime") or "<none>")
    page.put("Status", status.get("phase") or "Pending")
    for key, name in (("Reason", "reason"), ("Message", "message"), ("IP", "podIP"), ("QoS Class", "qosClass")):
        if status.get(name):
            page.put(key, status[name])
    page.put("Restart Policy", spec.get("restartPolicy", "Always"))
    for title, key, told in (
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
    ):
        known = {item["name"]: item for item in status.get(told) or ()}
        if spec.get(key):
            page.put(title, "")
        for container in spec.get(key) or ():
            _container(page, container, known.get(container["name"]) or {})
    _conditions(page, status)
    page.put("Node-Selectors", _pairs(spec.get("nodeSelector")))
    page.put("Tolerations", "\n".join(map(_toleration, spec.get("tolerations") or ())) or "<none>")


def _container(page: Page, container: Object, status: Object) -> None:
    page.text(f"{container['name']}:", 1)
    rows: list[tuple[str, object]] = [("Container ID", status.get("containerID", "")), ("Image", container["image"])]
    rows.append(("Image ID", status.get("imageID", "")))
    ports = [f"{p['containerPort']}/{p.get('protocol', 'TCP')}" + (f" (host {p['hostPort']})" if p.get("hostPort") else "")
             for p in container.get("ports") or ()]  # fmt: skip
    rows.append(("Port" if len(ports) == 1 else "Ports", ", ".join(ports) or "<none>"))
    for key in ("command", "args"):
        if container.get(key):
            rows.append((key.capitalize(), " ".join(map(str, container[key]))))
    rows.append(("State", _state(status.get("state") or {})))
    if status.get("lastState"):
        rows.append(("Last State", _state(status["lastState"])))
    rows.append(("Ready", str(bool(status.get("ready")))))
    rows.append(("Restart Count", status.get("restartCount", 0)))
    for key in ("limits", "requests"):
        given = (container.get("resources") or {}).get(key)
        if given:
            rows.append((key.capitalize(), ", ".join(f"{name} {given[name]}" for name in sorted(given))))
    for key, name in (("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")):
        if container.get(name):
            rows.append((key, _probe(container[name])))
    rows.append(("Environment", "\n".join(map(_variable, container.get("env") or ())) or "<none>"))
    for key, value in rows:
        page.put(key, value, 2)


def _state(state: Object) -> str:
    for name, detail in state.items():
        lines = [name.capitalize()]
        lines.extend(
            f"{key[:1].upper()}{key[1:]}: {detail[key]}"
            for key in ("reason", "message", "exitCode", "signal", "startedAt", "finishedAt")
            if detail.get(key) not in (None, "")
        )
        return "\n".join(lines)
    return "Waiting"


def _probe(probe: Object) -> str:
    if probe.get("httpGet"):
        get = probe["httpGet"]
        what = f"http-get {(get.get('scheme') or 'HTTP').lower()}://:{get['port']}{get.get('path', '/')}"
    elif probe.get("tcpSocket"):
        what = f"tcp-socket :{probe['tcpSocket']['port']}"
    elif probe.get("grpc"):
        what = f"grpc :{probe['grpc']['port']} {probe['grpc'].get('service') or ''}".rstrip()
    else:
        what = f"exec {' '.join((probe.get('exec') or {}).get('command') or ())}"
    return (
        f"{what} delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 1)}s "
        f"period={probe.get('periodSeconds', 10)}s #success={probe.get('successThreshold', 1)} "
        f"#failure={probe.get('failureThreshold', 3)}"
    )


def _variable(variable: Object) -> str:
    source = variable.get("valueFrom") or {}
    if source.get("secretKeyRef"):
        ref = source["secretKeyRef"]
        return f"{variable['name']}: <set to the key {ref['key']!r} of secret {ref.get('name')!r}>"
    if source.get("configMapKeyRef"):
        ref = source["configMapKeyRef"]
        return f"{variable['name']}: <set to the key {ref['key']!r} of config map {ref.get('name')!r}>"
    if source.get("fieldRef"):
        return f"{variable['name']}: ({source['fieldRef']['fieldPath']})"
    return f"{variable['name']}: {variable.get('value', '')}"


def _toleration(toleration: Object) -> str:
    text = str(toleration.get("key") or "")
    if toleration.get("value"):
        text += f"={toleration['value']}"
    if toleration.get("effect"):
        text += f":{toleration['effect']}"
    if toleration.get("operator") == "Exists":
        text += " op=Exists"
    seconds = toleration.get("tolerationSeconds")
    return text + (f" for {seconds}s" if seconds is not None else "")


def _node(page: Page, node: Object, pods: Sequence[Object]) -> None:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    taints = [f"{t['key']}{'=' + t['value'] if t.get('value') else ''}:{t['effect']}" for t in spec.get("taints") or ()]
    page.put("State", "\n".join((node_state(node), *why(node))))
    page.put("Taints", "\n".join(taints) or "<none>")
    page.put("Unschedulable", str(bool(spec.get("unschedulable"))).lower())
    _conditions(page, status)
    page.put("Addresses", "\n".join(f"{a['type']}: {a['address']}" for a in status.get("addresses") or ()) or "<none>")
    for key in ("capacity", "allocatable"):
        page.put(key.capitalize(), _pairs(status.get(key), ": "))
    page.put("System Info", _pairs({k: v for k, v in (status.get("nodeInfo") or {}).items() if v}, ": "))
    running = [p for p in pods if (p.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    page.put("Non-terminated Pods", f"({len(running)} in total)", width=LABEL_WIDTH + 4)
    rows = [[p["metadata"]["namespace"], p["metadata"]["name"], *_asked(p), human_age(p["metadata"]["creationTimestamp"])]
            for p in running]  # fmt: skip
    page.text(text_table(["Namespace", "Name", "CPU Requests", "Memory Requests", "Age"], rows), 1)


def _asked(pod: Object) -> tuple[str, str]:
    requests = pod_amounts(pod["spec"], "requests")
    return f"{milli_cpu(requests.get('cpu', '0'))}m", f"{byte_count(requests.get('memory', '0')) >> 20}Mi"


def _deployment(page: Page, deployment: Object, sets: Sequence[Object]) -> None:
    spec, status = deployment["spec"], deployment.get("status") or {}
    page.put("Selector", _pairs((spec.get("selector") or {}).get("matchLabels"), "=", ","))
    counts = [("replicas", "total"), ("updatedReplicas", "updated"), ("availableReplicas", "available")]
    counts.append(("unavailableReplicas", "unavailable"))
    told = [f"{spec.get('replicas', 1)} desired", *(f"{status.get(key, 0)} {word}" for key, word in counts)]
    page.put("Replicas", " | ".join(told))
    strategy = spec.get("strategy") or {}
    page.put("StrategyType", strategy.get("type", "RollingUpdate"))
    page.put("MinReadySeconds", spec.get("minReadySeconds", 0))
    if strategy.get("rollingUpdate"):
        rolling = strategy["rollingUpdate"]
        limits = f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge"
        page.put("RollingUpdate", limits)
    page.put("Pod Template", "")
    page.put("Labels", _pairs((spec["template"].get("metadata") or {}).get("labels")), 1)
    for container in spec["template"]["spec"]["containers"]:
        page.put(container["name"], container["image"], 1)
    _conditions(page, status)
    for replica_set in sorted(sets, key=_revision, reverse=True):
        now, wanted = (replica_set.get("status") or {}).get("replicas", 0), replica_set["spec"].get("replicas", 0)
        if now or wanted:
            name = f"{replica_set['metadata']['name']} ({now}/{wanted} replicas created)"
            page.put(f"Revision {_revision(replica_set)}", name)


def _revision(replica_set: Object) -> int:
    annotations = replica_set["metadata"].get("annotations") or {}
    return int(annotations.get("deployment.kubernetes.io/revision") or 0)


def _conditions(page: Page, status: Object) -> None:
    conditions = status.get("conditions") or ()
    if conditions:
        page.put("Conditions", "")
        rows = [[c["type"], c["status"], c.get("reason") or "", c.get("message") or ""] for c in conditions]
        page.text(text_table(["Type", "Status", "Reason", "Message"], rows), 1)


def _any_kind(page: Page, obj: Object) -> None:
    """Every field that says something, in the order the server gives them; secrets by size only."""
    for key, value in obj.items():
        if key not in ("apiVersion", "kind", "metadata"):
            if obj["kind"] == "Secret" and key in ("data", "stringData"):
                value = {name: f"{len(str(text)) * 3 // 4} bytes" for name, text in (value or {}).items()}
            _field(page, key, value, 0)


def _field(page: Page, key: str, value: Any, depth: int) -> None:
    title = " ".join(_words(key))
    if isinstance(value, Mapping) and value:
        page.put(title, "", depth)
        for inner, item in value.items():
            _field(page, inner, item, depth + 1)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        page.put(title, "", depth)
        for item in value:
            page.text("-", depth + 1)
            for inner, part in item.items():
                _field(page, inner, part, depth + 2)
    else:
        page.put(title, ", ".join(map(str, value)) if isinstance(value, list) else _scalar(value), depth)


def _scalar(value: object) -> str:
    return "<none>" if value in (None, "", {}) else str(value)


def _words(key: str) -> list[str]:
    words = "".join(f" {c}" if c.isupper() and i and not key[i - 1].isupper() else c for i, c in enumerate(key)).split()
    return [word[:1].upper() + word[1:] for word in words]


def _pairs(pairs: Mapping[str, Any] | None, between: str = "=", joined: str = "\n") -> str:
    return joined.join(f"{key}{between}{value}" for key, value in sorted((pairs or {}).items())) or "<none>"


def _events(page: Page, events: Sequence[Object]) -> None:
    if not events:
        page.put("Events", "<none>")
        return
    page.put("Events", "")
    rows = [_event(event) for event in sorted(events, key=_last_seen)]
    page.text(text_table(["Type", "Reason", "Age", "From", "Message"], rows), 1)


def _last_seen(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _event(event: Object) -> list[str]:
    age = human_age(_last_seen(event))
    if (event.get("count") or 1) > 1 and event.get("firstTimestamp"):
        age += f" (x{event['count']} over {human_age(event['firstTimestamp'])})"
    source = (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""
    return [event.get("type") or "", event.get("reason") or "", age, source, str(event.get("message") or "").strip()]


CHAPTERS: dict[tuple[str, str], Callable[[Page, Object, Sequence[Object]], None]] = {
    ("", "Pod"): _pod,
    ("", "Node"): _node,
    ("apps", "Deployment"): _deployment,
}
