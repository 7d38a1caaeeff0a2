"""Attacks on the front door: tokens, certificates, paths, heads and webhooks, each against a real server over TLS."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from stark.apiserver.settings import RateSettings, Settings
from tests.support.apiserver import Api, api_server
from tests.support.people import CHEAP, PASSWORD, People, data
from tests.support.webhooks import webhook, webhook_server

STATUS = re.compile(rb"HTTP/1\.1 [0-9]{3} ")
SECRETS = "/api/v1/namespaces/kube-system/secrets"
SECRET = f"{SECRETS}/planted"
PLANTED = "cGxhbnRlZC1zZWNyZXQ="
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
PROTECTED = "/api/v1/namespaces"
PATIENT = RateSettings(refused_tokens=1e9, anonymous_burst=1e9, anonymous_per_s=1e9, login_failures_address=1e9)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Target:
    """A server with something to steal, and the genuine tokens that attacks are made from."""

    api: Api
    people: People
    session: str
    """Of an administrator."""
    viewer: str
    account: str
    """Of a service account that may do nothing."""

    @property
    def pki(self) -> Path:
        return self.api.running.authority.directory

    async def code(self, token: str, path: str = PROTECTED) -> int:
        return (await self.people.get(path, token=token)).status

    async def raw(self, text: bytes, *, certificate: ssl.SSLContext | None = None) -> bytes:
        """What comes back for bytes, until the server has had enough or for a moment."""
        context = certificate or ssl.create_default_context(cadata=self.api.running.authority.certificate_pem.decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", self.api.running.port, ssl=context)
        try:
            writer.write(text)
            await writer.drain()
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    home = tmp_path_factory.mktemp("attacks")
    settings = replace(Settings(home), passwords=CHEAP, rates=PATIENT)
    async with api_server(home, settings=settings) as api:
        people = People(api, api.as_nobody())
        planted = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "planted"}, "data": {"key": PLANTED}}
        (await api.post(SECRETS, planted)).ok(201)
        (await api.post(ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "weak"}})).ok(201)
        admin = (await people.setup())["accessToken"]
        viewer = (await people.add("vera@example.com", "viewer"))["accessToken"]
        account = await account_token(api)
        yield Target(api, people, admin, viewer, account)


async def account_token(api: Api, **spec: Any) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return str((await api.post(f"{ACCOUNTS}/weak/token", body)).ok(201)["status"]["token"])


async def test_the_genuine_tokens_are_good(target: Target) -> None:
    assert await target.code(target.session) == 200
    assert await target.code(target.viewer) == 200
    assert await target.code(target.account) == 403


# Tokens. Each of these makes another one from a genuine token.

Forgery = Callable[[str, Path], str]


def unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    head, claims, signature = token.split(".")
    opened = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, claims))
    return next(opened), next(opened), signature


def joined(head: Mapping[str, Any], claims: Mapping[str, Any], signature: str) -> str:
    return f"{unpadded(json.dumps(head).encode())}.{unpadded(json.dumps(claims).encode())}.{signature}"


def alg(name: str, *, keeps_signature: bool = False) -> Forgery:
    def forge(token: str, pki: Path) -> str:
        head, claims, signature = parts(token)
        return joined({**head, "alg": name}, claims, signature if keeps_signature else "")

    return forge


def without_signature(token: str, pki: Path) -> str:
    return token.rsplit(".", 1)[0] + "."


def claiming(**changed: Any) -> Forgery:
    """Other claims under the old signature."""

    def forge(token: str, pki: Path) -> str:
        head, claims, signature = parts(token)
        return joined(head, {**claims, **changed}, signature)

    return forge


def _private(token: str, pki: Path) -> Any:
    name = "session-signing.key" if parts(token)[0]["alg"] == "EdDSA" else "sa.key"
    return serialization.load_pem_private_key((pki / name).read_bytes(), None)


def confused(form: str) -> Forgery:
    """Signed by HMAC with the public key as the secret (RFC 8725, section 2.1)."""

    def forge(token: str, pki: Path) -> str:
        public = _private(token, pki).public_key()
        encodings = serialization.Encoding, serialization.PublicFormat
        if form == "pem":
            secret = public.public_bytes(encodings[0].PEM, encodings[1].SubjectPublicKeyInfo)
        else:
            secret = public.public_bytes(encodings[0].DER, encodings[1].SubjectPublicKeyInfo)
        head, claims, _ = parts(token)
        start = joined({**head, "alg": "HS256"}, claims, "").rstrip(".")
        return f"{start}.{unpadded(hmac.new(secret, start.encode(), hashlib.sha256).digest())}"

    return forge


def by_another_key(**heads: Any) -> Forgery:
    """Signed well, by a key of the attacker's, who names it in the head, or names a file (RFC 8725, section 3.10)."""

    def forge(token: str, pki: Path) -> str:
        head, claims, _ = parts(token)
        own: Any = Ed25519PrivateKey.generate() if head["alg"] == "EdDSA" else ec.generate_private_key(ec.SECP256R1())
        jwk = (jwt.algorithms.OKPAlgorithm if head["alg"] == "EdDSA" else jwt.algorithms.ECAlgorithm).to_jwk(
            own.public_key(), as_dict=True
        )
        named = {key: jwk if value is JWK else value for key, value in heads.items()}
        return jwt.encode(claims, own, algorithm=head["alg"], headers={"kid": head["kid"], **named})

    return forge


