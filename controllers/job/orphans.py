"""Held pods that no job will count: their job is gone, or they were taken from it. Somebody has to let them go.

Without that they, and the namespace around them, would wait for ever. Nothing is let go on the word of a cache: the
server itself is asked whether the job is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stark.client.api import Client
from stark.client.errors import NotFound
from stark.crds.batch import Job
from stark.crds.meta import KubeObject, controller_of
from stark.crds.pods import Pod

from ..kit import controller_key, split_key
from .tracking import is_held

ALONE = "#"
"""First character of the keys of pods that belong to no job; no name of an object begins so."""

_job_of: Callable[[KubeObject], Iterable[str]] = controller_key(Job)


def keys_of(pod: Pod) -> Iterable[str]:
    """The key of the pod's job; of a held pod without one, a key of its own."""
    jobs = tuple(_job_of(pod))
    return jobs if jobs or not is_held(pod) else (ALONE + pod.key,)


def keys_held_for(pod: Pod) -> Iterable[str]:
    """Index of held pods by the same keys."""
    return keys_of(pod) if is_held(pod) else ()


async def orphans(api: Client, key: str, held: Iterable[Pod], job: Job | None) -> list[Pod]:
    """Those of the pods `held` for this key that no job will count; `job` is what the cache has under the key."""
    strangers = [pod for pod in held if job is None or _owner_uid(pod) != job.uid]
    if not strangers or key.startswith(ALONE):
        return strangers
    namespace, name = split_key(key)
    try:
        live = (await api.get(Job, name, namespace)).uid
    except NotFound:
        return strangers
    return [pod for pod in strangers if _owner_uid(pod) != live]


def _owner_uid(pod: Pod) -> str:
    owner = controller_of(pod)
    return owner.uid if owner is not None else ""
