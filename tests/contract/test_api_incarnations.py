"""Fencing: of a node's lives the server hears only the present one, whatever else is going on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from stark.apiserver.store.memory import MemoryStore
from stark.apiserver.store.protocol import Delete, Expect, KeyValue, Put, Revision, TxnResult
from tests.support.apiserver import MERGE_PATCH, STRATEGIC_PATCH, Answer, Api, api_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
NODE, POD, LEASE = "/api/v1/nodes/n1", "/api/v1/namespaces/default/pods/web", "/apis/coordination.k8s.io/v1"
LEASES = f"{LEASE}/namespaces/kube-node-lease/leases"
NUMBER, AGENT = "stark.dev/incarnation", "stark.dev/agent"


class Interrupted(MemoryStore):
    """A store before whose next commit, or next look at a key, something else happens once."""

    before: Callable[[], Awaitable[Any]] | None = None
    before_look: Callable[[], Awaitable[Any]] | None = None

    async def get(self, key: bytes, *, revision: Revision | None = None) -> tuple[KeyValue | None, Revision]:
        happens, self.before_look = self.before_look, None
        if happens is not None:
            await happens()
        return await super().get(key, revision=revision)

    async def txn(self, expect: Sequence[Expect], ops: Sequence[Put | Delete]) -> TxnResult:
        happens, self.before = self.before, None
        if happens is not None:
            await happens()
        return await super().txn(expect, ops)


class Agent:
    """What an agent sends."""

    def __init__(self, api: Api, session: aiohttp.ClientSession, installation: str) -> None:
        self.api, self.session, self.holder = api, session, f"{installation}.p1"
        self.header = ""

    async def send(self, method: str, path: str, body: Any, content_type: str = "application/json") -> Answer:
        headers = {"Stark-Incarnation": self.header} if self.header else {}
        return await self.api.ask(method, path, body, content_type=content_type, headers=headers, session=self.session)

    async def join(self) -> Answer:
        """Take the next life of the node."""
        node = (await self.api.get(NODE)).ok()
        number = int(node["metadata"].get("annotations", {}).get(NUMBER, 0)) + 1
        meta = {"annotations": {NUMBER: str(number), AGENT: self.holder}}
        meta["resourceVersion"] = node["metadata"]["resourceVersion"]
        answer = await self.send("PATCH", NODE, {"metadata": meta}, MERGE_PATCH)
        if answer.status == 200:
            self.header = f"{node['metadata']['uid']}/{number}/{self.holder}"
        return answer

    async def report(self, phase: str = "Running") -> Answer:
        """The status of the pod."""
        return await self.send("PATCH", f"{POD}/status", {"status": {"phase": phase}}, STRATEGIC_PATCH)

    async def gone(self) -> Answer:
        """The word that the pod has stopped."""
        return await self.send("DELETE", POD, {"gracePeriodSeconds": 0})

    async def renew(self) -> Answer:
        """A heartbeat."""
        body = {"metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {"holderIdentity": "n1"}}
        return await self.send("PUT", f"{LEASES}/n1", body)


async def revoke(api: Api, number: int) -> None:
    """What node-lifecycle writes when it gives a node up."""
    annotations = {NUMBER: str(number), AGENT: None}
    (await api.patch(f"{NODE}/status", {"metadata": {"annotations": annotations}}, MERGE_PATCH)).ok()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    store = Interrupted()
    async with api_server(tmp_path_factory.mktemp("api"), opened=store) as api:
        yield api
    await store.close()


@pytest_asyncio.fixture(loop_scope="module")
async def api(server: Api) -> AsyncIterator[Api]:
    (await server.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})).ok(201)
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx:1"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}
    (await server.post("/api/v1/namespaces/default/pods", pod)).ok(201)
    yield server
    for path in (POD, NODE, f"{LEASES}/n1"):
        await server.ask("DELETE", path, {"gracePeriodSeconds": 0})


@pytest_asyncio.fixture(loop_scope="module")
async def agent(api: Api) -> AsyncIterator[Agent]:
    async with api.as_identity("node:n1") as session:
        yield Agent(api, session, "first")


def stale(answer: Answer, reason: str = "StaleIncarnation") -> str:
    message = answer.refused(409, "Conflict")
    assert [cause["reason"] for cause in answer.body["details"]["causes"]] == [reason]
    return message


async def test_an_agent_that_never_claimed_its_node_is_heard_as_before(agent: Agent) -> None:
    (await agent.renew()).ok(201)
    (await agent.report("Running")).ok()


async def test_nothing_of_a_revoked_life_is_heard_and_the_next_one_is(api: Api, agent: Agent) -> None:
    (await agent.join()).ok()
    (await agent.renew()).ok(201)
    (await agent.report("Running")).ok()
    await revoke(api, 2)
    for late in (
        agent.report("Succeeded"),
        agent.renew(),
        agent.gone(),
        agent.send("PATCH", f"{NODE}/status", {}, MERGE_PATCH),
    ):
        assert "incarnation 2, and this is a report of incarnation 1" in stale(await late)
    assert (await api.get(POD)).ok()["status"]["phase"] == "Running"
    (await agent.join()).ok()
    (await agent.renew()).ok()
    (await agent.gone()).ok()
    assert (await api.get(POD)).status == 404


@pytest.mark.parametrize("late", ["report", "gone", "renew"])
async def test_a_write_that_was_let_in_before_the_verdict_is_not_committed_after_it(
    api: Api, agent: Agent, late: str
) -> None:
    (await agent.join()).ok()
    store = api.store
    assert isinstance(store, Interrupted)
    store.before = lambda: revoke(api, 2)
    stale(await getattr(agent, late)())
    assert (await api.get(POD)).ok()["status"]["phase"] == "Pending"


async def test_what_changes_nothing_is_not_acknowledged_after_the_verdict_either(api: Api, agent: Agent) -> None:
    (await agent.join()).ok()
    (await agent.report("Running")).ok()
    store = api.store
    assert isinstance(store, Interrupted)
    store.before_look = lambda: revoke(api, 2)
    stale(await agent.report("Running"))


async def test_a_write_that_a_harmless_change_of_the_node_overtakes_is_committed(api: Api, agent: Agent) -> None:
    (await agent.join()).ok()
    store = api.store
    assert isinstance(store, Interrupted)

    async def label() -> None:
        (await api.patch(NODE, {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)).ok()

    store.before = label
    (await agent.report("Running")).ok()
    store.before = label
    (await agent.renew()).ok(201)


async def test_a_second_agent_of_the_same_name_is_refused_and_told_until_the_first_is_given_up(
    api: Api, agent: Agent
) -> None:
    (await agent.join()).ok()
    second = Agent(api, agent.session, "second")
    assert "held by another agent, first.p1" in stale(await second.join(), "IdentityHeld")
    stale(await second.renew())
    again = Agent(api, agent.session, "first")
    again.holder = "first.p2"
    (await again.join()).ok()  # the first, restarted
    stale(await agent.renew())
    await revoke(api, 3)
    (await second.join()).ok()
    stale(await again.report("Running"))


async def test_a_node_of_the_same_name_that_came_later_is_another_one(api: Api, agent: Agent) -> None:
    (await agent.join()).ok()
    (await api.ask("DELETE", NODE)).ok()
    assert "gone" in stale(await agent.report("Running"))
    body = {"metadata": {"name": "n1", "annotations": {NUMBER: "1", AGENT: agent.holder}}}
    made = (await agent.send("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", **body})).ok(201)
    assert "one that is gone" in stale(await agent.report("Running"))
    agent.header = f"{made['metadata']['uid']}/1/{agent.holder}"
    (await agent.report("Running")).ok()


async def test_after_a_restored_backup_nobody_speaks_for_a_life_that_another_has_got_since(
    api: Api, agent: Agent
) -> None:
    """The first had this number before the cluster went back in time; since then the second was given it."""
    (await agent.join()).ok()
    uid = (await api.get(NODE)).ok()["metadata"]["uid"]
    await revoke(api, 2)
    second = Agent(api, agent.session, "second")
    (await second.join()).ok()
    agent.header = f"{uid}/3/{agent.holder}"
    for late in (agent.report("Succeeded"), agent.renew(), agent.send("PATCH", f"{NODE}/status", {}, MERGE_PATCH)):
        assert "is that of the agent second.p1, not of first.p1" in stale(await late)
    (await second.report("Running")).ok()


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        pytest.param({NUMBER: "3"}, "the next one is 2", id="no number is skipped"),
        pytest.param({AGENT: "other.p1"}, "the next one is 2", id="no holder is changed without a new life"),
        pytest.param({NUMBER: None, AGENT: None}, "the next one is 2", id="and none is forgotten"),
    ],
)
async def test_an_agent_claims_the_next_life_and_no_other(agent: Agent, annotations: dict[str, Any], why: str) -> None:
    (await agent.join()).ok()
    assert why in stale(await agent.send("PATCH", NODE, {"metadata": {"annotations": annotations}}, MERGE_PATCH))


async def test_whoever_leaves_makes_room_at_once(api: Api, agent: Agent) -> None:
    (await agent.join()).ok()
    leaving = {"metadata": {"annotations": {NUMBER: "2", AGENT: None}}}
    (await agent.send("PATCH", NODE, leaving, MERGE_PATCH)).ok()
    (await Agent(api, agent.session, "second").join()).ok()


async def test_the_number_of_a_life_never_goes_back_whoever_asks(api: Api, agent: Agent) -> None:
    (await agent.join()).ok()
    for number in ("0", "x", "01", "9" * 18):
        annotations = {"metadata": {"annotations": {NUMBER: number}}}
        (await api.patch(NODE, annotations, MERGE_PATCH)).refused(422, "Invalid")
    (await api.patch(NODE, {"metadata": {"annotations": {NUMBER: "9"}}}, MERGE_PATCH)).ok()
    (await api.patch(NODE, {"metadata": {"annotations": {NUMBER: "8"}}}, MERGE_PATCH)).refused(422, "Invalid")


async def test_nobody_claims_a_node_beforehand_to_keep_its_agent_out(api: Api, agent: Agent) -> None:
    owner = api.as_user("bob@example.org", "stark:user")
    for claim in ({NUMBER: "999"}, {AGENT: "bobs.p1"}, {NUMBER: "1", AGENT: "bobs.p1"}):
        made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2", "annotations": claim}}
        (await api.ask("POST", "/api/v1/nodes", made, session=owner)).refused(403, "Forbidden")
    free = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}}
    (await api.ask("POST", "/api/v1/nodes", free, session=owner)).ok(201)

    async def says(annotations: dict[str, Any]) -> Answer:
        body = {"metadata": {"annotations": annotations}}
        return await api.ask("PATCH", "/api/v1/nodes/n2", body, content_type=MERGE_PATCH, session=owner)

    (await says({"note": "mine"})).ok()
    (await says({AGENT: "bobs.p1", NUMBER: "1"})).refused(403, "Forbidden")
    (await api.patch("/api/v1/nodes/n2", {"metadata": {"annotations": {AGENT: "old.p1", NUMBER: "1"}}})).ok()
    (await says({NUMBER: "2"})).refused(403, "Forbidden")
    (await says({AGENT: None})).ok()  # it is dead, and its owner knows
    (await api.delete("/api/v1/nodes/n2")).ok()


async def test_of_many_late_reports_beside_a_verdict_none_is_acknowledged_after_it(api: Api, agent: Agent) -> None:
    (await agent.join()).ok()
    before = int((await api.get(NODE)).ok()["metadata"]["annotations"][NUMBER])

    async def reports() -> list[int]:
        heard = []
        for turn in range(20):
            answer = await agent.report("Running" if turn % 2 else "Pending")
            heard.append(int(answer.body["metadata"]["resourceVersion"]) if answer.status == 200 else 0)
        return heard

    async def verdict() -> int:
        await asyncio.sleep(0.02)
        await revoke(api, before + 1)
        return int((await api.get(NODE)).ok()["metadata"]["resourceVersion"])

    *heard, at = await asyncio.gather(reports(), reports(), verdict())
    assert max(max(each) for each in heard) < at


@pytest.mark.parametrize("field", ["labels", "annotations"])
async def test_a_node_has_a_bounded_number_of_labels_and_annotations(api: Api, field: str) -> None:
    for count, status in ((100, 200), (101, 422)):
        values = {f"key-{index}": "v" for index in range(count)}
        answer = await api.patch(NODE, {"metadata": {field: values}}, MERGE_PATCH)
        assert answer.status == status, answer.body
    assert "must have at most 100 items" in answer.body["message"]


@pytest.mark.parametrize(("seconds", "status"), [("60", 201), ("0", 422), ("soon", 422)])
async def test_a_pod_says_in_seconds_how_long_it_may_be_cut_off(api: Api, seconds: str, status: int) -> None:
    annotations = {"stark.dev/stop-when-disconnected-seconds": seconds}
    spec = {"containers": [{"name": "c", "image": "nginx:1"}]}
    meta = {"generateName": "p-", "annotations": annotations}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    answer = await api.post("/api/v1/namespaces/default/pods", body)
    assert answer.status == status, answer.body


@pytest.mark.parametrize(("settings", "status"), [({"nodeSuspectSeconds": 20}, 200), ({"nodeSuspectSeconds": 40}, 400)])
async def test_a_node_is_suspect_before_it_is_lost(api: Api, settings: dict[str, int], status: int) -> None:
    assert (await api.put("/api/config", settings)).status == status
