"""The user's own directory, ~/.stark (or $STARK_HOME): which server, and the login at it.

`config.json` is written by people and by `auth login`; `credentials.json` holds the tokens, is ours alone (0600 in a
directory of 0700), and is replaced whole, so that nobody reads half of it. Tokens go to the server that gave them and no
other.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .errors import CommandError

FILE_BYTES_MAX = 1024 * 1024
"""A longer file is none of ours."""
OUTPUT_FORMATS = ("table", "json", "plain")
FORMER_KEYS = ("supabaseUrl", "supabaseAnonKey")
"""Keys of the original tool that mean nothing here; accepted, so that both tools can share the file."""
CA_FILE = "ca.crt"


class HomeConfig(NamedTuple):
    """What config.json says."""

    api_url: str = ""
    ca_file: str = ""
    """The authority to trust, relative to the directory; empty: the machine's own list."""
    default_namespace: str = ""
    default_output_format: str = ""
    former: tuple[str, ...] = ()
    """Keys of the original tool that were found and are not used."""


class Credentials(NamedTuple):
    """One login. Secrets are kept out of `repr`."""

    api_url: str
    access_token: str
    refresh_token: str
    expires_at: str
    """RFC 3339; of the access token."""
    user_id: str
    email: str

    def __repr__(self) -> str:
        return f"Credentials(api_url={self.api_url!r}, email={self.email!r}, expires_at={self.expires_at!r})"


_CONFIG_KEYS = {
    "apiUrl": "api_url",
    "caFile": "ca_file",
    "defaultNamespace": "default_namespace",
    "defaultOutputFormat": "default_output_format",
}
_CREDENTIAL_KEYS = {
    "apiUrl": "api_url",
    "accessToken": "access_token",
    "refreshToken": "refresh_token",
    "expiresAt": "expires_at",
    "userId": "user_id",
    "email": "email",
}


class Home:
    """The directory and its two files."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or Path(os.environ.get("STARK_HOME") or Path.home() / ".stark")
        self.config_file = self.directory / "config.json"
        self.credentials_file = self.directory / "credentials.json"

    def config(self) -> HomeConfig:
        """config.json; empty when there is none. Raises CommandError naming the key that is wrong."""
        body = self._read(self.config_file) or {}
        unknown = sorted(set(body) - {*_CONFIG_KEYS, *FORMER_KEYS})
        if unknown:
            known = ", ".join(_CONFIG_KEYS)
            raise CommandError(f"{self.config_file}: unknown key {unknown[0]!r}: the keys are {known}")
        config = HomeConfig(
            **{_CONFIG_KEYS[key]: _text(self.config_file, key, body[key]) for key in body if key in _CONFIG_KEYS},
            former=tuple(key for key in FORMER_KEYS if key in body),
        )
        if config.default_output_format not in ("", *OUTPUT_FORMATS):
            choices = ", ".join(OUTPUT_FORMATS)
            raise CommandError(f"{self.config_file}: defaultOutputFormat: expected one of {choices}")
        return config._replace(api_url=config.api_url.rstrip("/"))

    def authority(self, config: HomeConfig) -> bytes | None:
        """The certificate that `caFile` names. Raises CommandError."""
        if not config.ca_file:
            return None
        path = self.directory / Path(config.ca_file).expanduser()
        try:
            return _bytes(path)
        except FileNotFoundError as error:
            raise CommandError(f"{self.config_file}: caFile: {path} does not exist") from error

    def remember_server(self, url: str, authority: bytes | None) -> None:
        """Make `url` the server of commands that name no other, and trust `authority` for it."""
        body = self._read(self.config_file) or {}
        body["apiUrl"] = url
        body.pop("caFile", None)
        if authority is not None:
            self._write(self.directory / CA_FILE, authority)
            body["caFile"] = CA_FILE
        self._write(self.config_file, _json(body))

    def credentials(self) -> Credentials | None:
        """The login, if there is one. A file of another tool, without a server's name, is none."""
        body = self._read(self.credentials_file)
        if body is None or not all(isinstance(body.get(key), str) for key in _CREDENTIAL_KEYS):
            return None
        return Credentials(**{field: body[key] for key, field in _CREDENTIAL_KEYS.items()})

    def save_credentials(self, credentials: Credentials) -> None:
        """Replace the login."""
        body = {key: getattr(credentials, field) for key, field in _CREDENTIAL_KEYS.items()}
        self._write(self.credentials_file, _json(body))

    def forget_credentials(self) -> None:
        """Remove the login, if there is one."""
        self.credentials_file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time changes the login: a refresh token is good once, and two uses of it look like theft."""
        import fcntl

        self._ensure_directory()
        descriptor = os.open(self.directory / "credentials.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            text = _bytes(path)
        except FileNotFoundError:
            return None
        try:
            body = json.loads(text)
        except ValueError as error:
            raise CommandError(f"{path}: not JSON: {error}") from error
        if not isinstance(body, dict):
            raise CommandError(f"{path}: expected an object")
        return body

    def _ensure_directory(self) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.directory.stat()
            if found.st_mode & stat.S_ISVTX:
                raise CommandError(
                    f"{self.directory} is shared with others: name a directory of your own in STARK_HOME"
                )
            if found.st_mode & 0o077:
                self.directory.chmod(0o700)
        except OSError as error:
            raise CommandError(f"cannot use {self.directory}: {error.strerror}") from error

    def _write(self, path: Path, content: bytes) -> None:
        self._ensure_directory()
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise CommandError(f"cannot write {path}: {error.strerror}") from error


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise CommandError(f"{path}: {key}: expected text, got {type(value).__name__}")
    return value


def _bytes(path: Path) -> bytes:
    """The file's content. Raises FileNotFoundError, CommandError."""
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise CommandError(f"{path} is larger than {FILE_BYTES_MAX >> 20} MiB")
    return content


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, indent=2).encode() + b"\n"
