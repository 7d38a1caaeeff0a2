"""JSON patch and merge patch do what RFC 6902 and RFC 7386 say, within bounds."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from stark.crds.patches import (
    PatchError,
    PatchMalformed,
    PatchTestFailed,
    PatchTooLarge,
    create_merge_patch,
    json_patch,
    merge_patch,
)


@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [
        pytest.param({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}, id="A.1 add a member"),
        pytest.param(
            {"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}, id="A.2 add an item"
        ),
        pytest.param({"a": 1, "b": 2}, [{"op": "remove", "path": "/b"}], {"a": 1}, id="A.3 remove a member"),
        pytest.param({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}, id="A.4 remove an item"),
        pytest.param({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}, id="A.5 replace"),
        pytest.param(
            {"a": {"x": 1}, "b": {}},
            [{"op": "move", "from": "/a/x", "path": "/b/y"}],
            {"a": {}, "b": {"y": 1}},
            id="A.6 move",
        ),
        pytest.param(
            {"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}, id="A.7 move an item"
        ),
        pytest.param({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}, id="A.8 test"),
        pytest.param(
            {"a": 1}, [{"op": "add", "path": "/b", "value": {"c": {}}}], {"a": 1, "b": {"c": {}}}, id="A.10 nested"
        ),
        pytest.param(
            {"a": 1}, [{"op": "add", "path": "/b", "value": 2, "xyz": 1}], {"a": 1, "b": 2}, id="A.11 unknown members"
        ),
        pytest.param(
            {"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}, id="A.14 escapes"
        ),
        pytest.param({"a": [1]}, [{"op": "add", "path": "/a/-", "value": [2]}], {"a": [1, [2]]}, id="A.16 append"),
        pytest.param({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}, id="copy"),
        pytest.param({"a": 1}, [{"op": "replace", "path": "", "value": {}}], {}, id="replace the whole"),
        pytest.param({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}, id="move nowhere"),
        pytest.param(
            {"a": 1.0}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1.0}, id="numbers are equal by value"
        ),
        pytest.param({"": 1}, [{"op": "test", "path": "/", "value": 1}], {"": 1}, id="an empty name"),
    ],
)
def test_a_json_patch_applies(document: Any, operations: list[dict[str, Any]], result: Any) -> None:
    before = copy.deepcopy(document)
    assert json_patch(document, operations) == result
    assert document == before


@pytest.mark.parametrize(
    ("operations", "error", "message"),
    [
        ([{"op": "remove", "path": "/x"}], PatchError, "/x: there is nothing here"),
        ([{"op": "replace", "path": "/x", "value": 1}], PatchError, "/x: there is nothing here"),
        ([{"op": "add", "path": "/x/y", "value": 1}], PatchError, "/x: there is nothing here"),
        ([{"op": "add", "path": "/a/b", "value": 1}], PatchError, "/a: is neither an object nor a list"),
        ([{"op": "add", "path": "/l/3", "value": 1}], PatchError, "/l/3: there is nothing here"),
        ([{"op": "add", "path": "/l/01", "value": 1}], PatchError, "/l/01: is not an index of a list"),
        ([{"op": "add", "path": "/l/-1", "value": 1}], PatchError, "/l/-1: is not an index of a list"),
        ([{"op": "remove", "path": "/l/-"}], PatchError, "/l/-: is not an index of a list"),
        ([{"op": "test", "path": "/a", "value": 2}], PatchTestFailed, "/a: testing value failed"),
        ([{"op": "test", "path": "/t", "value": 1}], PatchTestFailed, "/t: testing value failed"),
        ([{"op": "add", "path": "/b"}], PatchMalformed, "/b: operation 'add' needs a value"),
        ([{"op": "add", "value": 1}], PatchMalformed, "operation 'add' needs 'path'"),
        ([{"op": "move", "path": "/b"}], PatchMalformed, "operation 'move' needs 'from'"),
        ([{"op": "frob", "path": "/b"}], PatchMalformed, "unknown operation 'frob'"),
        ([{"op": "add", "path": "b", "value": 1}], PatchMalformed, "b: a JSON pointer begins with '/'"),
        ([{"op": "add", "path": "/~2", "value": 1}], PatchMalformed, "/~2: '~' is written '~0'"),
        ([{"op": "move", "from": "/o", "path": "/o/p"}], PatchMalformed, "/o: a value cannot be moved into itself"),
        (["add"], PatchMalformed, "[0]: an operation is an object"),
        ("no", PatchMalformed, "a JSON patch is a list of operations"),
    ],
)
def test_a_json_patch_that_does_not_apply_says_where(operations: Any, error: type[PatchError], message: str) -> None:
    with pytest.raises(error) as caught:
        json_patch({"a": 1, "l": [1, 2], "t": True, "o": {}}, operations)
    assert str(caught.value).startswith(message)


def test_a_json_patch_is_bounded() -> None:
    with pytest.raises(PatchTooLarge, match="The allowed maximum operations in a JSON patch is 10000, got 10001"):
        json_patch({}, [{"op": "add", "path": "/a", "value": 1}] * 10_001)
    doubling = [{"op": "copy", "from": "", "path": "/a"}] * 100
    with pytest.raises(PatchTooLarge, match="copies add more than"):
        json_patch({"text": "x" * 1000}, doubling)
    with pytest.raises(PatchTooLarge, match="levels deep"):
        json_patch({}, [{"op": "add", "path": "/a" * 300, "value": 1}])
    with pytest.raises(PatchTooLarge, match="levels deep"):
        json_patch({}, [{"op": "add", "path": "/a", "value": nested(300)}])


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_applies_as_the_examples_of_rfc_7386(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == result
    assert target == before


def test_a_merge_patch_is_bounded() -> None:
    with pytest.raises(PatchTooLarge):
        merge_patch({}, nested(300))


def test_a_merge_patch_is_computed() -> None:
    original = {"a": 1, "b": {"c": 1, "d": 2}, "l": [1]}
    modified = {"b": {"c": 1, "d": 3}, "l": [1, 2], "n": True}
    assert create_merge_patch(original, modified) == {"a": None, "b": {"d": 3}, "l": [1, 2], "n": True}
    assert create_merge_patch(original, original) == {}
    assert create_merge_patch({"a": 1}, {"a": True}) == {"a": True}
