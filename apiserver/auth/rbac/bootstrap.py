"""The roles and bindings every cluster has (`manifests/rbac/`), and what a stored one lacks of them. Pure.

As in Kubernetes each start adds what is missing: rules, selectors, subjects. What somebody has added stays, and an
object annotated `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import orjson
import yaml

from stark.crds.rbac import AUTO_UPDATE, BOOTSTRAPPING, BOOTSTRAPPING_DEFAULTS, GROUP

from ..rules import Rule
from .covering import missing
from .grants import rules_of

API_VERSION: Final = f"{GROUP}/v1"

Object = dict[str, Any]


@cache
def _read(name: str) -> bytes:
    text = (files("stark.manifests") / "rbac" / name).read_text("utf-8")
    return orjson.dumps(yaml.load(text, Loader=yaml.CSafeLoader))


def _load(name: str) -> Any:
    """A copy of one's own."""
    return orjson.loads(_read(name))


def _marked(kind: str, obj: Object) -> Object:
    """With what all of ours have in common."""
    metadata = obj["metadata"]
    labels = {BOOTSTRAPPING: BOOTSTRAPPING_DEFAULTS, **metadata.get("labels", {})}
    annotations = {AUTO_UPDATE: "true", **metadata.get("annotations", {})}
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        **obj,
        "metadata": {**metadata, "labels": labels, "annotations": annotations},
    }


def cluster_roles() -> list[Object]:
    """The ClusterRoles."""
    return [_marked("ClusterRole", role) for role in _load("cluster-roles.yaml")]


def cluster_role_bindings() -> list[Object]:
    """The ClusterRoleBindings, each of the role of its name."""
    return [
        _marked(
            "ClusterRoleBinding",
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
                "subjects": [{**subject, "apiGroup": GROUP} for subject in subjects],
            },
        )
        for name, subjects in _load("cluster-role-bindings.yaml").items()
    ]


def put_right(ours: Object, stored: Mapping[str, Any] | None) -> Object | None:
    """What to store instead of `stored` (None: nothing is there); None when it has everything."""
    if stored is None:
        return orjson.loads(orjson.dumps(ours))  # type: ignore[no-any-return]
    metadata = stored["metadata"]
    if (metadata.get("annotations") or {}).get(AUTO_UPDATE) == "false":
        return None
    new = {**stored, "metadata": {**metadata}}
    for field in ("labels", "annotations"):
        new["metadata"][field] = {**ours["metadata"][field], **(metadata.get(field) or {})}
    if ours["kind"] == "ClusterRole":
        _complete_role(new, ours)
    else:
        known = stored.get("subjects") or []
        new["subjects"] = [*known, *(subject for subject in ours["subjects"] if subject not in known)]
    return None if new == {**stored, "subjects": stored.get("subjects") or []} or new == stored else new


def is_of_another_role(ours: Object, stored: Mapping[str, Any] | None) -> bool:
    """Whether a stored binding gives another role than it must: that cannot be changed, so that it has to be made anew."""
    if stored is None or ours["kind"] == "ClusterRole":
        return False
    kept = (stored["metadata"].get("annotations") or {}).get(AUTO_UPDATE) == "false"
    return not kept and bool(stored["roleRef"] != ours["roleRef"])


def _complete_role(new: Object, ours: Object) -> None:
    wanted = ours.get("aggregationRule")
    if wanted is not None:
        known = (new.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        more = [selector for selector in wanted["clusterRoleSelectors"] if selector not in known]
        if more or new.get("aggregationRule") is None:
            new["aggregationRule"] = {"clusterRoleSelectors": [*known, *more]}
        return
    lacking = missing(rules_of(new), rules_of(ours))
    if lacking:
        new["rules"] = [*(new.get("rules") or ()), *map(Rule.to_wire, _compact(lacking))]


def _compact(singles: Iterable[Rule]) -> list[Rule]:
    """One rule for each resource or path, with all its verbs."""
    verbs: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for single in singles:
        verbs.setdefault((single.groups, single.resources, single.names, single.paths), []).extend(single.verbs)
    return [
        Rule(tuple(dict.fromkeys(given)), groups, resources, names, paths=paths)
        for (groups, resources, names, paths), given in verbs.items()
    ]
