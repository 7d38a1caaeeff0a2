"""Objects with their kind's types: which fields one has, what two differ in, one merged into another, some taken away.

As structured-merge-diff does it: maps are granular unless `x-kubernetes-map-type: atomic`, lists are atomic unless
`x-kubernetes-list-type` says `map` or `set`; below preserve-unknown-fields maps are granular and lists atomic. Fields that
the schema does not know are in no set: pruning will drop them. Fields of the server's own are not known either, so
nobody ever owns them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from orjson import dumps

from ..schema.metadata import OBJECT_META
from .fieldsets import LEAF, SELF, Tree, is_member, node_of, step_of_key, step_of_value

Object = dict[str, Any]

SERVER_OWNED: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
)
"""Fields of metadata that identify the object or that the server writes: without an owner."""


class Form(Enum):
    """How the parts of a value are owned."""

    WHOLE = 1
    """All at once: a scalar, or something atomic."""
    FIELDS = 2
    """Field by field."""
    ITEMS = 3
    """Item by item, each known by its keys."""
    VALUES = 4
    """Value by value."""


@dataclass(slots=True, eq=False)
class Type:
    """One place of a schema. `fields` gives for a name its step and type, `other` the type of any other name."""

    form: Form = Form.WHOLE
    fields: dict[str, tuple[str, Type]] = field(default_factory=dict)
    other: Type | None = None
    """Of a map's values, or of a list's items; None: no such field."""
    keys: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What a key is taken to be in an item without it."""
    lead: str = ""
    """How the step to an item begins, when there is one key."""

    def child(self, name: str) -> tuple[str, Type] | None:
        """The step to a field and its type; None when the schema does not know it."""
        known = self.fields.get(name)
        if known is None and self.other is not None:
            return "f:" + name, self.other
        return known


# Names of the module's own: looking a member up in its enum costs more than the rest of a step.
WHOLE_FORM: Final = Form.WHOLE
FIELDS_FORM: Final = Form.FIELDS
WHOLE: Final = Type()
FREE: Final = Type(Form.FIELDS)
"""Below preserve-unknown-fields: whatever it is, maps by field and lists as a whole."""
FREE.other = FREE
MISSING: Final = object()
"""In the place of a field that was not there."""


class NoItem(ValueError):
    """A list's items cannot be told apart: one lacks its keys, or two have the same."""


def kind_type(schema: Mapping[str, Any]) -> Type:
    """The type of a kind's objects from the structural schema."""
    root = _type(schema)
    if root.form is not Form.FIELDS:
        root = Type(Form.FIELDS)
    meta = _type(OBJECT_META)
    meta.fields = {name: known for name, known in meta.fields.items() if name not in SERVER_OWNED}
    return Type(Form.FIELDS, {**root.fields, "metadata": ("f:metadata", meta)}, root.other)


def _type(schema: Mapping[str, Any]) -> Type:
    if schema.get("x-kubernetes-map-type") == "atomic":
        return WHOLE
    kind, is_free = schema.get("type"), schema.get("x-kubernetes-preserve-unknown-fields") is True
    if kind == "array":
        return _list_type(schema)
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    if kind != "object" and not properties:
        return FREE if is_free else WHOLE
    fields = {name: ("f:" + name, _type(below)) for name, below in properties.items()}
    if isinstance(additional, Mapping):
        other: Type | None = _type(additional)
    else:
        other = FREE if is_free or additional is True else None
    return Type(Form.FIELDS, fields, other)


def _list_type(schema: Mapping[str, Any]) -> Type:
    items = schema.get("items") or {}
    if schema.get("x-kubernetes-list-type") == "set":
        return Type(Form.VALUES, other=WHOLE)
    if schema.get("x-kubernetes-list-type") != "map":
        return WHOLE
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    properties = items.get("properties") or {}
    defaults = {key: properties[key]["default"] for key in keys if "default" in properties.get(key, {})}
    lead = "k:{" + dumps(keys[0]).decode() + ":" if len(keys) == 1 else ""
    return Type(Form.ITEMS, other=_type(items), keys=keys, defaults=defaults, lead=lead)


