"""Strategic merge patch and the three-way merge do what Kubernetes' do."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from stark.crds.loader import merge_keys_of
from stark.crds.patches import (
    MERGE_SCALARS,
    RETAIN_KEYS,
    PatchMalformed,
    PatchTooLarge,
    strategic_merge_patch,
    three_way_merge,
)

KEYS = {"items": "name", "items.env": "name", "tags": MERGE_SCALARS, "how": RETAIN_KEYS, "free.*.items": "name"}


def named(*names: str, **extra: Any) -> list[dict[str, Any]]:
    return [{"name": name, **extra} for name in names]


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        pytest.param({"a": 1, "b": {"c": 1}}, {"b": {"d": 2}}, {"a": 1, "b": {"c": 1, "d": 2}}, id="maps merge"),
        pytest.param({"a": 1, "b": 2}, {"a": None, "x": None}, {"b": 2}, id="null removes"),
        pytest.param({}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}, id="a null in something new is nothing"),
        pytest.param({"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}, {"a": {"c": 2}}, id="a map is replaced"),
        pytest.param({"a": {"b": 1}}, {"a": {"$patch": "delete"}}, {"a": {}}, id="a map is emptied"),
        pytest.param(
            {"a": {"b": 1}}, {"a": {"$patch": "merge", "c": 2}}, {"a": {"b": 1, "c": 2}}, id="a map is merged"
        ),
        pytest.param({"list": [1, 2]}, {"list": [3]}, {"list": [3]}, id="a list without a key is replaced"),
        pytest.param(
            {"items": named("a", "b", v=1)},
            {"items": [{"name": "b", "v": 2}, {"name": "c"}]},
            {"items": [{"name": "a", "v": 1}, {"name": "b", "v": 2}, {"name": "c"}]},
            id="items merge by their key",
        ),
        pytest.param(
            {"items": named("a", "b", "c")},
            {"items": [{"name": "b", "$patch": "delete"}, {"name": "gone", "$patch": "delete"}]},
            {"items": named("a", "c")},
            id="an item is deleted",
        ),
        pytest.param(
            {"items": named("a", "b")},
            {"items": [{"$patch": "replace"}, {"name": "c"}]},
            {"items": named("c")},
            id="a list is replaced",
        ),
        pytest.param({"items": named("a")}, {"items": [{"$patch": "replace"}]}, {"items": []}, id="a list is emptied"),
        pytest.param(
            {},
            {"items": [{"name": "a", "$patch": "delete"}, {"name": "b"}]},
            {"items": named("b")},
            id="no directive is stored",
        ),
        pytest.param(
            {"items": [{"name": "a", "env": named("X", value="1")}]},
            {"items": [{"name": "a", "env": named("Y", value="2")}]},
            {"items": [{"name": "a", "env": [*named("Y", value="2"), *named("X", value="1")]}]},
            id="lists below items merge too, new items come first",
        ),
        pytest.param(
            {"tags": ["a", "b"]}, {"tags": ["b", "c"]}, {"tags": ["a", "b", "c"]}, id="scalars merge as a set"
        ),
        pytest.param(
            {"tags": ["a", "b"]}, {"$deleteFromPrimitiveList/tags": ["a"]}, {"tags": ["b"]}, id="a scalar is deleted"
        ),
        pytest.param(
            {"how": {"type": "Rolling", "rolling": {"surge": 1}}},
            {"how": {"$retainKeys": ["type"], "type": "Recreate"}},
            {"how": {"type": "Recreate"}},
            id="only retained keys stay",
        ),
        pytest.param(
            {"items": named("a", "b", "c")},
            {"$setElementOrder/items": named("c", "a")},
            {"items": named("b", "c", "a")},
            id="order alone",
        ),
        pytest.param(
            {"items": named("server", "a", "b")},
            {"$setElementOrder/items": named("b", "a", "new"), "items": named("new")},
            {"items": named("server", "b", "a", "new")},
            id="order with an addition keeps what the server has first",
        ),
        pytest.param(
            {"tags": ["a", "b", "c"]},
            {"$setElementOrder/tags": ["c", "b"], "$deleteFromPrimitiveList/tags": ["a"]},
            {"tags": ["c", "b"]},
            id="order of scalars with a deletion",
        ),
        pytest.param(
            {"free": {"any.name": {"items": named("a")}}},
            {"free": {"any.name": {"items": named("b")}}},
            {"free": {"any.name": {"items": named("b", "a")}}},
            id="below a free map",
        ),
        pytest.param({"items": "text"}, {"items": named("a")}, {"items": named("a")}, id="another type replaces"),
    ],
)
def test_a_strategic_merge_patch_applies(target: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    before = copy.deepcopy((target, patch))
    assert strategic_merge_patch(target, patch, KEYS) == result
    assert (target, patch) == before


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"a": {"$patch": "frob"}}, "a: unknown patch type 'frob' in map"),
        ({"items": [{"$patch": "frob", "name": "x"}]}, "items: unknown patch type 'frob' in list"),
        ({"items": [{"v": 1}]}, "items: map: {'v': 1} does not contain declared merge key: name"),
        (
            {"items": [{"$patch": "delete"}]},
            "items: map: {'$patch': 'delete'} does not contain declared merge key: name",
        ),
        ({"items": ["x"]}, "items: the items of this list are objects"),
        ({"how": {"$retainKeys": ["type"], "other": 1}}, "how: $retainKeys must name every field that the patch sets"),
        ({"how": {"$retainKeys": "type"}}, "how: $retainKeys must be a list of names"),
        ({"$setElementOrder/items": "x"}, "$setElementOrder/items: must be a list"),
        ({"$deleteFromPrimitiveList/tags": "x"}, "$deleteFromPrimitiveList/tags: must be a list"),
    ],
)
def test_a_strategic_merge_patch_that_makes_no_sense_says_where(patch: dict[str, Any], message: str) -> None:
    target = {"a": {}, "items": named("a"), "tags": ["a"], "how": {}}
    with pytest.raises(PatchMalformed) as caught:
        strategic_merge_patch(target, patch, KEYS)
    assert str(caught.value) == message


def test_a_strategic_merge_patch_is_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(PatchTooLarge):
        strategic_merge_patch({}, deep, KEYS)
    with pytest.raises(PatchTooLarge):
        strategic_merge_patch(deep, deep, KEYS)
    with pytest.raises(PatchTooLarge):
        three_way_merge(deep, deep, deep, KEYS)


@pytest.mark.parametrize(
    ("original", "modified", "current", "patch"),
    [
        pytest.param({"a": 1}, {"a": 1}, {"a": 1, "server": 2}, {}, id="nothing to do"),
        pytest.param({}, {"a": {"b": 1}}, {}, {"a": {"b": 1}}, id="something new"),
        pytest.param({"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 2, "c": 3}, {"b": None}, id="what was dropped goes"),
        pytest.param({"b": 2}, {}, {}, {}, id="what is gone already stays gone"),
        pytest.param(None, {"a": 1}, {"a": 2, "b": 3}, {"a": 1}, id="never applied: nothing is removed"),
        pytest.param({"a": 1}, {"a": 2}, {"a": 3}, {"a": 2}, id="mine wins over a change by others"),
        pytest.param(
            {"items": named("a", "b")},
            {"items": named("a")},
            {"items": named("a", "b", "server")},
            {"items": [{"$patch": "delete", "name": "b"}], "$setElementOrder/items": named("a")},
            id="a dropped item goes, a foreign one stays",
        ),
        pytest.param(
            {"items": named("a", v=1)},
            {"items": named("a", v=2)},
            {"items": [{"name": "a", "v": 1, "default": True}]},
            {"items": [{"name": "a", "v": 2}], "$setElementOrder/items": named("a")},
            id="an item changes, its defaults stay",
        ),
        pytest.param(
            {"tags": ["a", "b"]},
            {"tags": ["b", "c"]},
            {"tags": ["a", "b", "s"]},
            {"tags": ["c"], "$deleteFromPrimitiveList/tags": ["a"], "$setElementOrder/tags": ["b", "c"]},
            id="scalars come and go",
        ),
        pytest.param(
            {"how": {"type": "Rolling"}},
            {"how": {"type": "Recreate"}},
            {"how": {"type": "Rolling", "rolling": {"surge": 1}}},
            {"how": {"type": "Recreate", "$retainKeys": ["type"]}},
            id="a changed union loses its other half",
        ),
        pytest.param(
            {"how": {"type": "R"}},
            {"how": {"type": "R"}},
            {"how": {"type": "R", "d": 1}},
            {},
            id="a default is no change",
        ),
        pytest.param(
            {},
            {"items": named("a", "a")},
            {"items": named("b")},
            {"items": [*named("a", "a"), {"$patch": "replace"}]},
            id="doubled keys replace",
        ),
        pytest.param(
            {"items": named("a", "a")},
            {"items": named("a", "a")},
            {"items": named("a", "a", d=1)},
            {},
            id="doubled keys, nothing to do",
        ),
    ],
)
def test_a_three_way_merge_sends_what_is_needed(
    original: dict[str, Any] | None, modified: dict[str, Any], current: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert three_way_merge(original, modified, current, KEYS) == patch


def test_without_merge_keys_lists_are_replaced() -> None:
    patch = three_way_merge({"l": [1], "a": {"x": 1}}, {"l": [1, 2], "a": {}}, {"l": [1], "a": {"x": 1, "y": 2}}, None)
    assert patch == {"l": [1, 2], "a": {"x": None}}


def test_two_ports_of_one_number_survive_an_apply() -> None:
    keys = merge_keys_of("", "Pod")
    ports = [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]
    wanted = {"spec": {"containers": [{"name": "dns", "ports": ports}]}}
    current = {"spec": {"containers": [{"name": "dns", "image": "x", "ports": ports[:1]}]}}
    patch = three_way_merge(wanted, wanted, current, keys)
    assert strategic_merge_patch(current, patch, keys)["spec"]["containers"][0]["ports"] == ports


def test_set_image_patches_one_container() -> None:
    keys = merge_keys_of("apps", "Deployment")
    containers = [{"name": "a", "image": "pack.stark/a:1.0.0"}, {"name": "b", "image": "pack.stark/b:1.0.0"}]
    deployment = {"spec": {"template": {"spec": {"containers": containers}}}}
    wanted = {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "pack.stark/b:2.0.0"}]}}}}
    result = strategic_merge_patch(deployment, wanted, keys)
    images = [container["image"] for container in result["spec"]["template"]["spec"]["containers"]]
    assert images == ["pack.stark/a:1.0.0", "pack.stark/b:2.0.0"]
