"""Which release a deployment that follows the latest goes to, and when it stays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stark.controllers.deployment.following import NOTHING, Following, plan_following
from stark.crds.apps import Deployment
from stark.crds.packs import Pack
from tests.support.workloads import NOW, at, deployment, pack

FOLLOW, BLOCKED = "stark.dev/follow-latest", "stark.dev/blocked-versions"


def follower(version: str = "1.0.0", *, spec: dict[str, Any] | None = None, **annotations: str) -> Deployment:
    notes = {FOLLOW: "true", **{f"stark.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}}
    return deployment(image=f"pack.stark/web:{version}", spec=spec, metadata={"annotations": notes})


def version(text: str, created: float = 0, **more: Any) -> Pack:
    found = pack("web", text, phase=more.pop("phase", "Available"))
    meta = found.metadata.model_copy(update={"creation_timestamp": NOW.fromisoformat(at(created)), **more})
    return found.model_copy(update={"metadata": meta})


def private(text: str, owner: str) -> Pack:
    return version(text, annotations={"stark.dev/owner": owner})


def blocked(*entries: tuple[str, float]) -> str:
    return json.dumps([{"version": each, "until": at(until), "attempts": 1} for each, until in entries])


def target(following: Following) -> str:
    (image,) = set(following.images.values()) or {""}
    return image.partition(":")[2]


@pytest.mark.parametrize(
    ("running", "versions", "expected"),
    [
        pytest.param("1.0.0", [version("1.1.0"), version("1.10.0"), version("1.9.0")], "1.10.0", id="the highest"),
        pytest.param(
            "2.0.0", [version("2.0.0"), version("1.9.9", created=9)], "", id="never a late fix of an old line"
        ),
        pytest.param("1.0.0", [version("2.0.0-rc.1")], "", id="never a prerelease"),
        pytest.param("2.0.0-rc.1", [version("1.9.0")], "", id="from a prerelease never back to a release"),
        pytest.param("2.0.0-rc.1", [version("2.0.0")], "2.0.0", id="from a prerelease to its release"),
        pytest.param("1.0.0", [version("1.1.0", phase="Pending")], "", id="not before the bundles are uploaded"),
        pytest.param(
            "1.0.0",
            [version("1.2.0", deletion_timestamp=NOW), version("1.1.0")],
            "1.1.0",
            id="not to a version that is being deleted",
        ),
        pytest.param(
            "1.0.0",
            [version("1.1.0+b", created=1), version("1.1.0+a", created=5)],
            "1.1.0+a",
            id="of equals to the one registered last",
        ),
        pytest.param(
            "1.1.0+a",
            [version("1.1.0+b", created=5)],
            "",
            id="not to the same precedence: that would be no step forward",
        ),
        pytest.param("1.0.0", [], "", id="nowhere without versions"),
    ],
)
def test_a_follower_goes(running: str, versions: list[Pack], expected: str) -> None:
    assert target(plan_following(follower(running), versions, NOW)) == expected


@pytest.mark.parametrize(
    ("web", "stays"),
    [
        pytest.param(deployment(), True, id="that does not ask to follow stays"),
        pytest.param(follower(spec={"paused": True}), True, id="that is paused stays"),
        pytest.param(follower(crash_loop_paused="1.0.0 crashes"), False, id="stopped by a crash loop moves on"),
        pytest.param(
            deployment(image="docker.io/web:1", metadata={"annotations": {FOLLOW: "true"}}),
            True,
            id="without a pack stays",
        ),
        pytest.param(follower(blocked_versions="[{"), True, id="whose blocks cannot be read stays"),
        pytest.param(
            follower(blocked_versions='[{"version":"9.0.0","until":"soon","attempts":1}]'),
            True,
            id="whose blocks have no time stays",
        ),
    ],
)
def test_a_deployment(web: Deployment, stays: bool) -> None:
    assert (plan_following(web, [version("1.1.0")], NOW) == NOTHING) == stays


@pytest.mark.parametrize(
    ("entries", "expected", "recheck"),
    [
        pytest.param([("1.2.0", 60)], "1.1.0", 61, id="the next lower one while the highest is blocked"),
        pytest.param([("1.2.0", 60), ("1.1.0", 30)], "", 31, id="nowhere while all are blocked"),
        pytest.param([("1.2.0", 0)], "1.2.0", None, id="the blocked one when its time is over"),
        pytest.param([("1.1.0", 60)], "1.2.0", None, id="the highest when a lower one is blocked"),
    ],
)
def test_a_blocked_version_is_passed_over_until_its_time(
    entries: list[tuple[str, float]], expected: str, recheck: float | None
) -> None:
    step = plan_following(follower(blocked_versions=blocked(*entries)), [version("1.1.0"), version("1.2.0")], NOW)
    assert (target(step), step.recheck_after_s) == (expected, recheck)


def test_a_clock_that_was_set_back_prolongs_no_block_beyond_its_length() -> None:
    web = follower(blocked_versions=blocked(("1.1.0", 864_000)))
    assert plan_following(web, [version("1.1.0")], NOW).recheck_after_s == 61


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '[{"version":"1.1.0","until":"2026-01-01T00:00:00Z","attempts":1e999}]']
)
def test_nothing_is_rolled_out_while_the_blocks_cannot_be_read(text: str) -> None:
    assert plan_following(follower(blocked_versions=text), [version("1.1.0")], NOW) == NOTHING


@pytest.mark.parametrize(
    ("owner", "rank", "expected"),
    [
        pytest.param("bob", "", "", id="not to somebody else's private version"),
        pytest.param("ada", "", "1.1.0", id="to one's own private version"),
        pytest.param("bob", "admin", "1.1.0", id="to any version as an administrator"),
    ],
)
def test_visibility_is_the_owners(owner: str, rank: str, expected: str) -> None:
    web = follower(owner=owner, owner_role=rank)
    assert target(plan_following(web, [private("1.1.0", "ada")], NOW)) == expected


def test_all_containers_of_the_pack_move_together_and_others_stay() -> None:
    containers = [
        {"name": "a", "image": "pack.stark/web:1.0.0"},
        {"name": "b", "image": "pack.stark/other:1.0.0"},
        {"name": "c", "image": "pack.stark/web:1.0.0"},
    ]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}
    step = plan_following(follower(spec={"template": template}), [version("1.1.0")], NOW)
    assert step.images == {"a": "pack.stark/web:1.1.0", "c": "pack.stark/web:1.1.0"}
    assert step.cause == "follow-latest: web 1.0.0 -> 1.1.0"
    patch = step.patch(follower())
    assert patch["metadata"]["annotations"] == {"kubernetes.io/change-cause": step.cause}
    assert patch["metadata"]["resourceVersion"] == "1"
