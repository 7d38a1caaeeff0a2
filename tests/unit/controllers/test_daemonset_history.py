"""Which templates a DaemonSet remembers, under which numbers, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from stark.controllers.daemonset.history import History, plan_history, revision_of
from stark.controllers.daemonset.planning import TEMPLATE_HASH, template_hash
from stark.crds.apps import ControllerRevision, DaemonSet
from stark.crds.meta import decode, to_wire
from stark.crds.patches import strategic_merge_patch
from stark.crds.pods import Pod
from tests.support.workloads import at, meta, owned_by, pod, template


def daemons(image: str = "docker.io/library/logs:1", limit: int = 2, **more: Any) -> DaemonSet:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template(image), "revisionHistoryLimit": limit}
    return decode({"metadata": meta("logs", generation=1, **more), "spec": spec}, DaemonSet)


def revisions(*numbers: int) -> list[ControllerRevision]:
    """Revisions of the images logs:1, logs:2 ... with these numbers."""
    images = (f"docker.io/library/logs:{index}" for index in range(1, len(numbers) + 1))
    return [revision_of(daemons(image), number) for image, number in zip(images, numbers, strict=True)]


def from_template(image: str) -> Pod:
    labels = {"app": "web", TEMPLATE_HASH: template_hash(daemons(image))}
    return pod("one", node="n", metadata={"labels": labels, "ownerReferences": owned_by("logs", "DaemonSet")})


def summary(step: History) -> tuple[int | None, int | None, list[int]]:
    created = step.create.revision if step.create else None
    renumbered = step.renumber.revision if step.renumber else None
    return created, renumbered, [each.revision for each in step.delete]


@pytest.mark.parametrize(
    ("image", "known", "planned"),
    [
        pytest.param(1, (), (1, None, []), id="the first template is revision 1"),
        pytest.param(1, (1,), (None, None, []), id="a known one is left alone"),
        pytest.param(2, (1,), (2, None, []), id="a new one gets the next number"),
        pytest.param(1, (1, 2), (None, 3, []), id="going back gives the newest number"),
        pytest.param(1, (2, 2), (None, 3, []), id="a number that is there twice is set right"),
        pytest.param(4, (1, 2, 3, 4), (None, None, [1]), id="the oldest beyond the limit goes"),
    ],
)
def test_every_template_has_one_number(
    image: int, known: tuple[int, ...], planned: tuple[int | None, int | None, list[int]]
) -> None:
    step = plan_history(daemons(f"docker.io/library/logs:{image}"), revisions(*known), [])
    assert summary(step) == planned


def test_a_template_that_a_pod_comes_from_is_kept() -> None:
    old = from_template("docker.io/library/logs:1")
    step = plan_history(daemons("docker.io/library/logs:4", limit=1), revisions(1, 2, 3, 4), [old])
    assert summary(step) == (None, None, [2])


def test_a_set_that_is_being_deleted_writes_nothing_more() -> None:
    assert plan_history(daemons(deletionTimestamp=at(0)), [], []) == History()


def test_the_data_puts_the_whole_template_back() -> None:
    first, second = daemons(), to_wire(daemons("docker.io/library/logs:2"))
    second["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    revision = revision_of(first, 1)
    assert revision.metadata.labels[TEMPLATE_HASH] == template_hash(first)
    assert revision.data is not None
    assert strategic_merge_patch(second, revision.data, {})["spec"]["template"] == to_wire(first)["spec"]["template"]
