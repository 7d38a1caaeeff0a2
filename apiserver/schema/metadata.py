"""The schema of object metadata, which no kind's own schema repeats: validated and pruned like everything else.

What a name may look like depends on the kind and is the registry's; whether the other fields may be set, too.
"""

from __future__ import annotations

from typing import Any

from .nodes import Node, Reader
from .rules import ANNOTATIONS, LABELS

_TEXT = {"type": "string"}
_INTEGER = {"type": "integer", "format": "int64"}
_TIME = {"type": "string", "format": "date-time"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}

OBJECT_META: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "generateName": _TEXT,
        "namespace": _TEXT,
        "uid": _TEXT,
        "resourceVersion": _TEXT,
        "generation": _INTEGER,
        "creationTimestamp": _TIME,
        "deletionTimestamp": _TIME,
        "deletionGracePeriodSeconds": _INTEGER,
        "labels": _TEXTS,
        "annotations": _TEXTS,
        "ownerReferences": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    "apiVersion": _TEXT,
                    "kind": _TEXT,
                    "name": _TEXT,
                    "uid": _TEXT,
                    "controller": {"type": "boolean"},
                    "blockOwnerDeletion": {"type": "boolean"},
                },
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
        },
        "finalizers": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set"},
        "managedFields": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "manager": _TEXT,
                    "operation": _TEXT,
                    "apiVersion": _TEXT,
                    "time": _TIME,
                    "fieldsType": _TEXT,
                    "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "subresource": _TEXT,
                },
            },
        },
        "selfLink": _TEXT,
    },
}


def object_meta() -> Node:
    """The node of metadata, with the rules of labels and annotations."""
    return with_rules(Reader().read(OBJECT_META))


def with_rules(node: Node) -> Node:
    """Give a metadata node (ours, or a pod template's own spelling of it) the rules of labels and annotations."""
    for name, rule in (("labels", LABELS), ("annotations", ANNOTATIONS)):
        found = node.properties.get(name)
        if found is not None and found.additional is not None:
            found.map_rule = rule
    return node


def imply(root: Node) -> Node:
    """Add apiVersion, kind and metadata, which every object has, to the node of a whole object."""
    text = Node(type="string")
    own = {name: node for name, node in root.properties.items() if name not in ("apiVersion", "kind", "metadata")}
    root.type = root.type or "object"
    root.properties = {"apiVersion": text, "kind": text, "metadata": object_meta(), **own}
    return root
