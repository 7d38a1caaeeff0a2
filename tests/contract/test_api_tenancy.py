"""Two users of one cluster, each of whom tries to get at what is the other's, by every way there is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from stark.apiserver.auth.identities import node_identity
from tests.support.apiserver import (
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    Answer,
    Api,
    Watch,
    api_server,
    config_map,
    pod,
)
from tests.support.ownership import OWNER, OWNER_ROLE

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPLY = "application/apply-patch+yaml"
CORE = "/api/v1/namespaces/default"
SECRETS, PODS, MAPS = f"{CORE}/secrets", f"{CORE}/pods", f"{CORE}/configmaps"
PACKS = "/apis/stark.dev/v1/packs"
ALICE, BOB = "alice@example.com", "bob@example.com"
PLANTED = "treasure-of-alice"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


class People:
    """The server and who uses it. Every answer that bob gets is searched for alice's secret."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._sessions = {ALICE: api.as_user(ALICE, "stark:user"), BOB: api.as_user(BOB, "stark:user")}

    async def ask(
        self,
        who: str,
        method: str,
        path: str,
        content: Any = None,
        kind: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        headers = {"Accept": accept}
        session = self._sessions[who]
        answer = await self.api.ask(method, path, content, content_type=kind, headers=headers, session=session)
        assert who == ALICE or PLANTED not in json.dumps(answer.body), (method, path, answer.body)
        return answer

    async def make(self, who: str, path: str, obj: Any) -> Any:
        return (await self.ask(who, "POST", path, obj)).ok(201)

    @asynccontextmanager
    async def watch(self, who: str, path: str) -> AsyncIterator[Watch]:
        async with self._sessions[who].get(self.api.running.url + path) as response:
            yield Watch(response)

    async def told(self, node: str, change: Any, owner: str = "") -> Answer:
        """The answer to a node's agent who changes its Node."""
        session = self.agent(node, owner)
        return await self.api.ask("PATCH", f"/api/v1/nodes/{node}", change, content_type=MERGE_PATCH, session=session)

    def agent(self, name: str, owner: str = "", role: str = "") -> aiohttp.ClientSession:
        return self.api.as_holder(node_identity(name, owner, role))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[People]:
    async with api_server(tmp_path_factory.mktemp("tenancy")) as api:
        people = People(api)
        await people.make(ALICE, SECRETS, secret("hers"))
        await people.make(BOB, SECRETS, secret("his", "nothing"))
        yield people


def secret(name: str, value: str = PLANTED, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app": "x"}},
        "stringData": {"k": value},
        **more,
    }


def core(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}


def named(answer: Answer) -> list[str]:
    return [item["metadata"]["name"] for item in answer.ok()["items"]]


def reading(name: str, how: str) -> dict[str, Any]:
    """A pod that is given something of its namespace."""
    key = {"name": name, "key": "k"}
    container: dict[str, Any] = {"name": "main", "image": "docker.io/library/busybox:1.36"}
    match how:
        case "env":
            container["env"] = [{"name": "A", "valueFrom": {"secretKeyRef": key}}]
        case "envFrom":
            container["envFrom"] = [{"secretRef": {"name": name}}]
        case "config":
            container["env"] = [{"name": "A", "valueFrom": {"configMapKeyRef": key}}]
        case "configFrom":
            container["envFrom"] = [{"configMapRef": {"name": name}}]
        case "volume":
            return {"containers": [container], "volumes": [{"name": "v", "secret": {"secretName": name}}]}
        case "configVolume":
            return {"containers": [container], "volumes": [{"name": "v", "configMap": {"name": name}}]}
        case "projected" | "configProjected":
            source = {"secret" if how == "projected" else "configMap": {"name": name}}
            return {"containers": [container], "volumes": [{"name": "v", "projected": {"sources": [source]}}]}
        case "pull":
            return {"containers": [container], "imagePullSecrets": [{"name": name}]}
        case "account":
            return {"containers": [container], "serviceAccountName": name}
    return {"containers": [container]}


# --- one object ---


@pytest.mark.parametrize(
    ("method", "path", "content", "kind"),
    [
        pytest.param("GET", "/hers", None, "", id="get"),
        pytest.param("GET", "/hers?resourceVersion=0", None, "", id="get of any version"),
        pytest.param("HEAD", "/hers", None, "", id="head"),
        pytest.param("PUT", "/hers", secret("hers", "x"), "application/json", id="update"),
        pytest.param("PATCH", "/hers", {"stringData": {"k": "x"}}, MERGE_PATCH, id="merge patch"),
        pytest.param("PATCH", "/hers", {"data": {"k": None}}, STRATEGIC_PATCH, id="strategic merge patch"),
        pytest.param(
            "PATCH", "/hers", [{"op": "test", "path": "/data/k", "value": "eA=="}], JSON_PATCH, id="guess by json patch"
        ),
        pytest.param("PATCH", "/hers", [{"op": "copy", "from": "/data/k", "path": "/data/l"}], JSON_PATCH, id="copy"),
        pytest.param("PATCH", "/hers?fieldManager=b&force=true", secret("hers", "x"), APPLY, id="apply over it"),
        pytest.param("PATCH", "/hers?fieldManager=b&dryRun=All", secret("hers", "x"), APPLY, id="apply dry"),
        pytest.param("DELETE", "/hers", None, "", id="delete"),
        pytest.param("DELETE", "/hers?dryRun=All", None, "", id="delete dry"),
        pytest.param(
            "DELETE",
            "/hers",
            {"preconditions": {"uid": "x"}},
            "application/json",
            id="fish for its uid by a precondition",
        ),
        pytest.param(
            "PATCH",
            "/hers",
            {"metadata": {"annotations": {OWNER: BOB}}},
            MERGE_PATCH,
            id="make it one's own",
        ),
    ],
)
async def test_another_users_secret_is_refused_by(
    people: People, method: str, path: str, content: Any, kind: str
) -> None:
    answer = await people.ask(BOB, method, SECRETS + path, content, kind or "application/json")
    assert answer.status == 403
    if method != "HEAD":
        assert "only what is their own" in answer.body["message"]
    kept = (await people.ask(ALICE, "GET", SECRETS + "/hers")).ok()
    assert kept["metadata"]["annotations"] == {OWNER: ALICE, OWNER_ROLE: "user"}


async def test_what_is_not_there_is_not_found(people: People) -> None:
    assert (await people.ask(BOB, "GET", SECRETS + "/nowhere")).status == 404


@pytest.mark.parametrize("accept", ["application/json", TABLE, PARTIAL, "application/yaml"])
@pytest.mark.parametrize(
    "query",
    [
        "",
        "?resourceVersion=0",
        "?fieldSelector=metadata.name%3Dhers",
        "?fieldSelector=metadata.name!%3Dhis",
        "?fieldSelector=type%3DOpaque",
        "?labelSelector=app%3Dx",
        "?labelSelector=app+in+(x,y)",
        "?limit=1",
        "?includeObject=Object",
    ],
)
async def test_a_list_shows_nothing_of_anothers(people: People, accept: str, query: str) -> None:
    for path in (SECRETS, "/api/v1/secrets"):
        answer = await people.ask(BOB, "GET", path + query, accept=accept)
        assert answer.status == 200
        text = json.dumps(answer.body)
        assert "hers" not in text.replace("metadata.name", "")
        assert "remainingItemCount" not in text


async def test_the_owner_is_no_field_to_select_by(people: People) -> None:
    selector = f"metadata.annotations[{OWNER}]%3D{ALICE}"
    assert (await people.ask(BOB, "GET", f"{SECRETS}?fieldSelector={selector}")).status == 400


async def test_pages_and_forged_tokens_stay_within_ones_own(people: People) -> None:
    for name in ("page-1", "page-2", "page-3"):
        await people.make(BOB, MAPS, config_map(name))
        await people.make(ALICE, MAPS, config_map(f"{name}-hers"))
    first = (await people.ask(BOB, "GET", f"{MAPS}?limit=2")).ok()
    token = first["metadata"]["continue"]
    await people.make(BOB, MAPS, config_map("page-4"))  # the rest is read from the store, at the first page's revision
    rest = await people.ask(BOB, "GET", f"{MAPS}?limit=2&continue={token}")
    assert [each["metadata"]["name"] for each in first["items"]] + named(rest) == ["page-1", "page-2", "page-3"]
    theirs = (await people.ask(ALICE, "GET", f"{MAPS}?limit=1")).ok()["metadata"]["continue"]
    assert all("hers" not in name for name in named(await people.ask(BOB, "GET", f"{MAPS}?continue={theirs}")))
    old = first["metadata"]["resourceVersion"]
    exact = await people.ask(BOB, "GET", f"{MAPS}?resourceVersion={old}&resourceVersionMatch=Exact")
    assert named(exact) == ["page-1", "page-2", "page-3"]


async def test_a_deletion_of_everything_spares_what_is_anothers(people: People) -> None:
    await people.make(ALICE, MAPS, config_map("spared"))
    await people.make(BOB, MAPS, config_map("swept"))
    for query in ("", "?fieldSelector=metadata.name%3Dspared", "?propagationPolicy=Foreground"):
        (await people.ask(BOB, "DELETE", MAPS + query)).ok()
    assert "spared" in named(await people.ask(ALICE, "GET", MAPS))
    assert named(await people.ask(BOB, "GET", MAPS)) == []


# --- watches ---


@pytest.mark.parametrize(
    "query",
    [
        "?watch=1&resourceVersion=0",
        "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
        "?watch=1&resourceVersion={begin}",
    ],
    ids=["from what there is", "with the beginning told apart", "from a revision"],
)
async def test_a_watch_sees_an_object_come_and_go_with_its_owner(people: People, query: str) -> None:
    begin = (await people.ask(BOB, "GET", MAPS)).ok()["metadata"]["resourceVersion"]
    made = await people.make(ALICE, MAPS, {**config_map("", a=PLANTED), "metadata": {"generateName": "moving-"}})
    path = f"{MAPS}/{made['metadata']['name']}"
    async with people.watch(BOB, MAPS + query.format(begin=begin)) as watch:
        await people.ask(ALICE, "PATCH", path, {"data": {"a": "for bob"}}, MERGE_PATCH)
        (await people.api.patch(path, {"metadata": {"annotations": {OWNER: BOB}}})).ok()
        (await people.api.patch(path, {"metadata": {"annotations": {OWNER: ALICE}}})).ok()
        await people.ask(ALICE, "PATCH", path, {"data": {"a": PLANTED}}, MERGE_PATCH)
        last = await people.make(BOB, MAPS, {**config_map(""), "metadata": {"generateName": "last-"}})
        names = [made["metadata"]["name"], last["metadata"]["name"]]
        seen: list[tuple[str, dict[str, Any]]] = []
        while not seen or seen[-1][1]["metadata"]["name"] != names[1]:
            kind, obj = await watch.next()
            if kind != "BOOKMARK" and obj["metadata"]["name"] in names:
                seen.append((kind, obj))
    assert PLANTED not in json.dumps(seen)
    assert [kind for kind, _ in seen] == ["ADDED", "DELETED", "ADDED"]


async def test_watchers_of_public_packs_share_no_frames_with_their_owner(people: People) -> None:
    async with people.watch(BOB, f"{PACKS}?watch=1") as his, people.watch(ALICE, f"{PACKS}?watch=1") as hers:
        for name, visibility in (("closed", "private"), ("open", "public")):
            await people.make(ALICE, PACKS, pack(name, visibility))
        first = (await hers.next())[1]["spec"]["name"], (await hers.next())[1]["spec"]["name"]
        assert first == ("closed", "open")
        assert (await his.next())[1]["spec"]["name"] == "open"
        path = f"{PACKS}/open.1.0.0"
        await people.ask(ALICE, "PATCH", path, {"spec": {"visibility": "private"}}, MERGE_PATCH)
        assert (await his.next())[0] == "DELETED"
    assert (await people.ask(BOB, "GET", path)).status == 403


def pack(name: str, visibility: str) -> dict[str, Any]:
    bundles = [{"architecture": "any", "sha256": "ab" * 32, "size": 1}]
    spec = {"name": name, "version": "1.0.0", "runtime": "node", "visibility": visibility, "bundles": bundles}
    return {"apiVersion": "stark.dev/v1", "kind": "Pack", "metadata": {"name": f"{name}.1.0.0"}, "spec": spec}


# --- creating ---


async def test_a_name_that_is_anothers_is_taken(people: People) -> None:
    (await people.ask(BOB, "POST", SECRETS, secret("hers", "x"))).refused(409, "AlreadyExists")


async def test_what_one_creates_is_ones_own_whatever_the_manifest_says(people: People) -> None:
    forged = {
        **config_map("forged"),
        "metadata": {"name": "forged", "annotations": {OWNER: ALICE, OWNER_ROLE: "admin"}},
    }
    wanted = {OWNER: BOB, OWNER_ROLE: "user"}
    assert (await people.make(BOB, MAPS, forged))["metadata"]["annotations"] == wanted
    generated = {**forged, "metadata": {**forged["metadata"], "name": None, "generateName": "forged-"}}
    assert (await people.make(BOB, MAPS, generated))["metadata"]["annotations"] == wanted
    applied = {**forged, "metadata": {**forged["metadata"], "name": "applied"}}
    answer = await people.ask(BOB, "PATCH", f"{MAPS}/applied?fieldManager=b", applied, APPLY)
    assert answer.ok(201)["metadata"]["annotations"] == wanted
    dry = await people.ask(BOB, "POST", f"{MAPS}?dryRun=All", {**forged, "metadata": {"name": "dry"}})
    assert dry.ok(201)["metadata"]["annotations"] == wanted


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease", "stark-system"])
async def test_nothing_is_put_where_the_clusters_own_things_are(people: People, namespace: str) -> None:
    token = secret("bootstrap-token-abcdef", type="bootstrap.kubernetes.io/token")
    path = f"/api/v1/namespaces/{namespace}/secrets"
    assert "the cluster's own" in (await people.ask(BOB, "POST", path, token)).refused(403, "Forbidden")
    applied = await people.ask(BOB, "PATCH", f"{path}/bootstrap-token-abcdef?fieldManager=b", token, APPLY)
    applied.refused(403, "Forbidden")


@pytest.mark.parametrize(
    "how",
    [
        *("env", "envFrom", "pull", "config", "configFrom", "account"),
        *("volume", "configVolume", "projected", "configProjected"),
    ],
)
async def test_neither_a_pod_nor_a_template_names_what_is_anothers(people: People, how: str) -> None:
    name = f"named-{how}".lower()
    await people.make(ALICE, SECRETS, secret(name))
    await people.make(ALICE, MAPS, config_map(name))
    await people.make(ALICE, f"{CORE}/serviceaccounts", core("ServiceAccount", name))
    spec = reading(name, how)
    template = {"metadata": {"labels": {"app": "x"}}, "spec": spec}
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template},
    }
    for who, status in ((BOB, 403), (ALICE, 201)):
        answers = [
            await people.ask(who, "POST", f"{PODS}?dryRun=All", {**pod(name), "spec": spec}),
            await people.ask(who, "POST", "/apis/apps/v1/namespaces/default/deployments?dryRun=All", workload),
        ]
        assert [answer.status for answer in answers] == [status, status], [answer.body for answer in answers]
    assert (
        f'"{name}" does not belong to {BOB}'
        in (await people.ask(BOB, "POST", PODS, {**pod(name), "spec": spec})).body["message"]
    )


