"""`starkctl label` and `starkctl annotate` at a real server, beside kubectl's where both are asked the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.apiserver import api_server
from tests.support.ctl import Ctl
from tests.support.kubectl import Kubectl, kubectl

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ctl(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ctl]:
    directory = tmp_path_factory.mktemp("marking")
    async with api_server(directory / "server") as api:
        yield Ctl(api, directory / "home")


async def made(ctl: Ctl, *names: str) -> None:
    for name in names:
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "web"}}}
        file = ctl.home.parent / f"{name}.json"
        file.write_text(json.dumps(manifest))
        (await ctl.admin("apply", "-f", str(file))).ok()


async def metadata(ctl: Ctl, name: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((await ctl.admin("get", "cm", name, "-o", "json")).ok())["metadata"]
    return found


async def test_both_say_what_kubectl_says_and_leave_the_same(ctl: Ctl) -> None:
    await made(ctl, "ours", "theirs")
    ctl.kubeconfig()
    stock = Kubectl(kubectl(), ctl.home.parent, ctl.api)
    steps = (
        ("label", "a=1", "b=2"),
        ("label", "a=1"),
        ("label", "a=3"),
        ("label", "a=3", "--overwrite"),
        ("label", "b-"),
        ("label", "b-"),
        ("label", "c=1", "a-", "--dry-run=server"),
        ("label", "c=1", "--dry-run=client"),
        ("annotate", "team=the shop"),
        ("annotate", "team=other", "--overwrite", "-o", "name"),
        ("annotate", "team-"),
        ("label", "bad!=x"),
    )
    for verb, *rest in steps:
        ran = await ctl.admin(verb, "configmap", "ours", *rest)
        said = await stock(verb, "configmap", "theirs", *rest, code=ran.code)
        if ran.code == 0:
            assert sorted(ran.out.splitlines()) == sorted(said.replace("theirs", "ours").splitlines()), (verb, rest)
        ours, theirs = await metadata(ctl, "ours"), await metadata(ctl, "theirs")
        assert ours["labels"] == theirs["labels"], (verb, rest)
        del ours["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
        del theirs["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
        assert ours["annotations"] == theirs["annotations"], (verb, rest)


async def test_many_are_chosen_by_label_or_manifest_and_one_that_refuses_does_not_keep_the_others(ctl: Ctl) -> None:
    await made(ctl, "m1", "m2")
    (await ctl.admin("label", "cm", "m1", "m2", "set=many")).ok()
    (await ctl.admin("label", "cm/m1", "tier=front")).ok()
    ran = await ctl.admin("label", "cm", "-l", "set=many", "tier=back")
    assert (ran.code, ran.out) == (1, "configmap/m2 labeled\n")
    assert ran.err == "configmap/m1: 'tier' already has a value (front), and --overwrite is not given\n"
    file = str(ctl.home.parent / "m1.json")
    assert (await ctl.admin("label", "-f", file, "tier-")).ok() == "configmap/m1 unlabeled\n"
    listed = (await ctl.admin("label", "cm", "-A", "-l", "set=many", "--list")).ok()
    assert "Listing labels for configmap/m2:\n app=web\n set=many\n tier=back\n" in listed


async def test_a_version_that_is_past_is_a_conflict_and_changes_nothing(ctl: Ctl) -> None:
    await made(ctl, "v")
    ran = await ctl.admin("label", "cm", "v", "x=1", "--resource-version", "1")
    assert (ran.code, "Conflict" in ran.err) == (1, True)
    assert (await metadata(ctl, "v"))["labels"] == {"app": "web"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cm", "v"), "say which labels"),
        (("cm", "v", "a=1", "a-"), "a: cannot be set and taken off at once"),
        (("cm", "v", "a=1", "b"), "'b' is neither KEY=VALUE nor KEY-"),
        (("cm", "a=1"), "say which objects"),
        (("cm", "v", "--all", "a=1"), "say which objects"),
        (("cm", "v", "w", "a=1", "--resource-version", "1"), "is for a single object"),
    ],
)
async def test_a_command_line_that_cannot_be_meant_is_refused(ctl: Ctl, words: tuple[str, ...], said: str) -> None:
    await made(ctl, "v", "w")
    ran = await ctl.admin("label", *words)
    assert (ran.code, said in ran.err) == (2, True), ran
