"""Laws of patches: what `apply` computes, applied, gives what was asked for and leaves alone what was not."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stark.crds.patches import (
    MERGE_SCALARS,
    RETAIN_KEYS,
    create_merge_patch,
    json_patch,
    merge_patch,
    strategic_merge_patch,
    three_way_merge,
)

LAW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No deadline: the machines that run this are busy, and slowness is not what these laws are about."""

Object = dict[str, Any]

SCALARS = st.one_of(st.booleans(), st.integers(0, 2), st.sampled_from(["", "a", "b"]))
FIELDS = st.sampled_from(["a", "b", "c"])
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=3), max_leaves=6
)
OBJECTS = st.dictionaries(FIELDS, PLAIN, max_size=3)

KEYS = {"items": "name", "items.env": "name", "tags": MERGE_SCALARS, "how": RETAIN_KEYS}


@st.composite
def _named(draw: st.DrawFn, fields: st.SearchStrategy[Object]) -> list[Object]:
    """Items with distinct names, in any order."""
    names = draw(st.lists(st.sampled_from(["x", "y", "z", "w"]), unique=True, max_size=4))
    return [{**draw(fields), "name": name} for name in names]


VALUES = st.dictionaries(FIELDS, SCALARS, max_size=2)
ITEMS = _named(st.fixed_dictionaries({}, optional={"v": SCALARS, "map": VALUES, "env": _named(VALUES)}))
TAGS = st.lists(st.sampled_from(["p", "q", "r", "s"]), unique=True, max_size=4)
MANIFESTS: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {}, optional={"items": ITEMS, "tags": TAGS, "how": VALUES, "plain": OBJECTS, "list": st.lists(SCALARS, max_size=3)}
)


def same_json(left: Any, right: Any) -> bool:
    """Equality in which True is not 1."""
    return repr(_sorted(left)) == repr(_sorted(right))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@LAW
@given(OBJECTS, OBJECTS)
def test_a_computed_merge_patch_gives_what_it_was_computed_for(original: Object, modified: Object) -> None:
    patch = create_merge_patch(original, modified)
    assert same_json(merge_patch(original, patch), modified)


@LAW
@given(OBJECTS, OBJECTS)
def test_a_merge_patch_applied_twice_is_applied_once(target: Object, patch: Object) -> None:
    before = copy.deepcopy(target)
    once = merge_patch(target, patch)
    assert same_json(merge_patch(once, patch), once)
    assert same_json(target, before)


@LAW
@given(OBJECTS, OBJECTS, st.booleans())
def test_apply_gives_custom_resources_what_was_asked_for(original: Object, modified: Object, first: bool) -> None:
    patch = three_way_merge({} if first else original, modified, original, None)
    result = merge_patch(original, patch)
    assert contains(result, modified, {}, "")
    if not first:
        assert same_json(result, modified)


@LAW
@given(MANIFESTS, MANIFESTS)
def test_apply_gives_what_was_asked_for_when_nobody_else_wrote(original: Object, modified: Object) -> None:
    patch = three_way_merge(original, modified, original, KEYS)
    before = copy.deepcopy(original)
    assert same_json(strategic_merge_patch(original, patch, KEYS), modified)
    assert same_json(original, before)


@LAW
@given(MANIFESTS, MANIFESTS, MANIFESTS)
def test_apply_gives_what_was_asked_for_whatever_others_wrote(
    original: Object, modified: Object, current: Object
) -> None:
    patch = three_way_merge(original, modified, current, KEYS)
    result = strategic_merge_patch(current, patch, KEYS)
    assert contains(result, modified, KEYS, "")
    assert lacks(result, original, modified, KEYS, "")
    assert three_way_merge(modified, modified, result, KEYS) == {}, "applying again changes nothing"


@LAW
@given(MANIFESTS, MANIFESTS)
def test_apply_leaves_alone_what_it_does_not_know(modified: Object, current: Object) -> None:
    result = strategic_merge_patch(current, three_way_merge(modified, modified, current, KEYS), KEYS)
    assert set(current) <= set(result)
    for name in ("items", "tags"):
        kept = {_identity(item) for item in result.get(name, ())}
        assert {_identity(item) for item in current.get(name, ())} <= kept


@LAW
@given(
    PLAIN,
    st.lists(
        st.tuples(
            st.sampled_from(["add", "remove", "replace"]), st.sampled_from(["/a", "/b/c", "/a/0", "/a/-"]), PLAIN
        ),
        max_size=4,
    ),
)
def test_a_json_patch_never_changes_its_document(document: Any, steps: list[tuple[str, str, Any]]) -> None:
    operations = [{"op": op, "path": path, "value": value} for op, path, value in steps]
    before = copy.deepcopy((document, operations))
    try:
        json_patch(document, operations)
    except ValueError:
        pass  # refused; that is an answer too
    assert same_json([document, operations], list(before))


@LAW
@given(PLAIN, PLAIN)
def test_a_json_patch_that_adds_and_removes_leaves_no_trace(document: Any, value: Any) -> None:
    whole = {"doc": document}
    operations = [
        {"op": "add", "path": "/new", "value": value},
        {"op": "test", "path": "/new", "value": value},
        {"op": "copy", "from": "/new", "path": "/copy"},
        {"op": "move", "from": "/copy", "path": "/moved"},
        {"op": "remove", "path": "/moved"},
        {"op": "remove", "path": "/new"},
    ]
    assert same_json(json_patch(whole, operations), whole)


def _identity(item: Any) -> Any:
    return item["name"] if isinstance(item, dict) else item


def contains(result: Any, wanted: Any, keys: dict[str, str], path: str) -> bool:
    """Whether `result` says everything that `wanted` says, with named items in the same relative order."""
    if isinstance(wanted, dict):
        return isinstance(result, dict) and all(
            name in result and contains(result[name], value, keys, f"{path}.{name}".lstrip("."))
            for name, value in wanted.items()
        )
    key = keys.get(path)
    if isinstance(wanted, list) and key is not None and key != RETAIN_KEYS:
        found = {_identity(item): (index, item) for index, item in enumerate(result)}
        places = [found.get(_identity(item), (-1, None))[0] for item in wanted]
        return (
            -1 not in places
            and places == sorted(places)
            and all(contains(found[_identity(item)][1], item, keys, path) for item in wanted)
        )
    return same_json(result, wanted)


def lacks(result: Any, original: Any, modified: Any, keys: dict[str, str], path: str) -> bool:
    """Whether nothing is left of what `original` had and `modified` has not."""
    if isinstance(original, dict) and isinstance(modified, dict) and isinstance(result, dict):
        return all(
            lacks(result.get(name), value, modified[name], keys, f"{path}.{name}".lstrip("."))
            if name in modified
            else name not in result
            for name, value in original.items()
        )
    if isinstance(original, list) and isinstance(modified, list) and path in keys:
        wanted = {_identity(item) for item in modified}
        left = {_identity(item) for item in result}
        return not ({_identity(item) for item in original} - wanted) & left
    return True
