"""Pods as people see them: found by name or uid, with the pack they run and the versions they ran."""

from __future__ import annotations

import re
from typing import Any

from .errors import CommandError, ServerError
from .options import Session
from .paging import every

UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Object = dict[str, Any]


def pods_path(namespace: str | None) -> str:
    """The collection of a namespace, or of all."""
    return f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"


def pod_path(pod: Object) -> str:
    """The URL path of a pod."""
    return f"{pods_path(pod['metadata']['namespace'])}/{pod['metadata']['name']}"


def find_pod(session: Session, word: str) -> Object:
    """The pod of that name in the session's namespace, or of that uid anywhere. Raises CommandError."""
    word = word.removeprefix("pod/").removeprefix("pods/")
    if UID.fullmatch(word):
        for pod in every(session, pods_path(session.args.namespace)):
            if pod["metadata"]["uid"] == word:
                return pod
        raise CommandError(f"no pod has the uid {word}: `starkctl pod list -A` shows what there is")
    try:
        return session.api.get(f"{pods_path(session.namespace)}/{word}")
    except ServerError as error:
        if error.reason != "NotFound":
            raise
        raise CommandError(f"{error}{_suggestion(session, word)}") from error


def _suggestion(session: Session, name: str) -> str:
    import difflib

    names = [pod["metadata"]["name"] for pod in every(session, pods_path(session.namespace))]
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean `{close[0]}`?" if close else "; `starkctl pod list -A` shows what there is"


def controller_of(session: Session, pod: Object) -> str:
    """What replaces the pod when it ends, as TYPE/NAME: the deployment behind a ReplicaSet, too; empty for a pod alone."""
    owner = _controller(pod)
    if owner is None:
        return ""
    if owner["kind"] in ("ReplicaSet", "DaemonSet"):
        path = f"/apis/apps/v1/namespaces/{pod['metadata']['namespace']}/{owner['kind'].lower()}s/{owner['name']}"
        try:
            above = _controller(session.api.get(path))
        except ServerError:
            above = None  # gone, or not ours to see: the nearer one is named
        owner = above or owner
    return f"{owner['kind'].lower()}/{owner['name']}"


def _controller(obj: Object) -> Object | None:
    owners: list[Object] = obj["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)
