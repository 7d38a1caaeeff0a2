"""Join as a person: e-mail and password, or, where the cluster lets anybody register, a user made for this machine.

What is made is kept in `~/.stark/nodes/` (or `$STARK_HOME/nodes/`): `credentials.json` and `registered-nodes.json`, by the
server's URL and then the node's name, in a directory that is ours alone.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import string
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from stark.client.api import Client
from stark.client.config import ClientConfig
from stark.client.errors import Unauthorized

from .shelf import write_private

ANSWER_BYTES_MAX = 1024 * 1024
MAIL_DOMAIN = "nodes.stark.invalid"
"""Reserved for names that are no addresses (RFC 2606): nobody receives mail that is meant for a machine."""
PASSWORD_LENGTH = 32
CREDENTIALS, REGISTERED = "credentials.json", "registered-nodes.json"


class NotRegistered(Exception):
    """Nobody told us who we are, and the cluster lets nobody register."""


def home() -> Path:
    """`$STARK_HOME/nodes`, or `~/.stark/nodes`."""
    return Path(os.environ.get("STARK_HOME") or Path.home() / ".stark") / "nodes"


class NodeFiles:
    """The two files. Several agents of one machine share them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def entry(self, file: str, server: str, node: str) -> Mapping[str, Any]:
        """What is kept for a node of a server; empty when nothing is."""
        found: Mapping[str, Any] = self._read(file).get(server, {}).get(node, {})
        return found

    def keep(self, file: str, server: str, node: str, entry: Mapping[str, Any]) -> None:
        """Keep it. Raises OSError."""
        with self._locked():
            known = self._read(file)
            known.setdefault(server, {})[node] = dict(entry)
            write_private(self.directory / file, orjson.dumps(known, option=orjson.OPT_INDENT_2) + b"\n")

    def _read(self, file: str) -> dict[str, Any]:
        try:
            known = orjson.loads((self.directory / file).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return {}
        return known if isinstance(known, dict) else {}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        descriptor = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


async def log_in(config: ClientConfig, email: str, password: str) -> str:
    """An access token. Raises Unauthorized and other ApiErrors."""
    answer = await _post(config, "/auth/login", {"email": email, "password": password})
    return str(answer["accessToken"])


async def register(config: ClientConfig, node: str, files: NodeFiles) -> str:
    """An access token of a user made for this machine, now or at an earlier start. Raises NotRegistered, ApiError."""
    known = files.entry(CREDENTIALS, config.server, node)
    if known:
        try:
            return await log_in(config, known["email"], known["password"])
        except Unauthorized:
            pass  # kept, and then not registered: the server was away in between
    async with Client(config, user_agent="stark-agent") as client:
        settings = await client.get_json("/api/config")
    if not ((settings.get("data") or {}).get("config") or {}).get("enablePublicRegistration"):
        raise NotRegistered("pass --token, or --email with a password: this cluster lets nobody register")
    if not known:
        known = {"email": f"node-{secrets.token_hex(8)}@{MAIL_DOMAIN}", "password": new_password()}
        # Kept before it is used: a user whose password is lost would be left behind.
        files.keep(CREDENTIALS, config.server, node, known)
    body = {"email": known["email"], "password": known["password"], "displayName": f"node {node}", "roles": ["node"]}
    return str((await _post(config, "/auth/register", body))["accessToken"])


def new_password(choice: Callable[[str], str] = secrets.choice) -> str:
    """One that any rule about passwords accepts: each kind of sign at least once, 180 bits in all."""
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    signs = [choice(kind) for kind in kinds]
    signs += [choice("".join(kinds)) for _ in range(PASSWORD_LENGTH - len(signs))]
    secrets.SystemRandom().shuffle(signs)
    return "".join(signs)


async def _post(config: ClientConfig, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    async with (
        Client(config, user_agent="stark-agent") as client,
        client.raw(
            "POST", path, body=orjson.dumps(body), headers={"Content-Type": "application/json"}, timeout_s=60.0
        ) as answer,
    ):
        found: Mapping[str, Any] = orjson.loads(await answer.read(ANSWER_BYTES_MAX))["data"]
        return found
