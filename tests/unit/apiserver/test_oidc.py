"""ID tokens of a provider outside: whose they make one, which are refused, and what its keys and outages do."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stark.apiserver.auth.authentication import TokenRefused
from stark.apiserver.auth.oidc import OidcTokens, check_claims, user_from
from stark.apiserver.auth.pki import PkiError
from stark.apiserver.proxy.identity_provider import REFRESH_PAUSE_S, Provider, ProviderError, usable_keys
from stark.apiserver.request import User
from stark.apiserver.settings import OidcSettings, Settings
from tests.support.apiserver import api_server
from tests.support.issuer import CLIENT, Issuer, issuer

URL = "https://id.example"
NOW = 1_800_000_000
SETTINGS = OidcSettings(URL, CLIENT)
CLAIMS = {"iss": URL, "aud": CLIENT, "sub": "jane", "exp": NOW + 60}


def accept(claims: dict[str, Any], settings: OidcSettings) -> User:
    check_claims(claims, settings, NOW)
    return user_from(claims, settings)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("settings", "claims", "name", "groups"),
    [
        pytest.param({}, {}, f"{URL}#jane", (), id="the issuer is put before a name"),
        pytest.param({"username_prefix": "-"}, {}, "jane", (), id="a dash means no prefix"),
        pytest.param({"username_prefix": "corp:"}, {}, "corp:jane", (), id="a prefix of one's own"),
        pytest.param({"username_claim": "email"}, {"email": "j@x.org"}, "j@x.org", (), id="an email has no prefix"),
        pytest.param(
            {"username_claim": "email"}, {"email": "j@x.org", "email_verified": True}, "j@x.org", (), id="verified"
        ),
        pytest.param({"groups_claim": "g"}, {"g": ["a", "b"]}, f"{URL}#jane", ("a", "b"), id="a list of groups"),
        pytest.param({"groups_claim": "g"}, {"g": "a"}, f"{URL}#jane", ("a",), id="one group"),
        pytest.param(
            {"groups_claim": "g", "groups_prefix": "corp:"}, {"g": ["a"]}, f"{URL}#jane", ("corp:a",), id="prefix"
        ),
        pytest.param({"groups_claim": "g"}, {}, f"{URL}#jane", (), id="no groups"),
        pytest.param(
            {"required_claims": (("hd", "x.org"),)}, {"hd": "x.org"}, f"{URL}#jane", (), id="what is required"
        ),
        pytest.param({}, {"aud": ["other", CLIENT]}, f"{URL}#jane", (), id="one of several audiences"),
        pytest.param({}, {"nbf": NOW + 299}, f"{URL}#jane", (), id="a provider's clock that is ahead"),
    ],
)
async def test_a_token_makes_its_bearer(
    settings: dict[str, Any], claims: dict[str, Any], name: str, groups: tuple[str, ...]
) -> None:
    whole, chosen = {**CLAIMS, **claims}, replace(SETTINGS, **settings)
    user = accept(whole, chosen)
    assert (user.name, user.groups) == (name, groups)


@pytest.mark.parametrize(
    ("settings", "claims", "words"),
    [
        ({}, {"aud": "other"}, "expected audience"),
        ({}, {"aud": None}, "expected audience"),
        ({}, {"iss": f"{URL}/"}, "different provider"),
        ({}, {"exp": NOW - 1}, "token is expired"),
        ({}, {"exp": None}, "malformed times"),
        ({}, {"nbf": NOW + 301}, "before the nbf"),
        ({"username_claim": "email"}, {"email": "j@x.org", "email_verified": False}, "email not verified"),
        ({"username_claim": "email"}, {"email": "j@x.org", "email_verified": "true"}, "email not verified"),
        ({"username_claim": "name"}, {}, "parse username claims"),
        ({}, {"sub": ""}, "parse username claims"),
        ({}, {"sub": 7}, "parse username claims"),
        ({"groups_claim": "g"}, {"g": [1]}, "parse groups claim"),
        ({"groups_claim": "g"}, {"g": {"a": 1}}, "parse groups claim"),
        ({"required_claims": (("hd", "x.org"),)}, {}, "required claim hd not present"),
        ({"required_claims": (("hd", "x.org"),)}, {"hd": "y.org"}, "Got = y.org, want = x.org"),
    ],
)
async def test_a_token_is_refused(settings: dict[str, Any], claims: dict[str, Any], words: str) -> None:
    whole, chosen = {**CLAIMS, **claims}, replace(SETTINGS, **settings)
    with pytest.raises(TokenRefused, match=words):
        accept(whole, chosen)


@pytest_asyncio.fixture(loop_scope="module")
async def outside(tmp_path: Path) -> AsyncIterator[Issuer]:
    async with issuer(tmp_path) as provider:
        yield provider


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def known(outside: Issuer, clock: Clock | None = None) -> tuple[OidcTokens, Provider]:
    provider = Provider(outside.url, outside.ca_file, clock or Clock())
    await provider._fetch()
    algorithms = ("RS256", "ES256")
    return OidcTokens(OidcSettings(outside.url, CLIENT, signing_algorithms=algorithms), provider), provider


async def test_keys_rotate_and_a_taken_back_one_is_believed_no_longer(outside: Issuer) -> None:
    clock = Clock()
    tokens, _ = await known(outside, clock)
    old = outside.token()
    assert await tokens.user_of(old)
    outside.rotate("second", ec.generate_private_key(ec.SECP256R1()))
    new = outside.token("ES256")
    with pytest.raises(TokenRefused, match="failed to verify signature"):
        await tokens.user_of(new)  # the provider was asked a moment ago
    clock.now += REFRESH_PAUSE_S
    assert await tokens.user_of(new)
    with pytest.raises(TokenRefused, match="failed to verify signature"):
        await tokens.user_of(old)


async def test_made_up_key_ids_do_not_make_us_a_nuisance_to_the_provider(outside: Issuer) -> None:
    clock = Clock()
    tokens, _ = await known(outside, clock)
    outside.asked.clear()
    clock.now += REFRESH_PAUSE_S
    for number in range(20):
        with pytest.raises(TokenRefused):
            await tokens.user_of(outside.token(headers={"kid": f"made-up-{number}"}))
    assert outside.asked == ["configuration", "keys"]


async def test_keys_that_come_in_many_pieces_are_read_whole(outside: Issuer) -> None:
    outside.piece_bytes = 50
    outside.keys["another"] = ec.generate_private_key(ec.SECP256R1())
    tokens, _ = await known(outside)
    assert await tokens.user_of(outside.token())


async def test_a_set_of_keys_without_end_is_not_read_to_its_end(
    outside: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside.piece_bytes = 50
    monkeypatch.setattr("stark.apiserver.proxy.identity_provider.DOCUMENT_BYTES_MAX", 200)
    with pytest.raises(ProviderError, match="larger than 200 bytes"):
        await known(outside)


async def test_who_waits_with_a_made_up_key_id_for_a_slow_provider_waits_for_one_answer_not_for_one_each(
    outside: Issuer,
) -> None:
    clock = Clock()
    tokens, _ = await known(outside, clock)
    clock.now += REFRESH_PAUSE_S
    outside.asked.clear()
    outside.before_answering = lambda: setattr(clock, "now", clock.now + REFRESH_PAUSE_S)
    made_up = [outside.token(headers={"kid": f"made-up-{number}"}) for number in range(5)]
    outcomes = await asyncio.gather(*map(tokens.user_of, made_up), return_exceptions=True)
    assert all(isinstance(outcome, TokenRefused) for outcome in outcomes)
    assert outside.asked == ["configuration", "keys"]


async def test_while_the_provider_is_away_its_known_keys_hold(outside: Issuer) -> None:
    clock = Clock()
    tokens, provider = await known(outside, clock)
    token, unknown = outside.token(), outside.token(headers={"kid": "x"})
    await outside.stop()
    clock.now += REFRESH_PAUSE_S
    with pytest.raises(ProviderError):
        await provider._fetch()
    assert await tokens.user_of(token)
    with pytest.raises(TokenRefused):
        await tokens.user_of(unknown)


async def test_before_the_provider_was_ever_reached_its_tokens_are_refused_with_the_reason(outside: Issuer) -> None:
    tokens = OidcTokens(OidcSettings(outside.url, CLIENT), Provider(outside.url, outside.ca_file))
    with pytest.raises(TokenRefused, match="authenticator not initialized"):
        await tokens.user_of(outside.token())
    assert await tokens.user_of("no.jwt.at-all") is None


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed_with_secret(claims: dict[str, Any], secret: bytes) -> str:
    body = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(claims)}"
    return f"{body}.{base64.urlsafe_b64encode(hmac.digest(secret, body.encode(), 'sha256')).rstrip(b'=').decode()}"


async def test_a_forged_token_is_refused(outside: Issuer) -> None:
    tokens, _ = await known(outside)
    good = outside.token()
    head, body, mark = good.split(".")
    claims = {"iss": outside.url, "aud": CLIENT, "sub": "root", "exp": 9_999_999_999}
    public = next(iter(outside.keys.values())).public_key()
    public_key = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    forged = [
        f"{head}.{part(claims)}.{mark}",
        f"{part({'alg': 'none'})}.{body}.",
        f"{part({'alg': 'None'})}.{body}.{mark}",
        signed_with_secret(claims, public_key),
        jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "first"}),
        jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256"),
        f"{part({'alg': 'RS256', 'kid': ['first']})}.{body}.{mark}",
        f"{part({'alg': ['RS256']})}.{body}.{mark}",
    ]
    assert await tokens.user_of(good)
    for token in forged:
        with pytest.raises(TokenRefused):
            await tokens.user_of(token)


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"issuer": "https://other.example"}, "issuer did not match"),
        ({"jwks_uri": "http://127.0.0.1/keys"}, "not an https URL"),
        ({"jwks_uri": None}, "not an https URL"),
    ],
)
async def test_a_provider_that_contradicts_itself_is_not_believed(
    outside: Issuer, says: dict[str, Any], words: str
) -> None:
    outside.says = says
    with pytest.raises(ProviderError, match=words):
        await known(outside)


async def test_a_provider_whose_certificate_nobody_we_trust_has_signed_is_not_believed(outside: Issuer) -> None:
    with pytest.raises(ProviderError, match="certificate"):
        await Provider(outside.url)._fetch()


async def test_a_ca_file_that_is_none_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(PkiError, match=name):
            Provider(URL, tmp_path / name)


async def test_only_asymmetric_signing_keys_are_taken_from_a_set() -> None:
    key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
    entries = [{**key, "kid": "a"}, {**key, "kid": "b", "use": "enc"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "c"}]
    found = usable_keys({"keys": [*entries, {"kty": "RSA", "kid": "d"}, "e", {**key, "crv": "P-999"}]})
    assert [key_id for key_id, _ in found] == ["a"]
    assert usable_keys({"keys": {}}) == usable_keys({}) == []


async def test_a_providers_token_opens_the_api(outside: Issuer, tmp_path: Path) -> None:
    given = OidcSettings(
        outside.url, CLIENT, "email", groups_claim="groups", groups_prefix="corp:", ca_file=outside.ca_file
    )
    async with api_server(tmp_path / "server", settings=Settings(tmp_path, oidc=given)) as api:
        while not api.running.health or len(outside.asked) < 2:
            await api.get("/readyz")
        bearer = {"Authorization": f"Bearer {outside.token(email='jane@x.org', groups=['dev'], jti='t-1')}"}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        while (me := await api.post(path, body, headers=bearer, session=api.as_nobody())).status == 401:
            pass
        told = me.ok(201)["status"]["userInfo"]
        assert (told["username"], told["groups"]) == ("jane@x.org", ["corp:dev", "system:authenticated"])
        late = {"Authorization": f"Bearer {outside.token(email='jane@x.org', exp=1)}"}
        (await api.post(path, body, headers=late, session=api.as_nobody())).refused(401, "Unauthorized")
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": outside.token()}}
        told = (await api.post("/apis/authentication.k8s.io/v1/tokenreviews", review)).ok(201)["status"]
        assert told == {"user": {}, "error": 'oidc: parse username claims "email": not a text'}