async def test_a_pull_secret_that_an_account_brings_along_is_no_offence(people: People) -> None:
    (await people.api.post(f"{CORE}/secrets", secret("registry", "x"))).ok(201)
    given = {"imagePullSecrets": [{"name": "registry"}]}
    (await people.api.post(f"{CORE}/serviceaccounts", core("ServiceAccount", "default", **given))).ok(201)
    made = (await people.ask(BOB, "POST", f"{PODS}?dryRun=All", pod("brought"))).ok(201)
    assert made["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    chosen: Any = reading("registry", "envFrom")
    (await people.ask(BOB, "POST", f"{PODS}?dryRun=All", pod("brought", **chosen))).refused(403, "Forbidden")
    (await people.api.delete(f"{CORE}/serviceaccounts/default")).ok()


async def test_an_account_that_is_not_ones_own_gives_no_token(people: People) -> None:
    (await people.api.post(f"{CORE}/serviceaccounts", core("ServiceAccount", "deployer"))).ok(201)
    wanted = secret("token", "x", type="kubernetes.io/service-account-token")
    for account in ("deployer", "default", "nobody"):
        wanted["metadata"] = {"name": "token", "annotations": {"kubernetes.io/service-account.name": account}}
        (await people.ask(BOB, "POST", SECRETS, wanted)).refused(403, "Forbidden")
    path = f"{CORE}/serviceaccounts/deployer/token"
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    assert (await people.ask(BOB, "POST", path, review)).status == 403


async def test_an_owner_that_is_anothers_is_no_owner_of_mine(people: People) -> None:
    hers = (await people.ask(ALICE, "GET", SECRETS + "/hers")).ok()
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "hers", "uid": hers["metadata"]["uid"]}
    mine = config_map("attached")
    mine["metadata"]["ownerReferences"] = [{**reference, "controller": True, "blockOwnerDeletion": True}]
    message = (await people.ask(BOB, "POST", MAPS, mine)).refused(403, "Forbidden")
    assert 'Secret "hers"' in message
    assert message.endswith(f"named as an owner, does not belong to {BOB}")
    await people.make(BOB, MAPS, config_map("attached"))
    change = {"metadata": mine["metadata"]}
    (await people.ask(BOB, "PATCH", f"{MAPS}/attached", change, MERGE_PATCH)).refused(403, "Forbidden")


