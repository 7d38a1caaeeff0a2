"""How a Deployment stands, in one word: the originals' states and a few more, as a view of what Kubernetes' status says.

Nothing stores them. Works on objects in wire form, so that the API server's facade and starkctl share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .annotations import CRASH_LOOP_PAUSED, MODE, MODE_DAEMON_SET
from .printers.workloads import deployment_desired

STATUSES = ("active", "scaling", "degraded", "paused", "stopped", "failed", "deleting")
"""All well; changing; too few pods available; paused by a person; stopped because it crashed in a loop; a rollout's
deadline passed; on its way out."""

Mapped = Mapping[str, Any]


def status_of(deployment: Mapped) -> str:
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


def _is_complete(deployment: Mapped) -> bool:
    status = deployment.get("status") or {}
    there, updated, available = (status.get(f"{each}eplicas") or 0 for each in ("r", "updatedR", "availableR"))
    return bool(there == updated == available == deployment_desired(dict(deployment)))


def is_daemon(deployment: Mapped) -> bool:
    """Whether it runs one pod on every matching node."""
    return bool((deployment["metadata"].get("annotations") or {}).get(MODE) == MODE_DAEMON_SET)
