"""Who belongs to whom, and what becomes of an object whose owners are gone, going, or unknown."""

from __future__ import annotations

import pytest

from stark.controllers.garbage.graph import Graph, Item, item_of, may_own
from stark.controllers.garbage.planning import (
    Act,
    AwaitDependents,
    Delete,
    DropOwners,
    Finish,
    Nothing,
    Orphan,
    Owner,
    plan,
)
from stark.crds.apps import Deployment, ReplicaSet
from stark.crds.meta import ObjectMeta, OwnerReference
from stark.crds.pods import Pod
from tests.support.workloads import NOW

KINDS = {"deployment": Deployment, "rs": ReplicaSet, "pod": Pod}


def ref(name: str, *, block: bool = True) -> OwnerReference:
    kind = KINDS[name.partition("-")[0]].RESOURCE
    return OwnerReference(
        api_version=kind.api_version, kind=kind.kind, name=name, uid=name, controller=True, block_owner_deletion=block
    )


def item(name: str, *owners: str, finalizers: tuple[str, ...] = (), deleting: bool = False, block: bool = True) -> Item:
    meta = ObjectMeta(
        name=name,
        namespace="default",
        uid=name,
        owner_references=[ref(owner, block=block) for owner in owners],
        finalizers=list(finalizers),
        deletion_timestamp=NOW if deleting else None,
    )
    return item_of(KINDS[name.partition("-")[0]].RESOURCE, meta)


FOREGROUND = ("foregroundDeletion",)
WAITING = item("pod-1", "rs-1", finalizers=FOREGROUND, deleting=True)


@pytest.mark.parametrize(
    ("object_", "owners", "dependents", "act"),
    [
        pytest.param(item("pod-1"), {}, [], Nothing(), id="without owners stays"),
        pytest.param(item("pod-1", "rs-1"), {"rs-1": Owner.SOLID}, [], Nothing(), id="with its owner stays"),
        pytest.param(item("pod-1", "rs-1"), {"rs-1": Owner.UNKNOWN}, [], Nothing(), id="that may have an owner stays"),
        pytest.param(
            item("pod-1", "rs-1", "rs-2"),
            {"rs-1": Owner.GONE, "rs-2": Owner.UNKNOWN},
            [],
            Nothing(),
            id="that may have another owner stays",
        ),
        pytest.param(
            item("pod-1", "rs-1"), {"rs-1": Owner.GONE}, [], Delete("Background"), id="that lost its only owner goes"
        ),
        pytest.param(
            item("pod-1", "rs-1", "rs-2"),
            {"rs-1": Owner.GONE, "rs-2": Owner.SOLID},
            [],
            DropOwners(frozenset({"rs-1"})),
            id="that lost one of its owners forgets it",
        ),
        pytest.param(
            item("pod-1", "rs-1", "rs-2"),
            {"rs-1": Owner.WAITING, "rs-2": Owner.SOLID},
            [],
            DropOwners(frozenset({"rs-1"})),
            id="that another keeps does not hold up a deletion",
        ),
        pytest.param(
            item("pod-1", "rs-1"), {"rs-1": Owner.WAITING}, [], Delete("Background"), id="whose owner waits goes first"
        ),
        pytest.param(
            item("rs-1", "deployment-1"),
            {"deployment-1": Owner.WAITING},
            [item("pod-1", "rs-1")],
            Delete("Foreground"),
            id="whose owner waits passes the waiting on",
        ),
        pytest.param(
            item("rs-1", "deployment-1"),
            {"deployment-1": Owner.WAITING},
            [WAITING],
            Delete("Foreground", unblock=True),
            id="in a circle lets its owner go on without it",
        ),
        pytest.param(
            item("rs-1", "deployment-1", finalizers=("orphan",)),
            {"deployment-1": Owner.GONE},
            [],
            Delete("Orphan"),
            id="that was to orphan its own does so",
        ),
        pytest.param(
            item("rs-1", "deployment-1", finalizers=FOREGROUND),
            {"deployment-1": Owner.GONE},
            [],
            Delete("Foreground"),
            id="that was to wait for its own does so",
        ),
        pytest.param(
            item("rs-1", deleting=True), {}, [item("pod-1", "rs-1")], Nothing(), id="being deleted goes by itself"
        ),
        pytest.param(
            item("rs-1", finalizers=FOREGROUND, deleting=True),
            {},
            [item("pod-1", "rs-1"), item("pod-2", "rs-1", block=False)],
            AwaitDependents([item("pod-1", "rs-1")]),
            id="deleted in the foreground waits for what blocks it",
        ),
        pytest.param(
            item("rs-1", finalizers=FOREGROUND, deleting=True),
            {},
            [item("pod-2", "rs-1", block=False)],
            Finish(),
            id="deleted in the foreground goes when nothing blocks it",
        ),
        pytest.param(
            item("rs-1", finalizers=("orphan",), deleting=True),
            {},
            [item("pod-1", "rs-1")],
            Orphan([item("pod-1", "rs-1")]),
            id="that orphans lets its own go before it goes",
        ),
    ],
)
def test_an_object(object_: Item, owners: dict[str, Owner], dependents: list[Item], act: Act) -> None:
    assert plan(object_, owners, dependents) == act


def test_what_belonged_to_an_object_is_looked_at_when_it_goes() -> None:
    graph = Graph()
    assert graph.observe(item("rs-1")) == []
    assert graph.observe(item("pod-1", "rs-1")) == []
    assert graph.forget("rs-1") == ["pod-1"]


def test_an_object_that_comes_before_its_owner_is_looked_at() -> None:
    assert Graph().observe(item("pod-1", "rs-1")) == ["pod-1"]


def test_an_owner_in_foreground_deletion_and_its_dependents_are_looked_at_until_they_are_gone() -> None:
    graph = Graph()
    graph.observe(item("rs-1"))
    graph.observe(item("pod-1", "rs-1"))
    assert set(graph.observe(item("rs-1", finalizers=FOREGROUND, deleting=True))) == {"rs-1", "pod-1"}
    assert graph.forget("pod-1") == ["rs-1"]
    assert graph.dependents("rs-1") == []


def test_an_owner_that_waits_is_looked_at_when_a_reference_to_it_goes() -> None:
    graph = Graph()
    graph.observe(item("rs-1", finalizers=FOREGROUND, deleting=True))
    graph.observe(item("pod-1", "rs-1"))
    assert graph.observe(item("pod-1")) == ["rs-1"]


def test_forgetting_everything_leaves_nothing() -> None:
    graph = Graph()
    for each in (item("rs-1", "deployment-1"), item("pod-1", "rs-1"), item("pod-2", "rs-1", "deployment-1")):
        graph.observe(each)
    for uid in ("rs-1", "pod-1", "pod-2", "pod-2"):
        graph.forget(uid)
    assert len(graph) == 0
    assert graph._dependents == {}


@pytest.mark.parametrize(
    ("owner", "dependent", "may"),
    [
        pytest.param(item("rs-1"), item("pod-1", "rs-1"), True, id="one of its namespace may"),
        pytest.param(
            Item(ReplicaSet.RESOURCE, "other", "rs-1", "rs-1"),
            item("pod-1", "rs-1"),
            False,
            id="one of another may not",
        ),
        pytest.param(
            Item(Pod.RESOURCE, "default", "rs-1", "rs-1"), item("pod-1", "rs-1"), False, id="another kind may not"
        ),
    ],
)
def test_an_object_is_owned_by(owner: Item, dependent: Item, may: bool) -> None:
    assert may_own(owner, dependent.owners[0], dependent) is may
