"""What the checks ask: the server as whoever runs them, the server as nobody, and the files of the data directory."""

from __future__ import annotations

import socket
import ssl
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import CommandError, ServerError
from ..http import Api, tls_context
from ..options import Session

HANDSHAKE_S = 5.0


class Unknown(Exception):
    """It cannot be found out from here; the message says why."""


class Probe:
    """One server."""

    def __init__(self, session: Session, data_dir: Path | None) -> None:
        self.api: Api = session.api
        self.data_dir = data_dir

    @cached_property
    def nobody(self) -> Api:
        """The same server without any credential."""
        from stark.client.config import Impersonation

        plain = self.api.config._replace(
            client_cert_data=None, client_key_data=None, token=None, token_file=None, exec_plugin=None,
            impersonate=Impersonation(),
        )  # fmt: skip
        return Api(plain, timeout_s=self.api.timeout_s)

    def close(self) -> None:
        """Let go of the connection without credentials; the other one is the session's."""
        if "nobody" in self.__dict__:
            self.nobody.close()

    def items(self, path: str) -> list[dict[str, Any]]:
        """Every object of a list."""
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            page = self.api.request("GET", path, query={"limit": "500", "continue": token})
            found.extend(page.get("items") or ())
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return found

    def refusal(self, method: str, path: str, body: object = None, *, api: Api | None = None) -> int:
        """The code with which a request is refused; 0 when it is not. Nothing is changed by one that is not."""
        query = {} if body is None else {"dryRun": "All"}
        try:
            (api or self.api).request(method, path, body=body, query=query)
        except ServerError as error:
            return error.code
        except (ValueError, CommandError) as error:
            raise Unknown(str(error)) from error
        return 0

    def may(
        self, user: str, groups: list[str], verb: str, resource: str, group: str = "", subresource: str = ""
    ) -> bool:
        """Whether somebody could do that to all objects, by a SubjectAccessReview."""
        attributes = {"verb": verb, "resource": resource, "group": group, "subresource": subresource}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups, "resourceAttributes": {k: v for k, v in attributes.items() if v}},
        }
        status = self.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=body)["status"]
        return bool(status.get("allowed"))

    @cached_property
    def audit(self) -> dict[str, Any]:
        """How the audit log is kept."""
        found: dict[str, Any] = self.api.get("/audit/logs/settings")["data"]
        return found

    def file(self, *parts: str) -> Path:
        """A path in the data directory. Raises Unknown."""
        if self.data_dir is None:
            raise Unknown("give --data-dir on the server's machine")
        return self.data_dir.joinpath(*parts)

    def handshake(self, newest: ssl.TLSVersion | None = None) -> str:
        """The protocol and cipher the server agrees to. Raises Unknown, ssl.SSLError, ConnectionError."""
        if not self.api.secure:
            raise Unknown("the server is not reached by TLS")
        context = tls_context(self.api.config, None)
        if newest is not None:
            # Our own library refuses such protocols by itself: told not to, it is the server that is asked.
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = newest
        name = self.api.config.tls_server_name or self.api.host
        with (
            socket.create_connection((self.api.host, self.api.port), timeout=HANDSHAKE_S) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            cipher = secured.cipher()
            return f"{secured.version()} {cipher[0] if cipher else ''}"