JWK = object()


def resigned(**changed: Any) -> Forgery:
    """Signed with the genuine key: what a token that leaked from elsewhere, or an older server, could say."""

    def forge(token: str, pki: Path) -> str:
        head, claims, _ = parts(token)
        kept = {key: value for key, value in {**claims, **changed}.items() if value is not None}
        kept = {key: value(time.time()) if callable(value) else value for key, value in kept.items()}
        rest = {key: value for key, value in head.items() if key != "alg"}
        return jwt.encode(kept, _private(token, pki), algorithm=head["alg"], headers=rest)

    return forge


FORGERIES: dict[str, Forgery] = {
    "alg none": alg("none"),
    "alg None": alg("None"),
    "alg nOnE with the signature": alg("nOnE", keeps_signature=True),
    "no alg": alg(""),
    "another alg": alg("ES512", keeps_signature=True),
    "without its signature": without_signature,
    "another subject": claiming(sub="system:admin", email="root@example.com"),
    "more groups": claiming(groups=["system:masters"]),
    "HMAC with the public key in PEM": confused("pem"),
    "HMAC with the public key in DER": confused("der"),
    "another key": by_another_key(),
    "another key in the head": by_another_key(jwk=JWK),
    "another key at an address": by_another_key(jku="https://127.0.0.1:1/keys", x5u="https://127.0.0.1:1/x"),
    "a file as key": by_another_key(kid="../../../../dev/null"),
    "a statement as key": by_another_key(kid="x' UNION SELECT 'AA"),
    "expired": resigned(exp=lambda now: int(now) - 120, iat=lambda now: int(now) - 600, nbf=lambda now: int(now) - 600),
    "not yet": resigned(nbf=lambda now: int(now) + 600, iat=lambda now: int(now) + 600, exp=lambda now: int(now) + 900),
    "for ever": resigned(exp=None),
    "for another audience": resigned(aud="https://example.com"),
    "for no audience": resigned(aud=None),
    "of another issuer": resigned(iss="https://example.com"),
    "of nobody": resigned(sub="00000000-0000-0000-0000-000000000000"),
    "with a body that is a list": lambda token, pki: f"{token.split('.')[0]}.{unpadded(b'[1]')}.{token.split('.')[2]}",
    "with bytes after it": lambda token, pki: token + ".x",
    "with a signature cut short": lambda token, pki: token[:-4],
    "of nested braces": lambda token, pki: f"{unpadded(b'{' * 5_000)}.{unpadded(b'[' * 5_000)}.x",
    "of 17 KiB": lambda token, pki: token + "A" * 17_000,
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_token_that_is_not_genuine_is_refused_and_told_nothing(target: Target, name: str) -> None:
    for genuine in (target.session, target.account):
        forged = FORGERIES[name](genuine, target.pki)
        answer = await target.people.get(PROTECTED, token=forged)
        assert answer.refused(401, "Unauthorized") == "Unauthorized", name


async def test_a_token_for_others_is_not_for_us(target: Target) -> None:
    elsewhere = await account_token(target.api, audiences=["https://vault.example.com"])
    assert await target.code(elsewhere) == 401


async def test_what_is_no_access_token_opens_nothing(target: Target) -> None:
    login = await target.people.login()
    assert await target.code(login["refreshToken"]) == 401
    answer = await target.people.post("/auth/refresh", {"refreshToken": login["accessToken"]})
    assert answer.status == 401
    for wrong in ("", "x", "abcdef.0123456789abcdef", "null", "stark-refresh." + "0" * 80):
        assert await target.code(wrong) in (400, 401), wrong


async def test_a_refresh_token_that_is_used_twice_ends_the_login_for_thief_and_owner(target: Target) -> None:
    login = await target.people.login()
    stolen, current = login["refreshToken"], login
    for _ in range(2):
        body = {"refreshToken": current["refreshToken"]}
        current = data(await target.people.post("/auth/refresh", body))
    assert await target.code(current["accessToken"]) == 200
    assert (await target.people.post("/auth/refresh", {"refreshToken": stolen})).status == 401
    assert await target.code(current["accessToken"]) == 401


async def test_a_token_is_worth_nothing_after_logging_out(target: Target) -> None:
    login = await target.people.login()
    (await target.people.post("/auth/logout", {}, token=login["accessToken"])).ok()
    assert await target.code(login["accessToken"]) == 401
    assert (await target.people.post("/auth/refresh", {"refreshToken": login["refreshToken"]})).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        {"Authorization": "Bearer x, Bearer y"},
        {"Authorization": "Bearer"},
        {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"},
        {"X-Forwarded-User": "admin"},
        {"X-Client-Cert": "CN=admin,O=system:masters"},
        {"X-Forwarded-Client-Cert": 'Subject="CN=admin,O=system:masters"'},
        {"Impersonate-User": "admin", "Impersonate-Group": "system:masters"},
        {"Cookie": "token=admin"},
    ],
)
async def test_no_header_makes_somebody_of_nobody(target: Target, headers: dict[str, str]) -> None:
    answer = await target.people.ask("GET", PROTECTED, **headers)
    assert answer.status == 401
    answer = await target.people.ask(
        "GET", f"{PROTECTED}?access_token={target.session}&token={target.session}", **headers
    )
    assert answer.status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Impersonate-User": "admin"},
        {"Impersonate-User": "vera@example.com", "Impersonate-Group": "system:masters"},
        {"impersonate-user": "system:admin", "Impersonate-Extra-Scopes": "all"},
        {"Impersonate-Group": "system:masters"},
        {"Impersonate-Uid": "1"},
        {"X-Remote-Group": "system:masters"},
    ],
)
async def test_a_viewer_does_not_become_more_by_a_header(target: Target, headers: dict[str, str]) -> None:
    answer = await target.people.ask("GET", SECRET, token=target.viewer, **headers)
    assert answer.status in (400, 403)
    assert PLANTED not in json.dumps(answer.body)