@pytest.mark.parametrize("forged", [{"name": "his"}, {"name": "nobodys"}, {"kind": "Unheard", "name": "his"}])
async def test_an_owner_has_the_uid_it_is_named_with(people: People, forged: dict[str, str]) -> None:
    hers = (await people.ask(ALICE, "GET", SECRETS + "/hers")).ok()
    reference = {"apiVersion": "v1", "kind": "Secret", "uid": hers["metadata"]["uid"], "controller": True, **forged}
    mine = config_map("bound")
    mine["metadata"]["ownerReferences"] = [reference]
    (await people.ask(BOB, "POST", f"{MAPS}?dryRun=All", mine)).refused(403, "Forbidden")
    his = (await people.ask(BOB, "GET", SECRETS + "/his")).ok()
    mine["metadata"]["ownerReferences"] = [
        {**reference, "kind": "Secret", "name": "his", "uid": his["metadata"]["uid"]}
    ]
    (await people.ask(BOB, "POST", f"{MAPS}?dryRun=All", mine)).ok(201)


async def test_the_labels_of_a_namespace_are_not_its_owners_to_choose(people: People) -> None:
    path = "/api/v1/namespaces"
    labelled = core("Namespace", "marked")
    labelled["metadata"]["labels"] = {"env": "test"}
    (await people.ask(BOB, "POST", path, labelled)).refused(403, "Forbidden")
    await people.make(BOB, path, core("Namespace", "marked"))
    change = {"metadata": {"labels": {"env": "test"}}}
    message = (await people.ask(BOB, "PATCH", f"{path}/marked", change, MERGE_PATCH)).refused(403, "Forbidden")
    assert message.endswith("the labels of a namespace are set by administrators: env")
    (await people.ask(BOB, "PATCH", f"{path}/marked", {"metadata": {"annotations": {"a": "b"}}}, MERGE_PATCH)).ok()