def step_of(item: Any, kind: Type) -> str:
    """The step to an item of a list. Raises NoItem."""
    if kind.form is Form.VALUES:
        return step_of_value(item)
    if not isinstance(item, dict):
        raise NoItem("associative list with keys has an element that is not an object")
    if len(kind.keys) == 1:
        value = item.get(kind.keys[0])
        if type(value) is str:  # `name`, nearly always: not worth an object
            return f"{kind.lead}{dumps(value).decode()}}}"
    named = {key: item.get(key, kind.defaults.get(key)) for key in kind.keys}
    if all(value is None for value in named.values()):
        raise NoItem(f'associative list with keys has an element that omits key field "{kind.keys[0]}"')
    return step_of_key(named)


def items_of(items: Sequence[Any], kind: Type) -> dict[str, Any]:
    """The items of a list by their steps, in order. Raises NoItem, also when two have the same."""
    found: dict[str, Any] = {}
    for item in items:
        step = step_of(item, kind)
        if step in found:
            raise NoItem(f"duplicate entries for key [{step[2:]}]")
        found[step] = item
    return found


def _children(value: Any, kind: Type) -> dict[str, tuple[Any, Type]] | None:
    """What a value consists of, by step; None when it is owned as a whole. A list that cannot be told apart is."""
    if kind.form is Form.FIELDS and isinstance(value, dict):
        return {known[0]: (item, known[1]) for name, item in value.items() if (known := kind.child(name))}
    if kind.form in (Form.ITEMS, Form.VALUES) and isinstance(value, list) and kind.other is not None:
        below = kind.other
        try:
            return {step: (item, below) for step, item in items_of(value, kind).items()}
        except NoItem:
            return None
    return None


def everything(value: Any, kind: Type) -> Tree:
    """The node of a value that was not there before: it and all that is in it. This is what a create costs."""
    form = kind.form
    if form is WHOLE_FORM or not value:
        return LEAF
    tree: dict[str, Any] = {SELF: LEAF}
    if form is FIELDS_FORM and type(value) is dict:
        fields, other = kind.fields, kind.other
        if not fields and other is not None and other.form is WHOLE_FORM:
            return {
                SELF: LEAF,
                **dict.fromkeys(["f:" + name for name in value], LEAF),
            }  # labels, data: most of all fields
        for name, item in value.items():
            known = fields.get(name)
            if known is not None:
                step, below = known
            elif other is not None:
                step, below = "f:" + name, other
            else:
                continue
            tree[step] = LEAF if not item or below.form is WHOLE_FORM else everything(item, below)
        return tree if len(tree) > 1 else LEAF
    if form is FIELDS_FORM or type(value) is not list or kind.other is None:
        return LEAF
    below = kind.other
    try:
        for item in value:
            tree[step_of(item, kind)] = everything(item, below)
    except NoItem:
        return LEAF
    return tree if len(tree) == len(value) + 1 else LEAF


def field_set(config: Any, kind: Type) -> Tree:
    """The fields that an applied configuration is about: its leaves, its lists' items, and the entries of its maps."""
    found = _children(config, kind)
    if not found:
        return {}
    is_list = kind.form is not Form.FIELDS
    names = {known[0] for known in kind.fields.values()}
    result: dict[str, Any] = {}
    for step, (item, below) in found.items():
        parts = field_set(item, below)
        is_whole = item is None or item == {} or _children(item, below) is None
        node = node_of(is_list or is_whole or step not in names, parts)
        if node is not None:
            result[step] = node
    return result


