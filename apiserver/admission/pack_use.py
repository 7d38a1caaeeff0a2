"""Keep packs that something runs, or would run: without its pack a pod cannot start again, nor a Deployment grow.

As with everything that Kubernetes guards, force is possible: a deletion without a grace period (`kubectl delete --force`)
goes through. What runs already goes on, from the node's own copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stark.crds.annotations import OWNER
from stark.crds.images import PACK_HOST

from ..auth.identities import is_admin
from ..errors import Conflict
from .attributes import Attributes, Lookup
from .podspecs import CONTAINER_LISTS, TEMPLATE_PATHS

USERS = (
    ("apps", "deployments", "deployment"),
    ("apps", "statefulsets", "statefulset"),
    ("apps", "daemonsets", "daemonset"),
    ("batch", "cronjobs", "cronjob"),
    ("batch", "jobs", "job"),
    ("", "pods", "pod"),
)
"""What holds a pack, by API group and plural. ReplicaSets are the Deployments' own business."""
NAMED_MAX = 3
ENDED = frozenset({"Succeeded", "Failed"})
JOB_ENDED = frozenset({"Complete", "Failed"})

Mapped = Mapping[str, Any]


async def pack_is_not_in_use(attributes: Attributes, lookup: Lookup) -> None:
    """Refuse the deletion of a pack that is in use, and tell by whom. Raises Conflict."""
    if attributes.operation != "DELETE" or attributes.subresource or attributes.old is None:
        return
    if (attributes.options or {}).get("gracePeriodSeconds") == 0:
        return
    spec = attributes.old.get("spec") or {}
    image = f"{PACK_HOST}/{spec.get('name')}:{spec.get('version')}"
    named: list[str] = []
    count = 0
    for group, plural, kind in USERS:
        for obj in await lookup.list(group, plural):
            if image in _images(obj) and not _has_ended(plural, obj):
                count += 1
                if _may_know(attributes, obj) and len(named) < NAMED_MAX:
                    meta = obj["metadata"]
                    named.append(f"{kind} {meta.get('namespace')}/{meta['name']}")
    if count:
        raise Conflict(_sentence(attributes.name, named, count))


def _sentence(name: str, named: list[str], count: int) -> str:
    rest = count - len(named)
    who = [*named, *([f"{rest} {'more' if named else 'objects'}"] if rest else [])]
    return (
        f'Operation cannot be fulfilled on packs.stark.dev "{name}": it is in use by {", ".join(who)}; '
        "a deletion with gracePeriodSeconds 0 (--force) takes it away all the same"
    )


def _may_know(attributes: Attributes, obj: Mapped) -> bool:
    owner = (obj["metadata"].get("annotations") or {}).get(OWNER)
    return is_admin(attributes.user) or owner == attributes.user.name


def _images(obj: Mapped) -> Iterator[str]:
    for path in ((), *TEMPLATE_PATHS):
        holder: Any = obj
        for key in path:
            holder = holder.get(key) if isinstance(holder, Mapping) else None
        spec = holder.get("spec") if isinstance(holder, Mapping) else None
        if isinstance(spec, Mapping):
            for key in CONTAINER_LISTS:
                yield from (str(container.get("image") or "") for container in spec.get(key) or ())


def _has_ended(plural: str, obj: Mapped) -> bool:
    status = obj.get("status") or {}
    if plural == "pods":
        return status.get("phase") in ENDED
    if plural != "jobs":
        return False
    conditions = status.get("conditions") or ()
    return any(one.get("type") in JOB_ENDED and one.get("status") == "True" for one in conditions)
