"""Priority and fairness over HTTP: requests that take their time hold their seats, and nobody else's."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.auth.kubeconfig import issue_kubeconfig
from stark.apiserver.settings import LimitSettings, Settings
from stark.client.api import Client
from stark.client.config import ClientConfig
from tests.support.apiserver import Answer, Api, api_server, config_map
from tests.support.kubectl import SKEW, Kubectl, kubectl_of

GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"
LEVELS, SCHEMAS = f"{GROUP}/prioritylevelconfigurations", f"{GROUP}/flowschemas"
REVIEW = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
QUEUES = {"type": "Queue", "queuing": {"queues": 64, "handSize": 1, "queueLengthLimit": 50}}
"""One queue a flow, and these two users' are different ones: so it is known who goes next."""
REJECT = {"type": "Reject"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path, settings=Settings(tmp_path, limits=LimitSettings(seats_max=40))) as running:
        (tmp_path / "pki" / "tokens.csv").write_text("loud,loud,1\nquiet,quiet,2\n")
        yield running


async def ask(api: Api, user: str, path: str = "/api") -> Answer:
    return await api.get(path, headers={"Authorization": f"Bearer {user}"}, session=api.as_nobody())


async def eventually(what: str, look: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(200):
        if await look():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(what)


async def one_seat(api: Api, response: dict[str, Any]) -> str:
    """A level with one seat for the two users; its uid, once it is used."""
    limited = {"nominalConcurrencyShares": 1, "borrowingLimitPercent": 0, "limitResponse": response}
    level = {"metadata": {"name": "small"}, "spec": {"type": "Limited", "limited": limited}}
    subjects = [{"kind": "User", "user": {"name": name}} for name in ("loud", "quiet")]
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    paths = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    spec = {
        "priorityLevelConfiguration": {"name": "small"},
        "matchingPrecedence": 50,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": subjects, "resourceRules": [everything], "nonResourceRules": paths}],
    }
    uid: str = (await api.post(LEVELS, level)).ok(201)["metadata"]["uid"]
    (await api.post(SCHEMAS, {"metadata": {"name": "small"}, "spec": spec})).ok(201)

    async def is_used() -> bool:
        return (await ask(api, "quiet")).headers.get("X-Kubernetes-PF-PriorityLevel-UID") == uid

    await eventually("the level is used", is_used)
    return uid


@dataclass
class Slow:
    """A request whose body takes its time: it holds its seat until `finish`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def begin(cls, api: Api, user: str) -> Slow:
        context = ssl.create_default_context(cadata=api.running.authority.certificate_pem.decode())
        host, port = "127.0.0.1", api.running.port
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
        head = (
            "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {user}\r\nContent-Type: application/json\r\nContent-Length: {len(REVIEW)}\r\n\r\n"
        )
        writer.write(head.encode())
        await writer.drain()
        return cls(reader, writer)

    async def finish(self) -> int:
        """Send the body; the status of the answer."""
        self.writer.write(REVIEW)
        line = await self.reader.readline()
        self.writer.close()
        return int(line.split()[1])


async def number(api: Api, metric: str) -> float:
    """A number of the level `small`, all schemas together."""
    lines = (await api.get("/metrics")).ok().splitlines()
    wanted = [line for line in lines if line.startswith(f"apiserver_flowcontrol_{metric}{{")]
    return sum(float(line.rpartition(" ")[2]) for line in wanted if 'priority_level="small"' in line)


async def until(api: Api, metric: str, value: float) -> None:
    async def is_so() -> bool:
        return await number(api, metric) == value

    await eventually(f"{metric} is {value}", is_so)


async def test_a_flood_of_one_user_leaves_anothers_request_answered(api: Api) -> None:
    await one_seat(api, QUEUES)
    first = await Slow.begin(api, "loud")
    await until(api, "current_executing_requests", 1)
    flood = [await Slow.begin(api, "loud") for _ in range(7)]
    await until(api, "current_inqueue_requests", 7)
    quiet = asyncio.create_task(ask(api, "quiet"))
    await until(api, "current_inqueue_requests", 8)
    assert await first.finish() == 201
    (await quiet).ok()
    assert await number(api, "current_inqueue_requests") == 6, "the flood came first, and goes on after it"
    assert set(await asyncio.gather(*(slow.finish() for slow in flood))) == {201}


async def test_who_finds_no_seat_is_told_when_to_come_back_and_where_it_belonged(api: Api) -> None:
    uid = await one_seat(api, REJECT)
    slow = await Slow.begin(api, "loud")
    await until(api, "current_executing_requests", 1)
    answer = await ask(api, "quiet")
    assert answer.refused(429, "TooManyRequests") == "Too many requests, please try again later."
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["X-Kubernetes-PF-PriorityLevel-UID"] == uid
    assert answer.headers["X-Kubernetes-PF-FlowSchema-UID"]
    assert (await api.get("/api")).status == (await api.get("/livez", session=api.as_nobody())).status == 200
    assert await slow.finish() == 201
    (await ask(api, "quiet")).ok()
    assert await number(api, "rejected_requests_total") == 1


async def test_our_client_and_kubectl_come_back(api: Api, tmp_path: Path) -> None:
    await one_seat(api, REJECT)
    slow = await Slow.begin(api, "loud")
    await until(api, "current_executing_requests", 1)
    ca = api.running.authority.certificate_pem
    kubeconfig = tmp_path / "admin.kubeconfig"
    issue_kubeconfig(api.running.authority, "admin", server=api.running.url, path=kubeconfig)
    config = json.loads(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "quiet"}
    kubeconfig.write_text(json.dumps(config))
    kubectl = Kubectl(kubectl_of(SKEW[-1]), tmp_path, api)
    async with Client(ClientConfig(server=api.running.url, ca_data=ca, token="quiet")) as client:
        ours = asyncio.create_task(client.get_json("/api"))
        theirs = asyncio.create_task(kubectl("get", "--raw", "/api"))

        async def both_refused() -> bool:
            return await number(api, "rejected_requests_total") >= 2

        await eventually("both were refused", both_refused)
        assert await slow.finish() == 201
        assert (await ours)["kind"] == json.loads(await theirs)["kind"] == "APIVersions"


async def test_a_watch_holds_no_seat_once_it_is_live(api: Api) -> None:
    uid = await one_seat(api, REJECT)
    controllers = api.as_identity("controllers")
    impersonated = {"Impersonate-User": "quiet", "Impersonate-Group": "system:masters"}
    url = f"{api.running.url}/api/v1/namespaces?watch=1"
    async with api.session.get(url, headers=impersonated) as watch:
        assert watch.headers["X-Kubernetes-PF-PriorityLevel-UID"] != uid, "masters are exempt, whoever they are"
        await watch.content.readline()
        await until(api, "current_executing_requests", 0)
    patched = {
        "spec": {"rules": [{**(await subjects_of(api)), "subjects": [{"kind": "Group", "group": {"name": "*"}}]}]}
    }
    (await api.patch(f"{SCHEMAS}/small", patched)).ok()
    async with controllers.get(url) as watch:
        await watch.content.readline()
        await until(api, "current_executing_requests", 0)
        (await ask(api, "quiet")).ok()


async def subjects_of(api: Api) -> dict[str, Any]:
    rule: dict[str, Any] = (await api.get(f"{SCHEMAS}/small")).ok()["spec"]["rules"][0]
    return rule


async def test_a_long_list_holds_its_seat_until_it_is_sent(api: Api) -> None:
    await one_seat(api, REJECT)
    maps = "/api/v1/namespaces/default/configmaps"
    made = [config_map(f"m{each}", k="x" * 45_000) for each in range(300)]
    for answer in await asyncio.gather(*(api.post(maps, each) for each in made)):
        answer.ok(201)
    context = ssl.create_default_context(cadata=api.running.authority.certificate_pem.decode())
    tokens = api.settings.data_dir / "pki" / "tokens.csv"
    tokens.write_text('loud,loud,1,"system:controllers"\nquiet,quiet,2\n')
    # A small window, or the kernel takes as much of the list as there is.
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    slow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(slow, ("127.0.0.1", api.running.port))
    reader, writer = await asyncio.open_connection(sock=slow, ssl=context, server_hostname="localhost")
    writer.write(f"GET {maps} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer loud\r\n\r\n".encode())
    assert b" 200 " in await reader.readline()
    (await ask(api, "quiet")).refused(429, "TooManyRequests")
    while await reader.read(1 << 20):
        pass
    await until(api, "current_executing_requests", 0)
    (await ask(api, "quiet")).ok()
    writer.close()


async def test_suggested_objects_come_back_and_a_schema_without_its_level_says_so(api: Api) -> None:
    (await api.delete(f"{LEVELS}/system")).ok()

    async def is_back() -> bool:
        return (await api.get(f"{LEVELS}/system")).status == 200

    await eventually("it is made again", is_back)
    refused = await api.patch(f"{SCHEMAS}/catch-all", {"spec": {"matchingPrecedence": 9}})
    assert "must equal the fixed value" in refused.refused(422, "Invalid")
    await one_seat(api, REJECT)
    (await api.delete(f"{LEVELS}/small")).ok()

    async def dangles() -> bool:
        conditions = (await api.get(f"{SCHEMAS}/small")).ok()["status"]["conditions"]
        return [(each["type"], each["status"], each["reason"]) for each in conditions] == [
            ("Dangling", "True", "NotFound")
        ]

    await eventually("it is dangling", dangles)
    (await ask(api, "quiet")).ok()
