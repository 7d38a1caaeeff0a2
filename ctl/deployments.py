"""Deployments as people see them: which version, how many of how many, in one word how it stands."""

from __future__ import annotations

from typing import Any

from stark.crds.annotations import CRASH_LOOP_PAUSED, MODE, MODE_DAEMON_SET
from stark.crds.images import ImageError, parse_image
from stark.crds.printers.workloads import deployment_desired

from .errors import CommandError, ServerError
from .options import Session
from .rollouts import DEPLOYMENT, Workload

STATUSES = ("active", "scaling", "degraded", "paused", "stopped", "failed", "deleting")
"""What `deployment list` shows: all well; changing; too few pods available; paused by a person; stopped because it
crashed in a loop; a rollout's deadline passed; on its way out."""

Object = dict[str, Any]


def workload(session: Session, name: str) -> Workload:
    """The deployment of that name in the session's namespace."""
    return Workload(DEPLOYMENT, session.namespace, name.removeprefix("deployment/").removeprefix("deployments/"))


def read(session: Session, found: Workload) -> Object:
    """The deployment as it is now. Raises CommandError with a suggestion when there is none of that name."""
    try:
        return session.api.get(found.path)
    except ServerError as error:
        if error.reason != "NotFound":
            raise
        raise CommandError(f"{error}{_suggestion(session, found)}") from error


def _suggestion(session: Session, found: Workload) -> str:
    import difflib

    listed = session.api.get(DEPLOYMENT.path(found.namespace)).get("items") or ()
    names = [item["metadata"]["name"] for item in listed]
    close = difflib.get_close_matches(found.name, names, n=1)
    return f"; did you mean `{close[0]}`?" if close else "; `starkctl deployment list -A` shows what there is"


def status_of(deployment: Object) -> str:
    """One of STATUSES."""
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    if metadata.get("deletionTimestamp"):
        return "deleting"
    if deployment["spec"].get("paused"):
        return "paused"
    if CRASH_LOOP_PAUSED in (metadata.get("annotations") or {}):
        return "stopped"
    progressing = conditions.get("Progressing") or {}
    if progressing.get("status") == "False":
        return "failed"
    if (conditions.get("Available") or {}).get("status") == "False":
        return "degraded"
    seen = (status.get("observedGeneration") or 0) >= (metadata.get("generation") or 0)
    return "active" if seen and _is_complete(deployment) else "scaling"


def _is_complete(deployment: Object) -> bool:
    status = deployment.get("status") or {}
    there, updated, available = (status.get(f"{each}eplicas") or 0 for each in ("r", "updatedR", "availableR"))
    return bool(there == updated == available == deployment_desired(deployment))


def is_daemon(deployment: Object) -> bool:
    """Whether it runs one pod on every matching node."""
    return bool((deployment["metadata"].get("annotations") or {}).get(MODE) == MODE_DAEMON_SET)


def ready_of(deployment: Object) -> str:
    """`2/3`, or `2/3 (DaemonSet)` for one that runs on every node."""
    ready = (deployment.get("status") or {}).get("readyReplicas") or 0
    return f"{ready}/{deployment_desired(deployment)}{' (DaemonSet)' if is_daemon(deployment) else ''}"


def packs_of(pod_spec: Object) -> list[tuple[str, str, str]]:
    """(container, pack, version) of every container that runs a pack; the version may be empty."""
    found = []
    for container in pod_spec.get("containers") or ():
        try:
            reference = parse_image(container.get("image") or "")
        except ImageError:
            continue
        if reference is not None:
            found.append((container["name"], reference.name, reference.version or ""))
    return found


def images_in(pod_spec: Object, pack: str, image: str) -> dict[str, list[dict[str, str]]]:
    """A strategic patch of the spec that gives every container of the pack, init containers too, that image."""
    lists = {
        key: [
            {"name": name, "image": image}
            for name, each, _ in packs_of({"containers": pod_spec.get(key)})
            if each == pack
        ]
        for key in ("initContainers", "containers")
    }
    return {key: given for key, given in lists.items() if given}


def version_of(pod_spec: Object) -> str:
    """The version of the first pack, else the first image."""
    packs = packs_of(pod_spec)
    if packs:
        return packs[0][2] or "latest"
    return next((str(each.get("image") or "") for each in pod_spec.get("containers") or ()), "")
