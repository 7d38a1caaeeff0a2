"""Who reaches what: the table of docs/ownership.md, every cell over HTTP, on one's own, another's and public objects.

Writes are asked with `dryRun=All`, which is judged like the real thing and changes nothing for the next case.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from stark.apiserver.resources import Resource
from tests.support.apiserver import MERGE_PATCH, Answer, Api, api_server
from tests.support.ownership import ALL, NO, OWNER, PUBLIC, ROLES, SHA256, STRANGER, Row, body, named, rows

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPLY = "application/apply-patch+yaml"
DRY = "?dryRun=All"
INITIAL = "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
CONNECT = "?command=true&stdout=true&ports=80"
ROWS = rows()


def person(role: str) -> str:
    return role.replace("stark:", "person-")


class Court:
    """The server, with an object of each kind for each owner, and a session for each role."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.sessions = {role: api.as_user(person(role), role) for role in ROLES}

    def resource(self, row: Row) -> Resource:
        return next(r for r in self.api.running.resources if (r.group, r.plural) == (row.group, row.plural))

    def path(self, row: Row, name: str = "", subresource: str = "") -> str:
        resource = self.resource(row)
        where = "/namespaces/default" if resource.namespaced else ""
        return "/".join(part for part in (f"{resource.root}{where}/{row.plural}", name, subresource) if part)

    def name(self, row: Row, whose: str) -> str:
        if whose == "public":
            return named(row.group, row.plural, "for-all")
        return named(row.group, row.plural, f"of-{person(row.role) if whose == 'own' else STRANGER}")

    async def furnish(self) -> None:
        kinds = {(row.group, row.plural): row for row in ROWS if row.group != "events.k8s.io"}
        for row in kinds.values():  # pods come first: events are about them
            for owner in (*map(person, ROLES), STRANGER):
                await self._put(row, f"of-{owner}", owner)
            if row.plural == "packs":
                await self._put(row, "for-all", STRANGER, public=True)

    async def _put(self, row: Row, name: str, owner: str, *, public: bool = False) -> None:
        obj = body(row.group, row.plural, self.resource(row).version, name, owner, public=public)
        if row.plural == "events":
            pod = (await self.api.get(f"/api/v1/namespaces/default/pods/{name}")).ok()
            named_in = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod["metadata"]["uid"]}
            obj["involvedObject"] |= named_in
        (await self.api.post(self.path(row), obj)).ok(201)

    async def ask(
        self, row: Row, method: str, path: str, content: Any = None, kind: str = "application/json"
    ) -> Answer:
        return await self.api.ask(method, path, content, content_type=kind, session=self.sessions[row.role])

    async def watched(self, row: Row) -> Answer:
        """What a watch begins with, in the shape of a list."""
        session = self.sessions[row.role]
        async with session.get(self.api.running.url + self.path(row) + INITIAL) as response:
            if response.status != 200:
                return Answer(response.status, await response.json(), response.headers)
            items = []
            async for line in response.content:
                frame = json.loads(line)
                if frame["type"] == "BOOKMARK":
                    break
                items.append(frame["object"])
            return Answer(200, {"items": items}, response.headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def court(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Court]:
    async with api_server(tmp_path_factory.mktemp("matrix")) as api:
        court = Court(api)
        await court.furnish()
        yield court


# Who reaches everything, or nothing that could be written, is less likely to be broken by a change.
CASES = [
    pytest.param(row, id=str(row), marks=pytest.mark.slow if row.role in ("stark:admin", "stark:viewer") else ())
    for row in ROWS
]


@pytest.mark.parametrize("row", CASES)
async def test_the_table_holds_for(court: Court, row: Row) -> None:
    for verb in row.verbs:
        if verb in ("list", "watch", "deletecollection"):
            await collection_holds(court, row, verb)
        elif verb == "create" and not row.subresource:
            await creation_holds(court, row)
        else:
            for whose in ("own", "foreign", *(("public",) if row.plural == "packs" else ())):
                answer = await one(court, row, verb, court.name(row, whose))
                assert (answer.status != 403) is row.reaches(whose), (verb, whose, answer.status, answer.body)
                assert answer.status < 300 or row.subresource or not row.reaches(whose), (verb, whose, answer.body)


async def collection_holds(court: Court, row: Row, verb: str) -> None:
    if verb == "watch":
        answer = await court.watched(row)
    else:
        method, query = ("GET", "") if verb == "list" else ("DELETE", DRY)
        answer = await court.ask(row, method, court.path(row) + query)
    assert (answer.status == 200) is (row.reach != NO), (verb, answer.status, answer.body)
    if row.reach == NO:
        assert answer.status == 403
        return
    ours = {item["metadata"]["name"] for item in answer.body["items"]}
    own, foreign, public = (court.name(row, whose) for whose in ("own", "foreign", "public"))
    assert own in ours, (verb, ours)
    assert (foreign in ours) is (row.reach == ALL), (verb, ours)
    if row.reach != ALL:
        assert ours == ({own, public} if row.reach == PUBLIC else {own}), verb


async def creation_holds(court: Court, row: Row) -> None:
    obj = body(row.group, row.plural, court.resource(row).version, "fresh")
    answer = await court.ask(row, "POST", court.path(row) + DRY, obj)
    assert answer.status == (403 if row.reach == NO else 201), answer.body
    if row.reach == "own":
        assert answer.body["metadata"]["annotations"][OWNER] == person(row.role)


async def one(court: Court, row: Row, verb: str, name: str) -> Answer:
    """Ask for one verb on one object."""
    path = court.path(row, name, row.subresource)
    if row.subresource == "bundles":
        method = "GET" if verb == "get" else "PUT"
        return await court.ask(row, method, f"{path}/{SHA256}", b"x" if method == "PUT" else None)
    match verb:
        case "get":
            return await court.ask(
                row, "GET", path + (CONNECT if row.subresource in ("exec", "attach", "portforward") else "")
            )
        case "create" if row.subresource in ("exec", "attach", "portforward"):
            return await court.ask(row, "POST", path + CONNECT)
        case "create":
            return await court.ask(row, "POST", path + DRY, posted(row, name))
        case "update":
            current = (await court.api.get(path)).ok()
            return await court.ask(row, "PUT", path + DRY, current)
        case "patch":
            change = (
                {"spec": {"replicas": 2}} if row.subresource == "scale" else {"metadata": {"annotations": {"a": "b"}}}
            )
            return await court.ask(row, "PATCH", path + DRY, change, MERGE_PATCH)
        case "apply":
            mine = {"kind": court.resource(row).kind, "apiVersion": court.resource(row).api_version}
            applied = {**mine, "metadata": {"name": name, "annotations": {"a": "b"}}}
            return await court.ask(row, "PATCH", f"{path}{DRY}&fieldManager=matrix", applied, APPLY)
        case "delete":
            return await court.ask(row, "DELETE", path + DRY)
    raise AssertionError(verb)


def posted(row: Row, name: str) -> dict[str, Any]:
    if row.subresource == "eviction":
        return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    target = {"apiVersion": "v1", "kind": "Node", "name": f"of-{STRANGER}"}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
