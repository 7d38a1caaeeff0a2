"""What a StatefulSet does next, with which pod."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from stark.controllers.statefulset.history import History, plan_history, revision_of, superfluous, template_of
from stark.controllers.statefulset.identity import POD_INDEX, POD_NAME, REVISION, ordinal_of
from stark.controllers.statefulset.planning import Plan, plan
from stark.crds.apps import ControllerRevision, StatefulSet
from stark.crds.meta import decode
from stark.crds.pods import Pod
from tests.support.workloads import NOW, at, meta, owned_by, template

ONE, TWO = "pack.stark/db:1.0.0", "pack.stark/db:2.0.0"


def stateful(replicas: int = 3, *, image: str = ONE, status: dict[str, Any] | None = None, **spec: Any) -> StatefulSet:
    body = {
        "metadata": meta("db", generation=2),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            "serviceName": "peers",
            **spec,
        },
        "status": status or {},
    }
    return decode(body, StatefulSet)


def name_of(image: str) -> str:
    return revision_of(stateful(image=image), 1).metadata.name


def pod(
    ordinal: int, *, image: str = ONE, ready: float | None = -100, phase: str = "Running", ending: bool = False
) -> Pod:
    labels = {"app": "web", POD_NAME: f"db-{ordinal}", POD_INDEX: str(ordinal), REVISION: name_of(image)}
    end = {"deletionTimestamp": at(0)} if ending else {}
    conditions = [] if ready is None else [{"type": "Ready", "status": "True", "lastTransitionTime": at(ready)}]
    body = {
        "metadata": {**meta(f"db-{ordinal}", labels=labels, ownerReferences=owned_by("db", "StatefulSet")), **end},
        "spec": template(image)["spec"],
        "status": {"phase": phase, "conditions": conditions},
    }
    return decode(body, Pod)


def pods(*given: int, image: str = ONE) -> list[Pod]:
    return [pod(each, image=image) for each in given]


def at_revisions(sts: StatefulSet, *images: str) -> History:
    """The history when each image was rolled out, in order."""
    kept: list[ControllerRevision] = []
    for number, image in enumerate(images, 1):
        kept.append(revision_of(stateful(image=image), number))
    return plan_history(sts, kept)


def step(sts: StatefulSet, there: Sequence[Pod], *images: str) -> Plan:
    return plan(sts, there, at_revisions(sts, *(images or (ONE,))), NOW)


def acts(step: Plan) -> tuple[list[str], list[str]]:
    return [each.metadata.name for each in step.create], [each.metadata.name for each in step.delete]


PARALLEL: dict[str, Any] = {"podManagementPolicy": "Parallel"}


@pytest.mark.parametrize(
    ("sts", "there", "create", "delete"),
    [
        pytest.param(stateful(), [], ["db-0"], [], id="one at a time, the lowest first"),
        pytest.param(stateful(), [pod(0, ready=None, phase="Pending")], [], [], id="the next waits for it"),
        pytest.param(stateful(), pods(0), ["db-1"], [], id="then comes the next"),
        pytest.param(stateful(minReadySeconds=200), pods(0), [], [], id="and waits until it is available"),
        pytest.param(stateful(), [*pods(1, 2)], ["db-0"], [], id="a gap is filled"),
        pytest.param(stateful(), [pod(0, ending=True), *pods(1, 2)], [], [], id="a pod that goes is waited for"),
        pytest.param(stateful(), [pod(0, phase="Failed"), *pods(1, 2)], [], ["db-0"], id="one that failed goes"),
        pytest.param(stateful(**PARALLEL), pods(1), ["db-0", "db-2"], [], id="Parallel makes all at once"),
        pytest.param(stateful(2, ordinals={"start": 5}), pods(5), ["db-6"], [], id="numbers may begin anywhere"),
        pytest.param(stateful(1), pods(0, 1, 2), [], ["db-2"], id="the highest goes first"),
        pytest.param(stateful(1), [*pods(0, 1), pod(2, ending=True)], [], [], id="the next waits until it is gone"),
        pytest.param(
            stateful(1), [*pods(0, 1), pod(2, ready=None)], [], ["db-2"], id="one that is not ready goes, too"
        ),
        pytest.param(stateful(1), [pod(0, ready=None), *pods(1, 2)], [], [], id="nothing goes while another is down"),
        pytest.param(stateful(1, **PARALLEL), pods(0, 1, 2), [], ["db-2", "db-1"], id="Parallel stops all at once"),
        pytest.param(stateful(0), pods(0), [], ["db-0"], id="down to none"),
        pytest.param(stateful(2, ordinals={"start": 1}), pods(0, 1, 2), [], ["db-0"], id="a higher start drops"),
    ],
)
def test_pods_come_and_go_in_their_order(
    sts: StatefulSet, there: list[Pod], create: list[str], delete: list[str]
) -> None:
    assert acts(step(sts, there)) == (create, delete)


def rolling(**given: Any) -> dict[str, Any]:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": given}}


OLD = pods(0, 1, 2)
CURRENT = {"currentRevision": name_of(ONE)}


@pytest.mark.parametrize(
    ("spec", "there", "create", "delete"),
    [
        pytest.param({}, OLD, [], ["db-2"], id="the highest first"),
        pytest.param({}, [*pods(0, 1), pod(2, image=TWO, ready=None)], [], [], id="the next waits until it is ready"),
        pytest.param({}, [*pods(0, 1), pod(2, image=TWO)], [], ["db-1"], id="then goes the next"),
        pytest.param({}, pods(0, 1, 2, image=TWO), [], [], id="until all are new"),
        pytest.param({"minReadySeconds": 200}, [*pods(0, 1), pod(2, image=TWO)], [], [], id="and available"),
        pytest.param(rolling(partition=2), OLD, [], ["db-2"], id="down to the partition"),
        pytest.param(rolling(partition=2), [*pods(0, 1), pod(2, image=TWO)], [], [], id="and not below it"),
        pytest.param(rolling(partition=9), OLD, [], [], id="a partition above all rolls out nothing"),
        pytest.param(rolling(maxUnavailable=2), OLD, [], ["db-2", "db-1"], id="two at a time"),
        pytest.param(rolling(maxUnavailable="34%"), OLD, [], ["db-2", "db-1"], id="a share is rounded up"),
        pytest.param(
            rolling(maxUnavailable=2) | PARALLEL, [*pods(0, 1), pod(2, ending=True)], [], ["db-1"], id="one more"
        ),
        pytest.param(
            PARALLEL, [pod(0, ready=None), *pods(1, 2)], [], ["db-0"], id="what is down already goes before what is up"
        ),
        pytest.param(
            PARALLEL, [pod(n, ready=None) for n in range(3)], [], ["db-2"], id="a broken template is left one by one"
        ),
        pytest.param({"updateStrategy": {"type": "OnDelete"}}, OLD, [], [], id="OnDelete leaves it to others"),
        pytest.param(
            {"updateStrategy": {"type": "OnDelete"}}, pods(0, 1), ["db-2"], [], id="and makes what they deleted"
        ),
    ],
)
def test_old_pods_give_way_in_their_order(spec: Any, there: list[Pod], create: list[str], delete: list[str]) -> None:
    found = step(stateful(image=TWO, status=CURRENT, **spec), there, ONE, TWO)
    assert acts(found) == (create, delete)
    assert all(each.metadata.labels[REVISION] == name_of(TWO) for each in found.create)


def test_below_the_partition_pods_keep_coming_from_the_old_template() -> None:
    sts = stateful(image=TWO, status=CURRENT, **rolling(partition=2), **PARALLEL)
    made = step(sts, [], ONE, TWO).create
    images = [(each.metadata.name, each.spec.containers[0].image, each.metadata.labels[REVISION]) for each in made]
    assert images == [("db-0", ONE, name_of(ONE)), ("db-1", ONE, name_of(ONE)), ("db-2", TWO, name_of(TWO))]


def test_a_pod_knows_who_it_is() -> None:
    (made,) = step(stateful(1, ordinals={"start": 7}), []).create
    assert made.metadata.labels == {"app": "web", POD_NAME: "db-7", POD_INDEX: "7", REVISION: name_of(ONE)}
    assert (made.spec.hostname, made.spec.subdomain) == ("db-7", "peers")
    assert made.metadata.owner_references[0].kind == "StatefulSet"
    stranger = pod(0)
    stranger = stranger.model_copy(update={"metadata": stranger.metadata.model_copy(update={"labels": {"app": "web"}})})
    assert [(each.metadata.name, number) for each, number in step(stateful(1), [stranger]).label] == [("db-0", 0)]


NAMES = {"db-0": 0, "db-12": 12, "db-01": None, "db-x": None, "db-": None, "db": None, "web-0": None, "db-a-0": None}


@pytest.mark.parametrize(("name", "ordinal"), NAMES.items())
def test_a_name_tells_the_ordinal(name: str, ordinal: int | None) -> None:
    assert ordinal_of("db", name) == ordinal


def test_the_status_says_how_far_it_is() -> None:
    there = [*pods(0, 1), pod(2, image=TWO, ready=None)]
    status = step(stateful(image=TWO, status=CURRENT, minReadySeconds=50), there, ONE, TWO).status
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 2, 2)
    assert (status.current_replicas, status.updated_replicas) == (2, 1)
    assert (status.current_revision, status.update_revision) == (name_of(ONE), name_of(TWO))
    assert status.observed_generation == 2
    done = step(stateful(image=TWO, status=CURRENT), pods(0, 1, 2, image=TWO), ONE, TWO).status
    assert done.current_revision == done.update_revision == name_of(TWO)
    assert (done.current_replicas, done.updated_replicas) == (3, 3)


def test_a_set_that_is_deleted_does_nothing() -> None:
    sts = stateful()
    sts = sts.model_copy(update={"metadata": sts.metadata.model_copy(update={"deletion_timestamp": NOW})})
    assert acts(step(sts, pods(0))) == ([], [])


def test_becoming_available_is_waited_for() -> None:
    assert step(stateful(minReadySeconds=150), pods(0)).recheck_after_s == 50


def test_every_template_is_kept_and_an_old_one_becomes_the_newest_again() -> None:
    first = plan_history(stateful(), [])
    assert first.create is not None
    assert (first.create.revision, first.current) == (1, first.update)
    second = at_revisions(stateful(image=TWO), ONE)
    assert second.create is not None
    assert second.create.revision == 2
    back = at_revisions(stateful(image=ONE), ONE, TWO)
    assert back.create is None
    assert back.renumber is not None
    assert (back.renumber.metadata.name, back.renumber.revision) == (name_of(ONE), 3)
    again = at_revisions(stateful(image=TWO), ONE, TWO)
    assert (again.create, again.renumber) == (None, None)


def test_a_revision_puts_its_template_back() -> None:
    assert template_of(revision_of(stateful(image=TWO), 1)) == stateful(image=TWO).spec.template


def test_a_name_that_is_taken_gives_way_to_the_next() -> None:
    taken, free = stateful(), stateful(status={"collisionCount": 1})
    assert revision_of(taken, 1).metadata.name != revision_of(free, 1).metadata.name
    assert plan_history(free, [revision_of(taken, 1)]).create is None, "a template is known by what it says"


def test_the_oldest_revisions_go_unless_a_pod_needs_them() -> None:
    images = [f"pack.stark/db:{n}.0.0" for n in range(5)]
    kept = [revision_of(stateful(image=each), number) for number, each in enumerate(images, 1)]
    sts = stateful(image=images[4], revisionHistoryLimit=1)
    gone = superfluous(sts, kept, (kept[4].metadata.name,), [pod(0, image=images[0])])
    assert [each.revision for each in gone] == [2, 3]