async def test_what_was_handed_over_is_bound_by_its_new_owners_rights(people: People) -> None:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": reading("", "")}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"
    given = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "given"}, "spec": spec}
    given["metadata"] = {"name": "given", "annotations": {OWNER: BOB}}
    assert (await people.api.post(path, given)).ok(201)["metadata"]["annotations"] == {OWNER: BOB}
    change = {"spec": {"template": {"spec": reading("hers", "env")}}}
    (await people.ask(BOB, "PATCH", f"{path}/given", change, MERGE_PATCH)).refused(403, "Forbidden")
    answer = await people.ask(BOB, "PATCH", f"{path}/given", {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)
    assert answer.ok()["metadata"]["annotations"][OWNER_ROLE] == "user"


# --- namespaces ---


async def test_a_namespace_of_ones_own_is_closed_to_others_and_goes_with_ones_own_things(people: People) -> None:
    await people.make(ALICE, "/api/v1/namespaces", core("Namespace", "house"))
    room = "/api/v1/namespaces/house"
    assert "belongs to another user" in (await people.ask(BOB, "POST", f"{room}/configmaps", config_map("x"))).refused(
        403, "Forbidden"
    )
    (await people.ask(BOB, "DELETE", room)).refused(403, "Forbidden")
    (await people.ask(BOB, "PATCH", room, {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)).refused(403, "Forbidden")
    await people.make(ALICE, f"{room}/configmaps", config_map("mine"))
    (await people.api.post(f"{room}/configmaps", config_map("theirs"))).ok(201)
    refusal = (await people.ask(ALICE, "DELETE", room)).refused(403, "Forbidden")
    assert "configmaps/theirs in it is not yours" in refusal
    (await people.api.delete(f"{room}/configmaps/theirs")).ok()
    answer = (await people.ask(ALICE, "DELETE", room)).ok()
    assert answer["status"]["phase"] == "Terminating"


# --- pods: their streams, their nodes ---


async def test_the_streams_of_anothers_pod_are_closed(people: People) -> None:
    await people.make(ALICE, PODS, pod("streaming"))
    for path in ("log", "exec?command=ls&stdout=1", "attach?stdout=1", "portforward?ports=80"):
        refused = await people.ask(BOB, "GET", f"{PODS}/streaming/{path}")
        assert refused.status == 403, path
        assert (await people.ask(ALICE, "GET", f"{PODS}/streaming/{path}")).status != 403, path
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "streaming"}}
    (await people.ask(BOB, "POST", f"{PODS}/streaming/eviction", eviction)).refused(403, "Forbidden")
    metrics = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"
    assert named(await people.ask(BOB, "GET", metrics)) == []
    assert (await people.ask(BOB, "GET", f"{metrics}/streaming")).status in (403, 404)