def check(config: Any, kind: Type, path: str = "") -> None:
    """Every list of the configuration can be told apart. Raises NoItem with the path."""
    if kind.form is Form.FIELDS and isinstance(config, dict):
        for name, item in config.items():
            known = kind.child(name)
            if known is not None:
                check(item, known[1], f"{path}.{name}")
    elif kind.form in (Form.ITEMS, Form.VALUES) and isinstance(config, list) and kind.other is not None:
        try:
            found = items_of(config, kind)
        except NoItem as error:
            raise NoItem(f"{path}: {error}") from error
        for step, item in found.items():
            check(item, kind.other, f"{path}[{step[2:]}]")


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of the fields of an object."""

    added: Tree
    modified: Tree
    removed: Tree


def compare(old: Object, new: Object, kind: Type) -> Changes:
    """What changed from old to new. The order of a list of items is no change."""
    added: dict[str, Any] = {}
    modified: dict[str, Any] = {}
    removed: dict[str, Any] = {}
    _compare(old, new, kind, (added, modified, removed))
    return Changes(added, modified, removed)


Sinks = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def _compare(old: Any, new: Any, kind: Type, into: Sinks) -> bool:
    """Note the differences below this place; False when the values must be taken as a whole."""
    if old is new or old == new:
        return True
    if kind.form is FIELDS_FORM and type(old) is dict and type(new) is dict:
        _compare_fields(old, new, kind, into)
        return True
    before, after = _children(old, kind), _children(new, kind)
    if before is None or after is None:
        return False
    added, _, removed = into
    for step, (item, below) in after.items():
        known = before.get(step)
        if known is None:
            added[step] = everything(item, below)
        else:
            _compare_at(step, known[0], item, below, into)
    for step, (item, below) in before.items():
        if step not in after:
            removed[step] = everything(item, below)
    return True


def _compare_fields(old: Object, new: Object, kind: Type, into: Sinks) -> None:
    """The same for two maps, of which most fields have not changed: those are passed over without a look at their types."""
    added, _, removed = into
    for name, item in new.items():
        was = old.get(name, MISSING)
        if was is item or was == item:
            continue
        known = kind.child(name)
        if known is None:
            continue
        if was is MISSING:
            added[known[0]] = everything(item, known[1])
        else:
            _compare_at(known[0], was, item, known[1], into)
    for name in old.keys() - new.keys():
        known = kind.child(name)
        if known is not None:
            removed[known[0]] = everything(old[name], known[1])


def _compare_at(step: str, old: Any, new: Any, kind: Type, into: Sinks) -> None:
    parts: Sinks = ({}, {}, {})
    if not _compare(old, new, kind, parts):
        into[1][step] = LEAF
    for sink, part in zip(into, parts, strict=True):
        if part:
            sink[step] = part


def merge(live: Any, config: Any, kind: Type) -> Any:
    """The live value with the configuration over it. What the configuration says as null goes away."""
    if kind.form is Form.FIELDS and isinstance(live, dict) and isinstance(config, dict):
        merged = dict(live)
        for name, item in config.items():
            known = kind.child(name)
            if item is None:
                merged.pop(name, None)
            elif name in merged and known is not None:
                merged[name] = merge(merged[name], item, known[1])
            else:
                merged[name] = item
        return merged
    if kind.form in (Form.ITEMS, Form.VALUES) and isinstance(live, list) and isinstance(config, list):
        return _merge_lists(live, config, kind)
    return config


def _merge_lists(live: list[Any], config: list[Any], kind: Type) -> list[Any]:
    """The configuration's order; what only the live list has keeps its place among those that both have."""
    assert kind.other is not None, kind
    wanted = items_of(config, kind)
    try:
        had = items_of(live, kind)
    except NoItem:
        return config
    rest = list(had.items())
    result: list[Any] = []
    done: set[str] = set()
    for step, item in wanted.items():
        while rest and (rest[0][0] not in wanted or rest[0][0] in done):
            mine, kept = rest.pop(0)
            if mine not in wanted:
                result.append(kept)
        result.append(merge(had[step], item, kind.other) if step in had else item)
        done.add(step)
    return result + [kept for step, kept in rest if step not in wanted]


def named_too(tree: Tree, kind: Type) -> Tree:
    """The set, and the named fields of the schema on the way to its members: whoever owns a.b.c owns a, if a is a field."""
    result: dict[str, Any] = {}
    names = {known[0]: known[1] for known in kind.fields.values()}
    for step, node in tree.items():
        if step == SELF:
            continue
        below = names.get(step) or kind.other or WHOLE
        found = node_of(is_member(node) or step in names, named_too(node, below))
        if found is not None:
            result[step] = found
    return result


def remove(value: Any, gone: Tree, kind: Type) -> Any:
    """The value without these fields and items; None when nothing is left of it."""
    found = _children(value, kind)
    if found is None or not gone:
        return value
    if isinstance(value, list):
        left = [
            remove(item, node, below) if (node := gone.get(step)) else item
            for step, (item, below) in found.items()
            if (node := gone.get(step)) is None or not is_member(node)
        ]
        return [item for item in left if item is not None] or None
    result: Object = {}
    for name, item in value.items():
        known = kind.child(name)
        node = gone.get(known[0]) if known is not None else None
        if known is None or node is None:
            result[name] = item
        elif not is_member(node):
            left_item = remove(item, node, known[1])
            if left_item is not None:
                result[name] = left_item
    return result or None
