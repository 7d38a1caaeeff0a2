"""starkctl against a server of the test's own loop: each command line in a thread, with what it printed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from stark.apiserver.auth.identities import parse_identity
from stark.ctl.__main__ import main
from tests.support.apiserver import Api


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    def ok(self) -> str:
        """What it printed, once its exit code has been checked."""
        assert self.code == 0, self
        return self.out


@dataclass
class Ctl:
    """starkctl with a home of its own. One command at a time: the streams and the environment are the process's."""

    api: Api
    home: Path

    @property
    def ca_file(self) -> Path:
        """The server's authority."""
        path = self.home.parent / "server-ca.crt"
        if not path.exists():
            path.write_bytes(self.api.running.authority.certificate_pem)
        return path

    def kubeconfig(self, identity: str = "admin") -> Path:
        """A kubeconfig with a certificate."""
        path = self.home.parent / f"{identity.replace(':', '-')}.kubeconfig"
        if not path.exists():
            path.write_text(_kubeconfig(self.api, identity))
        return path

    async def run(self, *words: str, stdin: str = "", **environment: str) -> Ran:
        """A command line as the login in this home."""
        return await self._run({"STARK_HOME": str(self.home), **environment}, words, stdin)

    async def admin(self, *words: str, stdin: str = "", **environment: str) -> Ran:
        """A command line as a master, by certificate."""
        return await self.run(*words, stdin=stdin, KUBECONFIG=str(self.kubeconfig()), **environment)

    async def _run(self, environment: Mapping[str, str], words: tuple[str, ...], stdin: str) -> Ran:
        out, err = _OfOneThread(sys.stdout), _OfOneThread(sys.stderr)

        def run() -> int:
            out.thread = err.thread = threading.get_ident()
            return main(list(words))

        with _environment(environment), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _stdin(stdin):
            code = await asyncio.to_thread(run)
        return Ran(code, out.getvalue(), err.getvalue())


class _OfOneThread(io.StringIO):
    """What the command prints; what the server logs meanwhile goes where it always goes."""

    def __init__(self, elsewhere: TextIO) -> None:
        super().__init__()
        self._elsewhere = elsewhere
        self.thread = 0

    def write(self, text: str) -> int:
        if threading.get_ident() == self.thread:
            return super().write(text)
        return self._elsewhere.write(text)


@contextlib.contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in ("KUBECONFIG", "STARK_PASSWORD", "STARK_KEY_PASSPHRASE", "KUBERNETES_EXEC_INFO"):
        os.environ.pop(name, None)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _stdin(text: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        yield
    finally:
        sys.stdin = before


def _kubeconfig(api: Api, identity: str) -> str:
    def inline(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    authority = api.running.authority
    credential = authority.issue(parse_identity(identity))
    cluster = {"server": api.running.url, "certificate-authority-data": inline(authority.certificate_pem)}
    user: dict[str, Any] = {
        "client-certificate-data": inline(credential.certificate_pem),
        "client-key-data": inline(credential.key_pem),
    }
    context = {"cluster": "c", "user": "u"}
    body = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": context}],
        "current-context": "x",
    }
    return json.dumps(body)
