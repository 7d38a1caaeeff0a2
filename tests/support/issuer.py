"""A small identity provider: OpenID Connect discovery, keys that rotate, and ID tokens, over TLS on a free port."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from stark.apiserver.auth.pki import Authority

CLIENT = "stark"
RSA_KEY = rsa.generate_private_key(65537, 2048)
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Issuer:
    """The provider. `url` stays the same over `stop` and `start`."""

    def __init__(self, folder: Path) -> None:
        authority = Authority.open(folder)
        credential = authority.issue_server(["127.0.0.1"])
        self.ca_file = folder / "ca.crt"
        (folder / "issuer.pem").write_bytes(credential.certificate_pem + credential.key_pem)
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(folder / "issuer.pem")
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.keys: dict[str, Key] = {}
        self.asked: list[str] = []
        self.says: dict[str, Any] = {}
        """Put into the discovery document over what is true."""
        self.piece_bytes = 0
        """Length of the pieces in which keys are sent; 0 for all at once."""
        self.before_answering: Callable[[], None] = lambda: None
        self.rotate("first")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def rotate(self, key_id: str, key: Key | None = None) -> None:
        """From now on there is one key: this one."""
        self.keys = {key_id: key or RSA_KEY}

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/keys", self._published)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def token(self, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """An ID token for `jane`, good for an hour; claims that are None are left out."""
        key_id, key = next(iter(self.keys.items()))
        whole = {"iss": self.url, "aud": CLIENT, "sub": "jane", "exp": int(time.time()) + 3_600, **claims}
        given = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(given, key, algorithm, headers={"kid": key_id, **(headers or {})})

    async def _configuration(self, request: web.Request) -> web.Response:
        self.asked.append("configuration")
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.says})

    async def _published(self, request: web.Request) -> web.StreamResponse:
        self.asked.append("keys")
        self.before_answering()
        keys = []
        for key_id, key in self.keys.items():
            if isinstance(key, rsa.RSAPrivateKey):
                shown = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
            else:
                shown = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
            keys.append({**shown, "kid": key_id, "use": "sig"})
        return await self._in_pieces(request, {"keys": keys}) if self.piece_bytes else web.json_response({"keys": keys})

    async def _in_pieces(self, request: web.Request, document: dict[str, Any]) -> web.StreamResponse:
        answer, data = web.StreamResponse(headers={"Content-Type": "application/json"}), json.dumps(document).encode()
        await answer.prepare(request)
        for begin in range(0, len(data), self.piece_bytes):
            await answer.write(data[begin : begin + self.piece_bytes])
            await asyncio.sleep(0)
        await answer.write_eof()
        return answer


@asynccontextmanager
async def issuer(folder: Path) -> AsyncIterator[Issuer]:
    """A provider for the duration of a test."""
    provider = Issuer(folder)
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop()
