"""The rules of ownership (KEP-555), case by case: what a field set is, what a merge, an apply and an update do."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stark.apiserver.apply import fieldsets as sets
from stark.apiserver.apply import manager as owners
from stark.apiserver.apply import typed
from stark.apiserver.apply.manager import APPLY, UPDATE, Conflicts, Manager

Object = dict[str, Any]
TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


def struct(**fields: Any) -> Object:
    return {"type": "object", "properties": fields}


PORT = struct(port=NUMBER, protocol={**TEXT, "default": "TCP"}, name=TEXT)
ITEM = struct(
    name=TEXT,
    image=TEXT,
    ports={
        "type": "array",
        "items": PORT,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
    },
)
SCHEMA = struct(
    spec=struct(
        replicas=NUMBER,
        image=TEXT,
        strategy=struct(kind=TEXT, surge=NUMBER),
        items={
            "type": "array",
            "items": ITEM,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
        tags={"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
        words={"type": "array", "items": TEXT},
        settings={"type": "object", "additionalProperties": TEXT},
        selector={"type": "object", "additionalProperties": TEXT, "x-kubernetes-map-type": "atomic"},
        free={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    ),
    status=struct(ready=NUMBER),
)
KIND = typed.kind_type(SCHEMA)
SPEC = KIND.fields["spec"][1]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def tree(*paths: str) -> sets.Tree:
    """A set from paths whose steps are separated by spaces."""
    return sets.from_paths(*(tuple(path.split(" ")) for path in paths))


def paths_of(fields: sets.Tree) -> set[str]:
    return {" ".join(path) for path in sets.members(fields)}


UNIONS = [
    pytest.param(("f:a",), ("f:b",), ("f:a", "f:b"), id="of disjoint sets has both"),
    pytest.param(("f:a",), ("f:a f:b",), ("f:a", "f:a f:b"), id="keeps a member above another"),
    pytest.param(("f:a f:b",), ("f:a",), ("f:a", "f:a f:b"), id="is the same the other way round"),
    pytest.param((), ("f:a",), ("f:a",), id="with nothing is the other"),
    pytest.param(("f:a f:b",), ("f:a f:c",), ("f:a f:b", "f:a f:c"), id="makes no member of a mere way"),
]


@pytest.mark.parametrize(("one", "other", "expected"), UNIONS)
def test_a_union(one: tuple[str, ...], other: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert paths_of(sets.union(tree(*one), tree(*other))) == set(expected)


DIFFERENCES = [
    pytest.param(("f:a", "f:b"), ("f:b",), ("f:a",), id="takes members away"),
    pytest.param(("f:a", "f:a f:b"), ("f:a",), ("f:a f:b",), id="leaves what is below a member"),
    pytest.param(("f:a", "f:a f:b"), ("f:a f:b",), ("f:a",), id="leaves what is above a member"),
    pytest.param(("f:a f:b",), ("f:a",), ("f:a f:b",), id="does not care for ways"),
    pytest.param(("f:a",), ("f:a",), (), id="with itself is empty"),
]


@pytest.mark.parametrize(("one", "other", "expected"), DIFFERENCES)
def test_a_difference(one: tuple[str, ...], other: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert paths_of(sets.difference(tree(*one), tree(*other))) == set(expected)


INTERSECTIONS = [
    pytest.param(("f:a", "f:b"), ("f:b", "f:c"), ("f:b",), id="has what both have"),
    pytest.param(("f:a", "f:a f:b"), ("f:a f:b",), ("f:a f:b",), id="does not have what only one has above"),
    pytest.param(("f:a",), ("f:a f:b",), (), id="is empty for a member and what is below it"),
]


@pytest.mark.parametrize(("one", "other", "expected"), INTERSECTIONS)
def test_an_intersection(one: tuple[str, ...], other: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert paths_of(sets.intersection(tree(*one), tree(*other))) == set(expected)


def test_taking_a_member_away_with_all_below() -> None:
    assert paths_of(sets.without(tree("f:a", "f:a f:b", "f:c"), tree("f:a"))) == {"f:c"}


def test_leaves_are_members_with_nothing_below() -> None:
    assert paths_of(sets.leaves(tree("f:a", "f:a f:b", "f:c"))) == {"f:a f:b", "f:c"}


MALFORMED = [
    pytest.param([], id="a list"),
    pytest.param({"f:a": 1}, id="a number for a node"),
    pytest.param({"x:a": {}}, id="an unknown step"),
    pytest.param({"k:nonsense": {}}, id="keys that are no JSON"),
    pytest.param({"k:{}": {}}, id="no keys"),
    pytest.param({"i:x": {}}, id="an index that is no number"),
]


@pytest.mark.parametrize("raw", MALFORMED)
def test_fields_are_malformed_with(raw: Any) -> None:
    with pytest.raises(sets.MalformedFields):
        sets.decode(raw)


DECODED = [
    pytest.param({"f:a": {".": {}}}, {"f:a": {}}, id="a lone dot is a leaf"),
    pytest.param({'k:{"b": 1, "a": 2}': {}}, {'k:{"a":2,"b":1}': {}}, id="keys are sorted"),
    pytest.param({'v: "x"': {}}, {'v:"x"': {}}, id="values are compact"),
    pytest.param({"i:0": {"f:a": {}}}, {"i:0": {"f:a": {}}}, id="indexes are kept"),
]


@pytest.mark.parametrize(("raw", "expected"), DECODED)
def test_decoding_makes_one_spelling(raw: Any, expected: Any) -> None:
    assert sets.decode(raw) == expected


WRITTEN = [
    pytest.param(("f:spec", "f:replicas"), ".spec.replicas", id="fields with dots"),
    pytest.param(("f:items", 'k:{"name":"x"}', "f:image"), '.items[name="x"].image', id="keys in brackets"),
    pytest.param(('k:{"port":80,"protocol":"TCP"}',), '[port=80,protocol="TCP"]', id="several keys with commas"),
    pytest.param(("f:finalizers", 'v:"a/b"'), '.finalizers[="a/b"]', id="values with an equals sign"),
    pytest.param(("f:x", "i:3"), ".x[3]", id="indexes bare"),
]


@pytest.mark.parametrize(("path", "expected"), WRITTEN)
def test_a_path_is_written(path: tuple[str, ...], expected: str) -> None:
    assert sets.written(path) == expected


FIELD_SETS = [
    pytest.param({"replicas": 1}, ("f:replicas",), id="a scalar is one field"),
    pytest.param({"strategy": {"kind": "x"}}, ("f:strategy f:kind",), id="a struct is its fields"),
    pytest.param({"strategy": {}}, ("f:strategy",), id="an empty struct is itself"),
    pytest.param({"strategy": None}, ("f:strategy",), id="a null is itself"),
    pytest.param({"settings": {"a": "1"}}, ("f:settings f:a",), id="a map is its entries"),
    pytest.param({"selector": {"a": "1"}}, ("f:selector",), id="an atomic map is one field"),
    pytest.param({"words": ["a", "b"]}, ("f:words",), id="a list without a type is one field"),
    pytest.param({"tags": ["a"]}, ('f:tags v:"a"',), id="a set is its values"),
    pytest.param(
        {"items": [{"name": "x"}]},
        ('f:items k:{"name":"x"}', 'f:items k:{"name":"x"} f:name'),
        id="a list of items is the items and their fields",
    ),
    pytest.param({"free": {"a": {"b": [1]}}}, ("f:free f:a", "f:free f:a f:b"), id="free fields are a map's entries"),
    pytest.param({"unknown": 1}, (), id="what the schema does not know is nobody's"),
]


@pytest.mark.parametrize(("spec", "expected"), FIELD_SETS)
def test_the_fields_of_a_configuration(spec: Object, expected: tuple[str, ...]) -> None:
    assert paths_of(typed.field_set(spec, SPEC)) == set(expected)


def test_a_key_that_is_left_out_is_its_default() -> None:
    step = typed.step_of({"port": 80}, SPEC.fields["items"][1].other.fields["ports"][1])  # type: ignore[union-attr]
    assert step == 'k:{"port":80,"protocol":"TCP"}'


MERGES = [
    pytest.param({"replicas": 1}, {"image": "x"}, {"replicas": 1, "image": "x"}, id="adds fields"),
    pytest.param({"replicas": 1}, {"replicas": 2}, {"replicas": 2}, id="replaces scalars"),
    pytest.param({"replicas": 1}, {"replicas": None}, {}, id="removes what is null"),
    pytest.param(
        {"selector": {"a": "1"}}, {"selector": {"b": "1"}}, {"selector": {"b": "1"}}, id="replaces the atomic"
    ),
    pytest.param({"words": ["a"]}, {"words": ["b"]}, {"words": ["b"]}, id="replaces lists without a type"),
    pytest.param({"tags": ["a"]}, {"tags": ["b"]}, {"tags": ["a", "b"]}, id="unites sets"),
    pytest.param(
        {"settings": {"a": "1"}}, {"settings": {"b": "2"}}, {"settings": {"a": "1", "b": "2"}}, id="unites maps"
    ),
    pytest.param(
        {"items": [{"name": "x", "image": "1"}, {"name": "y"}]},
        {"items": [{"name": "x", "image": "2"}]},
        {"items": [{"name": "x", "image": "2"}, {"name": "y"}]},
        id="merges items by their keys",
    ),
    pytest.param(
        {"tags": ["a", "b"]}, {"tags": ["b", "a"]}, {"tags": ["b", "a"]}, id="takes the order that is applied"
    ),
    pytest.param(
        {"tags": ["a", "b"]}, {"tags": ["b", "c"]}, {"tags": ["a", "b", "c"]}, id="keeps others before their followers"
    ),
]


@pytest.mark.parametrize(("live", "config", "expected"), MERGES)
def test_a_merge(live: Object, config: Object, expected: Object) -> None:
    assert typed.merge(live, config, SPEC) == expected


COMPARISONS = [
    pytest.param({"replicas": 1}, {"replicas": 2}, ((), ("f:replicas",), ()), id="a changed scalar is modified"),
    pytest.param(
        {}, {"strategy": {"kind": "x"}}, (("f:strategy", "f:strategy f:kind"), (), ()), id="the new with all in it"
    ),
    pytest.param({"replicas": 1}, {}, ((), (), ("f:replicas",)), id="the missing is removed"),
    pytest.param({"tags": ["a", "b"]}, {"tags": ["b", "a"]}, ((), (), ()), id="order is no change"),
    pytest.param(
        {"words": ["a", "b"]}, {"words": ["b", "a"]}, ((), ("f:words",), ()), id="but of an atomic list it is"
    ),
    pytest.param({"tags": ["a"]}, {"tags": ["b"]}, (('f:tags v:"b"',), (), ('f:tags v:"a"',)), id="values come and go"),
]


@pytest.mark.parametrize(("old", "new", "expected"), COMPARISONS)
def test_a_comparison(old: Object, new: Object, expected: tuple[tuple[str, ...], ...]) -> None:
    changes = typed.compare(old, new, SPEC)
    found = tuple(paths_of(part) for part in (changes.added, changes.modified, changes.removed))
    assert found == tuple(set(part) for part in expected)


def test_items_with_the_same_keys_are_found_with_their_path() -> None:
    with pytest.raises(typed.NoItem, match=r"^\.spec\.items: duplicate entries for key"):
        typed.check({"spec": {"items": [{"name": "x"}, {"name": "x"}]}}, KIND)


def test_an_item_without_its_key_is_found() -> None:
    with pytest.raises(typed.NoItem, match='omits key field "name"'):
        typed.check({"spec": {"items": [{"image": "x"}]}}, KIND)


@dataclass
class World:
    """One object and its writers, a second apart."""

    obj: Object | None = None
    now: datetime = NOW
    owned: dict[str, set[str]] = field(default_factory=dict)

    def apply(self, name: str, *, force: bool = False, **spec: Any) -> World:
        self.now += timedelta(seconds=1)
        config = {"metadata": {"name": "o"}, "spec": spec}
        by = Manager(name, APPLY, "v1")
        self.obj = owners.apply(self.obj, config, KIND, by, self.now, force=force, apart={})
        return self

    def update(self, name: str, version: str = "v1", **spec: Any) -> World:
        self.now += timedelta(seconds=1)
        by = Manager(name, UPDATE, version)
        meta = dict(self.obj["metadata"]) if self.obj else {"name": "o"}
        new = {"metadata": meta, "spec": copy.deepcopy(spec)}
        if self.obj is None:
            owners.record_create(new, KIND, by, self.now, {})
        else:
            owners.record_update(self.obj, new, KIND, by, self.now, {})
        self.obj = new
        return self

    @property
    def spec(self) -> Object:
        assert self.obj is not None
        return dict(self.obj.get("spec") or {})

    def of(self, name: str) -> set[str]:
        assert self.obj is not None
        found = (one.fields for one in owners.recorded(self.obj).values() if one.manager.name == name)
        return {path.removeprefix("f:spec ") for fields in found for path in paths_of(fields)}


def test_a_first_apply_owns_what_it_says() -> None:
    world = World().apply("a", replicas=1, strategy={"kind": "x"})
    assert world.of("a") == {"f:replicas", "f:strategy f:kind"}


def test_a_second_applier_of_the_same_value_shares_it() -> None:
    world = World().apply("a", replicas=1).apply("b", replicas=1)
    assert world.of("a") == world.of("b") == {"f:replicas"}


def test_a_second_applier_of_another_value_is_refused() -> None:
    with pytest.raises(Conflicts, match=r'^Apply failed with 1 conflict: conflict with "a": \.spec\.replicas$'):
        World().apply("a", replicas=1).apply("b", replicas=2)


def test_force_takes_from_the_owner_only_what_changes() -> None:
    world = World().apply("a", replicas=1, image="x").apply("b", force=True, replicas=2)
    assert (world.of("a"), world.of("b")) == ({"f:image"}, {"f:replicas"})


def test_a_sharer_who_changes_its_mind_is_in_the_others_way() -> None:
    with pytest.raises(Conflicts):
        World().apply("a", replicas=1).apply("b", replicas=1).apply("a", replicas=2)


def test_what_an_updater_owns_is_refused_too() -> None:
    with pytest.raises(Conflicts, match=r'conflict with "u" using v1: \.spec\.replicas'):
        World().update("u", replicas=1).apply("a", replicas=2)


def test_an_updater_asks_nobody() -> None:
    world = World().apply("a", replicas=1).update("u", replicas=2)
    assert (world.of("a"), world.of("u")) == (set(), {"f:replicas"})


def test_an_updater_with_the_same_value_takes_nothing() -> None:
    world = World().apply("a", replicas=1).update("u", replicas=1)
    assert (world.of("a"), world.of("u")) == ({"f:replicas"}, set())


def test_a_field_that_is_no_longer_applied_goes() -> None:
    assert World().apply("a", replicas=1, image="x").apply("a", image="x").spec == {"image": "x"}


def test_a_field_that_another_applies_stays() -> None:
    world = World().apply("a", replicas=1).apply("b", replicas=1).apply("a", image="x")
    assert world.spec == {"replicas": 1, "image": "x"}


def test_a_field_that_an_updater_set_stays() -> None:
    world = World().apply("a", replicas=1, image="x").update("u", replicas=2, image="x").apply("a", image="x")
    assert world.spec == {"replicas": 2, "image": "x"}


def test_an_item_that_is_no_longer_applied_goes_with_its_defaults() -> None:
    world = World().apply("a", items=[{"name": "x"}, {"name": "y"}])
    assert world.obj is not None
    world.obj["spec"]["items"][0]["image"] = "default"
    assert world.apply("a", items=[{"name": "y"}]).spec == {"items": [{"name": "y"}]}


def test_an_item_of_which_another_owns_a_part_stays() -> None:
    world = World().apply("a", items=[{"name": "x", "image": "1"}])
    world.apply("b", items=[{"name": "x", "ports": [{"port": 1, "protocol": "TCP"}]}])
    left = world.apply("a", items=[]).spec["items"]
    assert left == [{"name": "x", "ports": [{"port": 1, "protocol": "TCP"}]}]


def test_a_value_of_a_set_goes_with_its_last_applier() -> None:
    world = World().apply("a", tags=["p", "q"]).apply("b", tags=["q"]).apply("a", tags=[])
    assert world.spec["tags"] == ["q"]
    assert "tags" not in world.apply("b", image="x").spec


def test_the_last_entry_of_a_map_takes_the_map_with_it() -> None:
    assert World().apply("a", image="x", settings={"k": "v"}).apply("a", image="x").spec == {"image": "x"}


def test_a_map_that_is_wanted_empty_is_there_and_empty() -> None:
    world = World().apply("a", strategy={"kind": "x"}).apply("a", strategy={})
    assert world.spec == {"strategy": {}}
    assert world.of("a") == {"f:strategy"}


def test_an_atomic_map_has_one_owner() -> None:
    with pytest.raises(Conflicts, match=r"\.spec\.selector$"):
        World().apply("a", selector={"x": "1"}).apply("b", selector={"y": "1"})


def test_times_move_with_the_set_only() -> None:
    world = World().apply("a", replicas=1)
    assert world.obj is not None
    first = copy.deepcopy(world.obj)
    assert world.apply("a", replicas=1).obj == first
    assert world.apply("a", replicas=2).obj["metadata"] == first["metadata"]  # type: ignore[index]
    assert world.apply("a", replicas=2, image="x").obj["metadata"] != first["metadata"]  # type: ignore[index]


def test_what_was_there_without_a_record_belongs_to_before_the_first_apply() -> None:
    world = World({"metadata": {"name": "o"}, "spec": {"replicas": 1}}).apply("a", image="x")
    assert world.of("before-first-apply") == {"f:spec", "f:replicas"}


def test_an_empty_list_does_not_reset_the_record_but_an_empty_entry_does() -> None:
    world = World().apply("a", replicas=1)
    assert world.obj is not None
    world.obj["metadata"]["managedFields"], kept = [{}], world.obj["metadata"]["managedFields"]
    old = {**world.obj, "metadata": {**world.obj["metadata"], "managedFields": kept}}
    new = {**old, "metadata": {**old["metadata"], "managedFields": []}}
    by = Manager("u", UPDATE, "v1")
    owners.record_update(old, new, KIND, by, NOW, {})
    assert new["metadata"]["managedFields"] == kept
    owners.record_update(old, world.obj, KIND, by, NOW, {})
    assert "managedFields" not in world.obj["metadata"]


def test_a_broken_record_from_a_client_is_not_believed() -> None:
    world = World().apply("a", replicas=1)
    assert world.obj is not None
    new = {**world.obj, "metadata": {"name": "o", "managedFields": [{"manager": "x", "operation": "Nonsense"}]}}
    owners.record_update(world.obj, new, KIND, Manager("u", UPDATE, "v1"), NOW, {})
    assert new["metadata"]["managedFields"] == world.obj["metadata"]["managedFields"]


def test_updaters_beyond_ten_become_ancient() -> None:
    world = World()
    for number in range(14):
        world.update(f"u{number:02}", settings={f"k{n}": "v" for n in range(number + 1)})
    assert world.obj is not None
    names = [one.manager.name for one in owners.recorded(world.obj).values()]
    assert len(names) == owners.UPDATERS_MAX
    assert {"ancient-changes", "u13"} <= set(names)
    assert "u00" not in names
    assert {f"f:settings f:k{n}" for n in range(5)} <= world.of("ancient-changes")


def test_kubectl_takes_over_what_it_applied_from_the_client_side() -> None:
    text = '{"metadata":{"annotations":{},"name":"o"},"spec":{"replicas":1}}'
    live = {"metadata": {"name": "o", "annotations": {owners.LAST_APPLIED: text}}, "spec": {"replicas": 1}}
    owners.record_create(live, KIND, Manager("kubectl-client-side-apply", UPDATE, "v1"), NOW, {})
    config = {"metadata": {"name": "o"}, "spec": {"replicas": 2}}

    def applied(name: str) -> Object:
        return owners.apply(live, config, KIND, Manager(name, APPLY, "v1"), NOW, force=False, apart={})

    with pytest.raises(Conflicts):
        applied("other")
    taken = applied("kubectl")
    assert taken["spec"] == {"replicas": 2}
    assert '"replicas":2' in taken["metadata"]["annotations"][owners.LAST_APPLIED]


def test_kubectl_does_not_take_over_what_changed_since() -> None:
    text = '{"metadata":{"annotations":{},"name":"o"},"spec":{"replicas":1}}'
    live = {"metadata": {"name": "o", "annotations": {owners.LAST_APPLIED: text}}, "spec": {"replicas": 7}}
    owners.record_create(live, KIND, Manager("scaler", UPDATE, "v1"), NOW, {})
    config = {"metadata": {"name": "o"}, "spec": {"replicas": 2}}
    with pytest.raises(Conflicts, match="scaler"):
        owners.apply(live, config, KIND, Manager("kubectl", APPLY, "v1"), NOW, force=False, apart={})


def test_nobody_owns_what_identifies_an_object() -> None:
    new = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "o", "uid": "1", "labels": {"a": "b"}}}
    owners.record_create(new, KIND, Manager("u", UPDATE, "v1"), NOW, {})
    assert new["metadata"]["managedFields"][0]["fieldsV1"] == {  # type: ignore[index]
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}}
    }
