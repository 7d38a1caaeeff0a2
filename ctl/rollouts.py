"""The rollouts of Deployments, DaemonSets and StatefulSets: how far they are, what there was, and the way back.

The sentences are kubectl's, since scripts read them. A Deployment's revisions are its ReplicaSets, the others' are
ControllerRevisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from stark.crds.annotations import BLOCKED_VERSIONS, CHANGE_CAUSE, CRASH_LOOP_PAUSED, POD_TEMPLATE_HASH, REVISION
from stark.crds.crash_loop import readable_blocks, resumed

from .errors import CommandError, UsageError
from .options import Session
from .paging import every
from .resources import Kind
from .targets import parse_targets

MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments", "deployment", True)
REPLICA_SETS, CONTROLLER_REVISIONS = "replicasets", "controllerrevisions"
ROLLED_KINDS = ("Deployment", "DaemonSet", "StatefulSet")

Object = dict[str, Any]


class Workload(NamedTuple):
    """One object that is rolled out, and where it is."""

    kind: Kind
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """Its URL path."""
        return self.kind.path(self.namespace, self.name)

    @property
    def label(self) -> str:
        """How messages name it: `deployment.apps/web`."""
        return f"{self.kind.label}/{self.name}"


class Revision(NamedTuple):
    """One template that a workload has had."""

    number: int
    cause: str
    template: Object
    source: Object
    """The ReplicaSet or ControllerRevision that holds it."""


class Progress(NamedTuple):
    """How far a rollout is, in a sentence."""

    text: str
    done: bool = False


def workloads(words: list[str], session: Session) -> list[Workload]:
    """The objects that are named. Raises UsageError, CommandError."""
    found = []
    for target in parse_targets(words, session.catalog):
        if target.kind.kind not in ROLLED_KINDS:
            raise CommandError(f"a {target.kind.kind} is not rolled out: name a deployment, daemonset or statefulset")
        if not target.names:
            raise UsageError(f"name what is meant, e.g. {target.kind.singular}/web")
        found += [Workload(target.kind, session.namespace, name) for name in target.names]
    return found


def progress_of(workload: Object) -> Progress:
    """Judge an object in wire form. Raises CommandError when the rollout cannot come to an end by itself."""
    kind = workload.get("kind")
    status = workload.get("status") or {}
    waits = (status.get("observedGeneration") or 0) < (workload["metadata"].get("generation") or 0)
    if kind == "DaemonSet":
        return Progress("Waiting for daemon set spec update to be observed...") if waits else _daemons(workload)
    if kind == "StatefulSet":
        return Progress("Waiting for statefulset spec update to be observed...") if waits else _ordered(workload)
    return Progress("Waiting for deployment spec update to be observed...") if waits else _deployment(workload)


def why_taken_back(before: Object, now: Object) -> str:
    """Why the crash-loop controller went back to another template between two looks, in its words; else empty: that the
    former version runs again is no success of the one that was waited for."""
    then, notes = ((each["metadata"].get("annotations") or {}) for each in (before, now))
    if CRASH_LOOP_PAUSED in notes or not {*readable_blocks(notes)} - {*readable_blocks(then)}:
        return ""
    if before["spec"].get("template") == now["spec"].get("template"):
        return ""
    return str(notes.get(CHANGE_CAUSE) or "its pods crash")


def _deployment(workload: Object) -> Progress:
    metadata, status = workload["metadata"], workload.get("status") or {}
    name = metadata["name"]
    reasons = {each["type"]: each.get("reason") for each in status.get("conditions") or ()}
    if reasons.get("Progressing") == "ProgressDeadlineExceeded":
        raise CommandError(f'deployment "{name}" exceeded its progress deadline')
    stopped = (metadata.get("annotations") or {}).get(CRASH_LOOP_PAUSED)
    if stopped is not None:
        raise CommandError(
            f'deployment "{name}" was stopped because it crashes: {stopped}; '
            f"`starkctl deployment status {name}` tells more, `starkctl deployment resume {name}` tries again"
        )
    wanted = workload["spec"].get("replicas", 1)
    there, updated = status.get("replicas") or 0, status.get("updatedReplicas") or 0
    available = status.get("availableReplicas") or 0
    begin = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        return Progress(f"{begin}{updated} out of {wanted} new replicas have been updated...")
    if there > updated:
        return Progress(f"{begin}{there - updated} old replicas are pending termination...")
    if available < updated:
        return Progress(f"{begin}{available} of {updated} updated replicas are available...")
    return Progress(f'deployment "{name}" successfully rolled out', done=True)


def _daemons(workload: Object) -> Progress:
    name, status = workload["metadata"]["name"], workload.get("status") or {}
    _is_rolling(workload)
    updated, wanted = status.get("updatedNumberScheduled") or 0, status.get("desiredNumberScheduled") or 0
    available = status.get("numberAvailable") or 0
    begin = f'Waiting for daemon set "{name}" rollout to finish: '
    if updated < wanted:
        return Progress(f"{begin}{updated} out of {wanted} new pods have been updated...")
    if available < wanted:
        return Progress(f"{begin}{available} of {wanted} updated pods are available...")
    return Progress(f'daemon set "{name}" successfully rolled out', done=True)


def _ordered(workload: Object) -> Progress:
    spec, status = workload["spec"], workload.get("status") or {}
    _is_rolling(workload)
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas") or 0
    updated, goal = status.get("updatedReplicas") or 0, status.get("updateRevision") or ""
    if ready < wanted:
        return Progress(f"Waiting for {wanted - ready} pods to be ready...")
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0
    if partition:
        if updated < wanted - partition:
            text = f"{updated} out of {wanted - partition} new pods have been updated..."
            return Progress(f"Waiting for partitioned roll out to finish: {text}")
        return Progress(f"partitioned roll out complete: {updated} new pods have been updated...", done=True)
    if goal != (status.get("currentRevision") or ""):
        return Progress(f"waiting for statefulset rolling update to complete {updated} pods at revision {goal}...")
    current = status.get("currentReplicas") or 0
    return Progress(f"statefulset rolling update complete {current} pods at revision {goal}...", done=True)


def _is_rolling(workload: Object) -> None:
    strategy = (workload["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
    if strategy != "RollingUpdate":
        raise CommandError(f"rollout status is only available for RollingUpdate strategy type, and it has {strategy}")


def revisions(session: Session, workload: Workload, live: Object) -> list[Revision]:
    """Every template that is kept, the oldest first."""
    plural = REPLICA_SETS if workload.kind.kind == "Deployment" else CONTROLLER_REVISIONS
    path = f"/apis/apps/v1/namespaces/{workload.namespace}/{plural}"
    owned = (each for each in every(session, path) if _is_owned(each, live["metadata"]["uid"]))
    return sorted(_of_source(owned, plural), key=lambda revision: revision.number)


def _is_owned(each: Object, uid: str) -> bool:
    owners = each["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners)


def _of_source(sources: Iterator[Object], plural: str) -> Iterator[Revision]:
    for source in sources:
        notes = source["metadata"].get("annotations") or {}
        cause = notes.get(CHANGE_CAUSE) or ""
        if plural == REPLICA_SETS:
            text = notes.get(REVISION, "")
            if text.isdigit():
                yield Revision(int(text), cause, source["spec"].get("template") or {}, source)
        else:
            template = ((source.get("data") or {}).get("spec") or {}).get("template") or {}
            yield Revision(int(source.get("revision") or 0), cause, template, source)


def chosen(kept: list[Revision], number: int) -> Revision:
    """The revision of that number, or for 0 the one before the last. Raises CommandError."""
    if number == 0:
        if len(kept) < 2:
            raise CommandError("no rollout history found: there is only one revision")
        return kept[-2]
    found = next((revision for revision in kept if revision.number == number), None)
    if found is None:
        known = ", ".join(str(revision.number) for revision in kept) or "none"
        raise CommandError(f"unable to find specified revision {number} in history; there are: {known}")
    return found


def plain_template(template: Object) -> Object:
    """The template as people wrote it: without the label that its ReplicaSet added."""
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != POD_TEMPLATE_HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def go_back(session: Session, workload: Workload, live: Object, to: Revision, *, dry_run: bool = False) -> bool:
    """Put a revision's template back; whether that changes anything. Raises CommandError for a paused deployment."""
    query = {"dryRun": "All"} if dry_run else {}
    if workload.kind.kind != "Deployment":
        session.api.request("PATCH", workload.path, query=query, body=to.source["data"], content_type=STRATEGIC)
        return True
    if live["spec"].get("paused"):
        raise CommandError(
            f'deployment "{workload.name}" is paused: resume it first with `starkctl rollout resume {workload.label}`'
        )
    template = plain_template(to.template)
    if template == plain_template(live["spec"]["template"]):
        return False
    notes = {key: value for key, value in (live["metadata"].get("annotations") or {}).items() if key != CHANGE_CAUSE}
    operations = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/spec/template", "value": template},
        {
            "op": "add",
            "path": "/metadata/annotations",
            "value": {**notes, **({CHANGE_CAUSE: to.cause} if to.cause else {})},
        },
    ]
    session.api.request("PATCH", workload.path, query=query, body=operations, content_type=JSON_PATCH)
    return True


def resume(session: Session, workload: Workload, live: Object) -> bool:
    """End a person's pause, a stop by the crash-loop controller, and the blocks of versions; whether there was any."""
    known = live["metadata"].get("annotations") or {}
    stopped = CRASH_LOOP_PAUSED in known or BLOCKED_VERSIONS in known
    if not stopped and not live["spec"].get("paused"):
        return False
    body = {"metadata": {"annotations": resumed(live["metadata"].get("annotations"))}, "spec": {"paused": None}}
    session.api.request("PATCH", workload.path, body=body, content_type=MERGE)
    return True
