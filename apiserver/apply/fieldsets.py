"""Sets of fields, kept in the very form in which they travel: the tree that `managedFields` calls FieldsV1.

A key is a step: `f:<name>` into a field, `k:<JSON object>` to the item with these keys, `v:<JSON>` to a value of a set,
`i:<n>` to an index. A node stands for a member of the set when it is empty or has the key `.`; otherwise it only leads
to members. So nothing is encoded or decoded in between, and a new object costs one walk. Trees are never changed in
place: they are shared. The root is never a member; the empty tree is the empty set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

Tree = Mapping[str, Any]
Path = tuple[str, ...]

SELF: Final = "."
LEAF: Final[dict[str, Any]] = {}
"""A member with nothing below it."""
DEPTH_MAX: Final = 250
"""Steps of a tree that a client sends; deeper than any object is."""


class MalformedFields(ValueError):
    """Not a FieldsV1 tree."""


def step_of_key(values: Mapping[str, Any]) -> str:
    """The step to the item of a list that has these keys."""
    return "k:" + orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()


def step_of_value(value: Any) -> str:
    """The step to a value of a set."""
    return "v:" + orjson.dumps(value).decode()


def decode(raw: Any) -> Tree:
    """A tree that a client sent, in our own spelling. Raises MalformedFields."""
    if not isinstance(raw, dict):
        raise MalformedFields("fieldsV1 is not an object")
    return {step: node for step, node in _decode(raw, 0).items() if step != SELF}


def _decode(raw: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > DEPTH_MAX:
        raise MalformedFields(f"nested deeper than {DEPTH_MAX}")
    tree: dict[str, Any] = {}
    for step, below in raw.items():
        if not isinstance(below, dict):
            raise MalformedFields(f"{step}: not an object")
        node = _decode(below, depth + 1)
        tree[_step(step)] = LEAF if node.keys() == {SELF} else node
    return tree


def _step(text: str) -> str:
    if text == SELF or (text.startswith("f:") and len(text) > 2):
        return text
    kind, rest = text[:2], text[2:]
    if kind == "i:" and rest.removeprefix("-").isdecimal():
        return text
    if kind not in ("k:", "v:"):
        raise MalformedFields(f"{text}: unknown step")
    try:
        value = orjson.loads(rest)
    except orjson.JSONDecodeError as error:
        raise MalformedFields(f"{text}: {error}") from error
    if kind == "v:":
        return step_of_value(value)
    if not isinstance(value, dict) or not value:
        raise MalformedFields(f"{text}: not an object with keys")
    return step_of_key(value)


def is_member(node: Tree) -> bool:
    """Whether the node itself is in the set, not only something below it."""
    return not node or SELF in node


def node_of(member: bool, children: Tree) -> Tree | None:
    """The node with these children; None when it stands for nothing."""
    if not children:
        return LEAF if member else None
    return {SELF: LEAF, **children} if member else children


def union(one: Tree, other: Tree) -> Tree:
    """What is in either."""
    if not other and SELF not in one:
        return one
    result = {step: node for step, node in one.items() if step != SELF}
    for step, node in other.items():
        if step == SELF:
            continue
        mine = result.get(step)
        result[step] = node if mine is None else _both(mine, node)
    return result


def _both(one: Tree, other: Tree) -> Tree:
    node = node_of(is_member(one) or is_member(other), union(one, other))
    assert node is not None, (one, other)
    return node


def intersection(one: Tree, other: Tree) -> Tree:
    """What is in both."""
    result: dict[str, Any] = {}
    for step, node in one.items():
        theirs = other.get(step)
        if step == SELF or theirs is None:
            continue
        found = node_of(is_member(node) and is_member(theirs), intersection(node, theirs))
        if found is not None:
            result[step] = found
    return result


def difference(one: Tree, other: Tree) -> Tree:
    """What is in `one` and not in `other`."""
    result: dict[str, Any] = {}
    for step, node in one.items():
        if step == SELF:
            continue
        theirs = other.get(step)
        left = node if theirs is None else node_of(is_member(node) and not is_member(theirs), difference(node, theirs))
        if left is not None:
            result[step] = left
    return result


def without(one: Tree, other: Tree) -> Tree:
    """What is in `one` and neither in `other` nor below a member of `other`."""
    result: dict[str, Any] = {}
    for step, node in one.items():
        theirs = other.get(step)
        if step == SELF or (theirs is not None and is_member(theirs)):
            continue
        left = node if theirs is None else node_of(is_member(node), without(node, theirs))
        if left is not None:
            result[step] = left
    return result


def leaves(tree: Tree) -> Tree:
    """The members that no other member is below."""
    result: dict[str, Any] = {}
    for step, node in tree.items():
        if step != SELF:
            result[step] = leaves(node) or LEAF
    return result


def members(tree: Tree, path: Path = ()) -> Iterator[Path]:
    """Every member as the steps to it, in the order of the tree."""
    for step, node in tree.items():
        if step == SELF:
            continue
        if is_member(node):
            yield (*path, step)
        yield from members(node, (*path, step))


def contains(tree: Tree, path: Path) -> bool:
    """Whether the path is a member."""
    node: Tree | None = tree
    for step in path:
        node = node.get(step) if node is not None else None
        if node is None:
            return False
    return bool(path) and node is not None and is_member(node)


def from_paths(*paths: Path) -> Tree:
    """The set of these paths."""
    tree: Tree = {}
    for path in paths:
        node: Tree = LEAF
        for step in reversed(path):
            node = {step: node}
        tree = union(tree, node)
    return tree


def written(path: Path) -> str:
    """A path as Kubernetes shows it: `.spec.containers[name="x"].image`, `.metadata.finalizers[="y"]`, `[0]`."""
    return "".join(_written(step) for step in path)


def _written(step: str) -> str:
    kind, rest = step[:2], step[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "k:":
        named = orjson.loads(rest)
        return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in named.items()) + "]"
    return f"[={rest}]" if kind == "v:" else f"[{rest}]"
