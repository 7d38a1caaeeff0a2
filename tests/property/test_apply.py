"""Laws of applying: twice is once, those who say different things are never in each other's way, what is set is owned."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from stark.apiserver.apply import fieldsets as sets
from stark.apiserver.apply import manager as owners
from stark.apiserver.apply import typed
from stark.apiserver.apply.manager import APPLY, UPDATE, Manager

Object = dict[str, Any]
LAW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

TEXT = {"type": "string"}
MAP = {"type": "object", "additionalProperties": TEXT}
ITEM = {"type": "object", "properties": {"name": TEXT, "image": TEXT, "map": MAP}}
SPEC = {
    "a": TEXT,
    "b": {"type": "object", "properties": {"c": TEXT, "d": TEXT}},
    "map": MAP,
    "whole": {**MAP, "x-kubernetes-map-type": "atomic"},
    "tags": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
    "list": {"type": "array", "items": TEXT},
    "items": {
        "type": "array",
        "items": ITEM,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    },
}
KIND = typed.kind_type({"type": "object", "properties": {"spec": {"type": "object", "properties": SPEC}}})

WORDS = st.sampled_from(["x", "y", "z"])
MAPS = st.dictionaries(WORDS, WORDS, max_size=3)


def _item(name: str) -> st.SearchStrategy[Object]:
    return st.fixed_dictionaries({"name": st.just(name)}, optional={"image": WORDS, "map": MAPS})


ITEMS = (
    st.lists(WORDS, unique=True, max_size=3)
    .flatmap(lambda names: st.tuples(*(_item(name) for name in names)))
    .map(list)
)
SPECS: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {},
    optional={
        "a": WORDS,
        "b": st.fixed_dictionaries({}, optional={"c": WORDS, "d": WORDS}),
        "map": MAPS,
        "whole": MAPS,
        "tags": st.lists(WORDS, unique=True, max_size=3),
        "list": st.lists(WORDS, max_size=3),
        "items": ITEMS,
    },
)


def apply(live: Object | None, name: str, spec: Object, now: datetime = NOW, *, force: bool = False) -> Object:
    config = {"metadata": {"name": "o"}, "spec": copy.deepcopy(spec)}
    return owners.apply(live, config, KIND, Manager(name, APPLY, "v1"), now, force=force, apart={})


def owned(obj: Object) -> sets.Tree:
    result: sets.Tree = {}
    for one in owners.recorded(obj).values():
        result = sets.union(result, one.fields)
    return result


@LAW
@given(SPECS, SPECS)
def test_applying_twice_is_applying_once(before: Object, spec: Object) -> None:
    first = apply(apply(None, "a", before), "b", spec, force=True)
    assume(owned(first))  # what nobody owns (an empty list) counts as older than the first apply
    assert apply(first, "b", spec, LATER) == first


@LAW
@given(SPECS, SPECS, SPECS)
def test_what_came_before_leaves_no_trace(one: Object, two: Object, last: Object) -> None:
    """A single applier gets what it would have got at once, but for empty shells."""
    long = apply(apply(apply(None, "a", one), "a", two), "a", last)
    assert typed.field_set(long.get("spec") or {}, KIND.fields["spec"][1]) == typed.field_set(
        last, KIND.fields["spec"][1]
    ) or _bare(long.get("spec") or {}) == _bare(last)
    assume(owned(long))
    assert apply(long, "a", last, LATER) == long


def _bare(value: Any) -> Any:
    """Without what is empty; lists that merge in one order."""
    if isinstance(value, dict):
        left = {name: _bare(item) for name, item in value.items()}
        return {name: item for name, item in left.items() if item not in (None, {}, [])}
    return sorted((_bare(item) for item in value), key=repr) if isinstance(value, list) else value


@LAW
@given(SPECS, st.sets(st.sampled_from(sorted(SPEC))))
def test_two_who_say_different_things_never_conflict(spec: Object, mine: set[str]) -> None:
    ours = {name: value for name, value in spec.items() if name in mine}
    theirs = {name: value for name, value in spec.items() if name not in mine}
    both = apply(apply(None, "a", ours), "b", theirs)
    again = apply(apply(both, "a", ours, LATER), "b", theirs, LATER)
    assert again == both
    assert _bare(both.get("spec")) == _bare(spec)


@LAW
@given(SPECS)
def test_what_was_created_is_owned_exactly(spec: Object) -> None:
    new: Object = {"metadata": {"name": "o"}, "spec": spec}
    owners.record_create(new, KIND, Manager("u", UPDATE, "v1"), NOW, {})
    expected = typed.everything(spec, KIND.fields["spec"][1])
    assert owned(new) == {"f:spec": expected}


@LAW
@given(SPECS, SPECS)
def test_an_update_leaves_no_owner_of_what_is_gone_and_none_missing(before: Object, after: Object) -> None:
    old = apply(None, "a", before)
    new = {"metadata": copy.deepcopy(old["metadata"]), "spec": after}
    owners.record_update(old, new, KIND, Manager("u", UPDATE, "v1"), NOW, {})
    there = {"f:spec": typed.everything(after, KIND.fields["spec"][1])}
    # A map that lost its last entry is what is left of it, and nobody's.
    left = {"spec": _bare(after)} if _bare(after) else {}
    assert not sets.difference(typed.field_set(left, KIND), owned(new))
    assert not sets.difference(sets.leaves(owned(new)), there)


@LAW
@given(SPECS, SPECS)
def test_a_record_survives_the_wire(one: Object, two: Object) -> None:
    obj = apply(apply(None, "a", one), "b", two, force=True)
    assert owners.encode(owners.decode(obj["metadata"].get("managedFields"))) == obj["metadata"].get(
        "managedFields", []
    )