async def test_a_pod_is_made_for_nodes_that_serve_its_owner_only(people: People) -> None:
    node = {"apiVersion": "v1", "kind": "Node"}
    for name, owner, role in (("shared", "admin", "admin"), ("box", ALICE, ""), ("stray", "", "")):
        agent = people.agent(name, owner, role)
        made = await people.api.post("/api/v1/nodes", {**node, "metadata": {"name": name}}, session=agent)
        assert (made.ok(201)["metadata"].get("annotations") or {}).get(OWNER, "") == owner
    await people.make(ALICE, PACKS, pack("placed", "private"))
    (await people.api.patch(f"{PACKS}/placed.1.0.0/status", {"status": {"phase": "Available"}})).ok()
    await people.make(BOB, f"{CORE}/serviceaccounts", core("ServiceAccount", "his-account"))
    image = {"name": "main", "image": "pack.stark/placed:1.0.0"}
    private: dict[str, Any] = {"containers": [image]}
    tries = [
        (ALICE, private, "box", 201),
        (ALICE, private, "shared", 201),
        (ALICE, private, "stray", 403),
        (ALICE, private, "not-there-yet", 403),
        (BOB, private, "shared", 403),
        (BOB, {}, "box", 201),
        (BOB, reading("his", "env"), "box", 403),
        (BOB, reading("his-account", "account"), "box", 403),
        (BOB, {**reading("his-account", "account"), "automountServiceAccountToken": False}, "box", 201),
    ]
    for who, spec, where, status in tries:
        obj = pod("placed", nodeName=where, **spec)
        answer = await people.ask(who, "POST", f"{PODS}?dryRun=All", obj)
        assert answer.status == status, (who, where, answer.body)
    (
        await people.api.patch(
            "/api/v1/nodes/box", {"metadata": {"annotations": {"stark.dev/accept-public-packs": "false"}}}
        )
    ).ok()
    (await people.ask(BOB, "POST", f"{PODS}?dryRun=All", pod("placed", nodeName="box"))).refused(403, "Forbidden")
    opened = {"metadata": {"annotations": {"stark.dev/open-to-all": "true"}}}
    (await people.told("stray", opened)).refused(422, "Invalid")
    (await people.api.patch("/api/v1/nodes/stray", opened)).ok()
    (await people.ask(ALICE, "POST", f"{PODS}?dryRun=All", pod("placed", nodeName="stray", **private))).ok(201)