async def test_no_header_changes_the_method(target: Target) -> None:
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        (await target.api.get(SECRET, headers={name: "DELETE"})).ok()
    (await target.api.get(f"{SECRET}?_method=DELETE")).ok()


async def test_a_head_that_is_too_long_is_refused(target: Target) -> None:
    request = f"GET {PROTECTED} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {'A' * 70_000}\r\n\r\n"
    answer = await target.raw(request.encode())
    assert answer.split(b" ")[1] in (b"400", b"431"), answer[:100]


# Certificates.


def certificate(folder: Path, *, lifetime: timedelta = timedelta(days=1)) -> Path:
    """Of the administrator, signed by an authority of the attacker's that has the cluster's name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
            x509.NameAttribute(NameOID.COMMON_NAME, "admin"),
        ]
    )
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stark-ca")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + lifetime)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    path = folder / "forged.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(signed.public_bytes(pem) + private)
    return path


async def test_a_certificate_of_another_authority_ends_the_handshake(target: Target, tmp_path: Path) -> None:
    context = ssl.create_default_context(cadata=target.api.running.authority.certificate_pem.decode())
    context.load_cert_chain(certificate(tmp_path))
    try:
        answer = await target.raw(b"GET /api/v1/namespaces HTTP/1.1\r\nHost: x\r\n\r\n", certificate=context)
    except OSError:
        answer = b""
    assert answer == b""


async def test_a_revoked_certificate_opens_nothing(target: Target) -> None:
    session = target.api.as_identity("node:stolen")
    node = "/api/v1/nodes/stolen"
    assert (await target.api.get(node, session=session)).status == 404
    body = {
        "apiVersion": "stark.dev/v1",
        "kind": "CertificateRevocation",
        "metadata": {"name": "stolen"},
        "spec": {"username": "system:node:stolen", "issuedBefore": datetime.now(UTC).isoformat(timespec="seconds")},
    }
    (await target.api.post("/apis/stark.dev/v1/certificaterevocations", body)).ok(201)
    assert (await target.api.get(node, session=session)).status == 401
    assert (await target.api.get("/version", session=session)).status == 401


# Paths.

PATHS = (
    "/api/v1/namespaces/kube-system/secrets/planted",
    "/api/v1/namespaces/kube-system/%73ecrets/planted",
    "/api/v1/namespaces/kube-system/%2573ecrets/planted",
    "//api/v1/namespaces/kube-system/secrets/planted",
    "/api//v1/namespaces/kube-system/secrets/planted",
    "/api/v1//namespaces/kube-system/secrets/planted",
    "/api/v1/namespaces//secrets/planted",
    "/./api/v1/namespaces/kube-system/secrets/planted",
    "/healthz/../api/v1/namespaces/kube-system/secrets/planted",
    "/healthz/%2e%2e/api/v1/namespaces/kube-system/secrets/planted",
    "/healthz/..%2fapi/v1/namespaces/kube-system/secrets/planted",
    "/healthz%2f..%2fapi/v1/namespaces/kube-system/secrets/planted",
    "/healthz/%252e%252e/api/v1/namespaces/kube-system/secrets/planted",
    "/healthz/..;/api/v1/namespaces/kube-system/secrets/planted",
    "/healthz;/api/v1/namespaces/kube-system/secrets/planted",
    "/version/../api/v1/secrets",
    "/readyz/..%5capi%5cv1%5csecrets",
    "/auth/setup/status/../../../api/v1/secrets",
    "/auth/login/%2e%2e/%2e%2e/api/v1/secrets",
    "/api/v1/namespaces/default/../kube-system/secrets/planted",
    "/api/v1/namespaces/default/%2e%2e/kube-system/secrets/planted",
    "/api/v1/namespaces/default%2f..%2fkube-system/secrets/planted",
    "/api/v1/namespaces/kube-system/configmaps/../secrets/planted",
    "/api/v1/namespaces/kube-system/configmaps/..%2fsecrets%2fplanted",
    "/api/v1/namespaces/kube-system/secrets;x=y/planted",
    "/api/v1/namespaces/kube-system/secrets/planted;x=y",
    "/api/v1/namespaces/kube-system/secrets/planted%00",
    "/api/v1/namespaces/kube-system/secrets/planted/",
    "/api/v1/namespaces/kube-system/secrets/planted%2f",
    "/api/v1/namespaces/kube-system/secrets/planted/status",
    "/api/v1/watch/namespaces/kube-system/secrets",
    "/api/v1/proxy/namespaces/kube-system/secrets/planted",
    "/API/V1/namespaces/kube-system/secrets/planted",
    "/api/v1/namespaces/kube-system/SECRETS/planted",
    "/api/v1/namespaces/kube-system/secrets/%70lanted",
    "/api/v1/secrets?watch=true&timeoutSeconds=1",
    "/api/v1/secrets?fieldSelector=metadata.name%3Dplanted",
    "/apis//v1/namespaces/kube-system/secrets/planted",
    "/apis/v1/namespaces/kube-system/secrets/planted",
    "/audit/logs",
    "/audit/logs/",
    "/audit//logs",
    "/audit/%6cogs",
    "/audit/logs/../logs",
    "/healthz/../audit/logs",
    "/encryption",
    "/metrics/",
    "http://169.254.169.254/api/v1/secrets",
    "https://127.0.0.1/api/v1/namespaces/kube-system/secrets/planted",
)


@pytest.mark.parametrize("who", ["nobody", "account", "viewer"])
async def test_no_spelling_of_a_path_leads_around_authorization(target: Target, who: str) -> None:
    token = {"nobody": "", "account": target.account, "viewer": target.viewer}[who]
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    heads = [f"GET {path} HTTP/1.1\r\nHost: x\r\n{bearer}\r\n" for path in PATHS]
    last = f"GET /version HTTP/1.1\r\nHost: x\r\n{bearer}Connection: close\r\n\r\n"
    text = await target.raw("".join([*heads, last]).encode())
    answers = dict(zip(PATHS, STATUS.split(text)[1:], strict=False))
    assert len(answers) == len(PATHS), list(answers)[-1]
    codes = {path: int(found.split()[1]) for path, found in zip(PATHS, STATUS.findall(text), strict=False)}
    assert {path: code for path, code in codes.items() if code not in (400, 401, 403, 404, 405)} == {}
    for path, answer in answers.items():
        assert PLANTED.encode() not in answer, path
        assert b"Traceback" not in answer, path


async def test_a_name_is_one_segment_also_for_who_may(target: Target) -> None:
    for path in ("/api/v1/namespaces/default/%2e%2e/kube-system/secrets/planted", f"{SECRET}%00", f"{SECRET};a"):
        request = (
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {target.session}\r\nConnection: close\r\n\r\n"
        )
        answer = await target.raw(request.encode())
        assert int(answer.split(b" ")[1]) in (400, 403, 404), (path, answer[:200])
        assert PLANTED.encode() not in answer


# Smuggling: one request for us that would be two for somebody before us, or the other way round.

SMUGGLED = f"DELETE {SECRET} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nContent-Length: LENGTH\r\n",
        "Content-Length: 0, LENGTH\r\n",
        "Content-Length: +LENGTH\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: LENGTH\r\n",
        "Host: y\r\n",
    ],
)
async def test_a_head_that_can_be_read_in_two_ways_is_refused_with_all_that_follows(target: Target, head: str) -> None:
    body = SMUGGLED.replace("TOKEN", target.session)
    first = f"POST /auth/login HTTP/1.1\r\nHost: x\r\n{head.replace('LENGTH', str(len(body)))}\r\n"
    answer = await target.raw((first + body).encode())
    assert answer.split(b" ")[1] in (b"400", b"501"), answer[:200]
    assert len(STATUS.findall(answer)) == 1
    (await target.api.get(SECRET)).ok()


# Webhooks: where the server itself is made to go.


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1/x",
        "https://user:password@127.0.0.1/x",
        "https://127.0.0.1/x?a=b",
        "https://127.0.0.1/x#f",
        "https:///x",
        "//127.0.0.1/x",
    ],
)
async def test_a_webhook_has_a_plain_https_address(target: Target, url: str) -> None:
    hook = {
        "name": "a.example.com",
        "clientConfig": {"url": url},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
    }
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "ssrf"},
        "webhooks": [hook],
    }
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    assert "clientConfig.url" in (await target.api.post(path, body)).refused(422, "Invalid")


async def test_the_server_follows_no_redirect_and_shows_no_answer_of_another_server(
    target: Target, tmp_path: Path
) -> None:
    reached: list[str] = []

    async def inside(request: web.Request, review: dict[str, Any]) -> web.StreamResponse:
        reached.append(request.path)
        return web.Response(text="planted-inside")

    async def away(request: web.Request, review: dict[str, Any]) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect(f"https://127.0.0.1:{server.port}/inside", text="planted-away" * 200)

    async with webhook_server(tmp_path) as server:
        server.on("/away", away)
        server.on("/inside", inside)
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "redirecting"},
            "webhooks": [webhook(server, "/away", failurePolicy="Fail")],
        }
        path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        (await target.api.post(path, body)).ok(201)
        try:
            map_body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bait"}}
            answer = await target.api.post("/api/v1/namespaces/default/configmaps", map_body)
        finally:
            (await target.api.delete(f"{path}/redirecting")).ok()
    assert answer.status == 500
    assert reached == []
    assert json.dumps(answer.body).count("planted-away") < 100


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166", "0.0.0.0"])
async def test_the_server_does_not_go_where_clouds_keep_credentials(target: Target, host: str) -> None:
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    hook = {
        "name": "a.example.com",
        "clientConfig": {"url": f"https://{host}/latest/meta-data"},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["limitranges"]}],
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    made = await target.api.post(path, {**kind, "metadata": {"name": "clouds"}, "webhooks": [hook]})
    if made.status == 422:
        return
    made.ok(201)
    try:
        limits = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "bait"}, "spec": {"limits": []}}
        answer = await target.api.post("/api/v1/namespaces/default/limitranges", limits)
    finally:
        (await target.api.delete(f"{path}/clouds")).ok()
    assert answer.status == 500
    message = answer.body["message"]
    assert "webhooks must not be at" in message or "not a canonical" in message


async def test_only_administrators_name_webhooks(target: Target) -> None:
    for token in (target.viewer, target.account):
        for kind in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"):
            path = f"/apis/admissionregistration.k8s.io/v1/{kind}"
            answer = await target.people.post(path, {"metadata": {"name": "x"}}, token=token)
            assert answer.status == 403


async def test_the_audit_log_tells_whose_login_failed_but_repeats_nothing_that_is_no_account(target: Target) -> None:
    for email in ("ada@example.com", "hunter2hunter2"):
        assert (await target.people.post("/auth/login", {"email": email, "password": "Wrong1horse"})).status == 401
    logs = (await target.api.get("/audit/logs?outcome=denied&verb=post&limit=500")).ok()["data"]["logs"]
    failed = [each for each in logs if each["requestURI"] == "/auth/login"]
    accounts = {each.get("annotations", {}).get("authentication.stark.dev/account") for each in failed}
    assert accounts == {"ada@example.com", None}
    assert "hunter2hunter2" not in json.dumps(logs)


async def test_every_attack_is_in_the_audit_log_and_no_token_of_it(target: Target) -> None:
    answer = await target.api.get("/audit/logs?outcome=denied&limit=500")
    logs = answer.ok()["data"]["logs"]
    assert len(logs) > 10
    text = json.dumps(logs)
    for token in (target.session, target.viewer, target.account, PASSWORD):
        assert token not in text
