"""Setting up, registering, logging in and out, and being thrown out, over a real server on SQLite."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from stark.apiserver.credentials import StoredCredentials
from stark.apiserver.people import address_key
from stark.apiserver.settings import RateSettings
from tests.support.kubectl import kubectl
from tests.support.people import ADMIN, PASSWORD, People, data, people_at_a_server, refusal

USERS = "/apis/stark.dev/v1/users"
CONFIG = "/apis/stark.dev/v1/clusterconfigs/cluster"


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[People]:
    async with people_at_a_server(tmp_path) as found:
        yield found


async def until_refused(people: People, token: str) -> None:
    """Until the news of a change to the user has come to the cache, which a write does not wait for."""
    async with asyncio.timeout(5):
        while (await people.get("/auth/me", token=token)).status != 401:
            pass


async def ended(watch: aiohttp.ClientResponse) -> None:
    async with asyncio.timeout(5):
        try:
            await watch.content.read()
        except aiohttp.ClientError:
            pass  # it was cut


async def test_the_first_administrator_is_set_up_once(people: People) -> None:
    status = await people.ask("GET", "/auth/setup/status", **{"X-Correlation-ID": "mine"})
    assert data(status) == {"needsSetup": True, "registrationEnabled": False}
    assert status.headers["X-Correlation-ID"] == "mine"
    assert status.headers["Cache-Control"] == "no-store"
    weak = await people.post("/auth/setup", {"email": "not an address", "password": "weak"})
    assert set(refusal(weak, 400, "VALIDATION_ERROR")["details"]) == {"password"}
    odd = await people.post("/auth/setup", {"email": "not an address", "password": PASSWORD})
    assert "email" in refusal(odd, 400, "VALIDATION_ERROR")["details"]

    given = {"email": f"  {ADMIN.upper()} ", "password": PASSWORD, "displayName": "Ada"}
    first = data(await people.post("/auth/setup", given), 201)
    assert (first["user"]["email"], first["user"]["displayName"], first["user"]["roles"]) == (ADMIN, "Ada", ["admin"])
    me = data(await people.get("/auth/me", token=first["accessToken"]))
    assert me == {"username": ADMIN, "uid": first["user"]["id"], "groups": ["stark:admin", "system:authenticated"]}
    assert data(await people.get("/auth/setup/status"))["needsSetup"] is False
    refusal(await people.post("/auth/setup", given), 409, "CONFLICT")
    stored = (await people.api.get(f"{USERS}/{ADMIN}")).ok()
    assert PASSWORD not in str(stored)
    assert "argon2" not in str(stored)
    # Also when all users are gone: only who holds a certificate of the cluster may begin again.
    (await people.api.delete(f"{USERS}/{ADMIN}")).ok()
    refusal(await people.post("/auth/setup", given), 409, "CONFLICT")


async def test_of_racing_setups_one_wins_and_leaves_one_administrator(people: People) -> None:
    bodies = [{"email": f"{name}@example.com", "password": PASSWORD} for name in "abcdef"]
    answers = await asyncio.gather(*(people.post("/auth/setup", body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 5
    (user,) = (await people.api.get(USERS)).ok()["items"]
    winner = next(data(answer, 201) for answer in answers if answer.status == 201)
    assert winner["user"]["id"] == user["metadata"]["uid"]


async def test_paths_answer_in_one_envelope_and_ask_for_credentials(people: People) -> None:
    refusal(await people.get("/auth/nothing"), 404, "NOT_FOUND")
    refusal(await people.post("/auth/setup/status", {}), 405, "METHOD_NOT_ALLOWED")
    refusal(await people.get("/auth/users"), 401, "AUTHENTICATION_REQUIRED")
    refusal(await people.get("/auth/users", token="unknown"), 401, "UNAUTHORIZED")
    refusal(await people.post("/auth/login", {"email": ADMIN, "password": 1}), 400, "VALIDATION_ERROR")
    refusal(await people.post("/auth/login", {"email": ADMIN}), 400, "VALIDATION_ERROR")
    refusal(await people.post("/auth/login", {"email": ADMIN, "password": "x", "more": 1}), 400, "VALIDATION_ERROR")
    refusal(await people.post("/auth/login", b"{"), 400, "VALIDATION_ERROR")
    refusal(await people.post("/auth/login", b" " * 70_000), 413, "PAYLOAD_TOO_LARGE")
    url, plain = f"{people.api.running.url}/auth/login", {"email": ADMIN, "password": PASSWORD}
    async with people.session.post(
        url, data=json.dumps(plain).encode(), skip_auto_headers=["Content-Type"]
    ) as typeless:
        assert typeless.status == 415, "what a page of any origin may send without asking"
    # Who comes for a token may still send the old one.
    assert data(await people.ask("GET", "/auth/setup/status", token="expired"))["needsSetup"]


async def test_a_refresh_token_is_good_once_and_one_that_was_copied_ends_the_session(people: People) -> None:
    first = await people.setup()
    second = data(await people.post("/auth/refresh", {"refreshToken": first["refreshToken"]}))
    assert second["refreshToken"] != first["refreshToken"]
    # A lost answer: the same question again gets the same token.
    again = data(await people.post("/auth/refresh", {"refreshToken": first["refreshToken"]}))
    assert again["refreshToken"] == second["refreshToken"]
    third = data(await people.post("/auth/refresh", {"refreshToken": second["refreshToken"]}))
    data(await people.get("/auth/me", token=third["accessToken"]))

    refusal(await people.post("/auth/refresh", {"refreshToken": first["refreshToken"]}), 401, "UNAUTHORIZED")
    refusal(await people.get("/auth/me", token=third["accessToken"]), 401, "UNAUTHORIZED")
    refusal(await people.post("/auth/refresh", {"refreshToken": third["refreshToken"]}), 401, "UNAUTHORIZED")
    metrics = (await people.api.get("/metrics")).body
    assert 'stark_sessions_total{event="reused"} 1.0' in metrics


async def test_programs_that_refresh_at_the_same_moment_get_the_same_tokens(people: People) -> None:
    token = (await people.setup())["refreshToken"]
    answers = await asyncio.gather(*(people.post("/auth/refresh", {"refreshToken": token}) for _ in range(6)))
    assert len({data(answer)["refreshToken"] for answer in answers}) == 1


async def test_a_logout_ends_this_session_and_its_watches_at_once_and_no_other(people: People) -> None:
    await people.setup()
    here, there = await people.add("bob@example.com", "admin"), await people.login("bob@example.com")
    watch = await people.watch("/api/v1/namespaces", here["accessToken"])
    assert watch.status == 200
    data(await people.post("/auth/logout", None, token=here["accessToken"]))
    refusal(await people.get("/auth/me", token=here["accessToken"]), 401, "UNAUTHORIZED")
    refusal(await people.post("/auth/refresh", {"refreshToken": here["refreshToken"]}), 401, "UNAUTHORIZED")
    await ended(watch)
    sessions = data(await people.get("/auth/sessions", token=there["accessToken"]))["sessions"]
    assert [each["current"] for each in sessions] == [True]
    refusal(await people.ask("DELETE", "/auth/sessions/none", token=there["accessToken"]), 404, "NOT_FOUND")


async def test_whoever_impersonates_is_out_with_the_session_they_had(people: People) -> None:
    bob = await people.add("bob@example.com", "admin")
    head = {"Authorization": f"Bearer {bob['accessToken']}", "Impersonate-User": "admin"}
    head["Impersonate-Group"] = "system:masters"
    watch = await people.session.get(f"{people.api.running.url}/api/v1/namespaces?watch=1", headers=head)
    assert watch.status == 200
    data(await people.post("/auth/logout", None, token=bob["accessToken"]))
    await ended(watch)


async def test_nobody_gives_a_role_they_do_not_have(people: People) -> None:
    api, group = people.api, "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": "helpdesk"}}
    rule = {"apiGroups": ["stark.dev"], "resources": ["users", "users/password"], "verbs": ["*"]}
    (await api.post(f"/apis/{group}/v1/clusterroles", {**role, "rules": [rule]})).ok(201)
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "helpdesk"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "helpdesk"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "help@example.com"}],
    }
    (await api.post(f"/apis/{group}/v1/clusterrolebindings", binding)).ok(201)
    await people.setup()
    token = (await people.add("help@example.com", "viewer"))["accessToken"]
    new = {"email": "new@example.com", "password": PASSWORD}
    refusal(await people.post("/auth/users", {**new, "roles": ["admin"]}, token=token), 403, "FORBIDDEN")
    refusal(await people.post("/auth/users", {**new, "roles": ["user"]}, token=token), 403, "FORBIDDEN")
    data(await people.post("/auth/users", {**new, "roles": ["viewer"]}, token=token), 201)
    taken = {"newPassword": "Battery2staple"}
    refusal(await people.ask("PUT", f"/auth/users/{ADMIN}/password", taken, token=token), 403, "FORBIDDEN")
    data(await people.ask("PUT", "/auth/users/new@example.com/password", taken, token=token))
    (await people.ask("DELETE", f"{USERS}/{ADMIN}", token=token)).refused(403, "Forbidden")
    own = await people.ask(
        "PATCH",
        f"{USERS}/help@example.com",
        {"spec": {"roles": ["admin"]}},
        token=token,
        **{"Content-Type": "application/merge-patch+json"},
    )
    own.refused(403, "Forbidden")


async def test_kubectl_takes_an_access_token_for_as_long_as_the_login_lasts(people: People, tmp_path: Path) -> None:
    token = (await people.setup())["accessToken"]
    (tmp_path / "ca.crt").write_bytes(people.api.running.authority.certificate_pem)
    whom = ("--server", people.api.running.url, "--token", token, "--certificate-authority", str(tmp_path / "ca.crt"))

    async def ask(*words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            kubectl(), *words, *whom, "--kubeconfig", "/dev/null", stdout=PIPE, stderr=STDOUT
        )
        output, _ = await process.communicate()
        return output.decode()

    assert ADMIN in await ask("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert f"user.stark.dev/{ADMIN}" in await ask("get", "users", "-o", "name")
    data(await people.post("/auth/logout", None, token=token))
    assert "Unauthorized" in await ask("get", "users")


@pytest.mark.parametrize("how", ["disabled", "deleted", "being deleted"])
async def test_whoever_is_no_user_any_more_is_out_at_once(people: People, how: str) -> None:
    bob = await people.add("bob@example.com", "admin")
    token = bob["accessToken"]
    watch = await people.watch("/api/v1/namespaces", token)
    assert watch.status == 200
    if how == "disabled":
        (await people.api.patch(f"{USERS}/bob@example.com", {"spec": {"disabled": True}})).ok()
    else:
        kept = {"metadata": {"finalizers": ["example.com/keep"] if how == "being deleted" else None}}
        (await people.api.patch(f"{USERS}/bob@example.com", kept)).ok()
        (await people.api.delete(f"{USERS}/bob@example.com")).ok()
    await until_refused(people, token)
    await ended(watch)
    refusal(await people.post("/auth/refresh", {"refreshToken": bob["refreshToken"]}), 401, "UNAUTHORIZED")
    login = await people.post("/auth/login", {"email": "bob@example.com", "password": PASSWORD})
    if how == "disabled":
        refusal(login, 403, "FORBIDDEN")
        (await people.api.patch(f"{USERS}/bob@example.com", {"spec": {"disabled": False}})).ok()
        await people.login("bob@example.com")
    elif how == "being deleted":
        refusal(login, 403, "FORBIDDEN")
    else:
        refusal(login, 401, "UNAUTHORIZED")
        assert (await people.add("bob@example.com"))["user"]["id"] != bob["user"]["id"]
    refusal(await people.get("/auth/me", token=token), 401, "UNAUTHORIZED")
    refusal(await people.post("/auth/refresh", {"refreshToken": bob["refreshToken"]}), 401, "UNAUTHORIZED")


async def test_roles_are_those_of_this_moment(people: People) -> None:
    bob = await people.add("bob@example.com", "viewer")
    (await people.api.patch(f"{USERS}/bob@example.com", {"spec": {"roles": ["user", "node"]}})).ok()
    async with asyncio.timeout(5):
        groups: list[str] = []
        while groups != ["stark:user", "stark:node", "system:authenticated"]:
            groups = data(await people.get("/auth/me", token=bob["accessToken"]))["groups"]


async def test_registration_is_open_when_the_cluster_says_so_and_gives_no_high_roles(people: People) -> None:
    admin = await people.setup()
    body = {"email": "eve@example.com", "password": PASSWORD}
    refusal(await people.post("/auth/register", body), 403, "FORBIDDEN")
    data(await people.post("/auth/register", body, token=admin["accessToken"]), 201)
    refusal(await people.ask("PUT", "/api/config", {"enablePublicRegistration": True}), 401, "AUTHENTICATION_REQUIRED")
    odd = await people.api.put("/api/config", {"enablePublicRegistration": "yes", "nothing": 1})
    assert set(refusal(odd, 400, "VALIDATION_ERROR")["details"]) == {"enablePublicRegistration", "nothing"}
    assert data(await people.api.put("/api/config", {"enablePublicRegistration": True}))["config"][
        "enablePublicRegistration"
    ]
    assert data(await people.get("/api/config")) == {"config": {"enablePublicRegistration": True}}
    assert (await people.api.get(CONFIG)).ok()["spec"]["enablePublicRegistration"] is True

    refusal(await people.post("/auth/register", body), 409, "CONFLICT")
    frank: dict[str, Any] = {"email": "frank@example.com", "password": PASSWORD}
    refusal(await people.post("/auth/register", {**frank, "roles": ["admin"]}), 403, "FORBIDDEN")
    refusal(await people.post("/auth/register", {**frank, "roles": ["king"]}), 400, "VALIDATION_ERROR")
    assert data(await people.post("/auth/register", frank), 201)["user"]["roles"] == ["viewer"]
    (await people.api.patch(CONFIG, {"spec": {"enablePublicRegistration": False}})).ok()
    async with asyncio.timeout(5):
        while data(await people.get("/auth/setup/status"))["registrationEnabled"]:
            pass


async def test_nobody_registers_as_somebody_who_was_there_before_and_gets_what_is_theirs(people: People) -> None:
    (await people.api.put("/api/config", {"enablePublicRegistration": True})).ok()
    body = {"email": "eve@example.com", "password": PASSWORD, "roles": ["user"]}
    token = data(await people.post("/auth/register", body), 201)["accessToken"]
    named = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "eves"}}
    (await people.post("/api/v1/namespaces", named, token=token)).ok(201)
    by_hand = {"apiVersion": "stark.dev/v1", "kind": "User", "metadata": {"name": "gus@example.com"}}
    (await people.api.post(USERS, {**by_hand, "spec": {"email": "gus@example.com"}})).ok(201)
    (await people.api.get(USERS)).ok()
    known = StoredCredentials(people.api.store)
    for email in ("eve@example.com", "gus@example.com"):
        (await people.api.delete(f"{USERS}/{email}")).ok()
        async with asyncio.timeout(5):
            while await known.read(address_key(email)) is None:
                pass
        again = refusal(await people.post("/auth/register", {**body, "email": email}), 409, "CONFLICT")
        assert "ask an administrator" in again["message"]
    await people.add("eve@example.com", "user")  # who knows that it is she


async def test_users_keep_to_their_rules_through_the_kubernetes_paths_too(people: People) -> None:
    api = people.api
    user = {"apiVersion": "stark.dev/v1", "kind": "User", "metadata": {"name": "a@example.com"}}
    assert "spec.email" in (await api.post(USERS, {**user, "spec": {"email": "b@example.com"}})).refused(422, "Invalid")
    (await api.post(USERS, {**user, "spec": {"email": "A@example.com"}})).refused(422, "Invalid")
    (await api.post(USERS, {**user, "spec": {"email": "a@example.com", "roles": ["king"]}})).refused(422, "Invalid")
    (await api.post(USERS, {**user, "spec": {"email": "a@example.com"}})).ok(201)
    assert data(await people.get("/auth/setup/status"))["needsSetup"] is False
    changed = await api.patch(f"{USERS}/a@example.com", {"spec": {"email": "c@example.com"}})
    assert "immutable" in changed.refused(422, "Invalid")
    # Nobody has given them a password: none will do.
    login = await people.post("/auth/login", {"email": "a@example.com", "password": PASSWORD})
    refusal(login, 401, "UNAUTHORIZED")
    reset = await api.put("/auth/users/a@example.com/password", {"newPassword": PASSWORD})
    data(reset)
    await people.login("a@example.com")
    other = {"apiVersion": "stark.dev/v1", "kind": "ClusterConfig", "metadata": {"name": "other"}}
    (await api.post("/apis/stark.dev/v1/clusterconfigs", other)).refused(422, "Invalid")


async def test_a_new_password_ends_the_other_sessions(people: People) -> None:
    await people.setup()
    here, there = await people.login(), await people.login()
    token, new = here["accessToken"], "Battery2staple"
    wrong = {"currentPassword": "Wrong1password", "newPassword": new}
    refusal(await people.post("/auth/password", wrong, token=token), 401, "UNAUTHORIZED")
    weak = {"currentPassword": PASSWORD, "newPassword": "weak"}
    refusal(await people.post("/auth/password", weak, token=token), 400, "VALIDATION_ERROR")
    data(await people.post("/auth/password", {"currentPassword": PASSWORD, "newPassword": new}, token=token))
    data(await people.get("/auth/me", token=token))
    refusal(await people.get("/auth/me", token=there["accessToken"]), 401, "UNAUTHORIZED")
    await people.login(password=new)
    assert data(await people.api.ask("DELETE", f"/auth/users/{ADMIN}/sessions"))["ended"] == 2
    refusal(await people.get("/auth/me", token=token), 401, "UNAUTHORIZED")


async def test_no_login_with_the_former_password_outlives_its_change(people: People) -> None:
    token, new = (await people.setup())["accessToken"], "Battery2staple"
    change = people.post("/auth/password", {"currentPassword": PASSWORD, "newPassword": new}, token=token)
    logins = [people.post("/auth/login", {"email": ADMIN, "password": PASSWORD}) for _ in range(8)]
    changed, *answers = await asyncio.gather(change, *logins)
    data(changed)
    for answer in answers:
        assert answer.status in (200, 401, 409), answer.body
        if answer.status == 200:
            given = data(answer)
            refusal(await people.get("/auth/me", token=given["accessToken"]), 401, "UNAUTHORIZED")
    data(await people.get("/auth/me", token=token))


async def test_after_too_many_wrong_passwords_the_right_one_does_not_help_either(people: People) -> None:
    await people.setup()
    await people.add("bob@example.com")
    wrong = {"email": ADMIN, "password": "Wrong1password"}
    nobody = {"email": "nobody@example.com", "password": "Wrong1password"}
    known = [await people.post("/auth/login", wrong) for _ in range(11)]
    unknown = [await people.post("/auth/login", nobody) for _ in range(11)]
    assert [answer.status for answer in known] == [401] * 10 + [429]
    assert [(answer.status, answer.body) for answer in known] == [(answer.status, answer.body) for answer in unknown]
    locked = await people.post("/auth/login", {"email": ADMIN, "password": PASSWORD})
    assert refusal(locked, 429, "TOO_MANY_REQUESTS")["details"]["retryAfterSeconds"] == int(
        locked.headers["Retry-After"]
    )
    for _ in range(12):
        await people.login("bob@example.com")


async def test_an_address_that_nobody_has_costs_as_many_hashes_as_any_other(people: People) -> None:
    await people.setup()

    async def hashes(email: str) -> float:
        before = await counted()
        refusal(await people.post("/auth/login", {"email": email, "password": "Wrong1password"}), 401, "UNAUTHORIZED")
        return await counted() - before

    async def counted() -> float:
        text = (await people.api.get("/metrics")).body
        (line,) = [each for each in text.splitlines() if each.startswith("stark_password_hash_duration_seconds_count")]
        return float(line.split()[1])

    await hashes(ADMIN)  # the first one makes what the others are compared with
    assert await hashes(ADMIN) == await hashes("nobody@example.com") == await hashes("not an address") == 1


async def test_one_user_cannot_make_any_number_of_requests(tmp_path: Path) -> None:
    rates = RateSettings(person_burst=5, person_per_s=0.01, refused_tokens=3)
    async with people_at_a_server(tmp_path, store="memory", rates=rates) as people:
        await people.setup()
        bob = await people.add("bob@example.com")
        answers = [await people.get("/auth/me", token=bob["accessToken"]) for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 5 + [429]
        refused = await people.get("/api/v1/namespaces", token=bob["accessToken"])
        refused.refused(429, "TooManyRequests")
        assert int(refused.headers["Retry-After"]) > 0
        assert (await people.get("/auth/me", token=(await people.login())["accessToken"])).status == 200
        unknown = [await people.get("/api/v1/namespaces", token="unknown") for _ in range(4)]
        assert [answer.status for answer in unknown] == [401] * 3 + [429]
        assert [(await people.api.get("/api/v1/namespaces")).status for _ in range(20)] == [200] * 20