async def test_a_node_that_somebody_claims_is_its_agents_owners_and_leads_nowhere(people: People) -> None:
    status = {"addresses": [{"type": "InternalIP", "address": "169.254.169.254"}]}
    claimed = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "wanted"}, "status": status}
    made = await people.make(BOB, "/api/v1/nodes", claimed)
    assert (made["metadata"]["annotations"][OWNER], made.get("status", {}).get("addresses")) == (BOB, None)
    (await people.ask(BOB, "PATCH", "/api/v1/nodes/wanted/status", {"status": status}, MERGE_PATCH)).refused(
        403, "Forbidden"
    )
    answer = await people.told("wanted", {"metadata": {"labels": {"kubernetes.io/hostname": "wanted"}}}, ALICE)
    assert answer.ok()["metadata"]["annotations"] == {OWNER: ALICE}
    (await people.ask(BOB, "DELETE", "/api/v1/nodes/wanted")).refused(403, "Forbidden")


async def test_an_agent_reads_what_its_pods_name_and_what_is_their_owners(people: People) -> None:
    agent = people.agent("reader", ALICE)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "reader"}}
    (await people.api.post("/api/v1/nodes", node, session=agent)).ok(201)
    await people.make(ALICE, SECRETS, secret("for-pod"))

    async def status(path: str) -> int:
        return (await people.api.get(path, session=agent)).status

    assert await status(f"{SECRETS}/for-pod") == 403
    other = {**reading("later", "env")["containers"][0], "name": "other"}
    containers = [*reading("for-pod", "env")["containers"], other]
    made = await people.make(ALICE, PODS, pod("reads", nodeName="reader", containers=containers))
    assert made["spec"]["nodeName"] == "reader"
    assert await status(f"{SECRETS}/for-pod") == 200
    assert [
        await status(f"{SECRETS}{query}")
        for query in ("?fieldSelector=metadata.name%3Dfor-pod", "", "?labelSelector=app%3Dx")
    ] == [200, 403, 403]
    assert [await status(path) for path in (f"{SECRETS}/hers", PACKS, f"{SECRETS}/later")] == [403, 403, 404]
    # What the pod names may be put there by somebody else, who wants to be read, or read by what is done with it.
    await people.make(BOB, SECRETS, secret("later", "poison"))
    assert await status(f"{SECRETS}/later") == 403
    listed = await people.api.get(f"{SECRETS}?fieldSelector=metadata.name%3Dlater", session=agent)
    assert named(listed) == []
    (await people.api.delete(f"{PODS}/reads", {"gracePeriodSeconds": 0})).ok()
    assert await status(f"{SECRETS}/for-pod") == 403


