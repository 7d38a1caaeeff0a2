"""Who is asking: certificates, tokens, nobody, and somebody who acts as another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stark.apiserver.auth.authentication import Authenticator, StaticTokens, certificate_user
from stark.apiserver.auth.impersonation import impersonate
from stark.apiserver.errors import BadRequest, Forbidden, Unauthorized
from stark.apiserver.request import User
from tests.support.roles import guard
from tests.support.server_side import ADMIN, ALICE, request

TOKENS = 's3cret,alice,u-1,"devs,ops"\n# a comment\n\nother-token,bob,u-2\n'


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.csv"
    path.write_text(TOKENS)
    path.chmod(0o600)
    return path


def change(path: Path, content: str | None) -> None:
    """Write the file anew, or remove it."""
    if content is None:
        path.unlink()
    else:
        path.write_text(content)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_a_certificate_names_its_user_and_groups() -> None:
    peercert = {
        "subject": (
            (("organizationName", "system:nodes"),),
            (("organizationName", "extra"),),
            (("commonName", "system:node:n1"),),
        )
    }
    assert certificate_user(peercert) == User("system:node:n1", ("system:nodes", "extra"))
    assert certificate_user({"subject": ((("organizationName", "system:masters"),),)}) is None
    assert certificate_user({}) is None
    assert certificate_user(None) is None


async def test_everybody_who_is_known_is_authenticated(tokens: Path) -> None:
    authenticator = Authenticator([StaticTokens(tokens)])
    by_token = await authenticator.authenticate(request("/api", headers=bearer("s3cret")))
    assert by_token == User("alice", ("devs", "ops", "system:authenticated"), "u-1")
    by_certificate = await authenticator.authenticate(request("/api", certificate_user=User("x", ("g",))))
    assert by_certificate.groups == ("g", "system:authenticated")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/version", "/livez/store"])
async def test_probes_are_answered_to_anybody(path: str) -> None:
    user = await Authenticator().authenticate(request(path))
    assert user == User("system:anonymous", ("system:unauthenticated",))


@pytest.mark.parametrize("path", ["/", "/api", "/metrics", "/api/v1/pods", "/healthzz", "/version/../api"])
async def test_everything_else_is_closed_to_nobody(path: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        await Authenticator().authenticate(request(path))
    assert caught.value.status()["code"] == 401


@pytest.mark.parametrize("header", ["Bearer nope", "Bearer ", "bearer", "Bearer " + "x" * 20_000])
async def test_a_token_that_is_not_known_is_refused_even_on_open_paths(tokens: Path, header: str) -> None:
    with pytest.raises(Unauthorized):
        await Authenticator([StaticTokens(tokens)]).authenticate(request("/healthz", headers={"authorization": header}))


async def test_tokens_follow_their_file(tokens: Path) -> None:
    known = StaticTokens(tokens)
    assert await known.user_of("new") is None
    replacement = tokens.with_suffix(".new")
    replacement.write_text("new,carol,u-3\n")
    os.replace(replacement, tokens)
    assert await known.user_of("new") == User("carol", (), "u-3")
    assert await known.user_of("s3cret") is None
    change(tokens, None)
    assert await known.user_of("new") is None


@pytest.mark.parametrize("broken", ["token-only\n", ",alice,u\n", "t,a,1\nt,b,2\n", 't,a,1,"open\n'])
async def test_a_broken_tokens_file_leaves_the_former_tokens_in_force(tokens: Path, broken: str) -> None:
    known = StaticTokens(tokens)
    assert await known.user_of("s3cret") is not None
    change(tokens, broken)
    assert await known.user_of("s3cret") is not None
    change(tokens, "fixed,dora,u-4\n")
    assert await known.user_of("fixed") is not None
    assert await known.user_of("s3cret") is None


async def test_a_missing_tokens_file_knows_nobody(tmp_path: Path) -> None:
    assert await StaticTokens(tmp_path / "none.csv").user_of("x") is None


AS_BOB = {"impersonate-user": "bob", "impersonate-group": "devs, ops", "impersonate-extra-acme%2fteam": "red"}


async def test_an_administrator_may_act_as_somebody_else() -> None:
    user = await impersonate(request(headers=AS_BOB), ADMIN, guard())
    assert user == User("bob", ("devs", "ops", "system:authenticated"), "", {"acme/team": ("red",)})


async def test_acting_as_oneself_needs_no_header() -> None:
    assert await impersonate(request(), ALICE, guard()) is ALICE


async def test_others_may_not_act_as_somebody_else() -> None:
    with pytest.raises(Forbidden) as caught:
        await impersonate(request(headers=AS_BOB), ALICE, guard())
    assert caught.value.message.startswith('users "bob" is forbidden: User "alice" cannot impersonate resource "users"')


async def test_a_group_without_a_user_to_act_as_is_not_ignored() -> None:
    with pytest.raises(BadRequest):
        await impersonate(
            request(headers={"impersonate-group": "devs"}),
            ADMIN,
            guard(),
        )


async def test_an_impersonated_service_account_is_in_its_groups_unless_others_are_named() -> None:
    robot = {"impersonate-user": "system:serviceaccount:team:robot"}
    user = await impersonate(request(headers=robot), ADMIN, guard())
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:team", "system:authenticated")
    named = await impersonate(
        request(headers={**robot, "impersonate-group": "devs"}),
        ADMIN,
        guard(),
    )
    assert named.groups == ("devs", "system:authenticated")
    with pytest.raises(Forbidden) as caught:
        await impersonate(request(headers=robot), ALICE, guard())
    assert 'cannot impersonate resource "serviceaccounts"' in caught.value.message
