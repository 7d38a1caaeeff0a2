"""Nodes out of service, suspect, lost and off, with the real controllers; and what starkctl says and does about them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from stark.client.errors import NotFound
from stark.controllers.kit import Context, Controller
from stark.controllers.node_lifecycle.controller import NodeLifecycle
from stark.controllers.node_lifecycle.settings import NodeSettings
from stark.controllers.pod_gc import PodGc, PodGcSettings
from stark.crds.incarnations import INCARNATION
from stark.crds.meta import decode, to_wire
from stark.crds.nodes import Node
from stark.crds.nodestate import MAINTENANCE, MAINTENANCE_CONDITION, condition, node_state
from stark.crds.pods import Pod
from stark.crds.policy import PodDisruptionBudget
from tests.support.ctl import Ctl
from tests.support.reconciling import Cluster, cluster, controllers

pytestmark = pytest.mark.asyncio(loop_scope="module")
Running = tuple[Cluster, Ctl]


def impatient(context: Context) -> Controller:
    return NodeLifecycle(context, NodeSettings(suspect_after_s=0.8, grace_period_s=2.5, stopped_recheck_s=0.2))


def hasty(context: Context) -> Controller:
    return PodGc(context, PodGcSettings(period_s=0.2, quarantine_s=60))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    directory = tmp_path_factory.mktemp("nodes")
    builders = {"node-lifecycle": impatient, "pod-gc": hasty}
    async with (
        cluster(directory, ("n1", "n2", "n3", "n4")) as c,
        controllers(c.controllers_config, ("node-maintenance", "disruption", "namespace"), builders=builders),
    ):
        yield c, Ctl(c.server, directory / "home")


async def state(c: Cluster, name: str) -> str:
    return node_state(to_wire(await c.api.get(Node, name)))


async def pod_on(c: Cluster, name: str, node: str, *, owned: bool = True) -> None:
    """A pod that runs there, of an app of the name's first word."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "set", "uid": "u", "controller": True}
    meta: dict[str, Any] = {"name": name, "namespace": "default", "labels": {"app": name.partition("-")[0]}}
    if owned:
        meta["ownerReferences"] = [owner]
    spec = {"nodeName": node, "containers": [{"name": "c", "image": "nginx:1"}]}
    await c.api.create(decode({"metadata": meta, "spec": spec}, Pod))

    async def is_ready() -> bool:
        conditions = (await c.api.get(Pod, name, "default")).status.conditions
        return any((each.type, each.status) == ("Ready", "True") for each in conditions)

    await c.until(f"{name} runs", is_ready)


async def is_gone(c: Cluster, name: str) -> bool:
    try:
        await c.api.get(Pod, name, "default")
    except NotFound:
        return True
    return False


async def becomes(c: Cluster, name: str, wanted: str) -> None:
    async def is_so() -> bool:
        return await state(c, name) == wanted

    await c.until(f"{name} is {wanted}", is_so)


async def test_a_silent_node_is_suspect_then_offline_then_back(running: Running) -> None:
    c, ctl = running
    c.nodes.silent.add("n1")
    await becomes(c, "n1", "suspect")

    async def tainted() -> bool:
        taints = (await c.api.get(Node, "n1")).spec.taints
        return ("stark.dev/suspect", "PreferNoSchedule") in [(each.key, each.effect) for each in taints]

    await c.until("tainted", tainted)
    await becomes(c, "n1", "offline")
    assert (await c.api.get(Node, "n1")).metadata.annotations[INCARNATION] == "1"
    assert (await ctl.admin("node", "list", "--status", "offline", "-o", "name")).ok() == "node/n1\n"
    assert "stopped posting" in (await ctl.admin("nodes", "info", "n1")).ok()
    await c.nodes.come_back("n1")
    await becomes(c, "n1", "online")
    assert "n1" in (await ctl.admin("node", "ls", "-s", "healthy", "-r", "node", "-o", "plain")).ok()


async def test_maintenance_drains_as_budgets_allow_and_leaves_what_nobody_makes_again(running: Running) -> None:
    c, ctl = running
    for name, owned in (("kept-1", True), ("free-1", True), ("alone-1", False)):
        await pod_on(c, name, "n2", owned=owned)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}}
    await c.api.create(decode({"metadata": {"name": "b", "namespace": "default"}, "spec": spec}, PodDisruptionBudget))

    async def counted() -> bool:
        return (await c.api.get(PodDisruptionBudget, "b", "default")).status.current_healthy == 1

    await c.until("the budget is counted", counted)
    (await ctl.admin("node", "maintenance", "n2", "--reason", "disks")).ok()

    async def told() -> str | None:
        message = str(condition(to_wire(await c.api.get(Node, "n2")), MAINTENANCE_CONDITION).get("message", ""))
        return message if "2 pods are left" in message else None

    message = await c.until("one goes", told)
    assert "default/kept-1: The disruption budget b needs 1 healthy pods" in message
    assert "no controller makes default/alone-1 again" in message
    assert await state(c, "n2") == "draining"
    assert await is_gone(c, "free-1")
    assert "it was so already" in (await ctl.admin("node", "maintenance", "n2", "--reason", "disks")).ok()
    await c.api.delete(PodDisruptionBudget, "b", "default")
    await c.api.delete(Pod, "alone-1", "default")
    waited = (await ctl.admin("node", "maintenance", "n2", "--reason", "new disks", "--wait", "--timeout", "20s")).ok()
    assert waited.endswith("node/n2 is maintenance\n")
    assert await is_gone(c, "kept-1")
    (await ctl.admin("node", "maintenance", "n2", "--end")).ok()

    async def served() -> bool:
        node = await c.api.get(Node, "n2")
        return MAINTENANCE not in node.metadata.annotations and not node.spec.taints

    await c.until("back in service", served)