# --- what controllers make, and events ---


async def test_a_template_gives_its_pods_no_other_owner(people: People) -> None:
    labels = {"app": "chain"}
    forged = {OWNER: ALICE, OWNER_ROLE: "admin"}
    template = {"metadata": {"labels": labels, "annotations": forged}, "spec": reading("", "")}
    spec = {"selector": {"matchLabels": labels}, "template": template, "replicas": 0}
    rs = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "chain"}, "spec": spec}
    made = await people.make(BOB, "/apis/apps/v1/namespaces/default/replicasets", rs)
    uid = made["metadata"]["uid"]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chain", "uid": uid, "controller": True}
    child = pod("chain-1")
    child["metadata"] |= {"labels": labels, "annotations": forged, "ownerReferences": [owner]}
    controllers = people.api.as_identity("controllers")
    meta = (await people.api.post(PODS, child, session=controllers)).ok(201)["metadata"]
    assert {key: meta["annotations"][key] for key in (OWNER, OWNER_ROLE)} == {OWNER: BOB, OWNER_ROLE: "user"}
    subject = {"apiVersion": "v1", "kind": "Pod", "name": "chain-1", "namespace": "default", "uid": meta["uid"]}
    event = core("Event", "chain-1.1", involvedObject=subject, reason="R", message="m")
    (await people.api.post(f"{CORE}/events", event, session=controllers)).ok(201)
    for path in (f"{CORE}/events", "/apis/events.k8s.io/v1/namespaces/default/events"):
        assert "chain-1.1" in named(await people.ask(BOB, "GET", path))
        assert "chain-1.1" not in named(await people.ask(ALICE, "GET", path))
        assert (await people.ask(ALICE, "GET", f"{path}/chain-1.1")).status == 403
    invented = core("Event", "chain-1.2", involvedObject=subject, reason="R", message="m")
    (await people.api.post(f"{CORE}/events", invented, session=people.agent("elsewhere", ALICE))).ok(201)
    assert "chain-1.2" not in named(await people.ask(BOB, "GET", f"{CORE}/events"))


@pytest.mark.parametrize(("verbs", "status"), [(["get", "update"], 403), (["get", "update", "create"], 201)])
async def test_a_replacement_of_what_is_not_there_takes_the_right_to_create(
    people: People, verbs: list[str], status: int
) -> None:
    name, group = f"carl-{len(verbs)}", "rbac.authorization.k8s.io"
    rule = {"verbs": verbs, "apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]}
    bound = {
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "User", "name": name}],
    }
    (await people.api.post(f"/apis/{group}/v1/clusterroles", role)).ok(201)
    binding = {**role, "kind": "ClusterRoleBinding", **bound}
    del binding["rules"]
    (await people.api.post(f"/apis/{group}/v1/clusterrolebindings", binding)).ok(201)
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {}}
    path = f"/apis/coordination.k8s.io/v1/namespaces/default/leases/{name}"
    assert (await people.api.put(path, lease, session=people.api.as_user(name))).status == status
