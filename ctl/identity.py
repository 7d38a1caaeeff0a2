"""Who a command is at the server: a token or certificate it was given, a program that hands them out, or the login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .errors import CommandError

if TYPE_CHECKING:
    from stark.client.config import ClientConfig
    from stark.client.exec_plugins import Credential, ExecSource


class Identity(Protocol):
    """Asked before each request, and again when the server answered that it knows nobody like that (401)."""

    def token(self) -> str:
        """The bearer token, or empty. Raises CommandError."""
        ...

    def certificate(self) -> tuple[bytes, bytes] | None:
        """The client certificate and its key (PEM). Raises CommandError."""
        ...

    def renew(self) -> bool:
        """Whether there is now something else to show than what was refused. Raises CommandError."""
        ...


class Given:
    """What the kubeconfig or the command line says."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config

    def token(self) -> str:
        """The token, or what is in its file now."""
        file = self._config.token_file
        if self._config.token or file is None:
            return self._config.token or ""
        try:
            return file.read_text().strip()
        except OSError as error:
            raise CommandError(f"cannot read the token in {file}: {error.strerror}") from error

    def certificate(self) -> tuple[bytes, bytes] | None:
        """Certificate and key of the kubeconfig."""
        certificate, key = self._config.client_cert_data, self._config.client_key_data
        return (certificate, key) if certificate and key else None

    def renew(self) -> bool:
        """There is nothing else."""
        return False


class FromProgram:
    """What an `exec` program of the kubeconfig hands out."""

    def __init__(self, source: ExecSource) -> None:
        self._source = source
        self._shown: Credential | None = None

    def token(self) -> str:
        """Runs the program, the first time."""
        return self._current().token or ""

    def certificate(self) -> tuple[bytes, bytes] | None:
        """Runs the program, the first time."""
        shown = self._current()
        return (shown.certificate, shown.key) if shown.certificate and shown.key else None

    def renew(self) -> bool:
        """Runs the program again, once: what was refused fresh will be refused again."""
        refused = self._shown
        if refused is None:
            return False
        from stark.client.exec_plugins import ExecError

        try:
            self._shown = self._source.renewed(refused)
        except ExecError as error:
            raise CommandError(str(error)) from error
        return self._shown != refused

    def _current(self) -> Credential:
        from stark.client.exec_plugins import ExecError

        try:
            self._shown = self._source.current()
        except ExecError as error:
            raise CommandError(str(error)) from error
        return self._shown