async def test_the_pods_of_a_machine_that_is_off_end_without_its_word_once_it_is_fenced(running: Running) -> None:
    c, ctl = running
    await pod_on(c, "gone-1", "n3")
    c.nodes.silent.add("n3")
    (await ctl.admin("taint", "nodes", "n3", "node.kubernetes.io/out-of-service=off:NoExecute")).ok()

    async def gone() -> str | None:
        seen = await state(c, "n3")
        return seen if await is_gone(c, "gone-1") else None

    assert await c.until("its pod ends", gone) == "offline"


async def test_a_drain_says_what_it_does_and_what_it_will_not_take(running: Running) -> None:
    c, ctl = running
    await pod_on(c, "web-1", "n4")
    await pod_on(c, "bare-1", "n4", owned=False)
    refused = await ctl.admin("drain", "n4")
    assert (refused.code, refused.out) == (1, "node/n4 cordoned\n")
    assert "no controller (use --force to override): default/bare-1" in refused.err
    assert not await is_gone(c, "web-1")
    dry = (await ctl.admin("drain", "n4", "--force", "--dry-run")).ok()
    assert "evicting pod default/web-1 (dry run)" in dry
    done = await ctl.admin("drain", "n4", "--force", "--timeout", "20s")
    assert done.ok().splitlines()[0] == "node/n4 already cordoned"
    assert {"pod/web-1 evicted", "pod/bare-1 evicted", "node/n4 drained"} <= set(done.out.splitlines())
    assert (await ctl.admin("uncordon", "node/n4")).ok() == "node/n4 uncordoned\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param("taint nodes n4 a=b:NoSchedule", 0, "node/n4 tainted", id="a taint is put on"),
        pytest.param("taint node/n4 a=c:NoSchedule", 1, "already has a taint", id="not over another"),
        pytest.param("taint nodes n4 a=c:NoSchedule --overwrite", 0, "tainted", id="but when asked to"),
        pytest.param(
            "taint nodes -l no=body a=b:NoSchedule", 0, "No resources found", id="nobody is no mistake, and told"
        ),
        pytest.param("taint nodes --all none-", 1, 'taint "none" not found', id="what is not there is told"),
        pytest.param("taint nodes n4 x", 2, "say which taint", id="a taint needs an effect"),
        pytest.param("node update n4 --remove-taint a", 0, "updated", id="an update takes taints off"),
        pytest.param("node update n4 -l a=b c=d", 0, "updated", id="and puts labels on"),
        pytest.param("node update n4 -l a=b", 0, "unchanged", id="once"),
        pytest.param("node update n4", 2, "say what to change", id="a change is wanted"),
        pytest.param("node update n4 -l a=b/c", 2, "a valid label", id="labels are checked"),
        pytest.param("cordon -l c=d", 0, "node/n4 cordoned", id="nodes are chosen by label"),
        pytest.param("node update n4 --schedulable", 0, "updated", id="and uncordoned by an update"),
        pytest.param("cordon", 2, "name the nodes", id="somebody must be meant"),
        pytest.param("node status nobody", 1, "not found", id="an unknown node is told"),
        pytest.param("node list --limit 0", 2, "between 1 and 100", id="a page has a size"),
        pytest.param("node watch --count 1", 0, "4 nodes", id="a watch shows the table"),
        pytest.param("node rm n4", 1, "say --force", id="nothing is removed unasked"),
    ],
)
async def test_commands_about_nodes_do_and_say(running: Running, words: str, code: int, said: str) -> None:
    ran = await running[1].admin(*words.split())
    assert ran.code == code, ran
    assert said in ran.out + ran.err


async def test_removing_a_node_takes_its_pods_off_first(running: Running) -> None:
    c, ctl = running
    await pod_on(c, "last-1", "n4", owned=False)
    node = await c.api.get(Node, "n4")
    ran = await ctl.admin("node", "delete", node.uid, "--force", "--timeout", "20s")
    assert ran.ok().splitlines() == [
        "node/n4 cordoned",
        "evicting pod default/last-1",
        "pod/last-1 evicted",
        "node/n4 drained",
        'node "n4" deleted',
    ]
    assert "registers the node again" in ran.err
    with pytest.raises(NotFound):
        await c.api.get(Node, "n4")


async def test_a_page_of_nodes_is_what_was_asked_for(running: Running) -> None:
    c, ctl = running
    for name in ("n1", "n2"):
        await c.api.patch(Node, name, {"metadata": {"labels": {"page": "x"}}})
    assert (
        await ctl.admin("node", "list", "-l", "page=x", "-p", "2", "--limit", "1", "-o", "name")
    ).ok() == "node/n2\n"
    listed = json.loads((await ctl.admin("node", "list", "-l", "page=x", "-o", "json")).ok())
    assert [item["kind"] for item in listed["items"]] == ["Node", "Node"]
