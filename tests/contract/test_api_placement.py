"""Where a pod would go, told by the API: of a pod that is there, of one that is only tried, and to whom how much."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from stark.crds.meta import decode, to_wire
from stark.crds.pod_placements import PodPlacement
from tests.support.apiserver import Api, api_server, pod
from tests.support.ctl import Ctl

pytestmark = pytest.mark.asyncio(loop_scope="module")

PODS = "/api/v1/namespaces/default/pods"
NO_ROOM = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't have runtime container."
USER = "ada@example.com"


async def node(api: Api, name: str, cpu: str, **labels: str) -> None:
    meta = {"name": name, "labels": labels}
    (await api.post("/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": meta})).ok(201)
    amounts = {"cpu": cpu, "memory": "8Gi", "pods": "10"}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}
    status = {"allocatable": amounts, "conditions": [ready]}
    (await api.patch(f"/api/v1/nodes/{name}/status", {"status": status})).ok()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with api_server(tmp_path_factory.mktemp("placement")) as running:
        await node(running, "roomy", "4", **{"stark.dev/runtime-container": "1"})
        await node(running, "bare", "64")
        yield running


def asking(name: str, cpu: str) -> dict[str, Any]:
    made = pod(name)
    made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return made


def condition(obj: dict[str, Any]) -> dict[str, Any]:
    (found,) = [each for each in obj["status"]["conditions"] if each["type"] == "PodScheduled"]
    return {name: value for name, value in found.items() if name != "lastTransitionTime"}


async def test_a_dry_run_answers_with_the_condition_and_stores_nothing(api: Api) -> None:
    tried = (await api.post(f"{PODS}?dryRun=All", asking("tried", "1"))).ok(201)
    message = "would run on roomy: the only node that may run it"
    assert condition(tried) == {"type": "PodScheduled", "status": "True", "message": message}
    told = json.loads(tried["metadata"]["annotations"]["stark.dev/placement"])
    assert [(each["name"], each["fits"]) for each in told["nodes"]] == [("roomy", True), ("bare", False)]
    (await api.get(f"{PODS}/tried")).refused(404, "NotFound")
    large = (await api.post(f"{PODS}?dryRun=All", asking("large", "5"))).ok(201)
    assert condition(large) == {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_ROOM,
    }  # fmt: skip


async def test_a_pod_that_is_there_is_judged_as_if_it_were_new_and_others_take_their_room(api: Api) -> None:
    bound = asking("bound", "3")
    bound["spec"]["nodeName"] = "roomy"
    (await api.post(PODS, bound)).ok(201)
    (await api.post(PODS, asking("waits", "2"))).ok(201)
    there = (await api.get(f"{PODS}/bound/placement")).ok()
    assert (there["kind"], there["apiVersion"], there["metadata"]["name"]) == ("PodPlacement", "stark.dev/v1", "bound")
    assert (there["status"]["node"], there["status"]["chosen"]) == ("roomy", "roomy")
    # The kind's schema says all that is answered: nothing is lost on the way through its model.
    assert to_wire(decode(there, PodPlacement)) == there
    waits = (await api.get(f"{PODS}/waits/placement")).ok()["status"]
    assert (waits["schedulable"], waits["message"]) == (False, NO_ROOM)
    await api.delete(f"{PODS}/bound?gracePeriodSeconds=0")
    assert (await api.get(f"{PODS}/waits/placement")).ok()["status"]["chosen"] == "roomy"
    (await api.delete(f"{PODS}/waits?gracePeriodSeconds=0")).ok()


async def test_it_tells_who_would_make_way_what_a_group_lacks_and_for_whom_room_is_kept(
    api: Api, tmp_path: Path
) -> None:
    ctl = Ctl(api, tmp_path / "home")
    for name, value in (("urgent", 1000), ("higher", 2000)):
        body = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
        }
        (await api.post("/apis/scheduling.k8s.io/v1/priorityclasses", body)).ok(201)
    low, urgent = asking("low", "3"), asking("urgent", "2")
    low["spec"]["nodeName"], urgent["spec"]["priorityClassName"] = "roomy", "urgent"
    for body in (low, urgent):
        (await api.post(PODS, body)).ok(201)
    told = (await api.get(f"{PODS}/urgent/placement")).ok()
    assert to_wire(decode(told, PodPlacement)) == told
    victim = {"namespace": "default", "name": "low", "priority": 0}
    assert (told["status"]["message"], told["status"]["preemption"]) == (
        NO_ROOM, {"node": "roomy", "victims": [victim], "hidden": 0, "violations": 0},
    )  # fmt: skip
    assert "Would preempt on roomy: default/low (priority 0).\n" in (await ctl.admin("explain", "pod/urgent")).ok()
    session = api.as_user(USER, "stark:user")
    theirs = (await api.ask("POST", f"{PODS}?dryRun=All", {**urgent, "metadata": {"name": "try"}}, session=session)).ok(
        201
    )
    hidden = json.loads(theirs["metadata"]["annotations"]["stark.dev/placement"])
    assert hidden["preemption"] == {"victims": [], "hidden": 1, "violations": 0}
    assert "low" not in json.dumps(theirs["metadata"]["annotations"])

    (await api.patch(f"{PODS}/urgent/status", {"status": {"nominatedNodeName": "roomy"}})).ok()
    assert (await api.get(f"{PODS}/urgent/placement")).ok()["status"]["nominated"] == "roomy"
    await api.delete(f"{PODS}/low?gracePeriodSeconds=0")
    (await api.post(PODS, asking("equal", "3"))).ok(201)
    status = (await api.get(f"{PODS}/equal/placement")).ok()["status"]
    assert (status["schedulable"], status["kept"]) == (False, [{"node": "roomy", "pod": "default/urgent"}])
    higher = asking("higher", "3")
    higher["spec"]["priorityClassName"] = "higher"
    passes = (await api.post(f"{PODS}?dryRun=All", higher)).ok(201)
    assert condition(passes)["status"] == "True"

    member = asking("member", "1")
    member["metadata"]["labels"] = {"stark.dev/pod-group": "train"}
    (await api.post(PODS, member)).ok(201)
    status = (await api.get(f"{PODS}/member/placement")).ok()["status"]
    assert (status["reason"], status["message"]) == ("PodGroupNotFound", "pod group default/train does not exist")
    group = {"apiVersion": "stark.dev/v1", "kind": "PodGroup", "metadata": {"name": "train"}, "spec": {"minMember": 3}}
    (await api.post("/apis/stark.dev/v1/namespaces/default/podgroups", group)).ok(201)
    tried = (await api.post(f"{PODS}?dryRun=All", {**member, "metadata": {**member["metadata"], "name": "other"}})).ok(
        201
    )
    assert condition(tried)["message"] == "pod group default/train has 2 of the 3 members it needs"
    text = (await ctl.admin("explain", "pod/member")).ok()
    assert "Group default/train: 1 of the 3 members it needs are there, and 0 have a node.\n" in text
    for name in ("urgent", "equal", "member"):
        await api.delete(f"{PODS}/{name}?gracePeriodSeconds=0")


async def test_more_questions_than_can_wait_are_told_to_come_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stark.apiserver.placements.WAITING_MAX", 0)
    answer = await api.post(f"{PODS}?dryRun=All", asking("tried", "1"))
    answer.refused(429, "TooManyRequests")
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_user_learns_the_names_of_no_nodes_but_their_own(api: Api) -> None:
    session = api.as_user(USER, "stark:user")
    (await api.ask("POST", PODS, asking("own", "1"), session=session)).ok(201)
    for answer in (
        await api.ask("GET", f"{PODS}/own/placement", session=session),
        await api.ask("POST", f"{PODS}?dryRun=All", asking("try", "1"), session=session),
    ):
        text = json.dumps(answer.body)
        assert answer.status in (200, 201), text
        assert "roomy" not in text
        assert "bare" not in text
    status = (await api.ask("GET", f"{PODS}/own/placement", session=session)).ok()["status"]
    assert (status["nodes"], status["counts"]["hidden"]) == ([], 2)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("POST", f"{PODS}/x/placement", 405, id="is not written"),
        pytest.param("GET", f"{PODS}/none/placement", 404, id="is of a pod that is there"),
        pytest.param("GET", f"{PODS}/x/placement/more", 404, id="has nothing beneath"),
    ],
)
async def test_a_placement(api: Api, method: str, path: str, status: int) -> None:
    assert (await api.ask(method, path, {} if method == "POST" else None)).status == status


async def test_discovery_lists_it(api: Api) -> None:
    listed = (await api.get("/api/v1")).ok()["resources"]
    (found,) = [each for each in listed if each["name"] == "pods/placement"]
    assert (found["kind"], found["verbs"], found["group"]) == ("PodPlacement", ["get"], "stark.dev")


async def test_starkctl_explains_pods_manifests_workloads_and_fields(api: Api, tmp_path: Path) -> None:
    ctl = Ctl(api, tmp_path / "home")
    (await api.post(PODS, asking("shown", "5"))).ok(201)
    narrow = (await ctl.admin("explain", "pod/shown", COLUMNS="80")).ok()
    assert narrow.startswith("pod/shown: 0/2 nodes are available: 1 Insufficient cpu")
    assert "roomy   no                NodeResourcesFit: Insufficient cpu\n" in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    template = {"metadata": {"labels": {"app": "web"}}, "spec": asking("x", "1")["spec"]}
    workload = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    manifest = tmp_path / "web.json"
    manifest.write_text(
        json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": workload})
    )
    wide = (await ctl.admin("explain", "-f", str(manifest), COLUMNS="200")).ok()
    assert wide.startswith("deployment/web: would run on roomy: the only node that may run it\n")
    assert (
        json.loads((await ctl.admin("explain", "-f", str(manifest), "-o", "json")).ok())["status"]["chosen"] == "roomy"
    )
    fields = (await ctl.admin("explain", "pods.spec.containers.imagePullPolicy")).ok()
    assert fields.startswith("KIND:       Pod\nVERSION:    v1\n\nFIELD: imagePullPolicy <string>\nENUM:\n    Always\n")
    listed = (await ctl.admin("explain", "deployments", "--recursive", "--api-version", "apps/v1")).ok()
    assert "\n    strategy\t<Object>\n      rollingUpdate\t<Object>\n        maxSurge\t<Object>\n" in listed
    for words, said in (
        (("explain", "pods.spec.nosuch"), 'field "nosuch" does not exist'),
        (("explain", "services/none"), "not found"),
        (("explain",), "say what"),
        (("explain", "pods", "--api-version", "v9"), "v9"),
    ):
        refused = await ctl.admin(*words)
        assert refused.code != 0
        assert said in refused.err
