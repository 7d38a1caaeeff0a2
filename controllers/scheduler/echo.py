"""Whether a change of a pod is only our own binding, come back.

Half of all that a busy scheduler hears is what it said itself. The pod's room is taken already, so nothing of it needs to be
decoded. Whoever else changed the pod meanwhile makes it news.
"""

from __future__ import annotations

from stark.client.informer import Change
from stark.crds.annotations import POD_GROUP
from stark.crds.pods import Pod

from .snapshot import Placed


def is_echo(change: Change[Pod], assumed: Placed | None) -> bool:
    """The pod did not have a node, and now has the one on which it was assumed; nothing else that matters differs."""
    before, after = change.before, change.after
    if assumed is None or before is None or after is None or before.uid != after.uid:
        return False
    now, was = after.mapping(), before.decoded
    if now is None or was is None or was.spec.node_name or now["spec"].get("nodeName") != assumed.node:
        return False
    metadata, status = now["metadata"], now.get("status") or {}
    if metadata.get("deletionTimestamp") or status.get("phase") != "Pending" or status.get("startTime"):
        return False
    # One generation more is the binding; any other change of the spec would be another one.
    is_one_step = metadata.get("generation") == (was.metadata.generation or 0) + 1
    # Whoever counts a group's members wants to hear of each.
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if labels != was.metadata.labels or annotations != was.metadata.annotations or POD_GROUP in labels:
        return False
    owners = [owner.get("uid") for owner in metadata.get("ownerReferences") or ()]
    return is_one_step and owners == [owner.uid for owner in was.metadata.owner_references]
