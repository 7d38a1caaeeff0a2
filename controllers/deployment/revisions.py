"""Which ReplicaSet runs the current template, what it is called, and the numbers by which rollbacks find the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from stark.crds.annotations import (
    DESIRED_REPLICAS,
    KEPT_BY_UNDO,
    LAST_APPLIED,
    LIFTED_BY_UNDO,
    MAX_REPLICAS,
    POD_TEMPLATE_HASH,
    REVISION,
)
from stark.crds.apps import Deployment, ReplicaSet, ReplicaSetSpec
from stark.crds.labels import LabelSelector
from stark.crds.meta import ObjectMeta
from stark.crds.templates import same_template, template_facts

REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
OWN_ANNOTATIONS = frozenset({REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS, LAST_APPLIED, *LIFTED_BY_UNDO})
"""Annotations that are about one object and are not copied from a Deployment to its ReplicaSets."""

REVISION_HISTORY_LENGTH_MAX = 2_000
"""Characters of the list of earlier revisions; the oldest go first."""
SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes, so that a hash is never a word."""
HASH_LENGTH = 10
NAME_LENGTH_MAX = 253


def template_hash(deployment: Deployment) -> str:
    """The name of the template; another one after each collision."""
    body = json.dumps(template_facts(deployment.spec.template), sort_keys=True)
    collisions = deployment.status.collision_count or 0
    digest = hashlib.sha256(f"{body}\n{collisions}".encode()).digest()
    return "".join(SAFE_ALPHABET[byte % len(SAFE_ALPHABET)] for byte in digest[:HASH_LENGTH])


def revision_of(obj: Deployment | ReplicaSet) -> int:
    """The revision in its annotation; 0 when there is none that can be read."""
    text = obj.metadata.annotations.get(REVISION, "")
    return int(text) if text.isdigit() else 0


def oldest_first(sets: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """In the order of creation, those of the same second by name."""
    return sorted(sets, key=lambda rs: (_created(rs), rs.metadata.name))


def _created(rs: ReplicaSet) -> float:
    created = rs.metadata.creation_timestamp
    return created.timestamp() if created else 0.0


def split(deployment: Deployment, sets: Sequence[ReplicaSet]) -> tuple[ReplicaSet | None, list[ReplicaSet]]:
    """(the new ReplicaSet, the old ones). When several have the current template, the oldest is the new one."""
    ordered = oldest_first(sets)
    template = deployment.spec.template
    new = next((rs for rs in ordered if same_template(template, rs.spec.template)), None)
    return new, [rs for rs in ordered if new is None or rs.uid != new.uid]


def next_revision(olds: Sequence[ReplicaSet]) -> int:
    """One more than the highest revision of the others."""
    return max((revision_of(rs) for rs in olds), default=0) + 1


def replica_annotations(replicas: int, surge: int) -> dict[str, str]:
    """What later scaling needs to know about the size that was wanted before."""
    return {DESIRED_REPLICAS: str(replicas), MAX_REPLICAS: str(replicas + surge)}


def with_settings(deployment: Deployment, current: Mapping[str, str]) -> dict[str, str]:
    """The annotations of any ReplicaSet, with the settings that the Deployment has now and without those it has not."""
    theirs = deployment.metadata.annotations
    rest = {key: value for key, value in current.items() if key not in KEPT_BY_UNDO}
    return {**rest, **{key: theirs[key] for key in KEPT_BY_UNDO if key in theirs}}


def synced_annotations(deployment: Deployment, current: dict[str, str], revision: int) -> dict[str, str]:
    """The annotations of the new ReplicaSet: the Deployment's own ones, and the revision with its history."""
    wanted = dict(current)
    wanted.update({k: v for k, v in deployment.metadata.annotations.items() if k not in OWN_ANNOTATIONS})
    before = current.get(REVISION, "")
    before_number = int(before) if before.isdigit() else 0
    if before_number >= revision:
        return wanted
    wanted[REVISION] = str(revision)
    if before:
        history = [part for part in current.get(REVISION_HISTORY, "").split(",") if part] + [before]
        while len(",".join(history)) > REVISION_HISTORY_LENGTH_MAX:
            history.pop(0)
        wanted[REVISION_HISTORY] = ",".join(history)
    return wanted


def new_replica_set(deployment: Deployment, revision: int, replicas: int, surge: int) -> ReplicaSet:
    """The ReplicaSet for the current template. Its name is a function of the template, so creating it twice gives
    one."""
    hashed = template_hash(deployment)
    spec = deployment.spec
    template_meta = spec.template.metadata
    labels = {**template_meta.labels, POD_TEMPLATE_HASH: hashed}
    template = spec.template.model_copy(update={"metadata": template_meta.model_copy(update={"labels": labels})})
    fixed = {**spec.selector.match_labels, POD_TEMPLATE_HASH: hashed}
    selector = LabelSelector(match_labels=fixed, match_expressions=spec.selector.match_expressions)
    name = f"{deployment.metadata.name[: NAME_LENGTH_MAX - HASH_LENGTH - 1]}-{hashed}"
    return ReplicaSet(
        metadata=ObjectMeta(
            name=name,
            namespace=deployment.metadata.namespace,
            labels=labels,
            annotations={
                **synced_annotations(deployment, {}, revision),
                **replica_annotations(spec.replicas, surge),
            },
            owner_references=[deployment.owner_reference()],
        ),
        spec=ReplicaSetSpec(
            replicas=replicas, selector=selector, template=template, min_ready_seconds=spec.min_ready_seconds
        ),
    )
