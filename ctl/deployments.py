"""Deployments as people see them: which version, how many of how many, in one word how it stands."""

from __future__ import annotations

from typing import Any

from stark.crds.deploymentview import is_daemon
from stark.crds.printers.workloads import deployment_desired

from .errors import CommandError, ServerError
from .options import Session
from .rollouts import DEPLOYMENT, Workload

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


def ready_of(deployment: Object) -> str:
    """`2/3`, or `2/3 (DaemonSet)` for one that runs on every node."""
    ready = (deployment.get("status") or {}).get("readyReplicas") or 0
    return f"{ready}/{deployment_desired(deployment)}{' (DaemonSet)' if is_daemon(deployment) else ''}"
